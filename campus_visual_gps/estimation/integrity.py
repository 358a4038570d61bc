"""Gates that refuse an estimate, each with a named reason. Thresholds travel in the bundle."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import cv2
import numpy as np

from campus_visual_gps.errors import ConfigError

NOT_FINITE = "not_finite"  # also a position that no site reaches: the local frame cannot place it on the globe
TOO_DARK = "too_dark"
TOO_BRIGHT = "too_bright"
TOO_BLURRED = "too_blurred"
FROZEN = "frozen"
OUTSIDE_SITE = "outside_site"
SPREAD = "spread"
OUT_OF_DISTRIBUTION = "out_of_distribution"
AMBIGUOUS = "ambiguous"
SIGMA = "sigma"

MAX_OFFSET_M = 20_000.0


class ImageStatistics(NamedTuple):
    """Of the square that the network sees: mean grey level, 0..255; variance of its Laplacian; how many images in a
    row before it were the same, pixel for pixel."""

    brightness: float
    sharpness: float
    identical: int


class QualityIndicators(NamedTuple):
    """What speaks for or against an estimate: root mean square distance of the members from their mean; the claimed
    sigma per axis; distance of the modes, 0 for one; distance of the image's appearance from the nearest reference
    photo's (`novelty.OodDetector`), NaN where there is none; and the image's statistics."""

    spread_m: float
    sigma_m: float
    mode_separation_m: float = 0.0
    ood_score: float = math.nan
    image: ImageStatistics | None = None


@dataclass(frozen=True)
class Gates:
    """Thresholds of the gates. None switches a gate off.

    `max_repeated_images` is a count of repetitions; the others are those of Signs and ImageStatistics.
    """

    site_margin_m: float | None = 25.0
    max_ensemble_spread_m: float | None = None
    max_sigma_m: float | None = None
    max_mode_separation_m: float | None = None
    max_ood_score: float | None = None
    min_brightness: float | None = None
    max_brightness: float | None = None
    min_sharpness: float | None = None
    max_repeated_images: float | None = None

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not (math.isfinite(value) and value >= 0.0):
                raise ConfigError(f"gate {field.name} {value} must be a number of 0 or more, or null")

    def overridden(self, **values: float) -> Gates:
        """With these values in their place: NaN keeps a gate, a negative number switches it off."""
        kept = {name: value for name, value in values.items() if not math.isnan(value)}
        return replace(self, **{name: None if value < 0.0 else value for name, value in kept.items()})


class ImageInspector:
    """Statistics of images that come one after the other."""

    def __init__(self):
        self._previous: np.ndarray | None = None
        self._identical = 0

    def inspect(self, square: np.ndarray) -> ImageStatistics:
        """(S, S, 3) uint8 RGB -> ImageStatistics; costs some tenths of a millisecond at 320 px."""
        same = self._previous is not None and np.array_equal(square, self._previous)
        self._identical = self._identical + 1 if same else 0
        self._previous = square
        return ImageStatistics(*brightness_and_sharpness(square), self._identical)


def brightness_and_sharpness(square: np.ndarray) -> tuple[float, float]:
    """(S, S, 3) uint8 RGB -> mean grey level and variance of the Laplacian, as in ImageStatistics."""
    grey = cv2.cvtColor(square, cv2.COLOR_RGB2GRAY)
    _, deviation = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))
    return float(cv2.mean(grey)[0]), float(deviation[0, 0]) ** 2


def check_image(gates: Gates, image: ImageStatistics) -> str | None:
    """Name of the first gate that refuses the image, or None."""
    verdicts = (
        (TOO_DARK, gates.min_brightness is not None and image.brightness < gates.min_brightness),
        (TOO_BRIGHT, gates.max_brightness is not None and image.brightness > gates.max_brightness),
        (TOO_BLURRED, gates.min_sharpness is not None and image.sharpness < gates.min_sharpness),
        (FROZEN, gates.max_repeated_images is not None and image.identical > gates.max_repeated_images),
    )
    return next((name for name, refused in verdicts if refused), None)


def check(
    gates: Gates,
    mean_enu_m: np.ndarray,
    cov_enu_m2: np.ndarray,
    site_polygon_enu_m: np.ndarray,
    indicators: QualityIndicators,
) -> str | None:
    """Name of the first gate that refuses the estimate, or None when it stands.

    mean (2,), covariance (2, 2) and site polygon (V, 2), all in metres of the local frame.
    """
    if not (np.all(np.isfinite(cov_enu_m2)) and np.all(np.abs(mean_enu_m) <= MAX_OFFSET_M)):
        return NOT_FINITE
    if indicators.image is not None and (refusal := check_image(gates, indicators.image)) is not None:
        return refusal
    if _over(indicators.ood_score, gates.max_ood_score):
        return OUT_OF_DISTRIBUTION
    if gates.site_margin_m is not None and distance_outside_m(mean_enu_m, site_polygon_enu_m) > gates.site_margin_m:
        return OUTSIDE_SITE
    verdicts = (
        (SPREAD, _over(indicators.spread_m, gates.max_ensemble_spread_m)),
        (AMBIGUOUS, _over(indicators.mode_separation_m, gates.max_mode_separation_m)),
        (SIGMA, _over(indicators.sigma_m, gates.max_sigma_m)),
    )
    return next((name for name, refused in verdicts if refused), None)


def _over(value: float, limit: float | None) -> bool:
    return limit is not None and value > limit


def distance_outside_m(point_enu_m: np.ndarray, polygon_enu_m: np.ndarray) -> float:
    """Metres from a polygon (V, 2) to a point (2,); negative inside."""
    contour = np.asarray(polygon_enu_m, dtype=np.float32).reshape(-1, 1, 2)
    return -float(cv2.pointPolygonTest(contour, (float(point_enu_m[0]), float(point_enu_m[1])), True))
