"""Training and evaluation transforms: the paper's augmentation, and campus_visual_gps.preprocess without it."""

from __future__ import annotations

import logging

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from campus_visual_gps.preprocess import ImageSpec, normalise
from training.config import AugmentSettings

_log = logging.getLogger(__name__)

# Raised when the same settings and seed give other images, so that features of the old ones are made again.
AUGMENTATION_VERSION = 2


class NightSimulation(nn.Module):
    """Reduces brightness and contrast with probability p (paper, section 5.6, version 2 of table 10).

    Args:
        p: Probability.
        brightness: Range (low, high) of the brightness factor.
        contrast: Range (low, high) of the contrast factor.
    """

    def __init__(self, p: float, brightness: tuple[float, float], contrast: tuple[float, float]):
        super().__init__()
        self.p, self.brightness, self.contrast = p, brightness, contrast

    def forward(self, image: Tensor) -> Tensor:
        if torch.rand(()) >= self.p:
            return image
        darker = functional.adjust_brightness(image, _uniform(self.brightness))
        return functional.adjust_contrast(darker, _uniform(self.contrast))


class SensorNoise(nn.Module):
    """Adds Gaussian noise whose sigma is drawn between 0 and `max_sigma` levels of 255."""

    def __init__(self, max_sigma: float):
        super().__init__()
        self.max_sigma = max_sigma

    def forward(self, image: Tensor) -> Tensor:
        noise = torch.randn(image.shape) * _uniform((0.0, self.max_sigma))
        return (image + noise).round_().clamp_(0, 255).to(torch.uint8)


class JpegCompression(nn.Module):
    """Encodes and decodes with probability p, and a quality drawn from a range (low, high).

    Uses OpenCV: torchvision's transform depends on an encoder that is deprecated.
    """

    def __init__(self, p: float, quality: tuple[int, int]):
        super().__init__()
        self.p, self.quality = p, quality

    def forward(self, image: Tensor) -> Tensor:
        if torch.rand(()) >= self.p:
            return image
        low, high = self.quality
        quality = int(torch.randint(low, high + 1, ()))
        bgr = cv2.cvtColor(image.permute(1, 2, 0).contiguous().numpy(), cv2.COLOR_RGB2BGR)
        _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
        decoded = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))
        return torch.from_numpy(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)).permute(2, 0, 1)


class RandomResizedCrop(nn.Module):
    """Enlarges a crop to the size of the image with probability p; `area` is the range of its share of the image."""

    def __init__(self, p: float, size_px: int, area: tuple[float, float]):
        super().__init__()
        self.p, self.crop = p, v2.RandomResizedCrop(size_px, scale=area)

    def forward(self, image: Tensor) -> Tensor:
        return self.crop(image) if torch.rand(()) < self.p else image


class TrainTransform:
    """(S, S, 3) uint8 RGB tensor -> (3, S, S) float32, augmented and normalised.

    The order is the paper's (sections 3.4 and 5.5): rotation before perspective, photometric after geometric
    augmentations, erasing last.
    """

    def __init__(self, settings: AugmentSettings, image: ImageSpec):
        self.image = image
        self.pixels = [*_geometric(settings, image.size_px), *_photometric(settings)]
        self.erasing = v2.RandomErasing(settings.erasing_p, settings.erasing_area) if settings.erasing_p else None

    def __call__(self, pixels: Tensor) -> Tensor:
        augmented = pixels.permute(2, 0, 1)
        for step in self.pixels:
            augmented = step(augmented)
        normalised = normalise(augmented.permute(1, 2, 0), self.image)
        return normalised if self.erasing is None else self.erasing(normalised)


def _geometric(settings: AugmentSettings, size_px: int) -> list[nn.Module]:
    steps: list[nn.Module] = []
    if settings.resized_crop_p:
        steps.append(RandomResizedCrop(settings.resized_crop_p, size_px, settings.resized_crop_scale))
    if settings.horizontal_flip_p:
        steps.append(v2.RandomHorizontalFlip(settings.horizontal_flip_p))
    if settings.rotation_deg:
        steps.append(v2.RandomRotation(settings.rotation_deg, interpolation=v2.InterpolationMode.BILINEAR))
    if settings.perspective_p and settings.perspective_scale:
        steps.append(v2.RandomPerspective(settings.perspective_scale, settings.perspective_p))
    return steps


def _photometric(settings: AugmentSettings) -> list[nn.Module]:
    steps: list[nn.Module] = []
    jitter = (settings.brightness, settings.contrast, settings.saturation, settings.hue)
    if any(jitter):
        steps.append(v2.ColorJitter(*jitter))
    if settings.grayscale_p:
        steps.append(v2.RandomGrayscale(settings.grayscale_p))
    if settings.night_p:
        steps.append(NightSimulation(settings.night_p, *settings.night_ranges))
    # Last, as in a camera. Without them a network may depend on details that noise and an encoder change: the
    # estimate of one trained on real photos moved by 4 m when noise of one level was added.
    if settings.noise_sigma:
        steps.append(SensorNoise(settings.noise_sigma))
    if settings.jpeg_p:
        steps.append(JpegCompression(settings.jpeg_p, settings.jpeg_quality))
    return steps


_INVALID = {
    "horizontal_flip_p": "a mirrored photo shows a place that does not exist, and its label does not follow "
    "(paper, sections 5.5 and 6.7: +2.1 m)",
    "resized_crop_p": "a crop cuts off the landmarks that tell the position, and looks like one taken further ahead "
    "(paper, sections 5.5 and 6.4: +4.8 m)",
}


def warn_of_invalid(settings: AugmentSettings) -> None:
    """Log a warning for each augmentation in use that breaks position labels."""
    for name, reason in _INVALID.items():
        if getattr(settings, name):
            _log.warning(
                "augment.%s is %g, which breaks position labels: %s; set it to 0 but for an ablation",
                name,
                getattr(settings, name),
                reason,
            )


class EvaluationTransform:
    """(S, S, 3) uint8 RGB tensor -> (3, S, S) float32, normalised only."""

    def __init__(self, image: ImageSpec):
        self.image = image

    def __call__(self, pixels: Tensor) -> Tensor:
        return normalise(pixels, self.image)


def _uniform(bounds: tuple[float, float]) -> float:
    low, high = bounds
    return float(torch.empty(()).uniform_(low, high))
