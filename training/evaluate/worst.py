"""The photos with the greatest errors (paper, section 4.5, "Top 25 Worst Predictions")."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

WORST = 25
# Of one photo, in this order of preference: what a person recognises it by.
_NAMES = ("file", "photo_id")


@dataclass(frozen=True)
class WorstPhoto:
    """One photo; `error_m` is None without a position, `night` where its light is unknown."""

    name: str
    session: str
    area: str
    night: bool | None
    error_m: float | None


@dataclass(frozen=True)
class WorstPhotos:
    """The worst photos of an evaluation, the worst first.

    Attributes:
        photos: At most WORST.
        n_night: Night photos among them; None where no photo's light is known.
        n_unknown_light: Those among them whose light is unknown.
        all_night_share: Share of night photos among all photos of known light, to compare with.
    """

    photos: tuple[WorstPhoto, ...]
    n_night: int | None
    n_unknown_light: int
    all_night_share: float | None

    @property
    def n_known_light(self) -> int:
        """Those among them whose light is known."""
        return len(self.photos) - self.n_unknown_light

    @property
    def night_share(self) -> float | None:
        """Share of night photos among those of known light (paper, section 5.6: 48 % of the worst 25)."""
        return None if self.n_night is None or not self.n_known_light else self.n_night / self.n_known_light


def worst_photos(predictions: pd.DataFrame, count: int = WORST) -> WorstPhotos:
    """The photos with the greatest errors; a photo without a position is worse than any distance."""
    errors_m = predictions["error_m"].to_numpy(dtype=np.float64)
    rows = np.argsort(-np.where(np.isfinite(errors_m), errors_m, np.inf), kind="stable")[:count]
    light = light_of(predictions)
    known = light[~np.isnan(light)]
    photos = tuple(_photo(predictions.iloc[row], float(errors_m[row]), float(light[row])) for row in rows)
    return WorstPhotos(
        photos,
        n_night=sum(bool(photo.night) for photo in photos) if len(known) else None,
        n_unknown_light=sum(photo.night is None for photo in photos),
        all_night_share=float(known.mean()) if len(known) else None,
    )


def light_of(predictions: pd.DataFrame) -> np.ndarray:
    """1 for night, 0 for day, NaN where that is unknown: (N,) float."""
    if "night" not in predictions:
        return np.full(len(predictions), np.nan)
    return predictions["night"].astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)


def _photo(row: pd.Series, error_m: float, light: float) -> WorstPhoto:
    names = (str(row[column]) for column in _NAMES if row.get(column))
    return WorstPhoto(
        name=next(names, ""),
        session=str(row.get("session", "")),
        area=str(row.get("area", "")),
        night=None if np.isnan(light) else bool(light),
        error_m=error_m if np.isfinite(error_m) else None,
    )
