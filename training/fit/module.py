"""The LightningModule: one member, its loss, its optimizer and its schedule."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from campus_visual_gps.models.position_model import PositionModel
from campus_visual_gps.models.trunk import merge_frozen_stages, split_frozen_stages
from training.config import TrainConfig
from training.fit.losses import loss_for_head


class RegressionModule(pl.LightningModule):
    """Trains a PositionModel on (images (B, 3, S, S), positions (B, 2) metres).

    Frozen stages stand apart in `trunk`. With `cached` the batches are their activations (B, C, s, s), not images.
    """

    def __init__(self, config: TrainConfig, regressor: PositionModel, steps_per_epoch: int):
        super().__init__()
        self.config = config
        self.regressor = regressor
        self.frozen = split_frozen_stages(regressor.backbone, config.optimizer.frozen_stages)
        self.cached = config.trainer.cached_views > 0
        self.warmup_steps = round(config.optimizer.warmup_epochs * steps_per_epoch)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        loss, _ = self._loss_and_error(batch)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch[1]), sync_dist=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        loss, error_m = self._loss_and_error(batch)
        figures = {"val_loss": loss, "val_mean_error_m": error_m}
        self.log_dict(figures, on_step=False, on_epoch=True, batch_size=len(batch[1]), sync_dist=True)

    def whole_regressor(self) -> PositionModel:
        """The regressor with its frozen stages in their place; this module trains no more."""
        merge_frozen_stages(self.regressor.backbone, self.frozen)
        return self.regressor

    def configure_optimizers(self):
        settings = self.config.optimizer
        groups = [
            {"params": list(self.regressor.backbone.parameters()), "lr": settings.lr},
            {"params": list(self.regressor.head.parameters()), "lr": settings.head_lr or settings.lr},
        ]
        optimizer = torch.optim.AdamW(groups, weight_decay=settings.weight_decay)
        return {"optimizer": optimizer, "lr_scheduler": self._schedule(optimizer)}

    def on_train_batch_start(self, batch, batch_idx: int) -> None:
        """Linear warm-up; the schedules act at the end of an epoch and so leave these first steps alone."""
        if self.global_step >= self.warmup_steps:
            return
        share = (self.global_step + 1) / self.warmup_steps
        settings = self.config.optimizer
        rates = (settings.lr, settings.head_lr or settings.lr)
        for group, rate in zip(self.optimizers().param_groups, rates, strict=True):
            group["lr"] = rate * share

    def _schedule(self, optimizer: torch.optim.Optimizer) -> dict:
        settings = self.config.scheduler
        if settings.name == "cosine":
            epochs = self.config.trainer.max_epochs
            return {"scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)}
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=settings.factor, patience=settings.patience_epochs
        )
        return {"scheduler": plateau, "monitor": "val_loss"}

    def _loss_and_error(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        images, targets = batch
        images = images.float().contiguous(memory_format=torch.channels_last)
        if self.frozen is not None and not self.cached:
            with torch.no_grad():
                images = self.frozen(images)
        belief = self.regressor(images)
        loss = loss_for_head(self.config, belief, targets, self.regressor.cells_enu_m).mean()
        return loss, torch.linalg.vector_norm(belief.mean_enu_m.detach() - targets, dim=1).mean()


def run_depthwise_in_float32(model: nn.Module) -> None:
    """Take depthwise convolutions out of a CPU's bfloat16 autocast.

    oneDNN has no fast bfloat16 gradient for them: it made a training step of EfficientNet-Lite2 1.7 times as long.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            module.forward = _in_float32(module.forward)


def _in_float32(forward):
    def call(images: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return forward(images.float())

    return call
