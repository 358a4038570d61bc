"""The order of the photos and the random numbers of each are those of the seed and the epoch, whatever came before."""

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from training.data.epoch_sampler import EpochSampler, SeededDataset, combined_seed


class Drawing(Dataset):
    def __len__(self):
        return 7

    def __getitem__(self, index):
        return index, torch.rand(())


def items_of(seed: int, epoch: int, workers: int = 0) -> list[tuple[int, float]]:
    sampler = EpochSampler(7, seed)
    sampler.set_epoch(epoch)
    loader = DataLoader(SeededDataset(Drawing()), batch_size=2, sampler=sampler, num_workers=workers)
    return [(int(i), float(x)) for batch in loader for i, x in zip(*batch, strict=True)]


def test_an_epoch_draws_the_same_whatever_was_drawn_before():
    torch.manual_seed(0)
    first = items_of(42, 3)
    torch.rand(100)
    assert items_of(42, 3) == first


def test_every_epoch_has_each_photo_once_in_an_order_of_its_own():
    epochs = [items_of(42, epoch) for epoch in range(3)]
    assert all(sorted(index for index, _ in items) == list(range(7)) for items in epochs)
    assert len({tuple(index for index, _ in items) for items in epochs}) == 3
    assert len({value for items in epochs for _, value in items}) == 21


def test_another_seed_draws_other_numbers():
    assert items_of(42, 0) != items_of(43, 0)


@pytest.mark.slow
def test_processes_of_the_loader_draw_what_the_main_process_draws():
    assert items_of(42, 1, workers=2) == items_of(42, 1)


def test_seeds_of_neighbouring_steps_differ():
    assert len({combined_seed(42, step, rank) for step in range(50) for rank in range(4)}) == 200
