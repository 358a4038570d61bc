"""Pictures of a drive: its map, the error over time, and the autocorrelation of the error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from training.evaluate.predict import covariances_m2, positions_m
from training.evaluate.report_metrics import SiteOutline
from training.metrics.autocorrelation import MIN_FIXES, autocorrelation, decorrelation_lag, inflation, summed_lags
from training.replay.drive import Drive
from training.replay.drive_errors import DriveErrors, accepted_errors
from training.replay.fixes import usable
from training.replay.outages import positions_m as fixes_m
from training.report.maps import map_limits, scale_bar, scatter
from training.report.palette import CLASSES, COLOURS, DPI, GOOD_M, LIMIT, OURS, error_class, plain

OUTAGE, BAND, RECEIVER, ODOMETRY = "#e6d3f2", "#d3e0f0", "#2166ac", "#7b3fb5"
# Radius, in sigmas per axis, of the circle that holds 95 % of a round Gaussian: sqrt(-2 ln 0.05)
RADIUS_95 = float(np.sqrt(-2.0 * np.log(0.05)))


def draw_drive(
    predictions: pd.DataFrame, drive: Drive, errors: DriveErrors, site: SiteOutline, directory: Path
) -> dict[str, str]:
    """Write the PNGs into a directory -> name and file name of each."""
    figures = {
        "drive_map": drive_map(predictions, drive, errors, site),
        "drive_error": error_over_time(predictions, drive, errors),
        "drive_autocorrelation": error_autocorrelation(*accepted_errors(predictions, drive, errors)),
    }
    files = {name: f"{name}.png" for name in figures}
    for name, figure in figures.items():
        figure.savefig(directory / files[name], dpi=DPI)
    return files


def drive_map(predictions: pd.DataFrame, drive: Drive, errors: DriveErrors, site: SiteOutline) -> Figure:
    """The true path, the accepted fixes by their error, each with a line to its true position, the receiver's fixes."""
    stamps = drive.truth.stamps_ns
    path = drive.truth_m(stamps[(stamps >= drive.start_ns) & (stamps <= drive.end_ns)])
    low, high = map_limits(site, path)
    span = high - low
    # 1.8: title, labels and two rows of legend
    figure = Figure(figsize=(11, float(np.clip(10.0 * span[1] / span[0], 3.5, 12.0)) + 1.8), layout="constrained")
    axes = figure.add_subplot()
    axes.fill(*site.polygon_enu_m.T, fc="#f4f4f4", ec="#9a9a9a", lw=1.0, zorder=0)
    for outage in errors.outages:
        without = drive.truth_m(stamps[outage.contains(stamps)])
        axes.plot(*without.T, color=OUTAGE, lw=14, solid_capstyle="round", zorder=1)
    axes.plot(*path.T, color="black", lw=1.6, zorder=3)
    if drive.receiver is not None:
        scatter(axes, fixes_m(usable(drive.receiver), drive.frame), s=6, color=RECEIVER, lw=0, zorder=2)
    _fixes(axes, predictions, errors)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal", xlabel="east, m", ylabel="north, m")
    axes.set_title(f"{errors.accepted.sum()} accepted fixes of {len(drive.images_ns)} images", loc="left")
    figure.legend(handles=_map_handles(drive, errors), loc="outside lower center", ncols=4, frameon=False)
    scale_bar(axes, low, high)
    return figure


def _fixes(axes: Axes, predictions: pd.DataFrame, errors: DriveErrors) -> None:
    kept = errors.accepted
    truth, estimate = positions_m(predictions, "true_")[kept], positions_m(predictions)[kept]
    colours = COLOURS[error_class(errors.visual_m[kept])]
    for start, end, colour in zip(truth, estimate, colours, strict=True):
        axes.plot(*np.stack([start, end]).T, color=colour, lw=0.6, alpha=0.5, zorder=4)
    scatter(axes, estimate, s=16, c=colours, ec="white", lw=0.4, zorder=5)


def _map_handles(drive: Drive, errors: DriveErrors) -> list[Artist]:
    handles: list[Artist] = [Line2D([], [], color="black", lw=1.6, label="truth")]
    handles += [_dot(colour, f"fix, error {label}") for label, colour in CLASSES.items()]
    if drive.receiver is not None:
        handles.append(_dot(RECEIVER, "receiver's fix", 3))
    if errors.outages:
        handles.append(Patch(color=OUTAGE, label="receiver without a fix"))
    return handles


def _dot(colour: str, label: str, size: float = 5) -> Line2D:
    return Line2D([], [], ls="", marker="o", ms=size, color=colour, label=label)


