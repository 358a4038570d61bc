"""`smooth-labels`: labels that a walk's images and its other labels do not fit to, as corrections to decide on.

The smoother takes each photo's posterior together with its label, as a position with an error of its own that is wrong
now and then, and finds the most likely walk. What is far from its label is a proposal and no more: of a walk through a
place that no photo shows, the images are wrong and not the labels. So nothing is applied: every proposal has a decision
that is none, until a person has looked at it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from campus_visual_gps.errors import ConfigError, DatasetError
from campus_visual_gps.estimation.calibration import sigma_m
from campus_visual_gps.estimation.grid import LocationGrid
from campus_visual_gps.geodesy import LocalFrame
from training.evaluate.posteriors import POSTERIORS, TRACKING_JSON, read_posteriors, read_tracking
from training.evaluate.predict import PREDICTIONS, positions_m, read_predictions
from training.fit.image_sequences import ImageSequence, image_sequences, smooth_sequence
from training.metrics.errors import position_errors_m
from training.photos.manifest import capture_times_s
from training.photos.tables import write_table

UNDECIDED = "undecided"
# Of a label whose accuracy is not known, metres; and the share of labels that are simply wrong.
LABEL_SIGMA_M, WRONG_LABELS = 8.0, 0.05


@dataclass(frozen=True)
class LabelProposals:
    """Proposals, the largest move first, and of how many photos in time order."""

    table: pd.DataFrame
    photos: int


def propose_labels(evaluation: Path, over_m: float) -> LabelProposals:
    """Proposals for labels that would move by more than `over_m` metres.

    Args:
        evaluation: Output of `evaluate --sequences` or of `track`, of folds: a network that has trained with a wrong
            label repeats it.
        over_m: Smaller moves are left out.

    Raises:
        DatasetError: a file is missing or damaged.
        ConfigError: the limit is not positive.
    """
    if not (np.isfinite(over_m) and over_m > 0.0):
        raise ConfigError(f"over: expected a positive number of metres, got {over_m}")
    evaluation = Path(evaluation)
    predictions = read_predictions(evaluation / PREDICTIONS)
    posteriors, calibrations = read_posteriors(evaluation / POSTERIORS), read_tracking(evaluation / TRACKING_JSON)
    if len(posteriors) != len(calibrations):
        raise DatasetError(f"{evaluation}: {POSTERIORS} and {TRACKING_JSON} do not fit together: evaluate again")
    labels, frame = positions_m(predictions, "true_"), _frame(predictions)
    times_s, sessions = capture_times_s(predictions["captured_at"]), predictions["session"].to_numpy(dtype=object)
    accuracy_m = predictions["gps_accuracy_m"].to_numpy(dtype=np.float64)
    sigma = np.where(np.isfinite(accuracy_m) & (accuracy_m > 0.0), np.maximum(accuracy_m, 1.0), LABEL_SIGMA_M)
    parts = []
    for own, calibration in zip(posteriors, calibrations, strict=True):
        probs = own.rows(predictions["photo_id"].tolist())
        known = predictions["photo_id"].isin(set(own.photo_ids)).to_numpy()
        for sequence in image_sequences(sessions, np.where(known, times_s, np.nan), probs, labels):
            joined = _with_labels(sequence, own.grid, sigma[sequence.rows])
            smoothed = smooth_sequence(own.grid, calibration, joined)
            rows = predictions.iloc[sequence.rows]
            parts.append(_proposals(rows, smoothed.mean_enu_m, sigma_m(smoothed.cov_enu_m2), frame))
    if not parts:
        raise DatasetError(f"{evaluation}: no photo has a time of capture: there is no walk to smooth")
    table = pd.concat(parts, ignore_index=True).sort_values("moved_m", ascending=False, kind="stable")
    return LabelProposals(table[table["moved_m"] > over_m].reset_index(drop=True), len(table))


def write_proposals(proposals: LabelProposals, path: Path) -> None:
    """Write the proposals as a file of corrections. Raises ConfigError for one in a directory `corrections`."""
    if path.absolute().parent.name == "corrections":
        raise ConfigError(
            f"--out {path}: proposals are not corrections yet; write them elsewhere, look at each, and then move the "
            "rows that hold"
        )
    write_table(path, proposals.table)


def _with_labels(sequence: ImageSequence, grid: LocationGrid, label_sigma_m: np.ndarray) -> ImageSequence:
    """The sequence with each image's posterior times the likelihood of its label."""
    squared_m2 = ((grid.centres_enu_m - sequence.truth_enu_m[:, None]) ** 2).sum(axis=-1)
    variance_m2 = label_sigma_m[:, None] ** 2 + grid.cell_m**2 / 12.0
    near = np.exp(-squared_m2 / (2.0 * variance_m2)) / (2.0 * np.pi * variance_m2) * len(grid) * grid.cell_m**2
    images = np.where(np.isfinite(sequence.grid_probs), sequence.grid_probs, 1.0 / len(grid))
    probs = images * ((1.0 - WRONG_LABELS) * near + WRONG_LABELS)
    return replace(sequence, grid_probs=probs / probs.sum(axis=1, keepdims=True))


def _proposals(rows: pd.DataFrame, mean_m: np.ndarray, sigma: np.ndarray, frame: LocalFrame) -> pd.DataFrame:
    moved_m = position_errors_m(mean_m, positions_m(rows, "true_"))
    latitude, longitude = frame.to_geodetic(mean_m)
    return pd.DataFrame(
        {
            "photo_id": rows["photo_id"].to_numpy(),
            "file": rows["file"].to_numpy(),
            "session": rows["session"].to_numpy(),
            "captured_at": rows["captured_at"].to_numpy(),
            "decision": UNDECIDED,
            "latitude_deg": np.round(latitude, 7),
            "longitude_deg": np.round(longitude, 7),
            "gps_accuracy_m": np.round(sigma, 1),
            "moved_m": np.round(moved_m, 1),
            "label_latitude_deg": rows["true_latitude_deg"].to_numpy(),
            "label_longitude_deg": rows["true_longitude_deg"].to_numpy(),
        }
    )


def _frame(predictions: pd.DataFrame) -> LocalFrame:
    """The local frame of the predictions, from labels in degrees and in metres."""
    latitude, longitude = (
        predictions[f"true_{name}_deg"].to_numpy(dtype=np.float64) for name in ("latitude", "longitude")
    )
    guess = LocalFrame.at(float(np.median(latitude)), float(np.median(longitude)))
    shift_m = np.median(positions_m(predictions, "true_") - guess.to_local(latitude, longitude), axis=0)
    origin = guess.to_geodetic(-shift_m)
    return LocalFrame.at(float(origin[0]), float(origin[1]))
