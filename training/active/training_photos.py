"""The training photos around a position: what an auditor compares a photo with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from campus_visual_gps.geodesy import LocalFrame
from training.photos.manifest import TRAIN, load_dataset
from training.photos.photo_id import photo_key

# A day photo is hard to compare with a night photo: one in the same light is worth going this much farther, metres.
OTHER_LIGHT_M = 10.0


@dataclass(frozen=True)
class Neighbour:
    """A training photo near a position, its distance from there, and width over height of the original."""

    photo_id: str
    file: str
    session: str
    position_enu_m: np.ndarray
    distance_m: float
    aspect: float = 1.0


class TrainingPhotos:
    """The photos of the subset `train` of a data set.

    Args:
        photos: Rows as of `load_dataset`; those of another subset are left out.
        frame: Frame of all positions.
    """

    def __init__(self, photos: pd.DataFrame, frame: LocalFrame):
        self._rows = photos[photos["subset"] == TRAIN].reset_index(drop=True)
        self.frame = frame
        self._keys = self._rows["photo_id"].map(photo_key).to_numpy(dtype=object)
        self._sessions = self._rows["session"].to_numpy(dtype=object)
        self.positions_enu_m = (
            frame.to_local(self._rows["latitude_deg"], self._rows["longitude_deg"])
            if len(self._rows)
            else np.empty((0, 2))
        )

    @classmethod
    def of(cls, dataset_dir: Path) -> TrainingPhotos:
        """Of a data set, in a frame at its middle. Raises DatasetError."""
        photos = load_dataset(dataset_dir)
        return cls(photos, frame_of(photos["latitude_deg"], photos["longitude_deg"]))

    def nearest(
        self, point_enu_m: np.ndarray, count: int, photo_id: str = "", session: str = "", night: bool | None = None
    ) -> list[Neighbour]:
        """The nearest training photos, the nearest first.

        A photo that is in the training itself was scored by a fold that left out its session: that session is no
        neighbour of it.

        Args:
            point_enu_m: (2,) metres.
            count: Largest number of photos.
            photo_id, session: The photo that is audited.
            night: Its light; with it, a photo in other light counts as OTHER_LIGHT_M farther away.
        """
        if not len(self._rows) or not np.all(np.isfinite(point_enu_m)):
            return []
        distances_m = np.hypot(*(self.positions_enu_m - point_enu_m).T)
        if (self._keys == photo_key(photo_id)).any():
            distances_m = np.where(self._sessions == session, np.inf, distances_m)
        other_light = np.zeros(len(distances_m)) if night is None else (self._rows["night"] != night).fillna(False)
        order = np.argsort(distances_m + OTHER_LIGHT_M * np.asarray(other_light, dtype=float), kind="stable")[:count]
        return [self._neighbour(row, float(distances_m[row])) for row in order if np.isfinite(distances_m[row])]

    def _neighbour(self, row: int, distance_m: float) -> Neighbour:
        values = self._rows.iloc[row]
        aspect = float(values["width_px"]) / max(float(values["height_px"]), 1.0)
        position_m = self.positions_enu_m[row]
        return Neighbour(values["photo_id"], values["file"], values["session"], position_m, distance_m, aspect)


def frame_of(latitude_deg: pd.Series, longitude_deg: pd.Series) -> LocalFrame:
    """A frame at the median position. Raises GeodesyError."""
    return LocalFrame.at(float(np.median(latitude_deg)), float(np.median(longitude_deg)))
