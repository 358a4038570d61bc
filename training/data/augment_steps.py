"""The augmentations, each a step that is told by uniform random numbers whether and how strongly it acts.

A step takes the same count of numbers whatever comes of them. With one seed, trainings that differ in one augmentation
therefore see the same of all others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np

from training.augment_settings import AugmentSettings
from training.data import geometric, photometric

# Ranges (low, high) of the aspect ratio of a crop and of an erased rectangle, as in torchvision.
_CROP_ASPECTS = (3.0 / 4.0, 4.0 / 3.0)
_ERASED_ASPECTS = (0.3, 3.3)


class Step(ABC):
    """One augmentation.

    Attributes:
        draws: The count of its random numbers.
        on: Whether it can act with these settings.
    """

    draws: ClassVar[int]
    on: bool

    @abstractmethod
    def __init__(self, settings: AugmentSettings): ...

    @abstractmethod
    def __call__(self, rgb: np.ndarray, uniform: Sequence[float]) -> tuple[np.ndarray, str]:
        """The image (S, S, 3) uint8, the given one not changed, and what was done to it; "" for nothing.

        Args:
            rgb: (S, S, 3) uint8 RGB.
            uniform: `draws` numbers from 0 up to 1.
        """


class ResizedCrop(Step):
    """Enlarges a crop. Invalid for positions (paper, section 6.4)."""

    draws = 5

    def __init__(self, settings: AugmentSettings):
        self.p, self.area = settings.resized_crop_p, settings.resized_crop_scale
        self.on = self.p > 0

    def __call__(self, rgb: np.ndarray, uniform: Sequence[float]) -> tuple[np.ndarray, str]:
        if uniform[0] >= self.p:
            return rgb, ""
        share = _within(self.area, uniform[1])
        crop = geometric.rectangle(share, uniform[2], (uniform[3], uniform[4]), len(rgb), _CROP_ASPECTS)
        return geometric.resized_crop(rgb, crop), f"crop {share:.0%}"


class HorizontalFlip(Step):
    """Mirrors. Invalid for positions (paper, section 6.7)."""

    draws = 1

    def __init__(self, settings: AugmentSettings):
        self.p = settings.horizontal_flip_p
        self.on = self.p > 0

    def __call__(self, rgb: np.ndarray, uniform: Sequence[float]) -> tuple[np.ndarray, str]:
        return (geometric.horizontal_flip(rgb), "flip") if uniform[0] < self.p else (rgb, "")


class Warp(Step):
    """Rotation, then perspective (paper, section 3.4), with one interpolation."""

    draws = 10

    def __init__(self, settings: AugmentSettings):
        self.rotation_deg = settings.rotation_deg
        self.perspective = settings.perspective_scale
        self.perspective_p = settings.perspective_p if self.perspective > 0 else 0.0
        self.on = self.rotation_deg > 0 or self.perspective_p > 0

    def __call__(self, rgb: np.ndarray, uniform: Sequence[float]) -> tuple[np.ndarray, str]:
        size_px, mappings, done = len(rgb), [], []
        if self.rotation_deg > 0:
            angle_deg = _within((-self.rotation_deg, self.rotation_deg), uniform[0])
            mappings.append(geometric.rotation_matrix(angle_deg, size_px))
            done.append(f"rotation {angle_deg:+.1f}°")
        if uniform[1] < self.perspective_p:
            corners = geometric.corners(size_px)
            inwards = np.where(corners > 0, -1.0, 1.0) * np.reshape(uniform[2:10], (4, 2))
            moved = corners + inwards * self.perspective * size_px / 2.0
            mappings.append(geometric.perspective_matrix(moved, size_px))
            done.append("perspective")
        return (geometric.warp(rgb, mappings), ", ".join(done)) if mappings else (rgb, "")


class ColorJitter(Step):
    """Brightness, contrast, saturation and hue in random order."""

    draws = 8

    def __init__(self, settings: AugmentSettings):
        ranges = {
            name: (max(0.0, 1.0 - spread), 1.0 + spread)
            for name in ("brightness", "contrast", "saturation")
            if (spread := getattr(settings, name)) > 0
        }
        self.ranges = ranges | ({"hue": (-settings.hue, settings.hue)} if settings.hue > 0 else {})
        self.on = bool(self.ranges)

    def __call__(self, rgb: np.ndarray, uniform: Sequence[float]) -> tuple[np.ndarray, str]:
        done = []
        for index in sorted(range(4), key=uniform[4:8].__getitem__):
            name, adjust = _ADJUSTMENTS[index]
            if name in self.ranges:
                factor = _within(self.ranges[name], uniform[index])
                rgb = adjust(rgb, factor)
                done.append(f"{name} {factor:.2f}")
        return rgb, ", ".join(done)


class Grayscale(Step):
    """Makes grey images."""

    draws = 1

    def __init__(self, settings: AugmentSettings):
        self.p = settings.grayscale_p
        self.on = self.p > 0

    def __call__(self, rgb: np.ndarray, uniform: Sequence[float]) -> tuple[np.ndarray, str]:
        return (photometric.to_greyscale(rgb), "grey") if uniform[0] < self.p else (rgb, "")


class NightSimulation(Step):
    """Reduces brightness and contrast (paper, section 5.6)."""

    draws = 3

    def __init__(self, settings: AugmentSettings):
        self.p, (self.brightness, self.contrast) = settings.night_p, settings.night_ranges
        self.on = self.p > 0

    def __call__(self, rgb: np.ndarray, uniform: Sequence[float]) -> tuple[np.ndarray, str]:
        if uniform[0] >= self.p:
            return rgb, ""
        brightness, contrast = _within(self.brightness, uniform[1]), _within(self.contrast, uniform[2])
        return photometric.simulate_night(rgb, brightness, contrast), f"night {brightness:.2f} / {contrast:.2f}"


class SensorNoise(Step):
    """Adds noise whose sigma is drawn up to a maximum."""

    draws = 2

    def __init__(self, settings: AugmentSettings):
        self.max_sigma = settings.noise_sigma
        self.on = self.max_sigma > 0

    def __call__(self, rgb: np.ndarray, uniform: Sequence[float]) -> tuple[np.ndarray, str]:
        sigma = uniform[0] * self.max_sigma
        return photometric.add_sensor_noise(rgb, sigma, int(uniform[1] * 2**31)), f"noise {sigma:.1f}"


class JpegCompression(Step):
    """Encodes and decodes."""

    draws = 2

    def __init__(self, settings: AugmentSettings):
        self.p, self.quality = settings.jpeg_p, settings.jpeg_quality
        self.on = self.p > 0

    def __call__(self, rgb: np.ndarray, uniform: Sequence[float]) -> tuple[np.ndarray, str]:
        if uniform[0] >= self.p:
            return rgb, ""
        low, high = self.quality
        quality = low + int(uniform[1] * (high - low + 1))
        return photometric.compress_jpeg(rgb, quality), f"JPEG {quality}"


class Erasing(Step):
    """Sets a rectangle to 0, the mean colour of a normalised image, in place."""

    draws = 5

    def __init__(self, settings: AugmentSettings):
        self.p, self.area = settings.erasing_p, settings.erasing_area
        self.on = self.p > 0

    def __call__(self, rgb: np.ndarray, uniform: Sequence[float]) -> tuple[np.ndarray, str]:
        """The given array (S, S, 3), here float32 and normalised, and what was done to it."""
        if uniform[0] >= self.p:
            return rgb, ""
        share = _within(self.area, uniform[1])
        place = (uniform[3], uniform[4])
        left, top, width, height = geometric.rectangle(share, uniform[2], place, len(rgb), _ERASED_ASPECTS)
        rgb[top : top + height, left : left + width] = 0.0
        return rgb, f"erased {share:.0%}"


# In the paper's order (sections 3.4 and 5.5): rotation before perspective, photometric after geometric, erasing last.
# Noise and compression follow what changes the scene, as in a camera. Without them a network may depend on details
# that they change: the estimate of one trained on real photos moved by 4 m when noise of one level was added.
PIXEL_STEPS: tuple[type[Step], ...] = (
    ResizedCrop,
    HorizontalFlip,
    Warp,
    ColorJitter,
    Grayscale,
    NightSimulation,
    SensorNoise,
    JpegCompression,
)

_ADJUSTMENTS: tuple[tuple[str, Callable[[np.ndarray, float], np.ndarray]], ...] = (
    ("brightness", photometric.adjust_brightness),
    ("contrast", photometric.adjust_contrast),
    ("saturation", photometric.adjust_saturation),
    ("hue", photometric.adjust_hue),
)


def _within(bounds: tuple[float, float], share: float) -> float:
    low, high = bounds
    return low + share * (high - low)
