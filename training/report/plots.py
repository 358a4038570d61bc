"""The report's pictures, drawn from predictions.csv and the report's figures on figures of their own (no pyplot)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator, PercentFormatter

from training.evaluate.baselines import BASELINES
from training.evaluate.report_metrics import Report, TrainingSite, baseline_errors_m
from training.report.maps import ellipse_map, error_map
from training.report.palette import (
    CLASSES,
    COLOURS,
    DPI,
    GOOD_M,
    NICE,
    OURS,
    POOR_M,
    error_class,
    look_of,
    plain,
)
from training.report.summary import BASELINE_TITLES, group_names, lights
from training.report.uncertainty_plots import error_by_sigma, risk_coverage

_MAX_BARS = 45


def draw_pictures(predictions: pd.DataFrame, report: Report, site: TrainingSite, directory: Path) -> dict[str, str]:
    """Writes the PNGs into a directory -> name and file name of each."""
    figures = {
        "histogram": error_histogram(predictions, report),
        "map": error_map(predictions, site),
        "cdf": error_cdf(predictions, report),
        "groups": error_groups(report),
    }
    files = {name: f"error_{name}.png" for name in figures}
    proofs = {
        "by_sigma": error_by_sigma(predictions),
        "risk_coverage": risk_coverage(predictions, report),
        "ellipses": ellipse_map(predictions, site),
    }
    files |= {name: f"uncertainty_{name}.png" for name in proofs}
    for name, figure in (figures | proofs).items():
        figure.savefig(directory / files[name], dpi=DPI)
    return files


def error_histogram(predictions: pd.DataFrame, report: Report) -> Figure:
    """The paper's figure 5: bars by class, lines at the median, the mean and the 90th percentile."""
    errors_m = predictions["error_m"].dropna().to_numpy()
    figure = Figure(figsize=(9, 4.8), layout="constrained")
    axes = figure.add_subplot()
    edges = _histogram_edges(errors_m)
    # bars are closed on the right, as the classes are: 10 m is still green
    counts = np.bincount(np.searchsorted(edges[1:], errors_m), minlength=len(edges))[: len(edges) - 1]
    width = edges[1] - edges[0]
    axes.bar(edges[:-1], counts, width, align="edge", color=COLOURS[error_class(edges[1:])], ec="white", lw=0.6)
    beyond = int((errors_m > edges[-1]).sum())
    if beyond:
        axes.bar(edges[-1] + 0.5 * width, beyond, width, align="edge", color=COLOURS[2], ec="white", hatch="///")
    handles = [Patch(color=colour, label=label) for label, colour in CLASSES.items()]
    if beyond:
        handles.append(Patch(fc=COLOURS[2], ec="white", hatch="///", label=f"beyond {edges[-1]:.0f} m: {beyond}"))
    handles += _statistic_lines(axes, report)
    axes.legend(handles=handles, loc="upper right", frameon=False)
    axes.set(xlabel="distance error, m", ylabel="photos", xlim=(0, edges[-1] + (2 if beyond else 0) * width))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.set_title(f"Distance error of {len(errors_m)} photos", loc="left")
    plain(axes)
    return figure


def _histogram_edges(errors_m: np.ndarray) -> np.ndarray:
    """Bars that never straddle a class, up to the 99th percentile."""
    reach = max(1.5 * POOR_M, float(np.quantile(errors_m, 0.99)) if len(errors_m) else 0.0)
    reach = min(reach, float(NICE[-1] * _MAX_BARS))  # a network that diverged knows no bounds
    fits = [width for width in NICE if reach / width <= _MAX_BARS and (width >= GOOD_M or GOOD_M % width == 0)]
    return np.arange(0.0, reach + fits[0], fits[0])


