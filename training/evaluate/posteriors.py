"""posteriors.npz: every image's posterior over the grid, so that what follows from them needs no second inference.

Natural logarithms in float16: they keep what is unlikely, which a filter over many images needs, and are exact to half
a percent where a cell holds 0.01 % or more. Images of several bundles, as of folds, each have the cells of their own.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from campus_visual_gps.errors import BundleError, DatasetError
from campus_visual_gps.estimation.grid import LocationGrid
from campus_visual_gps.estimation.integrity import RejectionReason
from campus_visual_gps.io_utils import atomic_write
from campus_visual_gps.tracking.calibration import TrackingCalibration
from campus_visual_gps.tracking.session import informative_share, says_where, weighed_posterior

POSTERIORS = "posteriors.npz"
# The tracking calibrations that they were tracked with, in their order.
TRACKING_JSON = "tracking.json"
# Natural logarithm below which float16 would be coarser than 0.03; no filter tells such cells apart.
_LEAST_LOG = -60.0


@dataclass(frozen=True)
class Posteriors:
    """Of N images of one bundle: names, and probabilities (N, K) over a grid with sum 1, NaN where a model gave none.

    `shares` (N,) are the probabilities that the images show where their posteriors say, as of
    `campus_visual_gps.tracking.session.informative_share`; NaN for images that say nothing by
    `says_where`.
    """

    photo_ids: tuple[str, ...]
    grid_probs: np.ndarray
    shares: np.ndarray
    grid: LocationGrid

    def rows(self, photo_ids: Sequence[str]) -> np.ndarray:
        """Probabilities (M, K) of these images as a tracker takes them, NaN for those that have none or say nothing."""
        row_of = {name: row for row, name in enumerate(self.photo_ids)}
        found = np.array([row_of.get(name, -1) for name in photo_ids], dtype=int)
        probs = weighed_posterior(self.grid_probs[found].astype(np.float64), self.shares[found])
        probs[found < 0] = np.nan
        return probs


def posteriors_of(
    table: pd.DataFrame, grid_probs: np.ndarray, grid: LocationGrid, reference_match_score: float | None
) -> Posteriors:
    """Of the photos of a table of predictions (N), with their verdicts and match scores, and probabilities (N, K)."""
    reasons = [RejectionReason(name) if name else None for name in table["rejection_reason"]]
    shares = informative_share(table["match_score"].to_numpy(dtype=np.float64), reference_match_score)
    shares[[not says_where(own) for own in reasons]] = np.nan
    return Posteriors(tuple(table["photo_id"]), grid_probs, shares, grid)


def write_posteriors(path: Path, posteriors: Sequence[Posteriors]) -> None:
    """Write the posteriors of one bundle or several, whole or not at all. Raises DatasetError where it cannot."""
    content: dict[str, Any] = {"n_bundles": np.array(len(posteriors))}
    for number, own in enumerate(posteriors):
        with np.errstate(divide="ignore"):
            logs = np.maximum(np.log(own.grid_probs), _LEAST_LOG)
        content |= {
            f"photo_ids_{number}": np.array(own.photo_ids, dtype=str),
            f"grid_log_probs_{number}": logs.astype(np.float16),
            f"informative_shares_{number}": own.shares,
            f"cells_enu_m_{number}": own.grid.centres_enu_m,
            f"cell_m_{number}": np.array(own.grid.cell_m),
        }
    with atomic_write(path) as partial, partial.open("wb") as stream:
        np.savez_compressed(stream, **content)


def read_posteriors(path: Path) -> list[Posteriors]:
    """What `write_posteriors` wrote. Raises DatasetError."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return [_posteriors(stored, number) for number in range(int(stored["n_bundles"]))]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DatasetError(f"{path} cannot be read: evaluate the bundle again with --sequences") from error


def _posteriors(stored: np.lib.npyio.NpzFile, number: int) -> Posteriors:
    probs = np.exp(stored[f"grid_log_probs_{number}"].astype(np.float64))
    grid = LocationGrid(stored[f"cells_enu_m_{number}"], float(stored[f"cell_m_{number}"]))
    names, shares = tuple(map(str, stored[f"photo_ids_{number}"])), stored[f"informative_shares_{number}"]
    if probs.shape != (len(names), len(grid)) or shares.shape != (len(names),):
        raise ValueError(f"posteriors of shape {probs.shape} for {len(names)} images and {len(grid)} cells")
    return Posteriors(names, probs / probs.sum(axis=1, keepdims=True), shares, grid)


def write_tracking(path: Path, calibrations: Sequence[TrackingCalibration]) -> None:
    """Write tracking calibrations, whole or not at all. Raises DatasetError where it cannot."""
    with atomic_write(path) as partial:
        partial.write_text(json.dumps([own.to_dict() for own in calibrations], indent=1) + "\n", encoding="utf-8")


def read_tracking(path: Path) -> list[TrackingCalibration]:
    """What `write_tracking` wrote. Raises DatasetError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return [TrackingCalibration.from_dict(own) for own in content]
    except (OSError, ValueError, TypeError, BundleError) as error:
        raise DatasetError(f"{path} cannot be read: evaluate the bundle again with --sequences") from error
