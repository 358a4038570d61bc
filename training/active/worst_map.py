"""The map of one audited photo: label, prediction, members, 95 % ellipse and the training photos nearby."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from training.active.background import Background
from training.active.material import Material
from training.active.training_photos import Neighbour
from training.report.maps import ellipse_m, scatter
from training.report.palette import TICKS

# Okabe and Ito's colours: told apart by the colour-blind, and each has a marker of its own.
LABEL, PREDICTION, MEMBER, MODE = "#0072b2", "#d55e00", "#e69f00", "#cc79a7"
_TRAINING, _OTHER = "#5a5a5a", "#b0b0b0"
_MIN_HALF_M = 25.0
_MARGIN = 1.25
_SAME_SPOT = 0.05  # share of the map's width
_MAX_GROWTH = 1.6  # an ellipse that is larger than everything else runs out of the map
_HALO = [withStroke(linewidth=3.0, foreground="white")]


@dataclass(frozen=True)
class SitePhotos:
    """Positions (N, 2) of all photos, metres, and which of them are in the training."""

    positions_m: np.ndarray
    is_training: np.ndarray


def draw_map(axes: Axes, material: Material, site: SitePhotos, background: Background) -> None:
    """Draw the map of a photo; east is right and north is up."""
    low, high = _window(material)
    image = background.image(low, high)
    if image is not None:
        axes.imshow(image.rgb, extent=image.extent_m, interpolation="bilinear", zorder=0)
        axes.annotate(
            image.attribution,
            (0.99, 0.008),
            xycoords="axes fraction",
            ha="right",
            va="bottom",
            fontsize=6,
            path_effects=_HALO,
            zorder=9,
            annotation_clip=False,
        )
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal", xticks=[], yticks=[])
    axes.set_facecolor("#f4f4f4")
    _draw_site(axes, site, image is not None)
    _draw_ellipse(axes, material)
    _draw_neighbours(axes, material)
    _draw_positions(axes, material)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))  # an image has changed them
    _scale_bar(axes, low, high)
    _north(axes)


def legend_handles(material: Material) -> list[Line2D]:
    """Of what this photo's map shows."""
    handles = [
        _handle("o", LABEL, 10, "label"),
        _handle("X", PREDICTION, 11, "prediction"),
        _handle("^", MEMBER, 8, "member"),
    ]
    if material.cov_m2 is not None:
        handles.append(Line2D([], [], color=PREDICTION, lw=2, label="95 % ellipse"))
    if material.second_mode_m is not None:
        handles.append(_handle("D", MODE, 8, f"second mode ({material.second_mode_share:.0%})"))
    handles += [
        Line2D([], [], ls="", marker="s", ms=7, mfc="white", mec=LABEL, mew=1.8, label="L: training photo near label"),
        Line2D([], [], ls="", marker="s", ms=7, mfc="white", mec=PREDICTION, mew=1.8, label="P: near prediction"),
        Line2D([], [], ls="", marker=".", ms=7, color=_TRAINING, label="training photo"),
        Line2D([], [], ls="", marker=".", ms=7, color=_OTHER, label="other photo"),
    ]
    return handles


def _handle(marker: str, colour: str, size: float, label: str) -> Line2D:
    return Line2D([], [], ls="", marker=marker, ms=size, mfc=colour, mec="white", mew=1.0, label=label)


def _window(material: Material) -> tuple[np.ndarray, np.ndarray]:
    """A square around everything that is compared, metres."""
    points = [material.label_m, material.predicted_m, *material.members_m.values()]
    points += [] if material.second_mode_m is None else [material.second_mode_m]
    points += [near.position_enu_m for near in (*material.near_label, *material.near_prediction)]
    known = np.stack([point for point in points if np.all(np.isfinite(point))])
    low, high = known.min(axis=0), known.max(axis=0)
    half = max(float((high - low).max()) / 2.0, _MIN_HALF_M)
    if material.cov_m2 is not None:
        outline = ellipse_m(material.predicted_m, material.cov_m2)
        reach = float(np.abs(outline - (low + high) / 2.0).max())
        half = max(half, min(reach, _MAX_GROWTH * half))
    return (low + high) / 2.0 - _MARGIN * half, (low + high) / 2.0 + _MARGIN * half


