"""Features of the frozen stages for augmented views of every photo, computed once and kept on disk.

Frozen stages return the same features for the same pixels. On a CPU they take most of an epoch; with the cache this is
paid once for all epochs, seeds and folds. In exchange a photo has a fixed number of augmented views.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from campus_visual_gps.engines.torch_engine import choose_device
from campus_visual_gps.errors import DatasetError
from campus_visual_gps.models.backbones import IMAGENET
from campus_visual_gps.models.stages import FrozenStages
from campus_visual_gps.preprocess import ImageSpec
from campus_visual_gps.threads import limit_threads, usable_cores
from training.config import AugmentSettings
from training.data.array_cache import read_array, write_array
from training.data.augment import AUGMENTATION_VERSION, EvaluationTransform, TrainTransform
from training.data.dataset import PhotoDataset, weights_tensor
from training.data.epoch_sampler import SeededDataset, combined_seed

log = logging.getLogger(__name__)

DIRECTORY = "feature_cache"
_BATCH = 25
# The first view is the photo without augmentation, for validation.
_NOT_AUGMENTED = 0


@dataclass(frozen=True)
class FeatureRecipe:
    """All that cached features depend on, apart from the photos.

    Attributes:
        image: The evaluation transform.
        augment: Settings of the augmented views.
        views: Number of augmented views of each photo.
        backbone, frozen_stages: The network that computes the features.
        weights: Its weights; see `weights_key`.
    """

    image: ImageSpec
    augment: AugmentSettings
    views: int
    backbone: str
    weights: str
    frozen_stages: int

    def file(self, paths: Sequence[Path]) -> Path:
        """The cache file of some photos, in their data set; its name is a hash of all that it depends on."""
        photos = [path.name for path in paths]
        content = {"photos": photos, "augmentation": AUGMENTATION_VERSION, **asdict(self)}
        key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
        return paths[0].parent.parent / DIRECTORY / f"{key}.npy"


def weights_key(weights: str, frozen: FrozenStages) -> str:
    """What the weights of frozen stages are called in a FeatureRecipe.

    Those of ImageNet have a name. Random ones are others for every seed, and a file may be replaced: the name of these
    is a hash of their values.
    """
    if weights == IMAGENET:
        return weights
    digest = hashlib.sha256()
    for tensor in frozen.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return f"{weights} {digest.hexdigest()[:16]}"


def cached_features(recipe: FeatureRecipe, paths: Sequence[Path], frozen: FrozenStages) -> np.ndarray:
    """Features of N photos, mapped from disk; computed first if the cache file is missing or damaged.

    Args:
        recipe: What the features depend on.
        paths: Stored photos of one data set.
        frozen: The backbone's frozen stages.

    Returns:
        (1 + views, N, C, s, s) float16; view 0 is not augmented.
    """
    file, shape = recipe.file(paths), (1 + recipe.views, len(paths), None, None, None)
    features = read_array(file, shape, np.float16)
    if features is None:
        write_array(file, lambda partial: _write(partial, recipe, paths, frozen))
        features = read_array(file, shape, np.float16)
    if features is None:
        raise DatasetError(f"{file}: damaged again after it was written; check the disk, or set cached_views to 0")
    return features


def _write(file: Path, recipe: FeatureRecipe, paths: Sequence[Path], frozen: FrozenStages) -> None:
    count = 1 + recipe.views
    log.info("computing frozen features of %d views of %d photos, once", count, len(paths))
    table = None
    device = choose_device("auto")
    frozen.to(device)
    # forked: the views' random numbers are the same whatever the member's seed, and change nothing that it draws
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        for view in track(range(count), "views", console=Console(stderr=True)):
            for index, (images, _, _) in enumerate(_view_loader(view, recipe, paths)):
                features = frozen(images.to(device, memory_format=torch.channels_last)).half().cpu().numpy()
                if table is None:
                    shape = (count, len(paths), *features.shape[1:])
                    table = np.lib.format.open_memmap(file, mode="w+", dtype=np.float16, shape=shape)
                table[view, index * _BATCH : index * _BATCH + len(features)] = features
    frozen.cpu()
    if table is not None:
        table.flush()


def default_workers() -> int:
    """Processes of a data loader: on a small CPU machine they only take the cores that the networks need."""
    cores = usable_cores()
    return min(16, cores - 1) if cores > 4 else 0


def start_worker(worker: int) -> None:
    """In a process of a data loader, one of several: one thread."""
    limit_threads(1)


def _view_loader(view: int, recipe: FeatureRecipe, paths: Sequence[Path]) -> DataLoader:
    image = recipe.image
    transform = EvaluationTransform(image) if view == _NOT_AUGMENTED else TrainTransform(recipe.augment, image)
    photos = SeededDataset(PhotoDataset(paths, np.zeros((len(paths), 2)), image, transform))
    seeded = [(row, combined_seed(view, row)) for row in range(len(paths))]
    return DataLoader(photos, _BATCH, sampler=seeded, num_workers=default_workers(), worker_init_fn=start_worker)


class CachedFeatureDataset(Dataset):
    """Items: features (C, s, s) float16 of one view of a photo, its position (2,) float32 in metres, and its weight.

    Args:
        features: Cached features (1 + views, N, C, s, s).
        rows: (M,) indices of the photos among the N.
        positions_enu_m: (M, 2) labels, metres.
        augmented: Draw a random augmented view instead of the one without augmentation.
        weights: Weights (M,) of the photos in the loss; None for 1 each.
    """

    def __init__(
        self,
        features: np.ndarray,
        rows: np.ndarray,
        positions_enu_m: np.ndarray,
        augmented: bool,
        weights: np.ndarray | None = None,
    ):
        self.features, self.rows, self.augmented = features, np.asarray(rows), augmented
        self.targets = torch.as_tensor(np.asarray(positions_enu_m), dtype=torch.float32)
        self.weights = weights_tensor(weights, len(self.rows))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        view = int(torch.randint(1, len(self.features), ())) if self.augmented else _NOT_AUGMENTED
        features = torch.from_numpy(np.array(self.features[view, self.rows[index]]))
        return features, self.targets[index], self.weights[index]
