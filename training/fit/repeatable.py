"""Random numbers of a training by seed, epoch and step, so that an interrupted one ends as it would have without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

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


def epochs_in(checkpoint: str | None) -> int:
    """The number of epochs that are complete in a checkpoint; 0 without one."""
    if checkpoint is None:
        return 0
    content = torch.load(Path(checkpoint), map_location="cpu", weights_only=True, mmap=True)
    return int(content["epoch"]) + 1
