"""Random numbers of a training by seed, epoch and step, so that an interrupted one ends as it would have without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from training.data.epoch_sampler import EpochSampler, combined_seed


class RandomNumbers(pl.Callback):
    """Seeds the network's own random numbers, such as those of dropout, in each step, and the order in each epoch.

    Args:
        seed: Of the training.
        sampler: Of the training photos.
    """

    def __init__(self, seed: int, sampler: EpochSampler):
        self.seed, self.sampler = seed, sampler

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.sampler.set_epoch(trainer.current_epoch)

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        torch.manual_seed(combined_seed(self.seed, trainer.global_step, trainer.global_rank))


class PlateauResume(pl.Callback):
    """Gives ReduceLROnPlateau the validation loss of the last epoch before an interruption.

    Lightning saves the checkpoint of an epoch before that schedule has seen its loss, and leaves the loss out.
    """

    def __init__(self) -> None:
        self._val_loss: float | None = None
        self._unseen: float | None = None

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        loss = trainer.callback_metrics.get("val_loss")
        self._val_loss = None if loss is None else float(loss)

    def state_dict(self) -> dict[str, Any]:
        return {"val_loss": self._val_loss}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._unseen = state["val_loss"]

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        for config in trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, ReduceLROnPlateau) and self._unseen is not None:
                config.scheduler.step(self._unseen)
        self._unseen = None


def epochs_in(checkpoint: str | None) -> int:
    """The number of epochs that are complete in a checkpoint; 0 without one."""
    if checkpoint is None:
        return 0
    content = torch.load(Path(checkpoint), map_location="cpu", weights_only=True, mmap=True)
    return int(content["epoch"]) + 1
