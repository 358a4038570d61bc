"""Maps of the site: where photos were taken and where the ensemble locates them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from training.evaluate.predict import covariances_m2, positions_m
from training.evaluate.report_metrics import SiteOutline
from training.metrics.consistency import covered, nees, usable
from training.report.palette import CLASSES, COLOURS, DPI, TICKS, error_class

_MARGIN_M = 30.0
_ELLIPSE = 0.95
_ELLIPSES = (8, 60)
_MAX_OVERLAP = 2.5


def error_map(predictions: pd.DataFrame, site: SiteOutline) -> Figure:
    """Arrows from where each photo was taken to where the ensemble locates it, over the training positions."""
    truth, estimate = positions_m(predictions, "true_"), positions_m(predictions)
    figure, axes, low, high = _site_figure(site, map_limits(site, truth))
    _arrows(axes, truth, estimate, predictions["error_m"].to_numpy(), reach_m=10.0 * float((high - low).max()))
    outside = int((~((estimate >= low) & (estimate <= high)).all(axis=1)).sum())
    note = f", {outside} predictions outside the map" if outside else ""
    axes.set_title(f"From truth to prediction, {len(truth)} photos{note}", loc="left")
    _legend(figure, _map_handles())
    return figure


def _site_figure(
    site: SiteOutline, limits: tuple[np.ndarray, np.ndarray]
) -> tuple[Figure, Axes, np.ndarray, np.ndarray]:
    """The site's outline and training positions with a scale bar; and the picture's corners, (2,) metres each."""
    low, high = limits
    aspect = (high[1] - low[1]) / (high[0] - low[0])
    width = 12.0 if aspect < 1.0 else 9.0
    figure = Figure(figsize=(width, float(np.clip(width * aspect, 3.5, 12.0)) + 1.2), layout="constrained")
    axes = figure.add_subplot()
    axes.fill(*site.polygon_enu_m.T, fc="#f4f4f4", ec="#9a9a9a", lw=1.0, zorder=0)
    scatter(axes, site.training_enu_m, s=9, color="#c4c4c4", lw=0, zorder=1)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal", xlabel="east, m", ylabel="north, m")
    scale_bar(axes, low, high)
    return figure, axes, low, high


def scatter(axes: Axes, points_m: np.ndarray, **style: Any) -> None:
    """Points (N, 2), with the keywords of `Axes.scatter`."""
    axes.scatter(points_m[:, 0], points_m[:, 1], **style)


def _legend(figure: Figure, handles: list) -> None:
    figure.legend(
        handles=handles, loc="outside lower center", ncols=6 if figure.get_figwidth() > 10 else 3, frameon=False
    )


def map_limits(site: SiteOutline, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The site, the training positions and the truth with a margin; below, room for the scale bar."""
    points = np.concatenate([site.polygon_enu_m, site.training_enu_m, truth])
    low, high = points.min(axis=0) - _MARGIN_M, points.max(axis=0) + _MARGIN_M
    return low, high


def _arrows(axes: Axes, truth: np.ndarray, estimate: np.ndarray, errors_m: np.ndarray, reach_m: float) -> None:
    """Arrows from (N, 2) to (N, 2); one that leaves the picture anyway ends at `reach_m`, which Agg can still clip."""
    known = np.isfinite(errors_m)
    truth, classes = truth[known], error_class(errors_m)[known]
    shortened = np.minimum(1.0, reach_m / np.maximum(errors_m[known], 1e-9))
    offsets = (estimate[known] - truth) * shortened[:, None]
    thin = len(truth) > 400
    # the short green ones last, or the long red ones would bury them
    for index in (2, 1, 0):
        rows = classes == index
        if rows.any():
            axes.quiver(
                *truth[rows].T,
                *offsets[rows].T,
                angles="xy",
                scale_units="xy",
                scale=1.0,
                units="dots",
                width=(1.2 if thin else 1.8) * DPI / 100,
                color=COLOURS[index],
                alpha=0.55 if thin else 0.8,
                zorder=4 - index,
            )
    scatter(axes, truth, s=8 if thin else 14, c=COLOURS[classes], ec="black", lw=0.4, zorder=5)


