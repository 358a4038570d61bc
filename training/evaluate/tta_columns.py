"""The columns of test-time augmentation in predictions.csv; apart from what makes them, which loads the networks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from training.metrics.errors import position_errors_m


def column_prefix(mode: str) -> str:
    """Of a mode's columns in predictions.csv."""
    return f"tta_{mode}_"


def with_views_as_answers(
    predictions: pd.DataFrame, mode: str, to_geodetic: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
) -> pd.DataFrame:
    """predictions.csv with the answers of a mode in the place of the plain ensemble's; the gates' verdicts stay.

    Args:
        predictions: With the columns of the mode.
        mode: Of the views.
        to_geodetic: Of the bundle's local frame.
    """
    prefix = column_prefix(mode)
    own = {name.removeprefix(prefix): predictions[name] for name in predictions if str(name).startswith(prefix)}
    seconds = own.pop("s")
    positions = np.stack([own["east_m"], own["north_m"]], axis=-1)
    latitude_deg, longitude_deg = np.full((2, len(predictions)), np.nan)
    known = np.isfinite(positions).all(axis=1)
    latitude_deg[known], longitude_deg[known] = to_geodetic(positions[known])
    truth = predictions[["true_east_m", "true_north_m"]].to_numpy()
    return predictions.assign(
        **own,
        latitude_deg=latitude_deg,
        longitude_deg=longitude_deg,
        error_m=position_errors_m(positions, truth),
        ensemble_s=seconds,
        transform_s=0.0,
    )
