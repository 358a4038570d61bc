"""Every metric of a drive: availability, outages of the receiver, trajectory error, autocorrelation, latency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from training.evaluate.predict import positions_m
from training.metrics.autocorrelation import AutocorrelationMetrics, autocorrelation_metrics
from training.metrics.bootstrap import walk_blocks
from training.metrics.errors import ErrorMetrics, error_metrics, mean_error_ratio
from training.metrics.estimate import Estimate
from training.replay.availability import AvailabilityMetrics, LatencyMetrics, availability_metrics, latency_metrics
from training.replay.drive import Drive
from training.replay.drive_errors import DriveErrors, ReceiverErrors, accepted_errors
from training.replay.fusion import FusionComparison, compare_fusion
from training.replay.outages import Outage, inside
from training.replay.switch_metrics import OutageSwitches, SwitchMetrics, outage_switches
from training.replay.trajectory_error import TrajectoryMetrics, trajectory_metrics


@dataclass(frozen=True)
class SingleOutage:
    """One outage: when, mean errors of the answers in it (None without any), and the fallback's switches."""

    start_s: float
    duration_s: float
    visual_mean_error_m: float | None
    dead_reckoning_mean_error_m: float | None
    hold_last_fix_mean_error_m: float | None
    switches: OutageSwitches


@dataclass(frozen=True)
class OutageMetrics:
    """All outages together: errors in them with and without the visual fix.

    The ratios are the mean error of the visual fix over that of the alternative, paired.
    """

    total_s: float
    n_images: int
    visual: ErrorMetrics
    dead_reckoning: ErrorMetrics
    hold_last_fix: ErrorMetrics
    fallback: ErrorMetrics
    fused: ErrorMetrics
    dead_reckoning_ratio: Estimate
    hold_last_fix_ratio: Estimate
    each: list[SingleOutage]


@dataclass(frozen=True)
class ReceiverMetrics:
    """Of a drive with a receiver: in its outages, outside of them, and along the whole drive."""

    outages: OutageMetrics
    outside_visual: ErrorMetrics
    outside_receiver: ErrorMetrics
    fallback: ErrorMetrics
    fused: ErrorMetrics
    receiver_hold_last_fix: ErrorMetrics
    switches: SwitchMetrics


@dataclass(frozen=True)
class DriveMetrics:
    """`receiver` is None without one in the bag, `latency` without recorded fixes, `fusion` without velocities."""

    duration_s: float
    availability: AvailabilityMetrics
    trajectory: TrajectoryMetrics
    autocorrelation: AutocorrelationMetrics
    receiver: ReceiverMetrics | None
    latency: LatencyMetrics | None
    fusion: FusionComparison | None = None


def compute_drive_metrics(predictions: pd.DataFrame, drive: Drive, errors: DriveErrors) -> DriveMetrics:
    """Of the rows of predictions.csv, with their errors as of `compute_drive_errors`."""
    kept = errors.accepted
    blocks, _ = walk_blocks(predictions["session"].tolist(), errors.stamps_ns / 1e9)
    return DriveMetrics(
        duration_s=drive.duration_s,
        availability=availability_metrics(drive, errors.stamps_ns[kept]),
        trajectory=trajectory_metrics(
            errors.stamps_ns[kept], positions_m(predictions)[kept], positions_m(predictions, "true_")[kept]
        ),
        autocorrelation=autocorrelation_metrics(*accepted_errors(predictions, drive, errors)),
        receiver=None if errors.receiver is None else _receiver_metrics(drive, errors, errors.receiver, blocks),
        latency=latency_metrics(drive),
        fusion=compare_fusion(predictions[kept], drive, errors.outages),
    )


def _receiver_metrics(
    drive: Drive, errors: DriveErrors, receiver: ReceiverErrors, blocks: np.ndarray
) -> ReceiverMetrics:
    outside = ~receiver.in_outage
    return ReceiverMetrics(
        outages=_outage_metrics(drive, errors, receiver, blocks),
        outside_visual=error_metrics(errors.visual_m[outside], blocks[outside]),
        outside_receiver=_fix_metrics(receiver),
        fallback=error_metrics(receiver.fallback_m, blocks),
        fused=error_metrics(receiver.fused_m, blocks),
        receiver_hold_last_fix=error_metrics(receiver.receiver_hold_last_fix_m, blocks),
        switches=SwitchMetrics(receiver.fallback.switches, drive.start_ns),
    )


def _outage_metrics(drive: Drive, errors: DriveErrors, receiver: ReceiverErrors, blocks: np.ndarray) -> OutageMetrics:
    rows = receiver.in_outage
    visual_m, of_rows = errors.visual_m[rows], blocks[rows]
    dead_reckoning_m, hold_last_fix_m = receiver.dead_reckoning_m[rows], receiver.hold_last_fix_m[rows]
    received_ns = {arrival.stamp_ns: arrival.time_ns for arrival in reversed(drive.arrivals)}
    switches = outage_switches(receiver.fallback, receiver.outages, received_ns)
    each = [
        _single_outage(drive, errors, receiver, outage, own)
        for outage, own in zip(receiver.outages, switches, strict=True)
    ]
    return OutageMetrics(
        total_s=float(sum(outage.duration_s for outage in receiver.outages)),
        n_images=int(inside(receiver.outages, drive.images_ns).sum()),
        visual=error_metrics(visual_m, of_rows),
        dead_reckoning=error_metrics(dead_reckoning_m, of_rows),
        hold_last_fix=error_metrics(hold_last_fix_m, of_rows),
        fallback=error_metrics(receiver.fallback_m[rows], of_rows),
        fused=error_metrics(receiver.fused_m[rows], of_rows),
        dead_reckoning_ratio=mean_error_ratio(visual_m, dead_reckoning_m, of_rows),
        hold_last_fix_ratio=mean_error_ratio(visual_m, hold_last_fix_m, of_rows),
        each=each,
    )


def _fix_metrics(receiver: ReceiverErrors) -> ErrorMetrics:
    """Of the receiver's own good fixes."""
    known = np.isfinite(receiver.fix_errors_m)
    errors_m, stamps_ns = receiver.fix_errors_m[known], receiver.fix_stamps_ns[known]
    if not len(errors_m):
        return error_metrics(errors_m, np.empty(0, dtype=int))
    blocks, _ = walk_blocks(["drive"] * len(errors_m), stamps_ns / 1e9)
    return error_metrics(errors_m, blocks)


def _single_outage(
    drive: Drive, errors: DriveErrors, receiver: ReceiverErrors, outage: Outage, switches: OutageSwitches
) -> SingleOutage:
    rows = outage.contains(errors.stamps_ns)
    return SingleOutage(
        start_s=(outage.start_ns - drive.start_ns) / 1e9,
        duration_s=outage.duration_s,
        visual_mean_error_m=_mean(errors.visual_m[rows]),
        dead_reckoning_mean_error_m=_mean(receiver.dead_reckoning_m[rows]),
        hold_last_fix_mean_error_m=_mean(receiver.hold_last_fix_m[rows]),
        switches=switches,
    )


def _mean(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None
