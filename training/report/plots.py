"""The report's pictures, drawn from predictions.csv and the metrics, without pyplot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator, PercentFormatter

from campus_visual_gps.errors import printable
from training.evaluate.baselines import BASELINES
from training.evaluate.report_metrics import ReportMetrics, SiteOutline, baseline_errors_m
from training.metrics.errors import ErrorMetrics
from training.metrics.estimate import Estimate
from training.report.maps import ellipse_map, error_map
from training.report.palette import (
    CLASSES,
    COLOURS,
    DPI,
    GOOD_M,
    OURS,
    POOR_M,
    TICKS,
    LineStyle,
    error_class,
    plain,
    style_of,
)
from training.report.table_rows import computed, group_rows, label_of, light_rows
from training.report.uncertainty_plots import error_by_sigma, risk_coverage

_MAX_BARS = 45
_GROUP_COLOURS = {"light": "#4c72b0", "session": "#8c8c8c", "area": "#55a3a3"}


def draw_pictures(
    predictions: pd.DataFrame, metrics: ReportMetrics, site: SiteOutline, directory: Path
) -> dict[str, str]:
    """Write the PNGs into a directory -> name and file name of each."""
    figures = {
        "histogram": error_histogram(predictions, metrics.all.errors),
        "map": error_map(predictions, site),
        "cdf": error_cdf(predictions, metrics),
        "groups": error_groups(metrics),
    }
    files = {name: f"error_{name}.png" for name in figures}
    uncertainty = {
        "by_sigma": error_by_sigma(predictions),
        "risk_coverage": risk_coverage(predictions, metrics),
        "ellipses": ellipse_map(predictions, site),
    }
    files |= {name: f"uncertainty_{name}.png" for name in uncertainty}
    for name, figure in (figures | uncertainty).items():
        figure.savefig(directory / files[name], dpi=DPI)
    return files


def error_histogram(predictions: pd.DataFrame, errors: ErrorMetrics) -> Figure:
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
    handles: list[Artist] = [Patch(color=colour, label=label) for label, colour in CLASSES.items()]
    if beyond:
        handles.append(Patch(fc=COLOURS[2], ec="white", hatch="///", label=f"beyond {edges[-1]:.0f} m: {beyond}"))
    handles += _statistic_lines(axes, errors)
    axes.legend(handles=handles, loc="upper right", frameon=False)
    axes.set(xlabel="distance error, m", ylabel="number of photos", xlim=(0, edges[-1] + (2 if beyond else 0) * width))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.set_title(f"Distance error of {len(errors_m)} photos", loc="left")
    plain(axes)
    return figure


def _histogram_edges(errors_m: np.ndarray) -> np.ndarray:
    """Bars that never straddle a class, up to the 99th percentile."""
    reach = max(1.5 * POOR_M, float(np.quantile(errors_m, 0.99)) if len(errors_m) else 0.0)
    reach = min(reach, float(TICKS[-1] * _MAX_BARS))  # the errors of a network that diverged have no bound
    fits = [width for width in TICKS if reach / width <= _MAX_BARS and (width >= GOOD_M or GOOD_M % width == 0)]
    return np.arange(0.0, reach + fits[0], fits[0])


def _statistic_lines(axes: Axes, errors: ErrorMetrics) -> list[Line2D]:
    statistics = (
        (errors.median_error_m, "median", "#7b3fb5", "--"),
        (errors.mean_error_m, "mean", "black", "-"),
        (errors.p90_error_m, "90th percentile", "#d7191c", ":"),
    )
    halo = [withStroke(linewidth=4, foreground="white")]  # the red line crosses red bars
    lines = []
    for estimate, label, colour, style in statistics:
        if estimate.value is not None:
            text = f"{label}: {estimate.value:.1f} m"
            lines.append(axes.axvline(estimate.value, color=colour, ls=style, lw=2, label=text, path_effects=halo))
    return lines


def error_cdf(predictions: pd.DataFrame, metrics: ReportMetrics) -> Figure:
    """Share of photos within a distance, the ensemble and the baselines, on a logarithmic axis of distance."""
    comparisons = metrics.run.comparisons
    curves: list[tuple[str, np.ndarray, str, LineStyle, float]] = [
        ("this bundle", predictions["error_m"].to_numpy(), OURS, "-", 2.8)
    ]
    for name in (*comparisons, *BASELINES):
        if computed(metrics, name) is not None:
            errors_m = baseline_errors_m(predictions, name)
            curves.append((label_of(name, comparisons), errors_m, *style_of(name, comparisons), 2.0))
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
    axes.xaxis.set_major_locator(FixedLocator(list(TICKS)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylabel("share of photos within that distance")
    axes.set_title("Cumulative distribution of the distance error", loc="left")
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    axes.grid(color="#dddddd", lw=0.7)
    plain(axes)
    return figure


def error_groups(metrics: ReportMetrics) -> Figure:
    """Mean error with its interval by light, session and area."""
    rows = [(row, _GROUP_COLOURS["light"]) for row in light_rows(metrics)]
    for kind in ("session", "area"):
        rows += [(row, _GROUP_COLOURS[kind]) for row in group_rows(metrics, kind)]
    bars = [(row.title, row.errors, colour) for row, colour in rows if row.errors and _known(row.errors.mean_error_m)]
    figure = Figure(figsize=(9, 1.6 + 0.36 * len(bars)), layout="constrained")
    axes = figure.add_subplot()
    for y, (_, errors, colour) in enumerate(bars):
        mean = errors.mean_error_m
        axes.barh(y, mean.value or 0.0, color=colour, height=0.68)
        if mean.low is not None and mean.high is not None:
            axes.plot([mean.low, mean.high], [y, y], color="black", lw=1.6, marker="|", ms=7)
        axes.plot(errors.median_error_m.value or 0.0, y, marker="D", ms=6, mfc="white", mec="black", ls="")
    axes.set_yticks(range(len(bars)), [f"{_plain(title)} ({errors.n_photos})" for title, errors, _ in bars])
    axes.invert_yaxis()
    overall = metrics.all.errors.mean_error_m.value
    if overall is not None:
        axes.axvline(overall, color="black", ls="--", lw=1.2, zorder=0)
    figure.legend(handles=_group_handles(metrics), loc="outside lower center", ncols=6, frameon=False)
    axes.set_xlabel("mean distance error, m")
    axes.set_title("Mean distance error by light, session and area (number of photos)", loc="left")
    plain(axes)
    return figure


def _plain(title: str) -> str:
    """A session's name as matplotlib draws it: a dollar sign begins no formula."""
    return printable(title).replace("$", r"\$")


def _known(estimate: Estimate) -> bool:
    return estimate.value is not None


def _group_handles(metrics: ReportMetrics) -> list[Artist]:
    shown = {kind: colour for kind, colour in _GROUP_COLOURS.items() if kind != "light" or light_rows(metrics)}
    return [
        *(Patch(color=colour, label=label) for label, colour in shown.items()),
        Line2D([], [], color="black", lw=1.6, marker="|", ms=7, label="95 % interval"),
        Line2D([], [], marker="D", ms=6, mfc="white", mec="black", ls="", label="median"),
        Line2D([], [], color="black", ls="--", lw=1.2, label="mean of all photos"),
    ]
