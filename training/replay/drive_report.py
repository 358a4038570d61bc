"""What the report of a drive says beyond that of photos."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from training.evaluate.report_metrics import Report, SiteOutline
from training.replay.drive_metrics import ANSWERS, Drive, drive_figures, follow
from training.replay.outages import ALIGNED_OVER_S, OUTAGE_S
from training.replay.switch_report import switch_line, switch_table
from training.report.evaluation import Addition
from training.report.markdown_blocks import error_table, section, table
from training.report.summary import number, percent, percent_with_bounds, with_bounds

OUTAGE_ROWS = [
    ("with: visual fix", "outage.visual."),
    ("with: topic `fix` of the fallback", "outage.fallback."),
    ("with: odometry fused with `fix`", "outage.fused."),
    ("without: odometry from the last fixes on", "outage.dead_reckoning."),
    ("without: last fix held", "outage.held."),
    ("outside outages: visual fix", "outside.visual."),
    ("outside outages: receiver", "outside.receiver."),
    ("whole drive: topic `fix` of the fallback", "drive.fallback."),
    ("whole drive: odometry fused with `fix`", "drive.fused."),
    ("whole drive: receiver alone, last fix held", "drive.receiver_held."),
]


def drive_addition(drive: Drive, predictions: pd.DataFrame, site: SiteOutline, directory: Path) -> Addition:
    """Figures, section and pictures of a drive."""
    from training.replay.drive_plots import draw_drive

    course = follow(predictions, drive)
    figures = drive_figures(predictions, drive, course)
    pictures = draw_drive(predictions, drive, course, site, directory)
    return Addition(figures, drive_section(figures, pictures), pictures)


def drive_section(report: Report, pictures: dict[str, str]) -> str:
    """Markdown."""
    shown = [f"![{name}]({file})" for name, file in pictures.items()]
    return section(
        "Along the drive",
        _availability(report),
        _outages(report),
        _trajectory(report),
        _memory(report),
        _latency(report),
        *shown,
    )


def _availability(report: Report) -> str:
    return (
        f"An accepted fix of at most {report['availability_fresh_s']:.0f} s was there for "
        f"**{percent(report, 'availability_share')} of {report['drive_duration_s']:.0f} s**; "
        f"{percent_with_bounds(report, 'accepted_frames_share')} of {report['n_frames']} frames gave one."
    )


def _outages(report: Report) -> str:
    if "outage.count" not in report:
        return "No receiver's topic is known, so nothing is said of its outages."
    if not report["outage.count"]:
        parts = [f"The receiver was never more than {OUTAGE_S:.0f} s without a fix."]
    else:
        parts = [outage_line(report), error_table(report, OUTAGE_ROWS), _each(report), _OUTAGE_NOTE]
    return "\n\n".join(part for part in [*parts, switch_line(report), switch_table(report)] if part)


def outage_line(report: Report) -> str:
    """All outages together."""
    reckoned = with_bounds(report, "outage.dead_reckoning.mean_error_m")
    return (
        f"Receiver without a fix: {report['outage.count']} time(s), {report['outage.total_s']:.0f} s. Mean error "
        f"meanwhile: {with_bounds(report, 'outage.visual.mean_error_m')} m with the visual fix, "
        f"{reckoned} m by odometry from the last fixes on, {number(report, 'outage.held.mean_error_m')} m with the "
        "last fix held."
    )


def drive_lines(report: Report) -> str:
    """For the terminal."""
    lines = [_availability(report).replace("**", "")]
    if report.get("outage.count"):
        lines.append(outage_line(report))
    lines += [line for line in [switch_line(report)] if line]
    return "\n".join([*lines, _trajectory(report), _memory(report).replace("**", "")])


def _each(report: Report) -> str:
    rows = []
    for index in range(1, report["outage.count"] + 1):
        prefix = f"outage.{index}."
        span = [number(report, prefix + name, 0) for name in ("start_s", "duration_s")]
        rows.append([str(index), *span, *(number(report, f"{prefix}{name}_mean_error_m") for name in ANSWERS)])
    return table(["outage", "from, s", "length, s", "visual, m", "odometry, m", "held, m"], rows)


_OUTAGE_NOTE = (
    f"An outage is more than {OUTAGE_S:.0f} s without a fix of the receiver. Odometry is turned and moved onto the "
    f"receiver's fixes of the {ALIGNED_OVER_S:.0f} s before. Its error grows with the way driven, that of the visual "
    "fix does not. Refused frames have no visual fix and count in none of its means. Topic `fix`, and the receiver "
    "alone, are the newest fix at each frame. Fused is odometry that is aligned anew at each frame to the fixes on "
    f"`fix` that had arrived in the {ALIGNED_OVER_S:.0f} s before, weighted by their covariances: a plain stand-in for "
    "an EKF."
)


def _trajectory(report: Report) -> str:
    return (
        f"Absolute trajectory error of the accepted fixes (evo): {number(report, 'ate_rmse_m', 2)} m root mean square, "
        f"{number(report, 'ate_aligned_rmse_m', 2)} m after the best turn and shift of all of them together."
    )


def _memory(report: Report) -> str:
    """Of the errors, and what it asks of a filter."""
    if report["autocorrelation.inflation"] is None:
        return f"Too few accepted fixes ({report['autocorrelation.n_fixes']}) to tell how long their errors last."
    text = (
        f"Consecutive fixes ({number(report, 'autocorrelation.interval_s', 2)} s apart in the median) share their "
        f"error: correlation {number(report, 'autocorrelation.lag1', 2)} from one to the next, so that "
        f"{report['autocorrelation.n_fixes']} fixes are worth {number(report, 'autocorrelation.n_effective', 0)} "
        f"independent ones. **A filter that takes every fix needs its covariance times "
        f"{number(report, 'autocorrelation.inflation')}**"
    )
    if report["autocorrelation.max_rate_hz"] is None:
        return text + "; the drive is too short to see the correlation fall below 1/e."
    return text + (
        f"; at {number(report, 'autocorrelation.max_rate_hz', 2)} Hz (`max_rate_hz`), where the correlation is below "
        f"1/e, times {number(report, 'autocorrelation.inflation_at_max_rate')}."
    )


def _latency(report: Report) -> str:
    if "latency.n_fixes" not in report:
        return ""
    fix, p95, node = (report[f"latency.{name}_s"] for name in ("fix_median", "fix_p95", "node_median"))
    return (
        f"From the image's stamp to the recorded fix {1000 * fix:.0f} ms in the median ({1000 * p95:.0f} ms at the "
        f"95th percentile), {1000 * node:.0f} ms of them after the image itself had been recorded. A bag that was "
        "played at another rate than 1 stretches these."
    )
