"""One audited photo as a PNG: the photo, its map, and the training photos to compare with."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from campus_visual_gps.errors import printable
from training.active.background import Background
from training.active.material import NEIGHBOURS, Material
from training.active.training_photos import Neighbour
from training.active.worst_map import LABEL, PREDICTION, SitePhotos, draw_map, legend_handles
from training.active.worst_text import facts, heading, neighbour_caption
from training.data.dataset import read_rgb
from training.photos.photo_id import find_image
from training.report.palette import DPI

_MAP_INCHES = 5.4


def photo_figure(
    material: Material, rank: int, site: SitePhotos, background: Background, dataset_dir: Path
) -> Figure:
    """The photo beside its map; below, the nearest training photos to the label and to the prediction."""
    figure = Figure(figsize=(14.0, 10.4), layout="constrained", facecolor="white")
    figure.suptitle(printable(heading(material, rank)), fontsize=14, fontweight="bold", x=0.01, ha="left")
    above, legend, below = figure.subfigures(3, 1, height_ratios=[6.6, 0.7, 2.9])
    photo, map_axes = above.subplots(1, 2, width_ratios=[1.0, 1.0])
    _show(photo, material.image, material.aspect)
    photo.set_title("\n".join(printable(f"{name}: {value}") for name, value in facts(material)), loc="left", fontsize=9)
    draw_map(map_axes, material, site, background)
    legend.legend(handles=legend_handles(material), loc="center", ncols=5, frameon=False, fontsize=9)
    thumbnails = below.subplots(1, 2 * NEIGHBOURS)
    for axes in thumbnails:
        axes.set_axis_off()
    groups = (("L", LABEL, material.near_label, 0), ("P", PREDICTION, material.near_prediction, NEIGHBOURS))
    for letter, colour, found, first in groups:
        for number, near in enumerate(found):
            _thumbnail(thumbnails[first + number], near, f"{letter}{number + 1}", colour, dataset_dir)
    return figure


def map_png(material: Material, site: SitePhotos, background: Background) -> bytes:
    """The map alone, with its legend."""
    figure = Figure(figsize=(_MAP_INCHES, _MAP_INCHES + 0.95), layout="constrained", facecolor="white")
    draw_map(figure.add_subplot(), material, site, background)
    figure.legend(
        handles=legend_handles(material), loc="outside lower center", ncols=3, frameon=False, fontsize=7.5,
        columnspacing=1.0, handletextpad=0.4,
    )
    return to_png(figure)


def to_png(figure: Figure) -> bytes:
    """The file of a figure, without the time that it was made: the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def jpeg_bytes(path: Path, aspect: float, height_px: int) -> bytes:
    """A stored square copy in the shape of its original, as JPEG."""
    image = Image.fromarray(read_rgb(path))
    size = (max(1, round(height_px * aspect)), height_px)
    buffer = io.BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).save(buffer, format="JPEG", quality=85)
    return buffer.getvalue()


def _show(axes: Axes, path: Path | None, aspect: float) -> None:
    """A stored square copy, in the shape of its original."""
    axes.set(xticks=[], yticks=[])
    if path is None:
        axes.text(0.5, 0.5, "no stored copy", ha="center", va="center", transform=axes.transAxes)
        return
    rgb = read_rgb(path)
    axes.imshow(rgb, extent=(0.0, aspect, 0.0, 1.0), interpolation="lanczos")


def _thumbnail(axes: Axes, near: Neighbour, name: str, colour: str, dataset_dir: Path) -> None:
    axes.set_axis_on()
    path = find_image(dataset_dir, near.photo_id)
    _show(axes, path, 1.0 if path is None else near.aspect)
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=3.0)
    axes.set_title(printable(neighbour_caption(near, name)), fontsize=8, color="black")

