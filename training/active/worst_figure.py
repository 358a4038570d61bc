"""One audited photo as a PNG: the photo, its map, and the training photos to compare with."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from matplotlib import font_manager
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from campus_visual_gps.errors import printable
from training.active.background import Background
from training.active.material import NEIGHBOURS, Material
from training.active.training_photos import Neighbour
from training.active.worst_map import LABEL, PREDICTION, SitePhotos, draw_map, legend_handles
from training.active.worst_text import facts, heading, neighbour_caption
from training.data.dataset import read_rgb
from training.report.palette import DPI

MAP_PX, _LEGEND_PX = 640, 100
_MARGIN_PX, _GAP_PX, _BORDER_PX = 20, 16, 5
_WIDTH_PX = 2 * MAP_PX + 3 * _MARGIN_PX
_TITLE_PX, _TEXT_PX, _CAPTION_PX = 26, 16, 13
_THUMBNAIL_PX = (_WIDTH_PX - 2 * _MARGIN_PX - (2 * NEIGHBOURS - 1) * _GAP_PX) // (2 * NEIGHBOURS)
_THUMBNAIL_HEIGHT_PX = _THUMBNAIL_PX * 4 // 3  # of a photo in portrait


@dataclass(frozen=True)
class Card:
    """One photo: its rank, material, and the files of its images; b"" for an image that is not there."""

    rank: int
    material: Material
    photo_jpeg: bytes
    map_png: bytes
    near_label: Sequence[tuple[Neighbour, bytes]]
    near_prediction: Sequence[tuple[Neighbour, bytes]]


def map_png(material: Material, site: SitePhotos, background: Background) -> bytes:
    """The map with its legend, MAP_PX wide."""
    height_px = MAP_PX + _LEGEND_PX
    figure = Figure(figsize=(MAP_PX / DPI, height_px / DPI), dpi=DPI, facecolor="white")
    draw_map(
        figure.add_axes((0.004, _LEGEND_PX / height_px, 0.992, MAP_PX / height_px - 0.004)), material, site, background
    )
    figure.legend(
        handles=legend_handles(material),
        loc="lower center",
        ncols=3,
        frameon=False,
        fontsize=7.5,
        borderaxespad=0.1,
        columnspacing=1.2,
        handletextpad=0.4,
        labelspacing=0.35,
    )
    buffer = io.BytesIO()
    # without the version of matplotlib: the same map gives the same bytes
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def jpeg_bytes(path: Path, aspect: float, side_px: int) -> bytes:
    """A stored square copy in the shape of its original, as JPEG; `side_px` is its longer side."""
    longer = max(aspect, 1.0 / aspect)
    width, height = (side_px, side_px / longer) if aspect >= 1.0 else (side_px / longer, side_px)
    image = Image.fromarray(read_rgb(path))
    buffer = io.BytesIO()
    size = (max(1, round(width)), max(1, round(height)))
    image.resize(size, Image.Resampling.LANCZOS).save(buffer, format="JPEG", quality=85)
    return buffer.getvalue()


def photo_png(card: Card) -> bytes:
    """The facts; the photo beside its map; and below, the training photos near the label and near the prediction."""
    lines = [printable(f"{name}: {value}") for name, value in facts(card.material)]
    half = (len(lines) + 1) // 2
    photo_y = _MARGIN_PX + _TITLE_PX + _GAP_PX + half * (_TEXT_PX + 6) + _GAP_PX
    thumbnails_y = photo_y + MAP_PX + _LEGEND_PX + _GAP_PX
    height_px = thumbnails_y + 2 * _CAPTION_PX + 10 + _THUMBNAIL_HEIGHT_PX + _MARGIN_PX
    canvas = Image.new("RGB", (_WIDTH_PX, height_px), "white")
    draw = ImageDraw.Draw(canvas)
    draw.text(
        (_MARGIN_PX, _MARGIN_PX),
        _fit(printable(heading(card.material, card.rank)), _TITLE_PX, _WIDTH_PX - 2 * _MARGIN_PX),
        "black",
        _font(_TITLE_PX),
    )
    for column, texts in enumerate((lines[:half], lines[half:])):
        for number, text in enumerate(texts):
            at = (
                _MARGIN_PX + column * (MAP_PX + _MARGIN_PX),
                _MARGIN_PX + _TITLE_PX + _GAP_PX + number * (_TEXT_PX + 6),
            )
            draw.text(at, _fit(text, _TEXT_PX, MAP_PX), "black", _font(_TEXT_PX))
    _paste(canvas, card.photo_jpeg, (_MARGIN_PX, photo_y), (MAP_PX, MAP_PX))
    _paste(canvas, card.map_png, (2 * _MARGIN_PX + MAP_PX, photo_y), (MAP_PX, MAP_PX + _LEGEND_PX))
    groups = (("L", LABEL, card.near_label, 0), ("P", PREDICTION, card.near_prediction, NEIGHBOURS))
    for letter, colour, found, first in groups:
        for number, (near, jpeg) in enumerate(found):
            x = _MARGIN_PX + (first + number) * (_THUMBNAIL_PX + _GAP_PX)
            _thumbnail(canvas, jpeg, (x, thumbnails_y), neighbour_caption(near, f"{letter}{number + 1}"), colour)
    buffer = io.BytesIO()
    canvas.save(buffer, format="PNG")
    return buffer.getvalue()


def _thumbnail(canvas: Image.Image, jpeg: bytes, at: tuple[int, int], caption: str, colour: str) -> None:
    draw = ImageDraw.Draw(canvas)
    for number, line in enumerate(printable(caption).split(", ", 1)):
        position = (at[0], at[1] + number * (_CAPTION_PX + 3))
        draw.text(position, _fit(line, _CAPTION_PX, _THUMBNAIL_PX), "black", _font(_CAPTION_PX))
    top = at[1] + 2 * _CAPTION_PX + 10
    space = (_THUMBNAIL_PX - 2 * _BORDER_PX, _THUMBNAIL_HEIGHT_PX - 2 * _BORDER_PX)
    box = _paste(canvas, jpeg, (at[0] + _BORDER_PX, top + _BORDER_PX), space)
    left, upper, right, lower = (
        box[0] - _BORDER_PX,
        box[1] - _BORDER_PX,
        box[2] + _BORDER_PX - 1,
        box[3] + _BORDER_PX - 1,
    )
    draw.rectangle((left, upper, right, lower), outline=colour, width=_BORDER_PX)


def _paste(canvas: Image.Image, data: bytes, at: tuple[int, int], space: tuple[int, int]) -> tuple[int, int, int, int]:
    """Paste an image as large as it fits into a space (width, height); the box that it fills."""
    if not data:
        ImageDraw.Draw(canvas).text(at, "no stored copy", "black", _font(_TEXT_PX))
        return (*at, at[0] + space[0], at[1] + space[1])
    image = Image.open(io.BytesIO(data)).convert("RGB")
    scale = min(space[0] / image.width, space[1] / image.height)
    if scale != 1.0:
        image = image.resize(
            (max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.LANCZOS
        )
    canvas.paste(image, at)
    return (*at, at[0] + image.width, at[1] + image.height)


def _fit(text: str, size_px: int, width_px: int) -> str:
    """The text, shortened at its end where it is too wide."""
    if _font(size_px).getlength(text) <= width_px:
        return text
    while text and _font(size_px).getlength(f"{text}…") > width_px:
        text = text[:-1]
    return f"{text}…"


@cache
def _font(size_px: int) -> ImageFont.FreeTypeFont:
    """Matplotlib's own font, which is wherever matplotlib is."""
    return ImageFont.truetype(font_manager.findfont("DejaVu Sans"), size_px)
