"""ImageSpec and the one evaluation transform, used by ingest, training, evaluation and on the robot.

One rule of resizing everywhere: an image becomes a square of `stored_px`, as `ingest` stores it, and from there
the network's `size_px`. A camera's image and its stored copy thus reach the network through the same pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from campus_visual_gps.errors import ConfigError, ImageError

MIN_SIZE_PX, MAX_SIZE_PX = 32, 1024
STORED_SIZE_PX = 320  # paper, section 3.3: the best trade-off of landmarks against training time


@dataclass(frozen=True)
class ImageSpec:
    """What the network expects: a square of `size_px`, RGB / 255, less `mean`, over `std`."""

    size_px: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    stored_px: int = STORED_SIZE_PX

    def __post_init__(self):
        object.__setattr__(self, "mean", tuple(float(v) for v in self.mean))
        object.__setattr__(self, "std", tuple(float(v) for v in self.std))
        if not all(MIN_SIZE_PX <= size <= MAX_SIZE_PX for size in (self.size_px, self.stored_px)):
            raise ConfigError(
                f"image size {self.size_px} (stored {self.stored_px}) is outside {MIN_SIZE_PX}..{MAX_SIZE_PX} px"
            )
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ConfigError("image mean and std take three numbers each, std above zero")


def check_rgb(rgb: np.ndarray) -> np.ndarray:
    """`rgb`, if it is (H, W, 3) uint8 with sides of 8 px or more. Raises ImageError that says what came."""
    if not isinstance(rgb, np.ndarray):
        raise ImageError(f"expected a numpy array (H, W, 3) uint8 RGB, got {type(rgb).__name__}")
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise ImageError(f"expected (H, W, 3) uint8 RGB, got shape {rgb.shape} of {rgb.dtype}")
    if min(rgb.shape[:2]) < 8:
        raise ImageError(f"image of {rgb.shape[1]} x {rgb.shape[0]} px is too small: expected 8 px or more a side")
    return rgb


def resize_square(rgb: np.ndarray, size_px: int) -> np.ndarray:
    """(H, W, 3) uint8 -> (size_px, size_px, 3) uint8, the aspect ratio not kept (paper, section 3.3).

    Sides that shrink are averaged over area, which keeps fine texture from aliasing; sides that grow are
    interpolated.
    """
    height, width = rgb.shape[:2]
    if (height, width) == (size_px, size_px):
        return rgb
    shrunk = (min(width, size_px), min(height, size_px))
    if shrunk != (width, height):
        rgb = cv2.resize(rgb, shrunk, interpolation=cv2.INTER_AREA)
    if shrunk != (size_px, size_px):
        rgb = cv2.resize(rgb, (size_px, size_px), interpolation=cv2.INTER_LINEAR)
    return rgb


def prepare(rgb: np.ndarray, spec: ImageSpec) -> np.ndarray:
    """(H, W, 3) uint8 RGB -> (size_px, size_px, 3) uint8 RGB through the stored size. Raises ImageError."""
    return resize_square(resize_square(check_rgb(rgb), spec.stored_px), spec.size_px)


def normalise(images, spec: ImageSpec):
    """Torch uint8 (..., S, S, 3) -> float32 (..., 3, S, S) on the same device, normalised as the network expects."""
    scaled = images.float()
    return standardise(scaled, scaled.new_tensor(spec.mean), scaled.new_tensor(spec.std))


def standardise(images, mean, std):
    """Torch uint8 (..., S, S, 3) and tensors (3,) -> float32 (..., 3, S, S): images / 255, less the mean, over std."""
    # channels stay last in memory, which is the layout that the convolutions run in
    return images.float().div(255.0).sub(mean).div(std).movedim(-1, -3)
