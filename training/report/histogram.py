"""The histogram of the distance errors (paper, figure 5)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from training.metrics.errors import ErrorMetrics
from training.report.palette import CLASSES, COLOURS, GOOD_M, POOR_M, TICKS, error_class, plain

_MAX_BARS = 45


def error_histogram(predictions: pd.DataFrame, errors: ErrorMetrics) -> Figure:
    """Bars by class, lines at the median, the mean and the 90th percentile; their labels stand below the axes."""
    known = predictions["error_m"].to_numpy(dtype=np.float64)
    errors_m = known[np.isfinite(known)]
    figure = Figure(figsize=(9, 5.4), layout="constrained")
    axes = figure.add_subplot()
    edges = _edges(errors_m)
    width = edges[1] - edges[0]
    # bars are closed on the right, as the classes are: 10 m is still green
    counts = np.bincount(np.searchsorted(edges[1:], errors_m), minlength=len(edges))[: len(edges) - 1]
    axes.bar(edges[:-1], counts, width, align="edge", color=COLOURS[error_class(edges[1:])], ec="white", lw=0.6)
    beyond = int((errors_m > edges[-1]).sum())
    if beyond:
        axes.bar(edges[-1] + 0.5 * width, beyond, width, align="edge", color=COLOURS[2], ec="white", hatch="///")
    right = edges[-1] + (2 if beyond else 0) * width
    handles = [*_class_handles(errors_m, edges[-1]), *_statistic_lines(axes, errors, right)]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    axes.set(xlabel="distance error, m", ylabel="number of photos", xlim=(0, right))
    axes.set_ylim(0.0, max(1.0, 1.05 * float(max([*counts, beyond]))))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    without = len(known) - len(errors_m)
    note = f", {without} more without a position" if without else ""
    axes.set_title(f"Distance error of {len(errors_m)} photos{note}", loc="left")
    plain(axes)
    return figure


def _edges(errors_m: np.ndarray) -> np.ndarray:
    """Bars that never straddle a class, up to the 99th percentile."""
    reach = max(1.5 * POOR_M, float(np.quantile(errors_m, 0.99)) if len(errors_m) else 0.0)
    reach = min(reach, float(TICKS[-1] * _MAX_BARS))  # the errors of a network that diverged have no bound
    fits = [width for width in TICKS if reach / width <= _MAX_BARS and (width >= GOOD_M or GOOD_M % width == 0)]
    return np.arange(0.0, reach + fits[0], fits[0])


def _class_handles(errors_m: np.ndarray, last_edge_m: float) -> list[Artist]:
    counts = np.bincount(error_class(errors_m), minlength=len(CLASSES))
    handles: list[Artist] = [
        Patch(color=colour, label=f"{label}: {count} photos")
        for (label, colour), count in zip(CLASSES.items(), counts, strict=True)
    ]
    beyond = int((errors_m > last_edge_m).sum())
    if beyond:
        label = f"beyond {last_edge_m:.0f} m: {beyond}, up to {errors_m.max():.0f} m"
        handles.append(Patch(fc=COLOURS[2], ec="white", hatch="///", label=label))
    return handles


def _statistic_lines(axes: Axes, errors: ErrorMetrics, right_m: float) -> list[Line2D]:
    """Lines that fall outside of the axes are in the legend all the same."""
    statistics = (
        (errors.median_error_m, "median", "#7b3fb5", "--"),
        (errors.mean_error_m, "mean", "black", "-"),
        (errors.p90_error_m, "90th percentile", "#d7191c", ":"),
    )
    halo = [withStroke(linewidth=4, foreground="white")]  # the red line crosses red bars
    lines = []
    for estimate, label, colour, style in statistics:
        if estimate.value is not None:
            text = f"{label}: {estimate.value:.1f} m" + (" (not shown)" if estimate.value > right_m else "")
            lines.append(axes.axvline(estimate.value, color=colour, ls=style, lw=2, label=text, path_effects=halo))
    return lines
