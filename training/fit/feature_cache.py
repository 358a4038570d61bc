"""Augmented views of every photo, sent through the frozen stages once and kept on disk.

What is frozen answers the same for the same pixels, so its share of an epoch, the larger one on a CPU, is paid once for
all epochs, seeds and folds. The price is that a photo has so many augmented views and no more.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from campus_visual_gps.io_utils import atomic_write
from campus_visual_gps.models.trunk import FrozenStages
from campus_visual_gps.preprocess import ImageSpec
from training.config import TrainConfig
from training.data.augment import EvaluationTransform, TrainTransform
from training.data.dataset import PhotoDataset

log = logging.getLogger(__name__)

DIRECTORY = "views"
_BATCH = 25
# The first view is the photo as it is, for validation.
_PLAIN = 0


def views_file(config: TrainConfig, image: ImageSpec, paths: Sequence[Path]) -> Path:
    """Where the views of these photos lie: beside their images, named after all that they depend on."""
    made_of = {
        "photos": [path.name for path in paths],
        "image": asdict(image),
        "augment": asdict(config.augment),
        "trunk": [config.model.backbone, config.weights, config.optimizer.frozen_stages],
        "views": config.trainer.cached_views,
    }
    key = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]
    return paths[0].parent.parent / DIRECTORY / f"{key}.npy"


def cached_views(config: TrainConfig, image: ImageSpec, paths: Sequence[Path], frozen: FrozenStages) -> np.ndarray:
    """Activations (1 + views, N, C, s, s) float16 of N photos, mapped from disk; made if they are not there."""
    file = views_file(config, image, paths)
    if not file.is_file():
        file.parent.mkdir(exist_ok=True)
        with atomic_write(file) as part:
            _write(part, config, image, paths, frozen)
    return np.load(file, mmap_mode="r")


def _write(part: Path, config: TrainConfig, image: ImageSpec, paths: Sequence[Path], frozen: FrozenStages) -> None:
    count = 1 + config.trainer.cached_views
    log.info("sending %d views of %d photos through the frozen stages, once", count, len(paths))
    table = None
    batches = -(-len(paths) // _BATCH)
    # the same views whatever the member's seed
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        for view in track(range(count), "views", console=Console(stderr=True)):
            torch.manual_seed(view)
            transform = EvaluationTransform(image) if view == _PLAIN else TrainTransform(config.augment, image)
            photos = PhotoDataset(paths, np.zeros((len(paths), 2)), image, transform)
            for index, (images, _) in zip(range(batches), DataLoader(photos, batch_size=_BATCH), strict=True):
                activations = frozen(images.contiguous(memory_format=torch.channels_last)).half().numpy()
                if table is None:
                    shape = (count, len(paths), *activations.shape[1:])
                    table = np.lib.format.open_memmap(part, mode="w+", dtype=np.float16, shape=shape)
                table[view, index * _BATCH : index * _BATCH + len(activations)] = activations
    table.flush()


class ViewDataset(Dataset):
    """Items: activations (C, s, s) float16 of a random view, or of the plain one, and (2,) float32 metres.

    `rows` (N,) are the photos' rows in the views.
    """

    def __init__(self, views: np.ndarray, rows: np.ndarray, positions_enu_m: np.ndarray, augmented: bool):
        self.views, self.rows, self.augmented = views, np.asarray(rows), augmented
        self.targets = torch.as_tensor(np.asarray(positions_enu_m), dtype=torch.float32)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        view = int(torch.randint(1, len(self.views), ())) if self.augmented else _PLAIN
        return torch.from_numpy(np.array(self.views[view, self.rows[index]])), self.targets[index]
