"""Errors along a drive: of what the robot has with the visual fix, and of what it would have without."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from training.evaluate.predict import positions_m
from training.metrics.errors import position_errors_m
from training.replay import outages as gaps
from training.replay.drive import Drive
from training.replay.fixes import Fixes, usable
from training.replay.outages import Outage
from training.replay.switches import FallbackRun, run_fallback, visual_fixes


@dataclass(frozen=True)
class ReceiverErrors:
    """Errors of a drive with a receiver, metres, at the rows of predictions.csv (N,); NaN where there is no position.

    `dead_reckoning_m` (odometry from the last good fixes on) and `hold_last_fix_m` are NaN outside outages.
    `fallback_m` is of the topic `fix` with output `fallback`, `fused_m` of odometry fused with it, and
    `receiver_hold_last_fix_m` of the receiver alone, all along the whole drive. `fix_errors_m` (K,) are those of the
    receiver's own good fixes at `fix_stamps_ns` (K,).
    """

    outages: list[Outage]
    in_outage: np.ndarray
    dead_reckoning_m: np.ndarray
    hold_last_fix_m: np.ndarray
    fallback_m: np.ndarray
    fused_m: np.ndarray
    receiver_hold_last_fix_m: np.ndarray
    fix_stamps_ns: np.ndarray
    fix_errors_m: np.ndarray
    fallback: FallbackRun


@dataclass(frozen=True)
class DriveErrors:
    """Errors at the rows of predictions.csv (N,), metres.

    `accepted` (N,) are the rows with an accepted, finite position; `visual_m` is NaN for the others. `receiver` is None
    where the bag has none.
    """

    stamps_ns: np.ndarray
    accepted: np.ndarray
    visual_m: np.ndarray
    receiver: ReceiverErrors | None = None

    @property
    def outages(self) -> list[Outage]:
        return self.receiver.outages if self.receiver else []


def compute_drive_errors(predictions: pd.DataFrame, drive: Drive) -> DriveErrors:
    """Errors of the rows of predictions.csv, and with a receiver those of the alternatives to the visual fix."""
    stamps_ns = predictions["stamp_ns"].to_numpy(dtype=np.int64)
    errors_m = predictions["error_m"].to_numpy(dtype=np.float64)
    accepted = (predictions["rejection_reason"] == "").to_numpy() & np.isfinite(errors_m)
    visual_m = np.where(accepted, errors_m, np.nan)
    receiver = None
    if drive.receiver is not None:
        visual = visual_fixes(predictions[accepted], drive.image_delays_s, drive.fix_delays_s)
        run = run_fallback(drive.arrivals, *visual, correlation_time_s=drive.correlation_time_s)
        receiver = _receiver_errors(drive, drive.receiver, run, stamps_ns, positions_m(predictions, "true_"))
    return DriveErrors(stamps_ns, accepted, visual_m, receiver)


def _receiver_errors(
    drive: Drive, receiver: Fixes, run: FallbackRun, stamps_ns: np.ndarray, truth_m: np.ndarray
) -> ReceiverErrors:
    outages = gaps.find_outages(receiver, drive.start_ns, drive.end_ns)
    good = usable(receiver)
    fused_m = np.full((len(stamps_ns), 2), np.nan)
    if drive.odometry is not None:  # of the fixes that had arrived by each stamp
        fused_m = gaps.fused_m(run.fixes, run.arrivals_ns, drive.odometry, drive.frame, stamps_ns)
    return ReceiverErrors(
        outages=outages,
        in_outage=gaps.inside(outages, stamps_ns),
        dead_reckoning_m=position_errors_m(_dead_reckoned_m(drive, receiver, outages, stamps_ns), truth_m),
        hold_last_fix_m=position_errors_m(_held_in_outages_m(drive, receiver, outages, stamps_ns), truth_m),
        fallback_m=position_errors_m(gaps.hold_last_fix_m(run.fixes, drive.frame, stamps_ns), truth_m),
        fused_m=position_errors_m(fused_m, truth_m),
        receiver_hold_last_fix_m=position_errors_m(gaps.hold_last_fix_m(receiver, drive.frame, stamps_ns), truth_m),
        fix_stamps_ns=good.stamps_ns,
        fix_errors_m=position_errors_m(gaps.positions_m(good, drive.frame), drive.truth_m(good.stamps_ns)),
        fallback=run,
    )


def _held_in_outages_m(drive: Drive, receiver: Fixes, outages: list[Outage], stamps_ns: np.ndarray) -> np.ndarray:
    """(N, 2) metres: the last good fix at the stamps in outages, NaN at the others."""
    in_outage = gaps.inside(outages, stamps_ns)
    return np.where(in_outage[:, None], gaps.hold_last_fix_m(receiver, drive.frame, stamps_ns), np.nan)


def _dead_reckoned_m(drive: Drive, receiver: Fixes, outages: list[Outage], stamps_ns: np.ndarray) -> np.ndarray:
    """(N, 2) metres: odometry from the last good fixes on at the stamps in outages, NaN at the others."""
    result = np.full((len(stamps_ns), 2), np.nan)
    odometry = drive.odometry
    if odometry is None:
        return result
    for outage in outages:
        rows = outage.contains(stamps_ns)
        track = gaps.dead_reckoned_m(outage, receiver, odometry, drive.frame, stamps_ns[rows])
        if track is not None:
            result[rows] = track
    return result


def accepted_errors(predictions: pd.DataFrame, drive: Drive, errors: DriveErrors) -> tuple[np.ndarray, np.ndarray]:
    """Seconds (K,), ascending, and errors (K, 2) east and north in metres of the accepted fixes."""
    order = np.flatnonzero(errors.accepted)[np.argsort(errors.stamps_ns[errors.accepted])]
    offsets_m = positions_m(predictions) - positions_m(predictions, "true_")
    return drive.seconds(errors.stamps_ns[order]), offsets_m[order]
