"""What the report of a drive says beyond that of photos."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from training.evaluate.report_metrics import SiteOutline
from training.metrics.autocorrelation import AutocorrelationMetrics
from training.replay.availability import LatencyMetrics
from training.replay.drive import Drive
from training.replay.drive_errors import compute_drive_errors
from training.replay.drive_metrics import DriveMetrics, OutageMetrics, ReceiverMetrics, compute_drive_metrics
from training.replay.flatten_drive import drive_to_flat_json
from training.replay.fusion_report import fusion_block, fusion_line
from training.replay.outages import ALIGNED_OVER_S, OUTAGE_S
from training.replay.reading_report import reading_block, reading_to_flat_json
from training.replay.switch_report import switch_line, switch_table
from training.replay.trajectory_error import TrajectoryMetrics
from training.report.formatting import number, percent, percent_with_interval, with_interval
from training.report.markdown_blocks import error_table, section, table
from training.report.table_rows import TableRow
from training.report.writer import Addition


def drive_addition(drive: Drive, predictions: pd.DataFrame, site: SiteOutline, directory: Path) -> Addition:
    """Metrics, section and pictures of a drive."""
    from training.replay.drive_plots import draw_drive

    errors = compute_drive_errors(predictions, drive)
    metrics = compute_drive_metrics(predictions, drive, errors)
    pictures = draw_drive(predictions, drive, errors, site, directory)
    flat = drive_to_flat_json(metrics) | reading_to_flat_json(drive.reading)
    text = drive_section(metrics, pictures, reading_block(drive.reading))
    return Addition(flat, text, pictures, "\n".join([drive_lines(metrics), *drive.reading.lines]))


def drive_section(metrics: DriveMetrics, pictures: dict[str, str], reading: str = "") -> str:
    """Markdown; `reading` is what of the bag was not used."""
    shown = [f"![{name}]({file})" for name, file in pictures.items()]
    return section(
        "Along the drive",
        reading,
        _availability(metrics),
        _receiver(metrics.receiver),
        fusion_block(metrics.fusion),
        _trajectory(metrics.trajectory),
        _autocorrelation(metrics.autocorrelation),
        _latency(metrics.latency),
        *shown,
    )


def drive_lines(metrics: DriveMetrics) -> str:
    """For the terminal."""
    lines = [_availability(metrics)]
    if metrics.receiver is not None:
        outages = metrics.receiver.outages
        lines += [outage_line(outages)] if outages.each else []
        lines.append(switch_line(metrics.receiver.switches, [outage.switches for outage in outages.each]))
    lines += [line] if (line := fusion_line(metrics.fusion)) else []
    lines += [_trajectory(metrics.trajectory), _autocorrelation(metrics.autocorrelation)]
    return "\n".join(lines).replace("**", "")


def _availability(metrics: DriveMetrics) -> str:
    availability = metrics.availability
    return (
        f"An accepted fix of at most {availability.fresh_s:.0f} s was there for "
        f"**{percent(availability.share)} of {metrics.duration_s:.0f} s**; "
        f"{percent_with_interval(availability.accepted_images_share)} of {availability.n_images} images gave one."
    )


def _receiver(metrics: ReceiverMetrics | None) -> str:
    if metrics is None:
        return "No receiver's topic is known, so the report has no outages."
    outages = metrics.outages
    if outages.each:
        blocks = [outage_line(outages), error_table(_rows(metrics)), _each(outages), _OUTAGE_NOTE]
    else:
        blocks = [f"The receiver was never more than {OUTAGE_S:.0f} s without a fix."]
    line = switch_line(metrics.switches, [outage.switches for outage in outages.each])
    return "\n\n".join(block for block in [*blocks, line, switch_table(metrics.switches)] if block)


def outage_line(outages: OutageMetrics) -> str:
    """All outages together."""
    return (
        f"Receiver without a fix: {len(outages.each)} time(s), {outages.total_s:.0f} s. Mean error "
        f"meanwhile: {with_interval(outages.visual.mean_error_m)} m with the visual fix, "
        f"{with_interval(outages.dead_reckoning.mean_error_m)} m by odometry from the last fixes on, "
        f"{number(outages.hold_last_fix.mean_error_m.value)} m with the last fix held."
    )


def _rows(metrics: ReceiverMetrics) -> list[TableRow]:
    outages = metrics.outages
    return [
        TableRow("with: visual fix", outages.visual),
        TableRow("with: topic `fix` of the fallback", outages.fallback),
        TableRow("with: odometry fused with `fix`", outages.fused),
        TableRow("without: odometry from the last fixes on", outages.dead_reckoning),
        TableRow("without: last fix held", outages.hold_last_fix),
        TableRow("outside outages: visual fix", metrics.outside_visual),
        TableRow("outside outages: receiver", metrics.outside_receiver),
        TableRow("whole drive: topic `fix` of the fallback", metrics.fallback),
        TableRow("whole drive: odometry fused with `fix`", metrics.fused),
        TableRow("whole drive: receiver alone, last fix held", metrics.receiver_hold_last_fix),
    ]


def _each(outages: OutageMetrics) -> str:
    rows = []
    for index, outage in enumerate(outages.each, start=1):
        means = (outage.visual_mean_error_m, outage.dead_reckoning_mean_error_m, outage.hold_last_fix_mean_error_m)
        span = [number(outage.start_s, 0), number(outage.duration_s, 0)]
        rows.append([str(index), *span, *(number(mean) for mean in means)])
    return table(["outage", "from, s", "length, s", "visual, m", "odometry, m", "last fix held, m"], rows)


_OUTAGE_NOTE = (
    f"An outage is more than {OUTAGE_S:.0f} s without a fix of the receiver. Odometry is rotated and shifted to fit "
    f"the receiver's fixes of the {ALIGNED_OVER_S:.0f} s before. Its error grows with the distance driven, that of the "
    "visual fix does not. Rejected images have no visual fix and count in none of its means. Topic `fix`, and the "
    "receiver alone, are the newest fix at each image. Fused is odometry that is aligned anew at each image to the "
    f"fixes on `fix` that had arrived in the {ALIGNED_OVER_S:.0f} s before, weighted by their covariances: a simple "
    "stand-in for an EKF."
)


def _trajectory(metrics: TrajectoryMetrics) -> str:
    return (
        f"Absolute trajectory error of the accepted fixes (evo): {number(metrics.ate_rmse_m, 2)} m root mean square, "
        f"{number(metrics.ate_aligned_rmse_m, 2)} m after the best rotation and shift of all of them together."
    )


def _autocorrelation(metrics: AutocorrelationMetrics) -> str:
    """Of the errors, and what that requires of a filter."""
    if metrics.inflation is None:
        return f"Too few accepted fixes ({metrics.n_fixes}) to tell how long their errors last."
    text = (
        f"Consecutive fixes ({number(metrics.interval_s, 2)} s apart in the median) share their "
        f"error: correlation {number(metrics.lag1, 2)} from one to the next, so that "
        f"{metrics.n_fixes} fixes are worth {number(metrics.n_effective, 0)} "
        f"independent ones. **A filter that takes every fix needs its covariance times {number(metrics.inflation)}**"
    )
    if metrics.max_rate_hz is None:
        return text + "; the drive is too short to see the correlation fall below 1/e."
    return text + (
        f"; at {number(metrics.max_rate_hz, 2)} Hz (`max_rate_hz`), where the correlation is below "
        f"1/e, times {number(metrics.inflation_at_max_rate)}."
    )


def _latency(metrics: LatencyMetrics | None) -> str:
    if metrics is None:
        return ""
    return (
        f"From the image's stamp to the recorded fix {1000 * metrics.fix_median_s:.0f} ms in the median "
        f"({1000 * metrics.fix_p95_s:.0f} ms at the 95th percentile), {1000 * metrics.node_median_s:.0f} ms of them "
        "after the image itself had been recorded. A bag that was played at another rate than 1 stretches these."
    )
