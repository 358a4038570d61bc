"""Training and evaluation transforms: the paper's augmentation, and campus_visual_gps.preprocess without it."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from campus_visual_gps.preprocess import ImageSpec, normalise
from training.config import AugmentSettings


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


class TrainTransform:
    """(S, S, 3) uint8 RGB tensor -> (3, S, S) float32, augmented and normalised.

    No flip and no resized crop: the label would no longer fit (paper, section 5.5).
    """

    def __init__(self, settings: AugmentSettings, image: ImageSpec):
        self.image = image
        steps: list[nn.Module] = [
            v2.RandomPerspective(distortion_scale=settings.perspective_scale, p=0.5),
            v2.RandomRotation(settings.rotation_deg, interpolation=v2.InterpolationMode.BILINEAR),
            v2.ColorJitter(settings.brightness, settings.contrast, settings.saturation),
            v2.RandomGrayscale(settings.grayscale_p),
            NightSimulation(settings.night_p, settings.night_brightness, settings.night_contrast),
        ]
        # Last, as in a camera. Without them a network may depend on details that noise and an encoder change: the
        # estimate of one trained on real photos moved by 4 m when noise of one level was added.
        if settings.noise_sigma > 0:
            steps.append(SensorNoise(settings.noise_sigma))
        if settings.jpeg_p > 0:
            steps.append(JpegCompression(settings.jpeg_p, settings.jpeg_quality))
        self.pixels = v2.Compose(steps)
        self.erasing = v2.RandomErasing(p=settings.erasing_p)

    def __call__(self, pixels: Tensor) -> Tensor:
        augmented = self.pixels(pixels.permute(2, 0, 1))
        return self.erasing(normalise(augmented.permute(1, 2, 0), self.image))


class EvaluationTransform:
    """(S, S, 3) uint8 RGB tensor -> (3, S, S) float32, normalised only."""

    def __init__(self, image: ImageSpec):
        self.image = image

    def __call__(self, pixels: Tensor) -> Tensor:
        return normalise(pixels, self.image)


def _uniform(bounds: tuple[float, float]) -> float:
    low, high = bounds
    return float(torch.empty(()).uniform_(low, high))