def _map_handles() -> list:
    arrows = [Line2D([], [], color=colour, lw=2.5, label=f"error {label}") for label, colour in CLASSES.items()]
    truth = Line2D([], [], ls="", marker="o", ms=5, mfc="white", mec="black", label="truth (start of an arrow)")
    training = Line2D([], [], ls="", marker="o", ms=4, color="#b4b4b4", label="training photo")
    return [*arrows, truth, training, Patch(fc="#f4f4f4", ec="#9a9a9a", label="site")]


def scale_bar(axes: Axes, low: np.ndarray, high: np.ndarray) -> None:
    span = high - low
    length = max(tick for tick in TICKS if tick <= max(1.0, span[0] / 5.0))
    # in the margin below the site, where nothing is drawn but arrows of gross errors
    x, y = low[0] + 0.03 * span[0], low[1] + 0.4 * _MARGIN_M
    axes.plot([x, x + length], [y, y], color="black", lw=3, solid_capstyle="butt", zorder=6)
    axes.annotate(f"{length} m", (x + length, y), (6, 0), textcoords="offset points", va="center", zorder=6)


def ellipse_map(predictions: pd.DataFrame, site: SiteOutline) -> Figure:
    """95 % ellipses of some photos, evenly taken from the table, each tied to where the photo was taken."""
    truth, estimate, covs = positions_m(predictions, "true_"), positions_m(predictions), covariances_m2(predictions)
    known = np.flatnonzero(usable(estimate - truth, covs))
    held = np.zeros(len(truth), dtype=bool)
    held[known] = covered(nees((estimate - truth)[known], covs[known]), _ELLIPSE)
    low, high = map_limits(site, truth)
    shown = known[_evenly(len(known), _legible(covs[known], float(np.prod(high - low))))]
    outlines = {row: ellipse_m(estimate[row], covs[row]) for row in shown}
    reach = 0.5 * float((high - low).max())
    seen = [np.clip(outline, low - reach, high + reach) for outline in outlines.values()]
    figure, axes, _, _ = _site_figure(site, map_limits(site, np.concatenate([truth, *seen])))
    for row, outline in outlines.items():
        colour = COLOURS[0 if held[row] else 2]
        axes.plot(*outline.T, color=colour, lw=1.1 if held[row] else 1.6, alpha=0.8, zorder=3)
        axes.plot(*np.stack([estimate[row], truth[row]]).T, color=colour, lw=0.8, alpha=0.8, zorder=4)
    scatter(axes, estimate[shown], s=22, marker="+", color="black", lw=0.9, zorder=5)
    scatter(axes, truth[shown], s=16, c=COLOURS[np.where(held[shown], 0, 2)], ec="black", lw=0.4, zorder=6)
    of_all = f" ({100.0 * held[known].mean():.0f} % of all)" if len(known) else ""
    title = f"95 % ellipses of {len(shown)} of {len(known)} photos: {held[shown].sum()} contain the truth{of_all}"
    axes.set_title(title, loc="left")
    _legend(figure, _ellipse_handles())
    return figure


def _legible(covs_m2: np.ndarray, area_m2: float) -> int:
    """How many ellipses may be drawn before they hide each other: they cover the picture a few times."""
    if not len(covs_m2):
        return 0
    each_m2 = np.pi * -2.0 * np.log1p(-_ELLIPSE) * np.median(np.sqrt(np.linalg.det(covs_m2)))
    return int(np.clip(_MAX_OVERLAP * area_m2 / each_m2, *_ELLIPSES))


def _evenly(n: int, count: int) -> np.ndarray:
    """At most `count` of n rows, evenly."""
    return np.linspace(0, n - 1, min(n, count)).round().astype(int)


def ellipse_m(centre_m: np.ndarray, cov_m2: np.ndarray) -> np.ndarray:
    """(K, 2) metres on the border of the ellipse of probability _ELLIPSE."""
    angles = np.linspace(0.0, 2.0 * np.pi, 73)
    circle = np.sqrt(-2.0 * np.log1p(-_ELLIPSE)) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return centre_m + circle @ np.linalg.cholesky(cov_m2).T


def _ellipse_handles() -> list:
    ellipses = [
        Line2D([], [], color=COLOURS[colour], lw=1.2, marker="o", ms=5, mec="black", mew=0.4, label=label)
        for colour, label in ((0, "95 % ellipse that contains the truth (dot)"), (2, "truth outside"))
    ]
    return [*ellipses, Line2D([], [], ls="", marker="+", ms=7, color="black", label="prediction")]
