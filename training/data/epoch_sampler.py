"""An order of the photos and random numbers of each that depend on the seed and the epoch alone.

A training that was interrupted goes on as it would have without: what it draws does not depend on what it drew before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import Dataset, Sampler

_SEEDS = 2**62


class EpochSampler(Sampler):
    """All indices in random order, each with a seed for its own random numbers: items of a SeededDataset.

    Args:
        count: Of the data set's items.
        seed: Of the training.
        epoch: To begin with; Lightning sets the following ones.
    """

    def __init__(self, count: int, seed: int, epoch: int = 0):
        self.count, self.seed, self.epoch = count, seed, epoch

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[tuple[int, int]]:
        generator = torch.Generator().manual_seed(combined_seed(self.seed, self.epoch))
        order = torch.randperm(self.count, generator=generator).tolist()
        seeds = torch.randint(_SEEDS, (self.count,), generator=generator).tolist()
        return iter(zip(order, seeds, strict=True))


class SeededDataset(Dataset):
    """A data set whose items are asked for by (index, seed), as EpochSampler does."""

    def __init__(self, dataset: Dataset):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]  # Dataset declares no __len__

    def __getitem__(self, item: tuple[int, int]) -> Any:
        index, seed = item
        torch.default_generator.manual_seed(seed)
        return self.dataset[index]


def combined_seed(*numbers: int) -> int:
    """A seed of several numbers, such as a seed and a step; neighbours have nothing in common."""
    return hash(numbers) % _SEEDS
