"""Geometric augmentations of square images (S, S, 3) uint8 RGB. Rotation and perspective share one interpolation.

Coordinates are those of pixel edges: the image spans 0 to S in x to the right and in y downwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

# The binary places that fillPoly reads as a fraction of a pixel.
_POLYGON_SHIFT = 6


class Rectangle(NamedTuple):
    """Whole pixels."""

    left: int
    top: int
    width: int
    height: int


def rectangle(
    area_share: float, aspect: float, place: tuple[float, float], size_px: int, aspects: tuple[float, float]
) -> Rectangle:
    """A rectangle inside the image.

    Args:
        area_share: Its share of the image's area.
        aspect: Of height to width, 0 to 1 in the logarithm of the range `aspects`, as far as it fits.
        place: 0 to 1 in x and y.
        size_px: Side of the image.
        aspects: Range (low, high) with 1 inside.
    """
    low, high = math.log(max(aspects[0], area_share)), math.log(min(aspects[1], 1.0 / area_share))
    ratio = math.exp(low + aspect * (high - low))
    height, width = (
        min(size_px, max(1, round(size_px * math.sqrt(share)))) for share in (area_share * ratio, area_share / ratio)
    )
    left, top = (int(share * (size_px - side + 1)) for share, side in zip(place, (width, height), strict=True))
    return Rectangle(left, top, width, height)


def resized_crop(rgb: np.ndarray, crop: Rectangle) -> np.ndarray:
    """A crop, enlarged to the size of the image."""
    cut = rgb[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
    return cv2.resize(cut, rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def horizontal_flip(rgb: np.ndarray) -> np.ndarray:
    """The mirrored image."""
    return cv2.flip(rgb, 1)


def rotation_matrix(angle_deg: float, size_px: int) -> np.ndarray:
    """(3, 3) mapping of a rotation around the centre, counter-clockwise in the picture."""
    centre = (size_px / 2.0, size_px / 2.0)
    return np.vstack([cv2.getRotationMatrix2D(centre, angle_deg, 1.0), [0.0, 0.0, 1.0]])


def corners(size_px: int) -> np.ndarray:
    """(4, 2) float32: top left, top right, bottom right, bottom left."""
    return np.array([[0, 0], [size_px, 0], [size_px, size_px], [0, size_px]], np.float32)


def perspective_matrix(moved_corners: np.ndarray, size_px: int) -> np.ndarray:
    """(3, 3) mapping that moves the corners of the image to `moved_corners` (4, 2)."""
    return cv2.getPerspectiveTransform(corners(size_px), moved_corners.astype(np.float32))


def warp(rgb: np.ndarray, mappings: Sequence[np.ndarray]) -> np.ndarray:
    """The image under one mapping (3, 3) after the other, with one bilinear interpolation; black outside.

    What a mapping moves out of the image does not come back with the next one, as if each made an image.
    """
    size_px = len(rgb)
    total = np.eye(3)
    for mapping in mappings:
        total = mapping @ total
    # OpenCV counts from the centres of the pixels
    to_centres = np.array([[1.0, 0.0, -0.5], [0.0, 1.0, -0.5], [0.0, 0.0, 1.0]])
    warped = cv2.warpPerspective(rgb, to_centres @ total @ np.linalg.inv(to_centres), (size_px, size_px))
    after = np.eye(3)
    for mapping in reversed(mappings[1:]):
        after = after @ mapping
        _blacken_outside(warped, cv2.perspectiveTransform(corners(size_px)[None], after)[0] - 0.5)
    return warped


def _blacken_outside(image: np.ndarray, quadrilateral: np.ndarray) -> None:
    """Fill the outside of a quadrilateral (4, 2), in OpenCV's coordinates, in place."""
    margin = 2
    border = corners(len(image) + 2 * margin) - margin
    # Between two nested outlines, even and odd leave the inside as it is. The outline itself is drawn, so it is put
    # half a pixel outwards.
    centre = quadrilateral.mean(axis=0)
    outwards = quadrilateral + 0.5 * np.sign(quadrilateral - centre)
    outlines = [np.round(outline * (1 << _POLYGON_SHIFT)).astype(np.int32) for outline in (border, outwards)]
    cv2.fillPoly(image, outlines, (0, 0, 0), shift=_POLYGON_SHIFT)
