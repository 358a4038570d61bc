"""The photos with the greatest errors (paper, section 4.5, "Top 25 Worst Predictions")."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

WORST = 25


@dataclass(frozen=True)
class WorstPhotos:
    """The worst photos of an evaluation, the worst first.

    Attributes:
        rows: Their positions in the table, (K,) int, K at most WORST.
        n_night: Night photos among them; None where no photo's light is known.
        n_unknown_light: Those among them whose light is unknown.
    """

    rows: np.ndarray
    n_night: int | None
    n_unknown_light: int

    @property
    def night_share(self) -> float | None:
        """Share of night photos among those of known light (paper, section 5.6: 48 % of the worst 25)."""
        known = len(self.rows) - self.n_unknown_light
        return None if self.n_night is None or not known else self.n_night / known


def worst_photos(predictions: pd.DataFrame, count: int = WORST) -> WorstPhotos:
    """The photos with the greatest errors; a photo without a position is worse than any distance."""
    errors_m = predictions["error_m"].to_numpy(dtype=np.float64)
    rows = np.argsort(-np.where(np.isfinite(errors_m), errors_m, np.inf), kind="stable")[:count]
    night = light_of(predictions)
    chosen = night[rows]
    n_night = None if np.isnan(night).all() else int((chosen == 1.0).sum())
    return WorstPhotos(rows, n_night, int(np.isnan(chosen).sum()))


def light_of(predictions: pd.DataFrame) -> np.ndarray:
    """1 for night, 0 for day, NaN where that is unknown: (N,) float."""
    if "night" not in predictions:
        return np.full(len(predictions), np.nan)
    return predictions["night"].astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