def _draw_site(axes: Axes, site: SitePhotos, on_image: bool) -> None:
    for rows, colour, size in ((~site.is_training, _OTHER, 10.0), (site.is_training, _TRAINING, 12.0)):
        scatter(axes, site.positions_m[rows], s=size, c=colour, ec="white", lw=0.5 if on_image else 0.0, zorder=2)


def _draw_ellipse(axes: Axes, material: Material) -> None:
    if material.cov_m2 is not None:
        outline = ellipse_m(material.predicted_m, material.cov_m2)
        axes.plot(*outline.T, color=PREDICTION, lw=2.0, path_effects=_HALO, zorder=3)


def _draw_neighbours(axes: Axes, material: Material) -> None:
    """L1, L2, ... near the label and P1, P2, ... near the prediction, as the thumbnails are named."""
    close_m = _SAME_SPOT * float(np.ptp(axes.get_xlim()))
    for letter, colour, found, side in (
        ("L", LABEL, material.near_label, -1),
        ("P", PREDICTION, material.near_prediction, 1),
    ):
        for spot, numbers in _spots(found, close_m):
            axes.plot(*spot, marker="s", ms=8, mfc="white", mec=colour, mew=2.0, ls="", zorder=4)
            axes.annotate(
                letter + ",".join(map(str, numbers)),
                (float(spot[0]), float(spot[1])),
                (9 * side, -7),
                textcoords="offset points",
                ha="left" if side > 0 else "right",
                va="top",
                color=colour,
                fontsize=9,
                fontweight="bold",
                path_effects=_HALO,
                zorder=7,
            )


def _spots(found: list[Neighbour], close_m: float) -> list[tuple[np.ndarray, list[int]]]:
    """Positions, each with the numbers of the photos there: photos of one spot have one mark."""
    spots: list[tuple[np.ndarray, list[int]]] = []
    for number, near in enumerate(found, start=1):
        for spot, numbers in spots:
            if np.hypot(*(spot - near.position_enu_m)) < close_m:
                numbers.append(number)
                break
        else:
            spots.append((near.position_enu_m, [number]))
    return spots


def _draw_positions(axes: Axes, material: Material) -> None:
    label, prediction = material.label_m, material.predicted_m
    for member in material.members_m.values():
        _mark(axes, member, "^", 11.0, MEMBER, 6)
    if material.second_mode_m is not None:
        _mark(axes, material.second_mode_m, "D", 14.0, MODE, 5)
    if np.all(np.isfinite(prediction)):
        line = np.stack([label, prediction])
        axes.plot(*line.T, color="black", lw=1.4, ls=(0, (4, 3)), path_effects=_HALO, zorder=5)
        _mark(axes, prediction, "X", 13.0, PREDICTION, 6)
    _mark(axes, label, "o", 12.0, LABEL, 6)


def _mark(axes: Axes, point_m: np.ndarray, marker: str, size: float, colour: str, zorder: int) -> None:
    axes.plot(*point_m, marker=marker, ms=size, mfc=colour, mec="white", mew=1.2, ls="", zorder=zorder)


def _scale_bar(axes: Axes, low: np.ndarray, high: np.ndarray) -> None:
    span = float(high[0] - low[0])
    length = max(tick for tick in TICKS if tick <= max(1.0, span / 4.0))
    x, y = low[0] + 0.04 * span, low[1] + 0.05 * span
    axes.plot([x, x + length], [y, y], color="black", lw=4, solid_capstyle="butt", path_effects=_HALO, zorder=8)
    axes.annotate(
        f"{length} m",
        (x + length / 2.0, y),
        (0, 5),
        textcoords="offset points",
        ha="center",
        va="bottom",
        path_effects=_HALO,
        zorder=8,
    )


def _north(axes: Axes) -> None:
    axes.annotate(
        "N",
        (0.955, 0.865),
        (0.955, 0.965),
        xycoords="axes fraction",
        ha="center",
        va="top",
        fontsize=12,
        fontweight="bold",
        path_effects=_HALO,
        zorder=8,
    )
    axes.annotate(
        "",
        (0.955, 0.925),
        (0.955, 0.85),
        xycoords="axes fraction",
        arrowprops={"arrowstyle": "-|>", "lw": 2.0, "color": "black", "path_effects": _HALO},
        zorder=8,
    )
