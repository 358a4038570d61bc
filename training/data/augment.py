"""The paper's augmentation, beside the evaluation transform of campus_visual_gps.preprocess."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from campus_visual_gps.preprocess import ImageSpec, normalise
from training.config import AugmentConfig


class NightSimulation(nn.Module):
    """Darken and flatten an image with probability p (paper, section 5.6, version 2 of table 10)."""

    def __init__(self, p: float, brightness: tuple[float, float], contrast: tuple[float, float]):
        super().__init__()
        self.p, self.brightness, self.contrast = p, brightness, contrast

    def forward(self, image: Tensor) -> Tensor:
        if torch.rand(()) >= self.p:
            return image
        darker = functional.adjust_brightness(image, _uniform(self.brightness))
        return functional.adjust_contrast(darker, _uniform(self.contrast))


class TrainTransform:
    """(S, S, 3) uint8 RGB tensor -> (3, S, S) float32, augmented and normalised.

    No flip and no resized crop: what they show stands at another place than the label says (section 5.5).
    """

    def __init__(self, config: AugmentConfig, image: ImageSpec):
        self.image = image
        self.pixels = v2.Compose(
            [
                v2.RandomPerspective(distortion_scale=config.perspective_scale, p=0.5),
                v2.RandomRotation(config.rotation_deg, interpolation=v2.InterpolationMode.BILINEAR),
                v2.ColorJitter(config.brightness, config.contrast, config.saturation),
                v2.RandomGrayscale(config.grayscale_p),
                NightSimulation(config.night_p, config.night_brightness, config.night_contrast),
            ]
        )
        self.erasing = v2.RandomErasing(p=config.erasing_p)

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
