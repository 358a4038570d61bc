"""Test-time augmentation: several augmented views of every photo beside the photo itself (paper, section 5.8).

An ablation, not for the robot: the paper found no gain, and every view costs a pass of all networks. Views are averaged
member by member, as weighted mixtures; position and covariance then come from the one PosteriorEstimator.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any, get_args

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.progress import track

from campus_visual_gps.bundle import Bundle
from campus_visual_gps.errors import ConfigError
from campus_visual_gps.estimation.integrity import brightness_and_sharpness
from campus_visual_gps.localizer import Localizer
from campus_visual_gps.models.outputs import ModelOutputs
from campus_visual_gps.preprocess import ImageSpec, prepare
from training.augment_settings import AugmentSettings
from training.config_parsing import one_line
from training.data.augment import TrainTransform
from training.data.dataset import read_ahead
from training.evaluate.predict import covariance_columns
from training.evaluate.tta_columns import TtaMode, column_prefix
from training.photos.photo_id import photo_key

MATCHED, PHOTOMETRIC, ORIGINAL = MODES = get_args(TtaMode)
VIEWS, ORIGINAL_WEIGHT = 5, 2.0  # paper, section 5.8
_PHOTOS_AT_ONCE = 4
_NO_GEOMETRY: dict[str, Any] = {
    "resized_crop_p": 0.0,
    "horizontal_flip_p": 0.0,
    "rotation_deg": 0.0,
    "perspective_p": 0.0,
    "noise_sigma": 0.0,
    "jpeg_p": 0.0,
    "erasing_p": 0.0,
}
# Our reading of the paper's "initial TTA implementation with a distribution mismatch", of which it says no more: the
# usual views of image classification, with crops and mirrored views that no member of this recipe was trained on.
_CLASSIFICATION = AugmentSettings(
    resized_crop_p=1.0,
    resized_crop_scale=(0.5, 1.0),
    horizontal_flip_p=0.5,
    rotation_deg=0.0,
    perspective_p=0.0,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.1,
    grayscale_p=0.0,
    night_p=0.0,
    erasing_p=0.0,
)


@dataclass(frozen=True)
class TtaSettings:
    """How many views are averaged, and how.

    Attributes:
        mode: `matched` takes the training's augmentation at its strength, `photometric` what of it changes light and
            colour only, `original` the views of image classification.
        views: Augmented views of each photo.
        original_weight: Weight of the photo itself; each view has 1.

    Raises:
        ConfigError: An unknown mode, no view, or a weight that is not positive.
    """

    mode: TtaMode
    views: int = VIEWS
    original_weight: float = ORIGINAL_WEIGHT

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigError(f"tta: expected one of {', '.join(MODES)}, got {self.mode!r}")
        if self.views < 1 or not (np.isfinite(self.original_weight) and self.original_weight >= 0.0):
            raise ConfigError(
                f"tta: expected one view or more and a weight of 0 or more, got {self.views} and {self.original_weight}"
            )

    @property
    def weights(self) -> np.ndarray:
        """(1 + views,) of the photo and its views, sum 1."""
        weights = np.array([self.original_weight, *[1.0] * self.views])
        return weights / weights.sum()

    @property
    def prefix(self) -> str:
        """Of the mode's columns in predictions.csv."""
        return column_prefix(self.mode)


def augmentation(mode: TtaMode, bundle: Bundle) -> AugmentSettings:
    """The settings of the views. Raises ConfigError for a bundle that does not say how it was trained."""
    if mode == ORIGINAL:
        return _CLASSIFICATION
    content = (bundle.training.get("config") or {}).get("augment")
    if content is None:
        raise ConfigError(f"{bundle.path} does not say how it was augmented: --tta {mode} needs that, train it again")
    try:
        trained = TypeAdapter(AugmentSettings).validate_json(json.dumps(content))
    except ValidationError as error:
        raise ConfigError(f"{bundle.path}: augmentation of its training: {one_line(error, AugmentSettings)}") from error
    return replace(trained, **_NO_GEOMETRY) if mode == PHOTOMETRIC else trained


