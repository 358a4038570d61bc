"""OutlierMemory: how probable an image is an outlier, and what outliers have named before."""

from __future__ import annotations

import math

import numpy as np

from campus_visual_gps.tracking.calibration import TrackingCalibration
from campus_visual_gps.tracking.raster import BeliefRaster

# Before any image an outlier names every place alike: this counts as much as one outlier that tells one place.
_UNIFORM_IMAGES = 1.0
# However much an image contradicts, a belief that is wrong needs images to be mended.
_MAX_OUTLIER_PROBABILITY = 0.95


class OutlierMemory:
    """A running density of the places that outliers named: in one light, wrong images name few places, again and again.

    An image is either right, and as probable as its posterior says where the camera is, or an outlier, and as probable
    as the density of outliers says what it names. The belief before it tells which of both is more probable. With that
    probability it becomes a sample of the density.

    Attributes:
        probability: That the last image is an outlier.
    """

    def __init__(self, raster: BeliefRaster, calibration: TrackingCalibration):
        self._raster = raster
        self._calibration = calibration
        self.clear()

    def clear(self) -> None:
        """Forget all outliers."""
        self._named: np.ndarray | float = 0.0
        self._images = 0.0
        self.probability = 0.0

    def weigh(self, ratio: np.ndarray, agreement: float, telling: float, dt_s: float, information: float) -> np.ndarray:
        """(R, C) posterior over a uniform one, less different from place to place the more probable an outlier it is.

        Args:
            ratio: (R, C) as of `ImageLikelihood.ratio`.
            agreement: Mean of it over the belief before the image.
            telling: Share of the image that tells one place from another.
            dt_s: Since the last image.
            information: Share of an independent image, 0 to 1: as so much of a sample it counts.
        """
        own = self._calibration
        faded = math.exp(-dt_s / own.outlier_memory_s)
        self._images *= faded
        self._named *= faded
        density = (float(np.vdot(self._named, ratio)) if self._images > 0.0 else 0.0) + _UNIFORM_IMAGES
        density /= self._images + _UNIFORM_IMAGES
        wrong = own.outlier_share * density
        self.probability = probability = wrong / (wrong + (1.0 - own.outlier_share) * max(agreement, 1e-6))
        sample = probability * information
        self._named += np.float32(sample) * (ratio - np.float32(1.0 - telling)) * self._raster.uniform()
        self._images += sample * telling
        held = min(probability, _MAX_OUTLIER_PROBABILITY)
        return (1.0 - held) * ratio + held * density
