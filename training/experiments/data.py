"""What of a data set a result depends on, as hashes, and which sessions its photos are of."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from campus_visual_gps.errors import DatasetError
from campus_visual_gps.io_utils import sha256_of
from training.config import AREA_ZSCORE, INVERSE_VARIANCE
from training.evaluate.predict import select_photos
from training.experiments.rounds import dataset_at_round
from training.experiments.store import identity
from training.photos.area_list import AREAS_BY_PHOTO_CSV
from training.photos.areas import AREAS_FILES
from training.photos.manifest import TRAIN, VAL, load_dataset
from training.photos.stored_images import check_network_size, read_stored_images

# Of the original's file and of where a label came from: no result depends on them.
_IGNORED = ["file", "camera", "width_px", "height_px", "label_source", "moved_m", "decision"]


@dataclass(frozen=True)
class ExperimentData:
    """A data set as experiments see it: `split` is the subset that rows are compared on."""

    dataset_dir: Path
    split: str

    @cached_property
    def photos(self) -> pd.DataFrame:
        """Rows of `load_dataset`. Raises DatasetError."""
        photos = load_dataset(self.dataset_dir)
        for subset in (TRAIN, VAL):
            if not (photos["subset"] == subset).any():
                raise DatasetError(
                    f"{self.dataset_dir} has no photos in {subset}, and experiments train and calibrate on both: run "
                    "split again, with validation sessions"
                )
        return photos

    @cached_property
    def evaluated(self) -> pd.DataFrame:
        """The photos of the split. Raises ConfigError, DatasetError."""
        return select_photos(self.dataset_dir, self.split)

    @cached_property
    def training_fingerprint(self) -> str:
        """Hash of the photos, labels and subsets of the training and validation photos, and of how they are stored."""
        used = self.photos[self.photos["subset"].isin([TRAIN, VAL])]
        return _hash_of(used, f"{self.stored_size_px}")

    @cached_property
    def evaluation_fingerprint(self) -> str:
        """Likewise of the photos that are evaluated."""
        return _hash_of(self.evaluated, f"{self.split} {self.stored_size_px}")

    @cached_property
    def areas_fingerprint(self) -> str:
        """Hash of the files that say which area a photo is in."""
        paths = [self.dataset_dir / name for name in (*AREAS_FILES, AREAS_BY_PHOTO_CSV)]
        return identity({path.name: sha256_of(path) for path in paths if path.is_file()})

    @cached_property
    def stored_size_px(self) -> int:
        """The side of the stored photos. Raises DatasetError."""
        return read_stored_images(self.dataset_dir).stored_px

    def check_size(self, size_px: int) -> None:
        """Raise DatasetError, with the command that mends it, if the stored photos are smaller than that."""
        check_network_size(self.dataset_dir, read_stored_images(self.dataset_dir), size_px)

    def check_loss(self, name: str) -> None:
        """Raise DatasetError if a loss weighs by accuracies that no training photo has: it would be the MSE."""
        accuracies_m = self.photos["gps_accuracy_m"][self.photos["subset"] == TRAIN]
        if name in (INVERSE_VARIANCE, AREA_ZSCORE) and not (accuracies_m >= 0.0).any():
            raise DatasetError(
                f"loss {name} weighs by gps_accuracy_m, which no training photo in {self.dataset_dir} has: all would "
                "weigh alike, as in the MSE"
            )

    def sessions(self, photos: pd.DataFrame) -> list[str]:
        """The sessions of some photos, sorted."""
        return sorted(photos["session"].astype(str).unique())


def data_at_round(data: ExperimentData, number: int | None, out: Path) -> ExperimentData:
    """The data set as it stood after a round of the active learning; None takes it as it is. Raises DatasetError."""
    if number is None:
        return data
    directory = dataset_at_round(data.dataset_dir, number, out)
    return data if directory == data.dataset_dir else ExperimentData(directory, data.split)


def _hash_of(photos: pd.DataFrame, stored: str) -> str:
    table = photos.drop(columns=[name for name in _IGNORED if name in photos]).to_csv(index=False)
    return hashlib.sha256(f"{stored}\n{table}".encode()).hexdigest()[:16]
