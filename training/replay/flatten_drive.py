"""Typed metrics of a drive -> the flat keys that it adds to report.json.

`availability_share`, `accepted_frames_share`, and keys that begin with `autocorrelation.`, `ate_`, `outage.` (in the
receiver's outages), `outage.<number>.`, `outside.` (outside of them), `drive.` (the whole drive), `switch.`,
`latency.` and `filter.<input>.<correlated_errors>.` (the stand-in of the filter).
"""

from __future__ import annotations

from dataclasses import asdict

from campus_visual_gps.gnss.arbiter import NEITHER
from training.replay.availability import AvailabilityMetrics
from training.replay.drive_metrics import DriveMetrics, OutageMetrics, ReceiverMetrics, SingleOutage
from training.replay.fusion_report import fusion_to_flat_json
from training.replay.switch_metrics import OutageSwitches, SwitchMetrics
from training.replay.switches import SwitchEvent
from training.report.flatten import FlatJson, flat_errors, flat_estimate, prefixed


def drive_to_flat_json(metrics: DriveMetrics) -> FlatJson:
    """What a drive adds to report.json."""
    flat = prefixed("autocorrelation.", asdict(metrics.autocorrelation))
    flat["drive_duration_s"] = metrics.duration_s
    flat |= _availability(metrics.availability) | asdict(metrics.trajectory)
    if metrics.receiver is not None:
        flat |= _receiver(metrics.receiver)
    if metrics.latency is not None:
        flat |= prefixed("latency.", asdict(metrics.latency))
    if metrics.fusion is not None:
        flat |= fusion_to_flat_json(metrics.fusion)
    return flat


def _availability(metrics: AvailabilityMetrics) -> FlatJson:
    return {
        "availability_fresh_s": metrics.fresh_s,
        "n_frames": metrics.n_images,
        "availability_share": metrics.share,
        **flat_estimate("accepted_frames_share", metrics.accepted_images_share),
    }


def _receiver(metrics: ReceiverMetrics) -> FlatJson:
    flat = _outages(metrics.outages)
    for prefix, errors in (
        ("drive.fallback.", metrics.fallback),
        ("drive.fused.", metrics.fused),
        ("drive.receiver_held.", metrics.receiver_hold_last_fix),
        ("outside.visual.", metrics.outside_visual),
        ("outside.receiver.", metrics.outside_receiver),
    ):
        flat |= prefixed(prefix, flat_errors(errors))
    for number, outage in enumerate(metrics.outages.each, start=1):
        flat |= prefixed(f"outage.{number}.", _single_outage(outage))
    flat |= _switches(metrics.switches)
    for number, outage in enumerate(metrics.outages.each, start=1):
        flat |= prefixed(f"outage.{number}.", _outage_switches(outage.switches))
    return flat


def _outages(metrics: OutageMetrics) -> FlatJson:
    flat: FlatJson = {
        "outage.count": len(metrics.each),
        "outage.total_s": metrics.total_s,
        "outage.n_frames": metrics.n_images,
    }
    for name, errors in (
        ("visual", metrics.visual),
        ("dead_reckoning", metrics.dead_reckoning),
        ("held", metrics.hold_last_fix),
        ("fallback", metrics.fallback),
        ("fused", metrics.fused),
    ):
        flat |= prefixed(f"outage.{name}.", flat_errors(errors))
    flat |= flat_estimate("outage.dead_reckoning.mean_error_ratio", metrics.dead_reckoning_ratio)
    return flat | flat_estimate("outage.held.mean_error_ratio", metrics.hold_last_fix_ratio)


def _single_outage(outage: SingleOutage) -> FlatJson:
    return {
        "start_s": outage.start_s,
        "duration_s": outage.duration_s,
        "visual_mean_error_m": outage.visual_mean_error_m,
        "dead_reckoning_mean_error_m": outage.dead_reckoning_mean_error_m,
        "held_mean_error_m": outage.hold_last_fix_mean_error_m,
    }


def _outage_switches(switches: OutageSwitches) -> FlatJson:
    return prefixed("switch_", asdict(switches))


def _switches(metrics: SwitchMetrics) -> FlatJson:
    flat: FlatJson = {
        "switch.count": len(metrics.events),
        "switch.in_count": metrics.in_count,
        "switch.out_count": metrics.out_count,
        "switch.late_count": metrics.late_count,
    }
    for index, event in enumerate(metrics.events, start=1):
        flat |= prefixed(f"switch.{index}.", _switch(event, metrics.time_s(event)))
    return flat


def _switch(event: SwitchEvent, time_s: float) -> FlatJson:
    flat: FlatJson = {"time_s": time_s}
    if event.before != NEITHER:
        flat |= {"latency_s": event.latency_s, "deadline_s": event.deadline_s}
    return flat | {"from": event.before, "to": event.after, "reason": event.reason}
