"""Pictures of tiles with captions: samples of the whole augmentation, and every augmentation on its own."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from campus_visual_gps.errors import printable
from training.report.augmentation_effects import INVALID, Effect

# Pixels of a picture; text is laid out in them too.
_TILE, _GAP, _MARGIN, _LINE, _HEADER_LINE = 190, 12, 16, 13, 17
_TITLE_CHARACTER = 10
_DPI = 100
_CAPTION_PT, _HEADER_PT, _TITLE_PT = 7.5, 9.5, 13
_CAPTION_CHARACTERS, _HEADER_CHARACTERS = 34, 26
_INVALID_COLOUR, _OFF_COLOUR, _USED_COLOUR = "#b2182b", "#666666", "#000000"


@dataclass(frozen=True)
class Tile:
    """An image (S, S, 3) uint8 RGB and the lines below it."""

    rgb: np.ndarray
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Header:
    """The lines above some columns, their number, the lines' colour, and whether the tiles have a border."""

    lines: tuple[str, ...] = ()
    span: int = 1
    colour: str = _USED_COLOUR
    border: bool = False


def centre(rgb: np.ndarray) -> np.ndarray:
    """The middle of an image, so that a pixel of it takes several of a tile."""
    side, size_px = _TILE // 2, len(rgb)
    start = max(0, (size_px - side) // 2)
    return rgb[start : start + side, start : start + side]


def tile(rgb: np.ndarray, name: str, done: str = "", number: str = "") -> Tile:
    """A tile whose caption is a number and a name, cut at its left, and what was done, in as many lines as it takes."""
    shown, room = printable(name), _CAPTION_CHARACTERS - len(number)
    if len(shown) > room:
        shown = "…" + shown[1 - room :]
    return Tile(rgb, (*filter(None, [number + shown]), *_wrapped(done, _CAPTION_CHARACTERS)))


def header_of(effect: Effect, span: int = 1) -> Header:
    """Title and strength of an augmentation, and whether it is invalid or off."""
    width = _HEADER_CHARACTERS * span
    lines = [effect.title, *_wrapped(effect.strength, width)]
    if not effect.valid:
        return Header((*lines, *_wrapped(INVALID, width)), span, _INVALID_COLOUR, border=True)
    return Header(tuple(lines), span, _USED_COLOUR if effect.used else _OFF_COLOUR)


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of a text; items between commas stay whole, if they fit."""
    items = ", ".join(
        item.replace(" ", "\N{NO-BREAK SPACE}") if len(item) < width else item for item in text.split(", ")
    )
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in textwrap.wrap(items, width)]


def draw_tiles(title: str, rows: Sequence[Sequence[Tile]], headers: Sequence[Header] = ()) -> Figure:
    """Rows of tiles below a title and the headers of their columns.

    Args:
        title: May have several lines; the picture is as wide as they need.
        rows: All but the last have the same length.
        headers: Their spans add up to the columns; or none.
    """
    columns = max(len(row) for row in rows)
    caption = max(len(one.lines) for row in rows for one in row) * _LINE
    above = max((len(header.lines) for header in headers), default=0) * _HEADER_LINE + (_GAP if headers else 0)
    top = _MARGIN + round(1.8 * _HEADER_LINE) * len(title.splitlines()) + above
    longest = max(len(line) for line in title.splitlines())
    width = 2 * _MARGIN + max(columns * (_TILE + _GAP) - _GAP, longest * _TITLE_CHARACTER)
    height = top + len(rows) * (_TILE + caption + _GAP) + _MARGIN - _GAP
    figure, axes = _canvas(width, height)
    axes.text(_MARGIN, _MARGIN, title, fontsize=_TITLE_PT, va="top", linespacing=1.5, parse_math=False)
    of_column = [header for header in headers for _ in range(header.span)] or [Header()] * columns
    for row, tiles in enumerate(rows):
        for column, one in enumerate(tiles):
            left, upper = _MARGIN + column * (_TILE + _GAP), top + row * (_TILE + caption + _GAP)
            _place(axes, one, left, upper, of_column[column])
    left = _MARGIN
    for header in headers:
        across = header.span * (_TILE + _GAP) - _GAP
        _write_header(axes, header, left + across / 2, top - 0.6 * _GAP)
        if header.span > 1:
            axes.plot([left, left + across], [top - 0.4 * _GAP] * 2, color=header.colour, lw=1)
        left += across + _GAP
    return figure


def _write_header(axes: Axes, header: Header, centre: float, bottom: float) -> None:
    style: dict[str, Any] = {"color": header.colour, "ha": "center", "va": "bottom", "fontsize": _HEADER_PT}
    for line, text in enumerate(reversed(header.lines)):
        weight = "bold" if line == len(header.lines) - 1 else "normal"
        axes.text(centre, bottom - line * _HEADER_LINE, text, weight=weight, parse_math=False, **style)


def _canvas(width_px: int, height_px: int) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width_px / _DPI, height_px / _DPI), dpi=_DPI)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(0, width_px), ylim=(height_px, 0))
    axes.axis("off")
    return figure, axes


def _place(axes: Axes, one: Tile, left: int, upper: int, header: Header) -> None:
    shrinks = len(one.rgb) > _TILE
    rgb = cv2.resize(one.rgb, (_TILE, _TILE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST)
    axes.imshow(rgb, extent=(left, left + _TILE, upper + _TILE, upper), aspect="auto", interpolation="none")
    if header.border:
        axes.add_patch(Rectangle((left, upper), _TILE, _TILE, fill=False, lw=3, edgecolor=header.colour, ls="--"))
    for line, text in enumerate(one.lines):
        below = upper + _TILE + 3 + line * _LINE
        axes.text(left, below, text, fontsize=_CAPTION_PT, va="top", color="#333333", parse_math=False)
