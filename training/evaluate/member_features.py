"""The features that a member's head receives, of a data set's photos; or a bundle's own descriptors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from campus_visual_gps.bundle import Bundle
from campus_visual_gps.errors import ConfigError
from campus_visual_gps.preprocess import normalise, prepare
from training.data.dataset import read_ahead
from training.evaluate.predict import select_photos, true_positions_m
from training.photos.manifest import image_path

_AT_ONCE = 8


@dataclass(frozen=True)
class PhotoFeatures:
    """Features (N, d) of photos at positions (N, 2), metres east and north; `night` (N,) is NaN where unknown."""

    features: np.ndarray
    positions_enu_m: np.ndarray
    night: np.ndarray
    source: str


def reference_descriptors(bundle: Bundle) -> PhotoFeatures:
    """The global descriptors of the training photos, which the bundle holds. Raises BundleError."""
    reference = bundle.load_reference()
    count = len(reference.descriptors)
    source = f"global descriptors of {count} training photos"
    return PhotoFeatures(reference.descriptors, reference.positions_enu_m, np.full(count, np.nan), source)


def member_features(
    bundle: Bundle, dataset_dir: Path, split: str, member: str | None = None, progress: bool = True
) -> PhotoFeatures:
    """The backbone's pooled features of a subset's photos.

    Args:
        bundle: The bundle.
        dataset_dir: The data set.
        split: As of `select_photos`.
        member: Name of the member; None for the first.
        progress: Whether a progress bar is shown.

    Raises:
        VisualGpsError: ConfigError for an unknown member, DatasetError, BundleError.
    """
    names = [item.name for item in bundle.members]
    name = member or names[0]
    if name not in names:
        raise ConfigError(f"member {name!r} is none of {', '.join(names)}")
    photos = select_photos(dataset_dir, split)
    truth = true_positions_m(photos, bundle.frame)
    chosen = bundle.members[names.index(name)]
    network = bundle.load_members()[names.index(name)].eval()
    paths = [image_path(dataset_dir, photo_id) for photo_id in photos["photo_id"]]
    images = read_ahead(paths)
    starts = range(0, len(paths), _AT_ONCE)
    batches = []
    with torch.inference_mode():
        for start in track(starts, "features of photos", disable=not progress, console=Console(stderr=True)):
            squares = [prepare(next(images), chosen.image) for _ in paths[start : start + _AT_ONCE]]
            inputs = normalise(torch.from_numpy(np.stack(squares)), chosen.image)
            batches.append(network.backbone(inputs).float().numpy())
    light = photos["night"].astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
    features = np.concatenate(batches)
    source = f"{features.shape[1]} features of {chosen.model.backbone}, {len(photos)} photos of {split}"
    return PhotoFeatures(features, truth, light, source)