def _statistic_lines(axes: Axes, report: Report) -> list[Line2D]:
    styles = {
        "median_error_m": ("median", "#7b3fb5", "--"),
        "mean_error_m": ("mean", "black", "-"),
        "p90_error_m": ("90th percentile", "#d7191c", ":"),
    }
    halo = [withStroke(linewidth=4, foreground="white")]  # the red line crosses red bars
    lines = []
    for key, (label, colour, style) in styles.items():
        if report[key] is not None:
            text = f"{label}: {report[key]:.1f} m"
            lines.append(axes.axvline(report[key], color=colour, ls=style, lw=2, label=text, path_effects=halo))
    return lines


def error_cdf(predictions: pd.DataFrame, report: Report) -> Figure:
    """Share of photos within a distance, the ensemble over the baselines, on a logarithmic axis of distance."""
    curves = [("this bundle", predictions["error_m"].to_numpy(), OURS, "-", 2.8)]
    for name in (*report["beside"], *BASELINES):
        if f"baseline.{name}.n_photos" in report:
            errors_m = baseline_errors_m(predictions, name)
            curves.append((BASELINE_TITLES.get(name, name), errors_m, *look_of(name, report["beside"]), 2.0))
    figure = Figure(figsize=(9, 5.4), layout="constrained")
    axes = figure.add_subplot()
    reach = 1.0
    for label, errors_m, colour, style, width in curves:
        known = np.sort(errors_m[np.isfinite(errors_m)])
        share = np.arange(1, len(known) + 1) / len(errors_m)
        mean = f" (mean {known.mean():.1f} m)" if len(known) else ""
        axes.step(np.maximum(known, 1e-3), share, where="post", color=colour, ls=style, lw=width, label=label + mean)
        reach = max(reach, *known[-1:])
    axes.set(xscale="log", xlim=(1.0, max(30.0, 1.05 * reach)), ylim=(0, 1.0), xlabel="distance error, m (log scale)")
    axes.xaxis.set_major_locator(FixedLocator(NICE))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylabel("photos within that distance")
    axes.set_title("Cumulative distance error", loc="left")
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    axes.grid(color="#dddddd", lw=0.7)
    plain(axes)
    return figure


def error_groups(report: Report) -> Figure:
    """Mean error with its interval by light, session and area."""
    rows = [(light, f"{light}.", "#4c72b0") for light in lights(report)]
    rows += [(name, f"session.{name}.", "#8c8c8c") for name in group_names(report, "session")]
    rows += [(name, f"area.{name}.", "#55a3a3") for name in group_names(report, "area")]
    rows = [row for row in rows if report[f"{row[1]}mean_error_m"] is not None]
    figure = Figure(figsize=(9, 1.6 + 0.36 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    for y, (_, prefix, colour) in enumerate(rows):
        mean, low, high = (report[f"{prefix}mean_error_m{end}"] for end in ("", "_low", "_high"))
        axes.barh(y, mean, color=colour, height=0.68)
        if low is not None:
            axes.plot([low, high], [y, y], color="black", lw=1.6, marker="|", ms=7)
        axes.plot(report[f"{prefix}median_error_m"], y, marker="D", ms=6, mfc="white", mec="black", ls="")
    axes.set_yticks(range(len(rows)), [f"{title} ({report[f'{prefix}n_photos']})" for title, prefix, _ in rows])
    axes.invert_yaxis()
    if report["mean_error_m"] is not None:
        axes.axvline(report["mean_error_m"], color="black", ls="--", lw=1.2, zorder=0)
    figure.legend(handles=_group_handles(report), loc="outside lower center", ncols=6, frameon=False)
    axes.set_xlabel("mean distance error, m")
    axes.set_title("Mean error by light, session and area (number of photos)", loc="left")
    plain(axes)
    return figure


def _group_handles(report: Report) -> list:
    bars = {"light": "#4c72b0", "session": "#8c8c8c", "area": "#55a3a3"}
    if not lights(report):
        bars.pop("light")
    return [
        *(Patch(color=colour, label=label) for label, colour in bars.items()),
        Line2D([], [], color="black", lw=1.6, marker="|", ms=7, label="95 % interval"),
        Line2D([], [], marker="D", ms=6, mfc="white", mec="black", ls="", label="median"),
        Line2D([], [], color="black", ls="--", lw=1.2, label="mean of all"),
    ]
