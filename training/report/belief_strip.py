"""A strip of pictures: what an image alone says of its position, what the tracker makes of it, and the truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from campus_visual_gps.errors import printable
from campus_visual_gps.estimation.grid import LocationGrid
from training.report.grid_raster import (
    COLOURS,
    ESTIMATE,
    NORM,
    TICK_LABELS,
    TICKS,
    TRUTH,
    GridRaster,
    point_and_sigma,
)
from training.report.save_figure import save_figure

_ROW_IN, _PHOTO_IN, _WIDTH_IN = 2.35, 2.9, 12.0
_APART = 20  # telling images are a twentieth of the sequence apart
_START, _AMBIGUOUS, _GAIN, _WORST = "start", "most ambiguous image", "largest gain", "largest tracked error"


def draw_belief_strip(
    path: Path,
    images: Sequence[np.ndarray],
    grid: LocationGrid,
    posteriors: np.ndarray,
    beliefs: np.ndarray,
    truth_enu_m: np.ndarray,
    titles: Sequence[str],
) -> None:
    """Write a PNG with one row for each image: the photo, its posterior and the tracker's belief after it.

    Args:
        path: The file.
        images: N images (H, W, 3) uint8 RGB.
        grid: The K cells.
        posteriors: (N, K), of the images alone; NaN for an image without.
        beliefs: (N, K), of the tracker after each image.
        truth_enu_m: (N, 2) metres; NaN where it is not known.
        titles: N, above each photo.

    Raises:
        VisualGpsError: The file is not named .png, or cannot be written.
        ValueError: The arguments are of different lengths, or there are no images.
    """
    figure = belief_strip(images, grid, posteriors, beliefs, truth_enu_m, titles)
    save_figure(figure, Path(path))


def belief_strip(
    images: Sequence[np.ndarray],
    grid: LocationGrid,
    posteriors: np.ndarray,
    beliefs: np.ndarray,
    truth_enu_m: np.ndarray,
    titles: Sequence[str],
) -> Figure:
    """The strip as a figure; arguments as of `draw_belief_strip`."""
    count = len(images)
    sizes = {len(own) for own in (images, posteriors, beliefs, truth_enu_m, titles)}
    if sizes != {count} or not count:
        raise ValueError(f"expected as many images as posteriors, beliefs, truths and titles, got {sorted(sizes)}")
    raster = GridRaster(grid)
    west, east, south, north = raster.extent_m
    map_in = min(4.4, _ROW_IN * (east - west) / (north - south))
    figure = Figure(figsize=(_PHOTO_IN + 2.0 * map_in + 1.3, _ROW_IN * count + 1.0), layout="constrained")
    panels = figure.subplots(count, 3, squeeze=False, width_ratios=[_PHOTO_IN, map_in, map_in])
    for row, (photo, single, tracked) in enumerate(panels):
        _photo(photo, images[row], titles[row])
        for axes, probs, name in ((single, posteriors[row], "image alone"), (tracked, beliefs[row], "tracked")):
            _heat_map(axes, raster, probs, truth_enu_m[row], name)
            axes.tick_params(labelsize="small", labelbottom=row == count - 1, labelleft=axes is single)
        single.set_ylabel("north, m", fontsize="small")
    for axes in panels[-1, 1:]:
        axes.set_xlabel("east, m", fontsize="small")
    _scale(figure, panels[:, 1:], grid.cell_m)
    return figure


def _photo(axes: Axes, rgb: np.ndarray, title: str) -> None:
    axes.imshow(rgb, aspect="equal", interpolation="lanczos")
    lines = [printable(line) for line in title.split("\n")]
    axes.set_title("\n".join(lines), loc="left", fontsize="small", fontweight="bold")
    axes.set(xticks=[], yticks=[])


def _heat_map(axes: Axes, raster: GridRaster, probs: np.ndarray, truth_m: np.ndarray, name: str) -> None:
    axes.imshow(raster.rgb(probs), extent=raster.extent_m, interpolation="nearest", aspect="equal")
    point, sigma_m = point_and_sigma(probs, raster.grid)
    halo = [withStroke(linewidth=3.2, foreground="white")]
    axes.plot(*point, marker="+", ms=9, mew=1.6, color=ESTIMATE, ls="", path_effects=halo, zorder=4)
    axes.plot(
        *truth_m, marker="o", ms=10, mew=2.0, mfc="none", mec=TRUTH, ls="", path_effects=halo, zorder=5, clip_on=False
    )
    axes.set(xlim=raster.extent_m[:2], ylim=raster.extent_m[2:])
    axes.set_title(f"{name}: {_text(float(np.hypot(*(point - truth_m))), sigma_m)}", loc="left", fontsize="small")
    axes.spines[:].set_color("#bbbbbb")


def _text(error_m: float, sigma_m: float) -> str:
    if not np.isfinite(sigma_m):
        return "no answer"
    error = f"error {error_m:.0f} m" if np.isfinite(error_m) else "error unknown"
    return f"{error}, sigma {sigma_m:.0f} m"


def _scale(figure: Figure, maps: np.ndarray, cell_m: float) -> None:
    """The scale of colours and what the marks mean."""
    bar = figure.colorbar(ScalarMappable(NORM, COLOURS), ax=maps.ravel().tolist(), shrink=min(1.0, 3.0 / len(maps)))
    bar.set_ticks(TICKS, labels=TICK_LABELS)
    bar.minorticks_off()
    bar.set_label(f"probability of a cell of {cell_m:g} m, %", fontsize="small")
    halo = [withStroke(linewidth=3.2, foreground="white")]
    handles = [
        Line2D([], [], ls="", marker="o", ms=9, mew=2.0, mfc="none", mec=TRUTH, label="truth", path_effects=halo),
        Line2D([], [], ls="", marker="+", ms=9, mew=1.6, color=ESTIMATE, label="position"),
    ]
    figure.legend(handles=handles, loc="outside lower right", ncols=2, frameon=False, fontsize="small")


def telling_images(
    grid: LocationGrid, posteriors: np.ndarray, beliefs: np.ndarray, truth_enu_m: np.ndarray
) -> list[tuple[int, str]]:
    """The most telling of N images in the order of time: rows and why; each row once.

    The first; the one whose posterior is spread most; the one whose error tracking reduces most; and the one with the
    largest tracked error. Arguments are as of `draw_belief_strip`.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.sum(np.where(posteriors > 0.0, posteriors * np.log(posteriors), 0.0), axis=1)
    entropy[~np.isfinite(posteriors).all(axis=1)] = np.nan
    single, tracked = (_errors_m(grid, probs, truth_enu_m) for probs in (posteriors, beliefs))
    order = -np.arange(len(posteriors), dtype=np.float64)
    rankings = {_START: order, _WORST: tracked, _GAIN: single - tracked, _AMBIGUOUS: entropy}
    found: dict[int, list[str]] = {}
    for reason, values in rankings.items():
        row = _best(values, list(found))
        if row is not None:
            found.setdefault(row, []).append(reason)
    return [(row, ", ".join(reasons)) for row, reasons in sorted(found.items())]


def _best(values: np.ndarray, taken: list[int]) -> int | None:
    """The row with the highest value; where it is beside a taken one, and so much like it, the best that is not."""
    usable = np.isfinite(values)
    if not usable.any():
        return None
    best = int(np.argmax(np.where(usable, values, -np.inf)))
    if best in taken:
        return best
    rows = np.arange(len(values))
    for row in taken:
        usable &= np.abs(rows - row) > len(values) // _APART
    return int(np.argmax(np.where(usable, values, -np.inf))) if usable.any() else best


def _errors_m(grid: LocationGrid, grid_probs: np.ndarray, truth_enu_m: np.ndarray) -> np.ndarray:
    return np.array(
        [np.hypot(*(point_and_sigma(p, grid)[0] - t)) for p, t in zip(grid_probs, truth_enu_m, strict=True)]
    )
