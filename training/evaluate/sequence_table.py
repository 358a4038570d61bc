"""The rows of sequences.csv: every image with its single-image, tracked and smoothed position; and the trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace

import numpy as np
import pandas as pd

from campus_visual_gps.estimation.integrity import RejectionReason
from campus_visual_gps.tracking.calibration import TrackingCalibration
from training.evaluate.posteriors import Posteriors
from training.evaluate.predict import covariance_columns, covariances_m2, positions_m
from training.evaluate.sequence_trials import Delay, Trials
from training.fit.image_sequences import (
    ImageSequence,
    Pose,
    TrackedImages,
    image_sequences,
    smooth_sequence,
    track,
)
from training.metrics.errors import position_errors_m
from training.photos.manifest import capture_times_s

SEQUENCES_CSV, TRIALS_CSV = "sequences.csv", "sequence_trials.csv"
COLD_START, KIDNAP = "cold_start", "kidnap"
# Ways to a position; with odometry only where there is some.
SINGLE, TRACKED, WITH_ODOMETRY, SMOOTHED = "single", "tracked", "tracked_odometry", "smoothed"
METHODS = (SINGLE, TRACKED, WITH_ODOMETRY, SMOOTHED)
TRIAL_COLUMNS = ["session", "kind", *(item.name for item in fields(Delay))]
_COPIED = ["photo_id", "file", "session", "captured_at", "stamp_ns", "night", "area", "rejection_reason"]


@dataclass(frozen=True)
class TrackedBundle:
    """The posteriors of one bundle's images, and the tracking calibration that they are tracked with."""

    posteriors: Posteriors
    calibration: TrackingCalibration


@dataclass(frozen=True)
class SequenceRun:
    """The rows of sequences.csv, and of sequence_trials.csv (session, kind and delays); and what was tracked."""

    table: pd.DataFrame
    trials: pd.DataFrame
    sequences: tuple[tuple[TrackedBundle, ImageSequence], ...] = ()

    @property
    def methods(self) -> tuple[str, ...]:
        """The ways to a position that the table has."""
        return tuple(name for name in METHODS if f"{name}_error_m" in self.table)


def run_sequences(
    predictions: pd.DataFrame,
    bundles: Sequence[TrackedBundle],
    times_s: np.ndarray | None = None,
    odometry: Sequence[Pose] = (),
) -> SequenceRun:
    """Track and smooth the photos of predictions.csv in time order. Photos without a time or posterior are left out.

    Args:
        predictions: As `read_predictions` returns them.
        bundles: With the posteriors of every photo in one of them.
        times_s: (N,) seconds of the photos; None for their times of capture.
        odometry: Poses on the same clock, of a drive.
    """
    times_s = capture_times_s(predictions["captured_at"]) if times_s is None else times_s
    truth, single = positions_m(predictions, "true_"), positions_m(predictions)
    single_errors_m = position_errors_m(single, truth)
    parts: list[pd.DataFrame] = []
    trials: list[tuple[str, str, Delay]] = []
    tracked: list[tuple[TrackedBundle, ImageSequence]] = []
    for bundle in bundles:
        grid, calibration = bundle.posteriors.grid, bundle.calibration
        known = predictions["photo_id"].isin(set(bundle.posteriors.photo_ids)).to_numpy()
        probs = bundle.posteriors.rows(predictions["photo_id"].tolist())
        sessions = predictions["session"].to_numpy(dtype=object)
        unlike = (predictions["rejection_reason"] == RejectionReason.OUT_OF_DISTRIBUTION.value).to_numpy()
        for plain in image_sequences(sessions, np.where(known, times_s, np.nan), probs, truth, unlike):
            sequence = _with_odometry(plain, odometry)
            tracked.append((bundle, sequence))
            answers = {TRACKED: track(grid, calibration, sequence)}
            if odometry:
                answers[WITH_ODOMETRY] = track(grid, calibration, sequence, with_odometry=True)
            answers[SMOOTHED] = smooth_sequence(grid, calibration, sequence)
            parts.append(_rows(predictions, sequence, answers))
            trial = Trials(grid, calibration, sequence, single_errors_m[sequence.rows], bool(odometry))
            trials += [(sequence.session, COLD_START, own) for own in trial.cold_starts()]
            trials += [(sequence.session, KIDNAP, own) for own in trial.kidnaps()]
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    rows = [{"session": session, "kind": kind, **asdict(own)} for session, kind, own in trials]
    return SequenceRun(table, pd.DataFrame(rows, columns=TRIAL_COLUMNS), tuple(tracked))


def _with_odometry(sequence: ImageSequence, odometry: Sequence[Pose]) -> ImageSequence:
    last_s = sequence.times_s[-1]
    return replace(sequence, odometry=tuple(pose for pose in odometry if pose.stamp_s <= last_s))


def _rows(predictions: pd.DataFrame, sequence: ImageSequence, answers: Mapping[str, TrackedImages]) -> pd.DataFrame:
    own = predictions.iloc[sequence.rows].reset_index(drop=True)
    rows = own[[name for name in _COPIED if name in own]].copy()
    rows.insert(3, "sequence", sequence.number)
    rows["time_s"] = np.round(sequence.times_s - sequence.times_s[0], 3)
    truth = sequence.truth_enu_m
    columns = {"true_east_m": truth[:, 0], "true_north_m": truth[:, 1]}
    columns |= _answer(SINGLE, truth, positions_m(own), covariances_m2(own))
    for name, answer in answers.items():
        columns |= _answer(name, truth, answer.mean_enu_m, answer.cov_enu_m2)
    main = answers.get(WITH_ODOMETRY, answers[TRACKED])
    columns |= {"lost_probability": main.lost_probability, "contradicts_track": main.contradicted.astype(int)}
    return rows.assign(**columns)


def _answer(name: str, truth_m: np.ndarray, mean_m: np.ndarray, cov_m2: np.ndarray) -> dict[str, np.ndarray]:
    prefix = f"{name}_"
    return {
        f"{prefix}east_m": mean_m[:, 0],
        f"{prefix}north_m": mean_m[:, 1],
        **covariance_columns(prefix, cov_m2),
        f"{prefix}error_m": position_errors_m(mean_m, truth_m),
    }
