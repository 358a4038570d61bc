"""The data loaders of a training."""

from __future__ import annotations

import torch
from torch.utils.data import DataLoader, Dataset

from campus_visual_gps.threads import limit_threads, usable_cores
from training.config import TrainerSettings
from training.data.dataset import collate_channels_last
from training.data.epoch_sampler import EpochSampler, SeededDataset


def make_loaders(
    train: Dataset, val: Dataset, settings: TrainerSettings, sampler: EpochSampler
) -> tuple[DataLoader, DataLoader | None]:
    """The loader of the training photos, in the order of the sampler, and that of the validation photos, if any."""
    cores = usable_cores()
    # On a small CPU machine worker processes only take the cores that the networks need.
    workers = settings.workers if settings.workers is not None else (min(8, cores) if cores > 4 else 0)

    def loader(photos: Dataset, order: EpochSampler | None, drop_last: bool) -> DataLoader:
        return DataLoader(
            photos,
            batch_size=settings.batch_size,
            sampler=order,
            drop_last=drop_last,
            collate_fn=collate_channels_last,
            num_workers=workers,
            persistent_workers=workers > 0,
            worker_init_fn=_start_worker,
            pin_memory=torch.cuda.is_available(),
        )

    train_photos, val_photos = len(sampler), len(val)  # type: ignore[arg-type]  # Dataset declares no __len__
    # batch norm cannot learn from a last batch of one photo
    drop_last = train_photos % settings.batch_size == 1 and train_photos > 1
    return loader(SeededDataset(train), sampler, drop_last), loader(val, None, False) if val_photos else None


def _start_worker(worker: int) -> None:
    """In a process of the data loader, one of several: one thread."""
    limit_threads(1)
