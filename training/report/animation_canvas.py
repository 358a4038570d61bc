"""Draws one picture of an animated drive: the photo, both maps and what is known in words."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
from matplotlib import font_manager
from matplotlib.colors import to_rgb
from PIL import Image, ImageDraw, ImageFont

from campus_visual_gps.errors import printable
from training.report.belief_sequence import BeliefSequence
from training.report.grid_raster import COLOURS, NORM, TICK_LABELS, TICKS, TRUTH, GridRaster
from training.report.palette import TICKS as LENGTHS_M

_MARGIN, _TITLE, _LINE, _SIDE = 10, 24, 21, 264  # pixels; _SIDE is the width of the column with photo and text
_PHOTO_HEIGHT = 200
_MAP_WIDTH, _MAP_HEIGHT = 430, 260
_BAR_HEIGHT = 12
_FINE = 4  # bits of a pixel's fraction that OpenCV's drawing takes
_BLACK, _GREY, _WHITE = (20, 20, 20), (150, 150, 150), (255, 255, 255)
_TRUTH: tuple[int, int, int] = tuple(round(255 * value) for value in to_rgb(TRUTH))  # type: ignore[assignment]
_NAMES = ("posterior of the image alone", "belief of the tracker")


class _Map(NamedTuple):
    """Where a map is in the picture: its upper left corner, its size and the pixels of a metre."""

    left: int
    top: int
    width: int
    height: int
    scale: float


class AnimationCanvas:
    """All pictures of a sequence have one size and one layout."""

    def __init__(self, sequence: BeliefSequence):
        self._sequence = sequence
        self._raster = GridRaster(sequence.grid)
        self._maps = self._layout()
        last = self._maps[-1]
        height = max(last.top + last.height, _TITLE + _PHOTO_HEIGHT + 10 * _LINE + 80) + _MARGIN
        width = last.left + last.width + _MARGIN
        self._size = (width + width % 2, height + height % 2)  # video encoders want even numbers
        self._background = self._draw_background()

    def picture(self, row: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB of what is known after the image of this row."""
        sequence, canvas = self._sequence, self._background.copy()
        photo = sequence.image(row, _SIDE, _PHOTO_HEIGHT)
        canvas[_TITLE : _TITLE + photo.shape[0], _MARGIN : _MARGIN + photo.shape[1]] = photo
        positions = sequence.single_enu_m, sequence.tracked_enu_m
        for place, probs, own in zip(
            self._maps, (sequence.posteriors[row], sequence.beliefs[row]), positions, strict=True
        ):
            box = canvas[place.top : place.top + place.height, place.left : place.left + place.width]
            box[:] = cv2.resize(self._raster.rgb(probs), (place.width, place.height), interpolation=cv2.INTER_NEAREST)
            self._path(canvas, place, sequence.truth_enu_m[: row + 1], _TRUTH)
            self._scale_bar(canvas, place)
            if own is sequence.tracked_enu_m:
                self._path(canvas, place, own[: row + 1], _BLACK)
            self._ring(canvas, place, sequence.truth_enu_m[row])
            self._cross(canvas, place, own[row])
        return self._with_words(canvas, row)

    def _layout(self) -> list[_Map]:
        """The maps one above the other; side by side where the site is higher than wide."""
        west, east, south, north = self._raster.extent_m
        wide = east - west >= north - south
        box = (_MAP_WIDTH, _MAP_HEIGHT) if wide else (_MAP_HEIGHT, _MAP_WIDTH)
        scale = min(box[0] / (east - west), box[1] / (north - south))
        width, height = max(1, round(scale * (east - west))), max(1, round(scale * (north - south)))
        left, top = 2 * _MARGIN + _SIDE, _TITLE
        step = (0, height + _TITLE + 4) if wide else (max(width, 210) + _MARGIN, 0)
        return [_Map(left + i * step[0], top + i * step[1], width, height, scale) for i in range(2)]

    def _draw_background(self) -> np.ndarray:
        image = Image.new("RGB", self._size, _WHITE)
        draw = ImageDraw.Draw(image)
        for place, name in zip(self._maps, _NAMES, strict=True):
            draw.text((place.left, place.top - _TITLE + 4), name, _BLACK, _font(14))
        top = self._size[1] - _MARGIN - 3 * _LINE
        bar = COLOURS(np.linspace(0.0, 1.0, _SIDE), bytes=True)[None, :, :3].repeat(_BAR_HEIGHT, axis=0)
        image.paste(Image.fromarray(np.ascontiguousarray(bar)), (_MARGIN, top))
        for tick, label in zip(TICKS, TICK_LABELS, strict=True):
            x = _MARGIN + float(NORM(tick)) * (_SIDE - 1)
            draw.text((x, top + _BAR_HEIGHT + 3), label, _BLACK, _font(12), anchor=_anchor(tick))
        text = f"probability of a cell of {self._sequence.grid.cell_m:g} m, %"
        draw.text((_MARGIN, top + _BAR_HEIGHT + 19), text, _BLACK, _font(12))
        canvas = np.asarray(image).copy()
        marks = top - 3 * _LINE
        self._marks(canvas, marks)
        return self._named_marks(canvas, marks)

    def _marks(self, canvas: np.ndarray, top: int) -> None:
        for line, colour in ((0, _TRUTH), (1, _BLACK)):
            y = top + line * _LINE + 9
            _line(canvas, np.array([[_MARGIN, y], [_MARGIN + 34, y]], float), colour)
        _circle(canvas, np.array([_MARGIN + 34.0, top + 9.0]))
        _plus(canvas, np.array([_MARGIN + 34.0, top + _LINE + 9.0]))

    def _named_marks(self, canvas: np.ndarray, top: int) -> np.ndarray:
        image = Image.fromarray(canvas)
        draw = ImageDraw.Draw(image)
        for line, text in enumerate(("truth", "position; below, the track")):
            draw.text((_MARGIN + 50, top + line * _LINE), text, _BLACK, _font(13))
        return np.asarray(image)

    def _with_words(self, canvas: np.ndarray, row: int) -> np.ndarray:
        sequence = self._sequence
        image = Image.fromarray(canvas)
        draw = ImageDraw.Draw(image)
        camera = f", {printable(sequence.cameras[row])}" if sequence.cameras[row] else ""
        draw.text((_MARGIN, 4), f"{sequence.times_s[row]:.1f} s{camera}"[:36], _BLACK, _font(14))
        single_m, tracked_m = sequence.errors_m(row)
        lines = (
            ("image alone", single_m, sequence.single_sigma_m[row]),
            ("tracked", tracked_m, sequence.tracked_sigma_m[row]),
        )
        top = _TITLE + _PHOTO_HEIGHT + 10
        for number, text in enumerate(("", "error", "sigma")):
            draw.text((_MARGIN + 112 + 72 * number, top), text, _GREY, _font(13), anchor="ra")
        for line, (name, error_m, sigma_m) in enumerate(lines, start=1):
            y = top + line * _LINE
            draw.text((_MARGIN, y), name, _BLACK, _font(14))
            for number, value in enumerate((error_m, sigma_m), start=1):
                text = f"{value:.1f} m" if np.isfinite(value) else "unknown"
                draw.text((_MARGIN + 112 + 72 * number, y), text, _BLACK, _font(14), anchor="ra")
        lost = sequence.lost_probability[row]
        if np.isfinite(lost):
            draw.text((_MARGIN, top + 3 * _LINE), f"probability of being lost {100.0 * lost:.0f} %", _BLACK, _font(14))
        return np.asarray(image)

    def _pixels(self, place: _Map, points_m: np.ndarray) -> np.ndarray:
        west, _, _, north = self._raster.extent_m
        x = place.left + (points_m[..., 0] - west) * place.scale
        return np.stack([x, place.top + (north - points_m[..., 1]) * place.scale], axis=-1)

    def _path(self, canvas: np.ndarray, place: _Map, points_m: np.ndarray, colour: tuple[int, int, int]) -> None:
        known = points_m[np.isfinite(points_m).all(axis=1)]
        if len(known) > 1:
            box = canvas[place.top : place.top + place.height, place.left : place.left + place.width]
            _line(box, self._pixels(place, known) - (place.left, place.top), colour)

    def _ring(self, canvas: np.ndarray, place: _Map, point_m: np.ndarray) -> None:
        if np.isfinite(point_m).all():
            _circle(canvas, self._inside(place, point_m))

    def _cross(self, canvas: np.ndarray, place: _Map, point_m: np.ndarray) -> None:
        if np.isfinite(point_m).all():
            _plus(canvas, self._inside(place, point_m))

    def _inside(self, place: _Map, point_m: np.ndarray) -> np.ndarray:
        """Pixel of a position; of one beyond the map, the nearest on its border."""
        low = np.array([place.left, place.top])
        return np.clip(self._pixels(place, point_m), low, low + np.array([place.width, place.height]))

    def _scale_bar(self, canvas: np.ndarray, place: _Map) -> None:
        length_m = _bar_m(place.width / place.scale)
        x, y = place.left + 8, place.top + place.height - 8
        cv2.rectangle(canvas, (x, y - 2), (x + round(length_m * place.scale), y), _BLACK, -1)
        image = Image.fromarray(canvas)
        ImageDraw.Draw(image).text((x, y - 18), f"{length_m} m", _BLACK, _font(12))
        canvas[:] = np.asarray(image)