def error_over_time(predictions: pd.DataFrame, drive: Drive, errors: DriveErrors) -> Figure:
    """Error of every accepted fix with its predicted 95 % radius; outages shaded, with the error of dead reckoning."""
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    axes = figure.add_subplot()
    kept = errors.accepted
    seconds, errors_m = drive.seconds(errors.stamps_ns), errors.visual_m
    covariances = covariances_m2(predictions)
    radius_m = RADIUS_95 * np.sqrt(np.trace(covariances, axis1=1, axis2=2) / 2.0)
    top = _top(errors_m[kept], radius_m[kept])
    for outage in errors.outages:
        axes.axvspan(*drive.seconds(np.array([outage.start_ns, outage.end_ns])), color=OUTAGE, lw=0, zorder=0)
    axes.fill_between(seconds[kept], 0, radius_m[kept], color=BAND, lw=0, zorder=1, alpha=0.9)
    if errors.receiver is not None:
        receiver_s = drive.seconds(errors.receiver.fix_stamps_ns)
        axes.plot(receiver_s, errors.receiver.fix_errors_m, ".", ms=3, color=RECEIVER, zorder=2)
        axes.plot(seconds, errors.receiver.dead_reckoning_m, color=ODOMETRY, lw=1.8, ls="--", zorder=3)
    colours = COLOURS[error_class(errors_m[kept])]
    axes.scatter(seconds[kept], np.minimum(errors_m[kept], top), s=14, c=colours, lw=0, zorder=4)
    axes.set(
        xlim=(0, seconds[-1] if len(seconds) > 1 else 1),
        ylim=(0, top),
        xlabel="time since the first image, s",
        ylabel="distance error, m",
    )
    beyond = int((errors_m[kept] > top).sum())
    note = f" ({beyond} above the upper edge)" if beyond else ""
    axes.set_title(f"Distance error along the drive{note}", loc="left")
    plain(axes)
    figure.legend(handles=_time_handles(drive, errors), loc="outside lower center", ncols=4, frameon=False)
    return figure


def _top(errors_m: np.ndarray, radius_m: np.ndarray) -> float:
    """Most errors and the band; a few gross errors must not flatten the rest."""
    if not len(errors_m):
        return 2.0 * GOOD_M
    return max(2.0 * GOOD_M, 1.2 * float(np.quantile(errors_m, 0.95)), 1.1 * float(np.quantile(radius_m, 0.9)))


def _time_handles(drive: Drive, errors: DriveErrors) -> list[Artist]:
    handles: list[Artist] = [_dot(colour, f"fix, error {label}") for label, colour in CLASSES.items()]
    handles.append(Patch(color=BAND, label="predicted 95 % radius"))
    if errors.receiver is not None and len(errors.receiver.fix_stamps_ns):
        handles.append(_dot(RECEIVER, "receiver's fix", 3))
    if errors.outages:
        handles.append(Patch(color=OUTAGE, label="receiver without a fix"))
    if drive.odometry is not None and errors.outages:
        handles.append(Line2D([], [], color=ODOMETRY, lw=1.8, ls="--", label="odometry from the last fixes"))
    return handles


def error_autocorrelation(times_s: np.ndarray, offsets_m: np.ndarray) -> Figure:
    """Autocorrelation of the accepted fixes' errors by the time between them; shaded the lags that inflation sums."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.add_subplot()
    if len(times_s) >= MIN_FIXES:
        correlation = autocorrelation(offsets_m)
        lag = decorrelation_lag(correlation) or len(correlation) - 1
        shown = slice(0, min(len(correlation), max(6 * lag, 10) + 1))
        lags_s = np.arange(len(correlation)) * float(np.median(np.diff(times_s)))
        summed = slice(0, min(summed_lags(correlation), shown.stop))
        axes.fill_between(lags_s[summed], 0.0, correlation[summed], color=BAND, lw=0)
        axes.plot(lags_s[shown], correlation[shown], color=OURS, lw=2, marker="." if lag < 20 else None)
        title = f"Autocorrelation of the error: covariance times {inflation(correlation):.1f} if every fix is taken"
        axes.set_title(title, loc="left")
    axes.axhline(0.0, color="black", lw=0.8)
    axes.axhline(np.exp(-1.0), color=LIMIT, lw=1, ls="--")
    axes.annotate(
        "1/e", (1.0, np.exp(-1.0)), (-2, 3), xycoords=("axes fraction", "data"), textcoords="offset points", ha="right"
    )
    axes.set(xlabel="time between fixes, s", ylabel="correlation of the errors", ylim=(None, 1.02))
    axes.margins(x=0)
    plain(axes)
    return figure
