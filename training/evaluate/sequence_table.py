"""The rows of sequences.csv: every image with its single-image, tracked and smoothed position; and the trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
import pandas as pd
from campus_visual_gps.tracking.calibration import TrackingCalibration
from campus_visual_gps.tracking.tracker import Tracker

from training.evaluate.posteriors import Posteriors
from training.evaluate.predict import covariance_columns, covariances_m2, positions_m
from training.evaluate.sequence_trials import Delay, cold_starts, kidnaps
from training.fit.image_sequences import ImageSequence, TrackedImages, image_sequences, smooth_sequence, track
from training.metrics.errors import position_errors_m
from training.photos.manifest import capture_times_s

SEQUENCES_CSV, TRIALS_CSV = "sequences.csv", "sequence_trials.csv"
COLD_START, KIDNAP = "cold_start", "kidnap"
SINGLE, TRACKED, SMOOTHED = "single", "tracked", "smoothed"
METHODS = (SINGLE, TRACKED, SMOOTHED)
# Gates of the image itself: what it shows is not to be used, by a tracker as little as alone.
IMAGE_GATES = ("not_finite", "too_dark", "too_bright", "too_blurred", "repeated_image", "out_of_distribution")
TRIAL_COLUMNS = ["session", "kind", *(item.name for item in fields(Delay))]
_COPIED = ["photo_id", "file", "session", "captured_at", "night", "area", "rejection_reason"]


@dataclass(frozen=True)
class TrackedBundle:
    """The posteriors of one bundle's images, and the tracking calibration that they are tracked with."""

    posteriors: Posteriors
    calibration: TrackingCalibration


@dataclass(frozen=True)
class SequenceRun:
    """The rows of sequences.csv, and of sequence_trials.csv: each trial's session, kind and delays."""

    table: pd.DataFrame
    trials: pd.DataFrame


def run_sequences(predictions: pd.DataFrame, bundles: Sequence[TrackedBundle]) -> SequenceRun:
    """Track and smooth the photos of predictions.csv in time order. Photos without a time or posterior are left out.

    Args:
        predictions: As `read_predictions` returns them.
        bundles: With the posteriors of every photo in one of them.
    """
    times_s = capture_times_s(predictions["captured_at"])
    parts: list[pd.DataFrame] = []
    trials: list[tuple[str, str, Delay]] = []
    for bundle in bundles:
        grid, known = bundle.posteriors.grid, set(bundle.posteriors.photo_ids)
        own_photos = predictions["photo_id"].isin(known).to_numpy()
        probs = bundle.posteriors.rows(predictions["photo_id"].tolist())
        probs[predictions["rejection_reason"].isin(IMAGE_GATES).to_numpy()] = np.nan
        tracker = Tracker(grid, bundle.calibration)
        truth = positions_m(predictions, "true_")
        single_m = position_errors_m(positions_m(predictions), truth)
        sessions = predictions["session"].to_numpy(dtype=object)
        for sequence in image_sequences(sessions, np.where(own_photos, times_s, np.nan), probs, truth):
            answers = {
                TRACKED: track(tracker, sequence),
                SMOOTHED: smooth_sequence(grid, bundle.calibration, sequence),
            }
            parts.append(_rows(predictions, sequence, answers))
            errors_m = single_m[sequence.rows]
            trials += [(sequence.session, COLD_START, own) for own in cold_starts(tracker, sequence, errors_m)]
            trials += [(sequence.session, KIDNAP, own) for own in kidnaps(tracker, sequence, errors_m)]
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    rows = [{"session": session, "kind": kind, **asdict(own)} for session, kind, own in trials]
    return SequenceRun(table, pd.DataFrame(rows, columns=TRIAL_COLUMNS))


def _rows(predictions: pd.DataFrame, sequence: ImageSequence, answers: Mapping[str, TrackedImages]) -> pd.DataFrame:
    own = predictions.iloc[sequence.rows].reset_index(drop=True)
    rows = own[[name for name in _COPIED if name in own]].copy()
    rows.insert(3, "sequence", sequence.number)
    rows["time_s"] = np.round(sequence.times_s - sequence.times_s[0], 3)
    truth = sequence.truth_enu_m
    rows[["true_east_m", "true_north_m"]] = truth
    columns = dict(_answer(SINGLE, truth, positions_m(own), covariances_m2(own)))
    for name, answer in answers.items():
        columns |= _answer(name, truth, answer.mean_enu_m, answer.cov_enu_m2)
    tracked = answers[TRACKED]
    columns |= {"lost_probability": tracked.lost_probability, "contradicts_track": tracked.contradicted.astype(int)}
    return rows.assign(**columns)


def _answer(name: str, truth_m: np.ndarray, mean_m: np.ndarray, cov_m2: np.ndarray) -> dict[str, np.ndarray]:
    prefix = f"{name}_"
    return {
        f"{prefix}east_m": mean_m[:, 0],
        f"{prefix}north_m": mean_m[:, 1],
        **covariance_columns(prefix, cov_m2),
        f"{prefix}error_m": position_errors_m(mean_m, truth_m),
    }
