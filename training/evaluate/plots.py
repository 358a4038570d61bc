"""The report's pictures, drawn from predictions.csv and the report's figures on figures of their own (no pyplot)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, PercentFormatter

from training.evaluate.baselines import BASELINES
from training.evaluate.figures import Report, Site, baseline_errors_m
from training.evaluate.predict import positions_m
from training.evaluate.text import BASELINE_TITLES, group_names

# The paper's scheme (figure 5) in tones that also differ in lightness, for those who do not tell red from green.
GOOD_M, POOR_M = 10.0, 20.0
CLASSES = {
    f"≤ {GOOD_M:.0f} m": "#1b9e77",
    f"{GOOD_M:.0f} to {POOR_M:.0f} m": "#f5a623",
    f"> {POOR_M:.0f} m": "#b2182b",
}
_COLOURS = np.array(list(CLASSES.values()))
_NICE = np.array([1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000])
_MAX_BARS = 45
_DPI = 120
_MAP_MARGIN_M = 30.0


def draw_pictures(predictions: pd.DataFrame, report: Report, site: Site, directory: Path) -> dict[str, str]:
    """Writes the PNGs into a directory -> name and file name of each."""
    figures = {
        "histogram": error_histogram(predictions, report),
        "map": error_map(predictions, site),
        "cdf": error_cdf(predictions, report),
        "groups": error_groups(report),
    }
    files = {name: f"error_{name}.png" for name in figures}
    for name, figure in figures.items():
        figure.savefig(directory / files[name], dpi=_DPI)
    return files


def error_class(errors_m: np.ndarray) -> np.ndarray:
    """0, 1 or 2 for green, orange, red; an error that is not finite is red."""
    errors_m = np.asarray(errors_m)
    return np.where(errors_m <= GOOD_M, 0, np.where(errors_m <= POOR_M, 1, 2))


def error_histogram(predictions: pd.DataFrame, report: Report) -> Figure:
    """The paper's figure 5: bars by class, lines at the median, the mean and the 90th percentile."""
    errors_m = predictions["error_m"].dropna().to_numpy()
    figure = Figure(figsize=(9, 4.8), layout="constrained")
    axes = figure.add_subplot()
    edges = _histogram_edges(errors_m)
    counts, _ = np.histogram(errors_m, edges)
    width = edges[1] - edges[0]
    axes.bar(edges[:-1], counts, width, align="edge", color=_COLOURS[error_class(edges[1:])], ec="white", lw=0.6)
    beyond = int((errors_m > edges[-1]).sum())
    if beyond:
        axes.bar(edges[-1] + 0.5 * width, beyond, width, align="edge", color=_COLOURS[2], ec="white", hatch="///")
    handles = [Patch(color=colour, label=label) for label, colour in CLASSES.items()]
    if beyond:
        handles.append(Patch(fc=_COLOURS[2], ec="white", hatch="///", label=f"beyond {edges[-1]:.0f} m: {beyond}"))
    handles += _statistic_lines(axes, report)
    axes.legend(handles=handles, loc="upper right", frameon=False)
    axes.set(xlabel="distance error, m", ylabel="photos", xlim=(0, edges[-1] + (2 if beyond else 0) * width))
    axes.set_title(f"Distance error of {len(errors_m)} photos", loc="left")
    _plain(axes)
    return figure


def _histogram_edges(errors_m: np.ndarray) -> np.ndarray:
    """Bars that never straddle a class, up to the 99th percentile."""
    reach = max(1.5 * POOR_M, float(np.quantile(errors_m, 0.99)) if len(errors_m) else 0.0)
    fits = [width for width in _NICE if reach / width <= _MAX_BARS and (width >= GOOD_M or GOOD_M % width == 0)]
    return np.arange(0.0, reach + fits[0], fits[0])


def _statistic_lines(axes: Axes, report: Report) -> list[Line2D]:
    styles = {
        "median_error_m": ("median", "#7b3fb5", "--"),
        "mean_error_m": ("mean", "black", "-"),
        "p90_error_m": ("90th percentile", "#d7191c", ":"),
    }
    lines = []
    for key, (label, colour, style) in styles.items():
        if report[key] is not None:
            lines.append(axes.axvline(report[key], color=colour, ls=style, lw=2, label=f"{label}: {report[key]:.1f} m"))
    return lines


def error_map(predictions: pd.DataFrame, site: Site) -> Figure:
    """Arrows from where each photo was taken to where the ensemble puts it, on the training positions."""
    truth, estimate = positions_m(predictions, "true_"), positions_m(predictions)
    low, high = _map_limits(site, truth)
    aspect = (high[1] - low[1]) / (high[0] - low[0])
    width = 12.0 if aspect < 1.0 else 9.0
    figure = Figure(figsize=(width, float(np.clip(width * aspect, 3.5, 12.0)) + 1.2), layout="constrained")
    axes = figure.add_subplot()
    axes.fill(*site.polygon_enu_m.T, fc="#f4f4f4", ec="#9a9a9a", lw=1.0, zorder=0)
    axes.scatter(*site.training_enu_m.T, s=9, color="#c4c4c4", lw=0, zorder=1)
    _arrows(axes, truth, estimate, predictions["error_m"].to_numpy())
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal", xlabel="east, m", ylabel="north, m")
    outside = int((~((estimate >= low) & (estimate <= high)).all(axis=1)).sum())
    note = f", {outside} of them beyond the picture" if outside else ""
    axes.set_title(f"Truth to prediction, {len(truth)} photos{note}", loc="left")
    figure.legend(handles=_map_handles(), loc="outside lower center", ncols=6, frameon=False)
    _scale_bar(axes, low, high)
    return figure


