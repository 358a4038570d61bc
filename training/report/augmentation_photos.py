"""Sample photos to show augmentations on, from a data set or from a plain folder."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from campus_visual_gps.errors import DatasetError, ImageError, printable
from campus_visual_gps.preprocess import ImageSpec, prepare
from training.data.dataset import read_rgb
from training.photos.decode import load_rgb
from training.photos.manifest import TRAIN, image_path, load_dataset
from training.photos.source import find_photos

_log = logging.getLogger(__name__)

# A photo of a phone takes up to half a second to decode.
_MOST_OF_A_FOLDER = 24


@dataclass(frozen=True)
class SamplePhoto:
    """A photo as training reads it, (S, S, 3) uint8 RGB before any augmentation, and whether it is of night."""

    name: str
    rgb: np.ndarray
    is_night: bool = False


def is_dataset(directory: Path) -> bool:
    """Whether a directory is a data set, and not a folder of photos."""
    return (directory / "photos.csv").exists()


def sample_photos(directory: Path, out_dir: Path, image: ImageSpec, count: int, seed: int) -> list[SamplePhoto]:
    """Up to `count` photos, drawn at random.

    Of a data set, they are of the training subset if it has one, and each session comes in turn, by day first.

    Args:
        directory: A data set, or any folder of photos.
        out_dir: Directory that is not searched for photos.
        image: Sizes.
        count: Of photos.
        seed: Of the draw.

    Raises:
        DatasetError: There is no photo that can be read.
    """
    if is_dataset(directory):
        return [
            SamplePhoto(
                row.file or row.photo_id, prepare(read_rgb(image_path(directory, row.photo_id)), image), row.is_night
            )
            for row in _of_dataset(directory, count, seed).itertuples()
        ]
    files = list(find_photos(directory, out_dir).photos.items())
    order = np.random.default_rng(seed).permutation(len(files))
    readable = _readable((files[index] for index in order), image)
    photos = list(islice(readable, min(count, _MOST_OF_A_FOLDER)))
    if not photos:
        raise DatasetError(f"{directory}: none of its {len(files)} photos can be read; give a folder of whole photos")
    return photos


def _of_dataset(directory: Path, count: int, seed: int) -> pd.DataFrame:
    """Rows of `load_dataset` with the column `is_night`."""
    photos = load_dataset(directory)
    if (photos["subset"] == TRAIN).any():
        photos = photos[photos["subset"] == TRAIN]
    if photos.empty:
        raise DatasetError(f"{directory}: the data set has no photos; run ingest with photos that have positions")
    photos = photos.sample(frac=1.0, random_state=seed)
    turn, is_night = photos.groupby("session").cumcount(), photos["night"].fillna(False).astype(bool)
    photos = photos.assign(turn=turn, is_night=is_night)
    return photos.sort_values(["turn", "is_night"], kind="stable").head(count)


def _readable(files: Iterable[tuple[str, Path]], image: ImageSpec) -> Iterable[SamplePhoto]:
    for name, path in files:
        try:
            yield SamplePhoto(name, prepare(load_rgb(path), image))
        except ImageError as error:
            _log.warning("left out: %s", printable(str(error)))
