"""The LightningModule: one ensemble member with its loss, optimizer and schedule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from campus_visual_gps.models.position_model import PositionModel
from campus_visual_gps.models.stages import merge_frozen_stages, split_frozen_stages
from training.config import COSINE, LossSettings, OptimizerSettings, SchedulerSettings
from training.fit.losses import loss_for_head

# images, positions and weights
Batch = tuple[Tensor, Tensor, Tensor]


class PositionModule(pl.LightningModule):
    """Trains a PositionModel on batches of images (B, 3, S, S), positions (B, 2) in metres, and weights (B,).

    Weights act on what is minimised and on nothing that is reported: train_loss and val_loss are both the unweighted
    loss, so that they can be compared. train_loss is measured while training, with augmentation and dropout.

    The frozen stages of the backbone are split off and run without gradients.

    Args:
        model: The member to train.
        loss: Settings of the head's loss.
        optimizer: Settings of AdamW, the warm-up and the frozen stages.
        scheduler: Settings of the learning rate schedule.
        steps_per_epoch: Optimizer steps in an epoch, for the warm-up.
        cached: Batches hold the output (B, C, s, s) of the frozen stages instead of images.
    """

    def __init__(
        self,
        model: PositionModel,
        loss: LossSettings,
        optimizer: OptimizerSettings,
        scheduler: SchedulerSettings,
        *,
        steps_per_epoch: int,
        cached: bool = False,
    ):
        super().__init__()
        self.model = model
        self.loss_settings, self.optimizer_settings, self.scheduler_settings = loss, optimizer, scheduler
        self.frozen = split_frozen_stages(model.backbone, optimizer.frozen_stages)
        self.cached = cached
        self.warmup_steps = round(optimizer.warmup_epochs * steps_per_epoch)
        self.learning_rates = (optimizer.lr, optimizer.head_lr or optimizer.lr)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        images, targets, weights = batch
        terms, errors_m = self.losses_and_errors(images, targets)
        metrics = {"train_loss": terms.mean(), "train_mean_error_m": errors_m.mean()}
        self.log_dict(metrics, on_step=False, on_epoch=True, batch_size=len(targets), sync_dist=True)
        return (weights * terms).mean()

    def validation_step(self, batch: Batch, index: int) -> None:
        images, targets, _ = batch
        terms, errors_m = self.losses_and_errors(images, targets)
        metrics = {"val_loss": terms.mean(), "val_mean_error_m": errors_m.mean()}
        self.log_dict(metrics, on_step=False, on_epoch=True, batch_size=len(targets), sync_dist=True)

    def merged_model(self) -> PositionModel:
        """The model with its frozen stages put back. The module cannot train after this."""
        merge_frozen_stages(self.model.backbone, self.frozen)
        return self.model

    def configure_optimizers(self) -> Any:
        optimizer = self.build_optimizer()
        return {"optimizer": optimizer, "lr_scheduler": self._schedule(optimizer)}

    def build_optimizer(self) -> torch.optim.Optimizer:
        """AdamW with one group of parameters for the backbone and one for the head."""
        backbone_lr, head_lr = self.learning_rates
        groups = [
            {"params": list(self.model.backbone.parameters()), "lr": backbone_lr},
            {"params": list(self.model.head.parameters()), "lr": head_lr},
        ]
        # one pass over all parameters, where the device has it: a quarter of the time on a CPU
        fused = self.device.type in ("cpu", "cuda")
        return torch.optim.AdamW(groups, weight_decay=self.optimizer_settings.weight_decay, fused=fused)

    def on_train_batch_start(self, *args: Any) -> None:
        """Linear warm-up. The schedules act at the end of an epoch and do not interfere."""
        if self.global_step >= self.warmup_steps:
            return
        share = (self.global_step + 1) / self.warmup_steps
        for group, rate in zip(self.trainer.optimizers[0].param_groups, self.learning_rates, strict=True):
            group["lr"] = rate * share

    def _schedule(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        settings = self.scheduler_settings
        if settings.name == COSINE:
            epochs = self.trainer.max_epochs or 1
            return {"scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)}
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=settings.factor, patience=settings.patience_epochs
        )
        return {"scheduler": plateau, "monitor": "val_loss"}

    def losses_and_errors(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Unweighted losses (B,) and distance errors (B,) in metres."""
        images = images.float().contiguous(memory_format=torch.channels_last)
        if self.frozen is not None and not self.cached:
            with torch.no_grad():
                images = self.frozen(images)
        output = self.model(images)
        head, cells = self.model.config.head, self.model.cells_enu_m
        terms = loss_for_head(head, self.loss_settings, output, targets, cells)
        return terms, torch.linalg.vector_norm(output.mean_enu_m.detach() - targets, dim=1)


def run_depthwise_in_float32(model: nn.Module) -> None:
    """Take depthwise convolutions out of a CPU's bfloat16 autocast.

    oneDNN has no fast bfloat16 gradient for them: a training step of EfficientNet-Lite2 took 1.7 times as long.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            module.forward = _in_float32(module.forward)  # type: ignore[method-assign, assignment]


def _in_float32(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def call(images: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return forward(images.float())

    return call