class Views:
    """(S, S, 3) uint8 RGB of a photo -> (1 + views, S, S, 3): the photo and its views, the same in every run.

    Args:
        settings: How many.
        augment: Of the views.
        image: Of the network's input; what is erased gets its mean colour, as in training.
    """

    def __init__(self, settings: TtaSettings, augment: AugmentSettings, image: ImageSpec):
        self._views = settings.views
        self._transform = TrainTransform(augment, image)
        self._mean, self._std = (np.array(values, dtype=np.float32) for values in (image.mean, image.std))

    def __call__(self, pixels: np.ndarray, photo_id: str) -> np.ndarray:
        seed = int.from_bytes(photo_key(photo_id).encode(), "little")
        return np.stack([pixels, *(self._view(pixels, [seed, number]) for number in range(self._views))])

    def _view(self, pixels: np.ndarray, seed: list[int]) -> np.ndarray:
        uniform = np.random.default_rng(seed).random(self._transform.draws)
        view, _ = self._transform.augment(torch.from_numpy(pixels), uniform.tolist())
        levels = (view.permute(1, 2, 0).numpy() * self._std + self._mean) * 255.0
        return levels.round().clip(0, 255).astype(np.uint8)


def predict_views(
    localizer: Localizer, photo_ids: Sequence[str], paths: list[Path], settings: TtaSettings, progress: bool = True
) -> dict[str, np.ndarray]:
    """The columns of predictions.csv with `settings.prefix`: position, covariance, and seconds of a photo in all.

    Raises ConfigError, DatasetError.
    """
    image = localizer.bundle.image
    views = Views(settings, augmentation(settings.mode, localizer.bundle), image)
    images = read_ahead(paths)
    means, covs, seconds = [], [], []
    starts = range(0, len(paths), _PHOTOS_AT_ONCE)
    title = f"views, {settings.mode}"
    for start in track(starts, title, disable=not progress, console=Console(stderr=True)):
        chosen = photo_ids[start : start + _PHOTOS_AT_ONCE]
        photos = [next(images) for _ in chosen]
        started_s = perf_counter()
        inputs = np.stack([views(prepare(rgb, image), name) for rgb, name in zip(photos, chosen, strict=True)])
        brightness = np.array([brightness_and_sharpness(own[0])[0] for own in inputs])
        outputs = localizer.engine.run(inputs.reshape(-1, *inputs.shape[2:]))
        posterior = localizer.posterior(average_views(outputs, settings.weights), brightness)
        seconds += [(perf_counter() - started_s) / len(chosen)] * len(chosen)
        means.append(posterior.mean_enu_m)
        covs.append(posterior.cov_enu_m2)
    positions, covariances = np.concatenate(means), np.concatenate(covs)
    columns = {"east_m": positions[:, 0], "north_m": positions[:, 1], **covariance_columns("", covariances)}
    return {settings.prefix + name: values for name, values in (columns | {"s": np.round(seconds, 6)}).items()}


def average_views(outputs: ModelOutputs, weights: np.ndarray) -> ModelOutputs:
    """Outputs of V views for each of N photos, photo by photo (N V) -> outputs of the N photos.

    Each member becomes the mixture of its views: their weighted mean, and by the law of total variance the weighted
    mean of their covariances plus the weighted spread of their means; a grid becomes their weighted mean. What
    describes the image is that of the first view, the photo itself.

    Args:
        outputs: Of the views.
        weights: (V,) sum 1.
    """
    views = len(weights)
    first = outputs.rows(slice(0, None, views))

    def by_view(values: np.ndarray) -> np.ndarray:
        return values.reshape(-1, views, *values.shape[1:])

    means, covs = by_view(outputs.member_means_enu_m), by_view(outputs.member_covs_enu_m2)
    mean = np.einsum("v,nvmi->nmi", weights, means)
    offsets = means - mean[:, None]
    cov = np.einsum("v,nvmij->nmij", weights, covs) + np.einsum("v,nvmi,nvmj->nmij", weights, offsets, offsets)
    log_probs = None
    if outputs.grid_log_probs is not None:
        with np.errstate(divide="ignore"):
            log_probs = np.log(np.einsum("v,nvmk->nmk", weights, np.exp(by_view(outputs.grid_log_probs))))
    finite = np.asarray(by_view(outputs.finite).all(axis=1))
    return replace(first, member_means_enu_m=mean, member_covs_enu_m2=cov, grid_log_probs=log_probs, finite=finite)
