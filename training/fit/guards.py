"""Guards of a training: divergence stops it, a growing gap between training and validation loss is told."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from math import isfinite
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from campus_visual_gps.errors import TrainingError
from training.config import BEST, TrainConfig

log = logging.getLogger(__name__)

# A loss is read back from an accelerator, which waits for it: not after every step.
_STEPS_BETWEEN_CHECKS = 20
_EPOCHS_SINCE_BEST = 3


class DivergenceGuard(Callback):
    """Stops a training whose loss is not finite, or whose error is far above that of a constant (paper, section 6.1).

    The limit is in metres, which all heads and losses have in common: `divergence_factor` times the mean error of the
    best that a network could do without looking at the photos, the median position, plus the scale of the head's
    outputs, within which a fresh network answers.

    Args:
        config: The configuration: limits, and the values that the advice names.
        seed: Of the member.
        median_error_m: Of the median position of the training photos; see `median_position_error_m`.
    """

    def __init__(self, config: TrainConfig, seed: int, median_error_m: float):
        self.config, self.seed, self.median_error_m = config, seed, median_error_m
        self.limit_m = config.guards.divergence_factor * (median_error_m + config.model.output_scale_m)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # with several processes all must stop at the same step: at the end of the epoch
        if trainer.world_size > 1 or batch_idx % _STEPS_BETWEEN_CHECKS:
            return
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        if not torch.isfinite(loss).all():
            raise self._diverged(trainer, f"the loss is {float(loss):g} in step {trainer.global_step}")

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """After EpochReport, which writes the row of the epoch, and before its checkpoint is written."""
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        for name in ("train_loss", "val_loss"):
            if not isfinite(metrics.get(name, 0.0)):
                raise self._diverged(trainer, f"{name} is {metrics[name]:g}")
        error_m = metrics["train_mean_error_m"]
        if trainer.current_epoch < self.config.guards.divergence_epochs and error_m > self.limit_m:
            what = f"the mean error on training photos is {error_m:.4g} m (loss {metrics['train_loss']:.4g})"
            raise self._diverged(trainer, f"{what}; the median position has {self.median_error_m:.4g} m")

    def _diverged(self, trainer: pl.Trainer, what: str) -> TrainingError:
        optimizer, settings = self.config.optimizer, self.config.trainer
        return TrainingError(
            f"seed {self.seed}: training has diverged in epoch {trainer.current_epoch + 1}: {what}. Train again with "
            f"another --out and a warm-up (optimizer.warmup_epochs 1 or more, now {optimizer.warmup_epochs:g}), a "
            f"smaller learning rate (optimizer.lr, now {_rates(self.config)}) and batches of 24 photos or more "
            f"(trainer.batch_size, now {settings.batch_size}); the optimizer is AdamW already (paper, section 6.1)"
        )


def _rates(config: TrainConfig) -> str:
    lr, head_lr = config.optimizer.lr, config.optimizer.head_lr
    return f"{lr:g}" if head_lr is None else f"{lr:g}, and optimizer.head_lr, now {head_lr:g}"


def median_position_error_m(positions_enu_m: np.ndarray) -> float:
    """Mean distance of positions (N, 2) from their median, in metres."""
    offsets_m = positions_enu_m - np.median(positions_enu_m, axis=0)
    return float(np.linalg.norm(offsets_m, axis=1).mean())


def loss_gap(train_loss: float, val_loss: float) -> float:
    """val_loss / train_loss; NaN where a loss is missing or not positive, as a negative log likelihood may be.

    The paper calls 1.9 healthy (section 3.4). The training loss is measured while training, with augmentation and
    dropout, which raise it: the true gap is larger.
    """
    if not (isfinite(train_loss) and isfinite(val_loss) and train_loss > 0.0 and val_loss > 0.0):
        return float("nan")
    return val_loss / train_loss


class GapReport(Callback):
    """Warns when the gap has grown since the best epoch, and again when it has grown by that factor once more.

    A training that is resumed goes on with the losses of its checkpoint.
    """

    def __init__(self, config: TrainConfig, seed: int):
        self.config, self.seed = config, seed
        self._losses: list[tuple[float, float]] = []
        self._warned_at = 1.0

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        missing = torch.tensor(float("nan"))
        train_loss, val_loss = (float(trainer.callback_metrics.get(n, missing)) for n in ("train_loss", "val_loss"))
        self._losses.append((train_loss, val_loss))
        growth, best = gap_growth(self._losses)
        if not trainer.is_global_zero or not growth >= self._warned_at * self.config.guards.gap_growth:
            return
        self._warned_at = growth
        log.warning(
            "seed %d  epoch %d: validation loss / training loss has grown from %.2f in epoch %d, the best, to %.2f: "
            "more epochs fit the training photos only (paper, sections 6.2 and 6.3)%s",
            self.seed,
            trainer.current_epoch + 1,
            loss_gap(*self._losses[best]),
            best + 1,
            loss_gap(train_loss, val_loss),
            "" if self.config.trainer.keep == BEST else "; trainer.keep: best would keep that epoch",
        )

    def state_dict(self) -> dict[str, Any]:
        """The part of a checkpoint that belongs to this callback."""
        return {"losses": [list(losses) for losses in self._losses], "warned_at": self._warned_at}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._losses = [(train_loss, val_loss) for train_loss, val_loss in state_dict["losses"]]
        self._warned_at = state_dict["warned_at"]


def gap_growth(losses: Sequence[tuple[float, float]]) -> tuple[float, int]:
    """How many times the gap of the best epoch the last epoch's is, and the index of the best.

    Args:
        losses: Training and validation loss of each epoch.

    Returns:
        NaN as growth where a gap is unknown, or where the best epoch is one of the last few: one poor epoch is noise.
    """
    val_losses = [val_loss if isfinite(val_loss) else float("inf") for _, val_loss in losses]
    best = val_losses.index(min(val_losses))
    if len(losses) - 1 - best < _EPOCHS_SINCE_BEST:
        return float("nan"), best
    return loss_gap(*losses[-1]) / loss_gap(*losses[best]), best


def warn_of_device(device: torch.device, config: TrainConfig) -> None:
    """Warn of devices on which the recipe is known to diverge."""
    if device.type == "mps":
        log.warning(
            "training on Apple's MPS: the paper's first ConvNeXt diverged there with batches of 16 and no warm-up "
            "(section 6.1); trainer.batch_size is %d and optimizer.warmup_epochs %g: take 24 and 1 or more, or set "
            "trainer.accelerator to cpu",
            config.trainer.batch_size,
            config.optimizer.warmup_epochs,
        )