def _map_limits(site: Site, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The site, the training positions and the truth with a margin; below, room for the scale bar."""
    points = np.concatenate([site.polygon_enu_m, site.training_enu_m, truth])
    low, high = points.min(axis=0) - _MAP_MARGIN_M, points.max(axis=0) + _MAP_MARGIN_M
    return low, high


def _arrows(axes: Axes, truth: np.ndarray, estimate: np.ndarray, errors_m: np.ndarray) -> None:
    known = np.isfinite(estimate).all(axis=1)
    truth, estimate, classes = truth[known], estimate[known], error_class(errors_m)[known]
    thin = len(truth) > 400
    # the short green ones last, or the long red ones would bury them
    for index in (2, 1, 0):
        rows = classes == index
        if rows.any():
            axes.quiver(
                *truth[rows].T,
                *(estimate[rows] - truth[rows]).T,
                angles="xy",
                scale_units="xy",
                scale=1.0,
                units="dots",
                width=(1.2 if thin else 1.8) * _DPI / 100,
                color=_COLOURS[index],
                alpha=0.55 if thin else 0.8,
                zorder=4 - index,
            )
    axes.scatter(*truth.T, s=8 if thin else 14, c=_COLOURS[classes], ec="black", lw=0.4, zorder=5)


def _map_handles() -> list:
    arrows = [Line2D([], [], color=colour, lw=2.5, label=f"error {label}") for label, colour in CLASSES.items()]
    truth = Line2D([], [], ls="", marker="o", ms=5, mfc="white", mec="black", label="truth (arrow starts)")
    training = Line2D([], [], ls="", marker="o", ms=4, color="#b4b4b4", label="training photo")
    return [*arrows, truth, training, Patch(fc="#f4f4f4", ec="#9a9a9a", label="site")]


def _scale_bar(axes: Axes, low: np.ndarray, high: np.ndarray) -> None:
    span = high - low
    length = _NICE[max(1.0, span[0] / 5.0) >= _NICE][-1]
    x, y = low[0] + 0.03 * span[0], low[1] + 0.05 * span[1]
    axes.plot([x, x + length], [y, y], color="black", lw=3, solid_capstyle="butt", zorder=6)
    axes.annotate(f"{length} m", (x + length / 2, y), (0, 4), textcoords="offset points", ha="center", zorder=6)


def error_cdf(predictions: pd.DataFrame, report: Report) -> Figure:
    """Share of photos within a distance, the ensemble over the baselines, on a logarithmic axis of distance."""
    curves = [("this bundle", predictions["error_m"].to_numpy(), "#0b3c8c", "-", 2.8)]
    styles = (("#777777", ":"), ("#e08214", "-."), ("#1b9e77", "--"))
    for name, (colour, style) in zip(BASELINES, styles, strict=True):
        if f"baseline.{name}.n_photos" in report:
            curves.append((BASELINE_TITLES[name], baseline_errors_m(predictions, name), colour, style, 2.0))
    figure = Figure(figsize=(9, 4.8), layout="constrained")
    axes = figure.add_subplot()
    reach = 1.0
    for label, errors_m, colour, style, width in curves:
        known = np.sort(errors_m[np.isfinite(errors_m)])
        share = np.arange(1, len(known) + 1) / len(errors_m)
        mean = f" (mean {known.mean():.1f} m)" if len(known) else ""
        axes.step(np.maximum(known, 1e-3), share, where="post", color=colour, ls=style, lw=width, label=label + mean)
        reach = max(reach, *known[-1:])
    axes.set(xscale="log", xlim=(1.0, max(30.0, 1.05 * reach)), ylim=(0, 1.0), xlabel="distance error, m (log scale)")
    axes.xaxis.set_major_locator(FixedLocator(_NICE))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylabel("photos within that distance")
    axes.set_title("Cumulative distance error", loc="left")
    axes.legend(loc="upper left", frameon=False)
    axes.grid(color="#dddddd", lw=0.7)
    _plain(axes)
    return figure


def error_groups(report: Report) -> Figure:
    """Mean error with its interval by light, session and area."""
    rows = [(light, f"{light}.", "#4c72b0") for light in ("day", "night") if f"{light}.n_photos" in report]
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
    axes.set_title("Mean error by light, session and area (photos)", loc="left")
    _plain(axes)
    return figure


def _group_handles(report: Report) -> list:
    bars = {"light": "#4c72b0", "session": "#8c8c8c", "area": "#55a3a3"}
    if "day.n_photos" not in report and "night.n_photos" not in report:
        bars.pop("light")
    return [
        *(Patch(color=colour, label=label) for label, colour in bars.items()),
        Line2D([], [], color="black", lw=1.6, marker="|", ms=7, label="95 % interval"),
        Line2D([], [], marker="D", ms=6, mfc="white", mec="black", ls="", label="median"),
        Line2D([], [], color="black", ls="--", lw=1.2, label="mean of all"),
    ]


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
