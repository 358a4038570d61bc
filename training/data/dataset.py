"""Stored photos and their positions as a torch Dataset."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from campus_visual_gps.errors import DatasetError
from campus_visual_gps.preprocess import ImageSpec, prepare

_DECODED_AHEAD = 8

# Reads a stored photo as (S, S, 3) uint8 RGB at the network's size.
ReadPixels = Callable[[Path], np.ndarray]


def read_rgb(path: Path) -> np.ndarray:
    """Read a stored photo as (H, W, 3) uint8 RGB.

    Raises:
        DatasetError: The file is missing or damaged.
    """
    # not imread: it gives no reason for a failure and prints a warning
    try:
        encoded = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise DatasetError(f"stored photo {path} cannot be read ({error.strerror}); run ingest again") from error
    bgr = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if len(encoded) else None
    if bgr is None:
        raise DatasetError(f"stored photo {path} is damaged; delete it and run ingest again")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def read_pixels(path: Path, image: ImageSpec) -> np.ndarray:
    """A stored photo -> (size_px, size_px, 3) uint8 RGB. Raises DatasetError if it is missing or damaged."""
    return prepare(read_rgb(path), image)


def read_ahead(paths: list[Path]) -> Iterator[np.ndarray]:
    """Read stored photos in order, (H, W, 3) uint8 RGB; the next few are decoded in a thread meanwhile."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting = deque(pool.submit(read_rgb, path) for path in paths[:_DECODED_AHEAD])
        try:
            for path in [*paths[_DECODED_AHEAD:], *[None] * len(waiting)]:
                image = waiting.popleft().result()
                if path is not None:
                    waiting.append(pool.submit(read_rgb, path))
                yield image
        finally:
            pool.shutdown(cancel_futures=True)


class PhotoDataset(Dataset):
    """Items: an image (3, S, S) float32, its position (2,) float32 in metres east and north, and its weight.

    Args:
        paths: Stored photos.
        positions_enu_m: Their positions (N, 2), metres.
        image: Sizes and normalisation.
        transform: (S, S, 3) uint8 RGB -> (3, S, S) float32.
        weights: Weights (N,) of the photos in the loss; None for 1 each.
        read: Reads a stored photo at the network's size; None decodes it.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        positions_enu_m: np.ndarray,
        image: ImageSpec,
        transform: Callable[[Tensor], Tensor],
        weights: np.ndarray | None = None,
        read: ReadPixels | None = None,
    ):
        self.paths = list(paths)
        self.targets = torch.as_tensor(np.asarray(positions_enu_m), dtype=torch.float32)
        self.weights = weights_tensor(weights, len(self.paths))
        self.image = image
        self.transform = transform
        self.read = read or partial(read_pixels, image=image)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        pixels = torch.from_numpy(self.read(self.paths[index]))
        return self.transform(pixels), self.targets[index], self.weights[index]


def collate_channels_last(items: list[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    """Items of a data set -> a batch whose images (B, C, S, S) lie in memory as the convolutions want them."""
    images, targets, weights = zip(*items, strict=True)
    last = torch.stack([image.permute(1, 2, 0) for image in images])
    return last.permute(0, 3, 1, 2), torch.stack(targets), torch.stack(weights)


def weights_tensor(weights: np.ndarray | None, count: int) -> Tensor:
    """(N,) float32 weights of N photos; None for 1 each."""
    return torch.ones(count) if weights is None else torch.as_tensor(np.asarray(weights), dtype=torch.float32)
