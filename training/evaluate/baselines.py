"""What the ensemble has to beat, computed in the same run on the same photos.

Each baseline is a function of the training photos alone, or it says why it could not be computed. Baselines with a
covariance get the same consistency metrics as the ensemble.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from campus_visual_gps.bundle import Bundle, ReferenceFeatures
from campus_visual_gps.errors import ConfigError
from campus_visual_gps.models.backbones import IMAGENET, build_backbone, get_backbone
from campus_visual_gps.preprocess import ImageSpec, normalise, prepare
from training.data.dataset import read_ahead
from training.evaluate.retrieval_baselines import (
    TOP_K,
    nearest,
    nearest_answers,
    own_rows,
    positions_of,
    weighted_answers,
)
from training.photos.photo_id import find_image

MEDIAN_POSITION = "median_position"
NEAREST_PRETRAINED = "nearest_pretrained"
NEAREST_TRAINED = "nearest_trained"
RETRIEVAL_TOPK = "retrieval_topk"
BASELINES = (MEDIAN_POSITION, NEAREST_PRETRAINED, NEAREST_TRAINED, RETRIEVAL_TOPK)
_BATCH = 16


class NotComputedError(Exception):
    """Why a baseline cannot be computed; the report says so, and the evaluation goes on."""


@dataclass(frozen=True)
class Baseline:
    """Positions (N, 2) metres of the evaluated photos, or None and the reason; covariances (N, 2, 2) m^2 if any."""

    name: str
    positions_enu_m: np.ndarray | None
    reason: str = ""
    covs_enu_m2: np.ndarray | None = None


# positions, and covariances of methods that have some
Computed = tuple[np.ndarray, np.ndarray | None]


@dataclass(frozen=True)
class Query:
    """The evaluated photos: ids, image files, their descriptors (N, p) as of the bundle's reference.

    The training photos' images are looked for in `dataset_dir` too, before the data set that the bundle names.
    `pretrained` keeps pretrained features by file from one query to the next.
    """

    photo_ids: list[str]
    paths: list[Path]
    descriptors: np.ndarray
    dataset_dir: Path | None = None
    pretrained: dict[Path, np.ndarray] = field(default_factory=dict)


def compute_baselines(bundle: Bundle, query: Query, device: torch.device, progress: bool = True) -> list[Baseline]:
    """All of BASELINES, in that order."""
    reference = bundle.load_reference()
    computations = {
        MEDIAN_POSITION: lambda: (_median_position(reference, query), None),
        NEAREST_PRETRAINED: lambda: (_nearest_pretrained(bundle, reference, query, device, progress), None),
        NEAREST_TRAINED: lambda: _nearest_trained(bundle, reference, query),
        RETRIEVAL_TOPK: lambda: _retrieval_topk(bundle, reference, query),
    }
    return [attempt(name, computations[name]) for name in BASELINES]


def attempt(name: str, computation: Callable[[], Computed]) -> Baseline:
    """The baseline, or the reason why it cannot be computed."""
    try:
        positions_enu_m, covs_enu_m2 = computation()
        return Baseline(name, positions_enu_m, covs_enu_m2=covs_enu_m2)
    except NotComputedError as reason:
        return Baseline(name, None, str(reason))


def _median_position(reference: ReferenceFeatures, query: Query) -> np.ndarray:
    """The same answer for every photo: the median of the training photos, east and north each."""
    if not len(reference.positions_enu_m):
        raise NotComputedError("the bundle holds no training positions")
    return np.tile(np.median(reference.positions_enu_m, axis=0), (len(query.photo_ids), 1))


def _nearest_trained(bundle: Bundle, reference: ReferenceFeatures, query: Query) -> Computed:
    rows, _ = _neighbours(bundle, reference, query)
    return nearest_answers(rows, reference.positions_enu_m)


def _retrieval_topk(bundle: Bundle, reference: ReferenceFeatures, query: Query) -> Computed:
    rows, cosines = _neighbours(bundle, reference, query)
    return weighted_answers(rows, cosines, reference.positions_enu_m)


def _neighbours(bundle: Bundle, reference: ReferenceFeatures, query: Query) -> tuple[np.ndarray, np.ndarray]:
    own = own_rows(query.photo_ids, training_photo_ids(bundle, reference))
    return nearest(query.descriptors, reference.descriptors, own, TOP_K)


def _nearest_pretrained(
    bundle: Bundle, reference: ReferenceFeatures, query: Query, device: torch.device, progress: bool
) -> np.ndarray:
    training_ids = training_photo_ids(bundle, reference)
    reference_paths = _find_images(
        training_ids, [query.dataset_dir or Path(), Path(bundle.training.get("dataset") or "")]
    )
    name = bundle.members[0].model.backbone
    try:
        # a baseline is no reason to reach for the internet
        module = build_backbone(name, IMAGENET, download=False).eval()
    except ConfigError as error:
        raise NotComputedError(str(error)) from error
    module = module.to(memory_format=torch.channels_last).to(device)
    backbone = get_backbone(name)
    spec = ImageSpec(bundle.image.size_px, backbone.mean, backbone.std, bundle.image.stored_px)
    unique = list(dict.fromkeys([*reference_paths, *query.paths]))
    row_of = {path: row for row, path in enumerate(unique)}
    new = [path for path in unique if path not in query.pretrained]
    if new:
        query.pretrained.update(zip(new, embed(module, spec, new, device, progress), strict=True))
    features = np.stack([query.pretrained[path] for path in unique])
    rows, _ = nearest(
        features[[row_of[path] for path in query.paths]],
        features[[row_of[path] for path in reference_paths]],
        own_rows(query.photo_ids, training_ids),
    )
    return positions_of(rows[:, 0], reference.positions_enu_m)


def training_photo_ids(bundle: Bundle, reference: ReferenceFeatures) -> list[str]:
    """The ids of the training photos in the reference's row order.

    Without them a photo that was in the training could match itself, so there is no answer then.
    """
    photo_ids = [str(photo_id) for photo_id in bundle.training.get("photo_ids") or []]
    if not photo_ids or len(photo_ids) != len(reference.descriptors):
        raise NotComputedError(
            f"the bundle lists {len(photo_ids)} training photos for {len(reference.descriptors)} reference descriptors"
        )
    return photo_ids


def _find_images(photo_ids: list[str], dataset_dirs: list[Path]) -> list[Path]:
    found = []
    for photo_id in photo_ids:
        paths = (find_image(directory, photo_id) for directory in dataset_dirs)
        found += [path for path in paths if path][:1]
    if len(found) < len(photo_ids):
        there = " or ".join(dict.fromkeys(str(directory) for directory in dataset_dirs if directory != Path()))
        raise NotComputedError(f"{len(photo_ids) - len(found)} of {len(photo_ids)} training photos are not in {there}")
    return found


@torch.inference_mode()
def embed(
    module: torch.nn.Module, spec: ImageSpec, paths: list[Path], device: torch.device, progress: bool
) -> np.ndarray:
    """(N, d) float32 features of image files under a backbone."""
    starts = range(0, len(paths), _BATCH)
    images = read_ahead(paths)
    features = []
    for start in track(starts, "pretrained features", disable=not progress, console=Console(stderr=True)):
        batch = [prepare(next(images), spec) for _ in paths[start : start + _BATCH]]
        pixels = torch.from_numpy(np.stack(batch)).to(device)
        features.append(module(normalise(pixels, spec)).float().cpu().numpy())
    return np.concatenate(features)