def _bar_m(width_m: float) -> int:
    return max([length for length in LENGTHS_M if length <= width_m / 5.0] or [1])


def _line(canvas: np.ndarray, points: np.ndarray, colour: tuple[int, int, int]) -> None:
    corners = [np.round(points * 2**_FINE).astype(np.int32)]
    cv2.polylines(canvas, corners, False, _WHITE, 3, cv2.LINE_AA, _FINE)
    cv2.polylines(canvas, corners, False, colour, 1, cv2.LINE_AA, _FINE)


def _circle(canvas: np.ndarray, centre: np.ndarray) -> None:
    x, y = (round(float(value) * 2**_FINE) for value in centre)
    for width, colour in ((4, _WHITE), (2, _TRUTH)):
        cv2.circle(canvas, (x, y), 7 << _FINE, colour, width, cv2.LINE_AA, _FINE)


def _plus(canvas: np.ndarray, centre: np.ndarray) -> None:
    x, y = (round(float(value)) for value in centre)
    for width, colour in ((4, _WHITE), (2, _BLACK)):
        cv2.drawMarker(canvas, (x, y), colour, cv2.MARKER_CROSS, 11, width)


def _anchor(tick: float) -> str:
    return {TICKS[0]: "la", TICKS[-1]: "ra"}.get(tick, "ma")


@cache
def _font(size_px: int) -> ImageFont.FreeTypeFont:
    """Matplotlib's own font, which is wherever matplotlib is."""
    return ImageFont.truetype(font_manager.findfont("DejaVu Sans"), size_px)
