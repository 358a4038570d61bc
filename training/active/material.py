"""What an auditor needs to see of one photo: label, prediction, members, ellipse, training photos nearby."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from campus_visual_gps.errors import DatasetError, GeodesyError
from training.active.blind_spots import audit_table
from training.active.evaluation_files import Evaluation
from training.active.training_photos import Neighbour, TrainingPhotos, frame_of
from training.evaluate.predict import covariances_m2, positions_m
from training.metrics.consistency import usable
from training.photos.manifest import TRAIN, load_dataset
from training.photos.photo_id import find_image, photo_key

_log = logging.getLogger(__name__)

NEIGHBOURS = 3


@dataclass(frozen=True)
class Material:
    """One photo to audit. All positions are (2,) metres in the frame of the `MaterialSource`.

    Attributes:
        row: The photo's row of `blind_spots.audit_table`.
        captured_at, camera: As of the camera, "" if unknown.
        image: The stored square copy, None if there is none.
        aspect: Width over height of the original.
        label_m, predicted_m: Positions; the prediction is NaN if there is none.
        members_m: Positions of the members by name.
        cov_m2: Covariance (2, 2) of the prediction, None if there is none.
        second_mode_m, second_mode_share: The second heaviest mode of the posterior, None and 0 if there is one only.
        near_label, near_prediction: The nearest training photos, the nearest first.
        label_moved_m: How far the label has been moved since the evaluation, metres.
    """

    row: pd.Series
    captured_at: str
    camera: str
    image: Path | None
    aspect: float
    label_m: np.ndarray
    predicted_m: np.ndarray
    members_m: dict[str, np.ndarray]
    cov_m2: np.ndarray | None
    second_mode_m: np.ndarray | None
    second_mode_share: float
    near_label: list[Neighbour]
    near_prediction: list[Neighbour]
    label_moved_m: float

    @property
    def photo_id(self) -> str:
        return self.row["photo_id"]

    @property
    def night(self) -> bool | None:
        """None if unknown."""
        return None if pd.isna(self.row["night"]) else bool(self.row["night"])

    @property
    def agree_against_label(self) -> bool | None:
        """Whether the members agree with each other against the label; None for one member."""
        value = self.row["members_agree_against_label"]
        return None if pd.isna(value) else bool(value)


class MaterialSource:
    """Gives the material of the photos of an evaluation.

    Args:
        evaluation: The evaluation.
        dataset_dir: The data set that was evaluated.

    Raises:
        DatasetError: The data set is damaged, or does not hold the photos of the evaluation.
    """

    def __init__(self, evaluation: Evaluation, dataset_dir: Path):
        self.evaluation, self.dataset_dir = evaluation, Path(dataset_dir)
        photos = load_dataset(dataset_dir, include_excluded=True)
        self.frame = frame_of(photos["latitude_deg"], photos["longitude_deg"])
        self.training = TrainingPhotos(photos, self.frame)
        self.positions_m = self.frame.to_local(photos["latitude_deg"], photos["longitude_deg"])
        self.is_training = (photos["subset"] == TRAIN).to_numpy()
        self._photos = photos.set_index(photos["photo_id"].map(photo_key))
        self._keys = evaluation.predictions["photo_id"].map(photo_key)
        self._check_photos()
        self.table = audit_table(evaluation, self.training)
        self._set_positions()
        if not self.is_training.any():
            _log.warning("%s has no training photos: none are shown near a label", dataset_dir)

    def material(self, row: int) -> Material:
        """The material of a row of the predictions."""
        values, table_row = self.evaluation.predictions.iloc[row], self.table.iloc[row]
        photo = self._photos.loc[self._keys.iloc[row]]
        label_m, predicted_m = self._label_m[row], self._moved(row, "")
        photo_id, session = values["photo_id"], values["session"]
        night = None if pd.isna(table_row["night"]) else bool(table_row["night"])
        share = float(values.get("mode2_share", np.nan))
        return Material(
            row=table_row,
            captured_at=values.get("captured_at", ""),
            camera=values.get("camera", ""),
            image=find_image(self.dataset_dir, photo["photo_id"]),
            aspect=float(photo["width_px"]) / max(float(photo["height_px"]), 1.0),
            label_m=label_m,
            predicted_m=predicted_m,
            members_m={name: self._moved(row, f"member_{name}_") for name in self.evaluation.members},
            cov_m2=self._covs_m2[row] if self._has_cov[row] else None,
            second_mode_m=self._moved(row, "mode2_") if np.isfinite(share) else None,
            second_mode_share=share if np.isfinite(share) else 0.0,
            near_label=self.training.nearest(label_m, NEIGHBOURS, photo_id, session, night),
            near_prediction=self.training.nearest(predicted_m, NEIGHBOURS, photo_id, session, night),
            label_moved_m=float(np.hypot(*(self._label_now_m[row] - label_m))),
        )

    def row_of(self, photo_id: str) -> int:
        """The row of a photo. Raises DatasetError if the evaluation does not have it."""
        found = np.flatnonzero(self._keys == photo_key(photo_id))
        if not len(found):
            raise DatasetError(f"{self.evaluation.path}: no photo '{photo_id}'; is it another evaluation's?")
        return int(found[0])

    def _check_photos(self) -> None:
        unknown = ~self._keys.isin(self._photos.index)
        if unknown.any():
            raise DatasetError(
                f"{self.dataset_dir}: lacks {unknown.sum()} of the {len(unknown)} photos of {self.evaluation.path}, "
                f"such as {self.evaluation.predictions['file'][unknown.idxmax()]}; name the data set that was evaluated"
            )

    def _set_positions(self) -> None:
        rows = self.evaluation.predictions
        now = self._photos.loc[self._keys]
        try:
            self._label_m = self.frame.to_local(rows["true_latitude_deg"], rows["true_longitude_deg"])
        except GeodesyError as error:
            where = f"{self.evaluation.path}: labels of another site than those of {self.dataset_dir}"
            raise DatasetError(f"{where}: {error}") from None
        self._label_now_m = self.frame.to_local(now["latitude_deg"], now["longitude_deg"])
        self._truth_m = positions_m(rows, "true_")
        self._covs_m2 = np.full((len(rows), 2, 2), np.nan)
        if "cov_ee_m2" in rows:
            self._covs_m2 = covariances_m2(rows)
        self._has_cov = usable(positions_m(rows), self._covs_m2)

    def _moved(self, row: int, prefix: str) -> np.ndarray:
        """A position of the predictions in this frame: the bundle's has another origin and the same axes."""
        position_m = positions_m(self.evaluation.predictions.iloc[[row]], prefix)[0]
        return self._label_m[row] + position_m - self._truth_m[row]
