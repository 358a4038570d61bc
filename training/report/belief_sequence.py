"""What a drive or walk looks like image by image: posteriors, beliefs, positions and the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from campus_visual_gps.estimation.grid import LocationGrid
from training.data.dataset import read_rgb


class StoredImage(NamedTuple):
    """A stored square copy and the width over the height of its original, NaN where that is not known."""

    path: Path
    aspect: float


def stored_images(photos: pd.DataFrame, paths: Sequence[Path]) -> dict[str, StoredImage]:
    """Of the photos of a table, by photo_id; the columns width_px and height_px are used where they are there."""
    aspects = np.full(len(photos), np.nan)
    if {"width_px", "height_px"} <= set(photos):
        width, height = (photos[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in ("width_px", "height_px"))
        aspects = width / np.where(height > 0.0, height, np.nan)
    names = photos["photo_id"]
    return {name: StoredImage(*own) for name, *own in zip(names, paths, aspects.tolist(), strict=True)}


@dataclass(frozen=True)
class BeliefSequence:
    """N images in the order of time, and what was known after each. Positions are (N, 2) metres, NaN where unknown.

    Attributes:
        times_s: (N,) since the first image, not decreasing.
        image_paths: N stored images.
        image_aspects: (N,) width over height of the originals; stored copies are square.
        cameras: N names of cameras, empty where there is only one.
        grid: The K cells.
        posteriors: (N, K), of the images alone.
        beliefs: (N, K), of the tracker after each image.
        truth_enu_m: Where the images were taken.
        single_enu_m: The positions of the images alone.
        single_sigma_m: (N,) their standard deviation per axis.
        tracked_enu_m: The tracked positions.
        tracked_sigma_m: (N,) their standard deviation per axis.
        lost_probability: (N,) that the camera is not on the site or the tracker is wrong.
    """

    times_s: np.ndarray
    image_paths: Sequence[Path]
    image_aspects: np.ndarray
    cameras: Sequence[str]
    grid: LocationGrid
    posteriors: np.ndarray
    beliefs: np.ndarray
    truth_enu_m: np.ndarray
    single_enu_m: np.ndarray
    single_sigma_m: np.ndarray
    tracked_enu_m: np.ndarray
    tracked_sigma_m: np.ndarray
    lost_probability: np.ndarray

    def __len__(self) -> int:
        return len(self.times_s)

    def image(self, row: int, width_px: int, height_px: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB in the shape of the original, as large as it fits. Raises DatasetError."""
        return shown_image(self.image_paths[row], float(self.image_aspects[row]), width_px, height_px)

    def errors_m(self, row: int) -> tuple[float, float]:
        """Distance of the single image's and of the tracked position from the truth; NaN where one is not known."""
        truth = self.truth_enu_m[row]
        single, tracked = (np.hypot(*(own[row] - truth)) for own in (self.single_enu_m, self.tracked_enu_m))
        return float(single), float(tracked)


def shown_image(path: Path, aspect: float, width_px: int, height_px: int) -> np.ndarray:
    """A stored copy (H, W, 3) uint8 RGB in the shape of its original, as large as it fits. Raises DatasetError."""
    rgb = read_rgb(path)
    aspect = aspect if np.isfinite(aspect) and aspect > 0.0 else rgb.shape[1] / rgb.shape[0]
    width = min(width_px, round(height_px * aspect))
    height = min(height_px, round(width / aspect))
    return cv2.resize(rgb, (max(1, width), max(1, height)), interpolation=cv2.INTER_AREA)
