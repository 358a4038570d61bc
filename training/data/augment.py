"""Training and evaluation transforms: the paper's augmentation, and campus_visual_gps.preprocess without it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from campus_visual_gps.preprocess import ImageSpec, normalise
from training.augment_settings import AugmentSettings
from training.data.augment_steps import PIXEL_STEPS, Erasing

_log = logging.getLogger(__name__)

# Raised when the same settings and seed give other images, so that features of the old ones are made again.
AUGMENTATION_VERSION = 2


class TrainTransform:
    """(S, S, 3) uint8 RGB tensor -> (3, S, S) float32, augmented and normalised; the input is not changed.

    The image stays uint8 until it is normalised, once. All randomness is one draw from torch's generator.

    Attributes:
        draws: The count of uniform random numbers for an image, the same for all settings.
    """

    draws = sum(step.draws for step in PIXEL_STEPS) + Erasing.draws

    def __init__(self, settings: AugmentSettings, image: ImageSpec):
        self.normalise = _Normalise(image)
        first, self.steps = 0, []
        for step_type in PIXEL_STEPS:
            step = step_type(settings)
            if step.on:
                self.steps.append((step, slice(first, first + step.draws)))
            first += step.draws
        self.erasing = Erasing(settings)

    def __call__(self, pixels: Tensor) -> Tensor:
        return self.augment(pixels, torch.rand(self.draws, dtype=torch.float64).tolist())[0]

    def augment(self, pixels: Tensor, uniform: Sequence[float]) -> tuple[Tensor, list[str]]:
        """The augmented image, and what was done to it.

        Args:
            pixels: (S, S, 3) uint8 RGB.
            uniform: `draws` numbers from 0 up to 1.
        """
        rgb, done = pixels.numpy(), []
        for step, own in self.steps:
            rgb, what = step(rgb, uniform[own])
            done.append(what)
        normalised = self.normalise(rgb)
        if self.erasing.on:
            normalised, what = self.erasing(normalised, uniform[-self.erasing.draws :])
            done.append(what)
        return torch.from_numpy(normalised).permute(2, 0, 1), [what for what in done if what]


class EvaluationTransform:
    """(S, S, 3) uint8 RGB tensor -> (3, S, S) float32, normalised only."""

    def __init__(self, image: ImageSpec):
        self.normalise = _Normalise(image)

    def __call__(self, pixels: Tensor) -> Tensor:
        return torch.from_numpy(self.normalise(pixels.numpy())).permute(2, 0, 1)


class _Normalise:
    """(S, S, 3) uint8 -> (S, S, 3) float32, as campus_visual_gps.preprocess does it, looked up for every level."""

    def __init__(self, image: ImageSpec):
        levels = torch.arange(256, dtype=torch.uint8).view(256, 1, 1).expand(256, 1, 3)
        self.table = np.ascontiguousarray(normalise(levels, image).permute(1, 2, 0).numpy())

    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        return cv2.LUT(rgb, self.table)


# Why an augmentation breaks position labels, and what it did to the paper's error.
INVALID_REASONS = {
    "horizontal_flip_p": "a mirrored photo shows a place that does not exist under the coordinates of the real one "
    "(paper, sections 5.5 and 6.7: mean error +2.1 m)",
    "resized_crop_p": "a crop cuts off the landmarks that tell one place from another "
    "(paper, sections 5.5 and 6.4: mean error +4.8 m)",
}


def warn_of_invalid(settings: AugmentSettings) -> None:
    """Log a warning for each augmentation in use that breaks position labels."""
    for name, reason in INVALID_REASONS.items():
        if getattr(settings, name):
            _log.warning(
                "augment.%s is %g, which breaks position labels: %s; set it to 0 but for an ablation",
                name,
                getattr(settings, name),
                reason,
            )
