"""Procedural textures of the campus: paving, leaves, and distinct facades.

A texture is (H, W, 3) uint8 sRGB. Row 0 is the top of a wall.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

PIXELS_PER_M = 16  # a photo of 320 px shows a wall at 10 m with about 24 px per metre
MAX_TEXTURE_PX = 768


@dataclass(frozen=True)
class Facade:
    """Appearance of one wall. Colours are sRGB, 0..255."""

    style: str
    wall: tuple[int, int, int]
    accent: tuple[int, int, int]
    sign: str = ""
    storey_m: float = 3.5
    bay_m: float = 3.0
    seed: int = 0


@dataclass(frozen=True)
class Texture:
    """Reflectance of a surface, and its emission at night (lit windows), both (H, W, 3) uint8 sRGB."""

    reflectance: np.ndarray
    emission: np.ndarray | None = None


def plain(colour, rng: np.random.Generator, grain: float = 6.0, size_px: int = 64) -> np.ndarray:
    """One colour with soft grain, so that the surface is not perfectly uniform."""
    noise = cv2.GaussianBlur(rng.normal(0.0, grain * 2.0, (size_px, size_px, 1)), (0, 0), 1.2)
    return _clip(np.asarray(colour, float) + noise[..., None])


def speckle(colours, rng: np.random.Generator, size_px: int = 128, blur_px: float = 1.5) -> np.ndarray:
    """Patches of several colours: grass, leaves, gravel."""
    fields = rng.normal(size=(len(colours), size_px, size_px))
    fields = np.stack([cv2.GaussianBlur(f, (0, 0), blur_px, borderType=cv2.BORDER_REFLECT) for f in fields])
    picture = np.asarray(colours, float)[np.argmax(fields, axis=0)]
    return _clip(picture + rng.normal(0.0, 7.0, (size_px, size_px, 1)))


def tiles(colours, joint, rng: np.random.Generator, count: int = 4, size_px: int = 128) -> np.ndarray:
    """`count` x `count` slabs with joints, in alternating colours."""
    picture = np.empty((size_px, size_px, 3))
    step = size_px // count
    for row in range(count):
        for column in range(count):
            colour = np.asarray(colours[(row + column) % len(colours)], float) + rng.normal(0.0, 6.0)
            picture[row * step : (row + 1) * step, column * step : (column + 1) * step] = colour
    picture[::step], picture[:, ::step] = joint, joint
    return _clip(picture + rng.normal(0.0, 4.0, (*picture.shape[:2], 1)))


def facade(look: Facade, width_m: float, height_m: float) -> Texture:
    """Draw one wall of the given size."""
    rng = np.random.default_rng(look.seed)
    scale = min(PIXELS_PER_M, MAX_TEXTURE_PX / width_m)
    size = (max(16, round(height_m * scale)), max(16, round(width_m * scale)))
    picture = np.full((*size, 3), look.wall, np.float64)
    lit = np.zeros((*size, 3))
    _STYLES[look.style](picture, lit, look, scale, rng)
    _door(picture, lit, look, scale)
    if look.sign:
        _sign(picture, lit, look, scale)
    picture += cv2.GaussianBlur(rng.normal(0.0, 8.0, size), (0, 0), 1.0)[..., None]
    return Texture(_clip(picture), _clip(lit))


def _cells(shape, look: Facade, scale: float):
    """Rectangle (top, bottom, left, right) in pixels of every bay of every storey."""
    rows = max(1, round(shape[0] / scale / look.storey_m))
    columns = max(1, round(shape[1] / scale / look.bay_m))
    tops, lefts = np.linspace(0, shape[0], rows + 1), np.linspace(0, shape[1], columns + 1)
    for r in range(rows):
        for c in range(columns):
            yield int(tops[r]), int(tops[r + 1]), int(lefts[c]), int(lefts[c + 1])


def _window(picture, lit, cell, inset, rng, lit_share=0.35):
    """A pane inside a cell; a share of the panes is lit at night, in white or yellow."""
    top, bottom, left, right = cell
    dy, dx = (bottom - top) * inset, (right - left) * inset
    rows, columns = slice(int(top + dy), int(bottom - dy)), slice(int(left + dx), int(right - dx))
    picture[rows, columns] = np.array([52, 66, 84]) + rng.normal(0.0, 9.0)
    if rng.random() < lit_share:
        lit[rows, columns] = ((255, 214, 140), (225, 235, 255))[rng.integers(2)]


def _grid(picture, lit, look, scale, rng):
    for cell in _cells(picture.shape, look, scale):
        _window(picture, lit, cell, 0.22, rng)


def _bands(picture, lit, look, scale, rng):
    for top, bottom, left, right in _cells(picture.shape, look, scale):
        third = (bottom - top) // 3
        picture[bottom - third : bottom, left:right] = look.accent
        _window(picture, lit, (top, bottom - third, left, right), 0.04, rng)


def _panels(picture, lit, look, scale, rng):
    palette = np.array([look.wall, look.accent, np.add(look.wall, look.accent) // 2])
    for cell in _cells(picture.shape, look, scale):
        top, bottom, left, right = cell
        picture[top : bottom - 1, left : right - 1] = palette[rng.integers(len(palette))]
        if rng.random() < 0.4:
            _window(picture, lit, cell, 0.25, rng)


def _fins(picture, lit, look, scale, rng):
    for cell in _cells(picture.shape, look, scale):
        _window(picture, lit, cell, 0.03, rng, lit_share=0.5)
    step = max(3, round(look.bay_m * scale / 2))
    for left in range(0, picture.shape[1], step):
        picture[:, left : left + max(2, step // 4)] = look.accent if (left // step) % 3 else look.wall


def _bricks(picture, lit, look, scale, rng):
    course = max(3, round(0.5 * scale))
    for row, top in enumerate(range(0, picture.shape[0], course)):
        picture[top] = look.accent
        for left in range((row % 2) * course, picture.shape[1], 2 * course):
            picture[top : top + course, left] = look.accent
    _grid(picture, lit, look, scale, rng)


def _mural(picture, lit, look, scale, rng):
    """Large bright shapes, unique for each wall."""
    height, width = picture.shape[:2]
    canvas = np.ascontiguousarray(picture, np.uint8)
    for _ in range(max(8, round(width / scale / 2.0))):
        colour = tuple(int(c) for c in rng.integers(20, 250, 3))
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        size = max(2, int(rng.uniform(0.12, 0.4) * height))
        if rng.random() < 0.5:
            cv2.circle(canvas, centre, size, colour, -1)
        else:
            points = np.asarray(centre) + rng.integers(-2 * size, 2 * size + 1, (3, 2))
            cv2.fillPoly(canvas, [points.astype(np.int32)], colour)
    picture[:] = canvas


def _classrooms(picture, lit, look, scale, rng):
    """The same door and window in every bay, also at night, which makes the walkway ambiguous."""
    for top, bottom, left, right in _cells(picture.shape, look, scale):
        width, height = right - left, bottom - top
        picture[bottom - int(0.6 * height) :, left + width // 10 : left + 4 * width // 10] = look.accent
        pane = slice(bottom - int(0.65 * height), bottom - int(0.3 * height))
        picture[pane, left + width // 2 : left + 9 * width // 10] = (60, 70, 82)
        lit[pane, left + width // 2 : left + 9 * width // 10] = (120, 125, 120)


def _door(picture, lit, look, scale):
    if look.style in ("classrooms", "mural"):
        return
    height, width = int(2.6 * scale), int(2.4 * scale)
    left = int(picture.shape[1] * (0.15 + 0.7 * ((look.seed * 0.37) % 1.0)))
    picture[-height:, left : left + width] = look.accent
    picture[-height + 3 :, left + 3 : left + width - 3] = (45, 40, 38)
    lit[-height + 3 :, left + 3 : left + width - 3] = (255, 200, 120)


def _sign(picture, lit, look, scale):
    """The number of the building, white on dark, as high as a storey, lit at night."""
    height, width = picture.shape[:2]
    size = min(int(3.2 * scale), height // 2)
    font = size / 26.0
    (text_w, text_h), _ = cv2.getTextSize(look.sign, cv2.FONT_HERSHEY_SIMPLEX, font, 2)
    left, top = max(2, int(width * 0.62) - text_w // 2), max(2, int(0.3 * scale))
    board = np.full((text_h + 10, min(text_w + 10, width - left - 1), 3), (25, 25, 40), np.uint8)
    cv2.putText(
        board, look.sign, (5, text_h + 4), cv2.FONT_HERSHEY_SIMPLEX, font, (250, 250, 250), max(2, int(font * 2.2))
    )
    board = board[: height - top]
    picture[top : top + board.shape[0], left : left + board.shape[1]] = board
    lit[top : top + board.shape[0], left : left + board.shape[1]] = np.where(board > 150, board, 0)


def _clip(picture: np.ndarray) -> np.ndarray:
    return np.clip(picture, 0, 255).astype(np.uint8)


_STYLES = {
    "grid": _grid,
    "bands": _bands,
    "panels": _panels,
    "fins": _fins,
    "bricks": _bricks,
    "mural": _mural,
    "classrooms": _classrooms,
}
