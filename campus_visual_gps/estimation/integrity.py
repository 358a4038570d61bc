"""Gates that reject an estimate, each with a named reason. Thresholds travel in the bundle."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from enum import Enum

import cv2
import numpy as np

from campus_visual_gps.errors import ConfigError

MAX_OFFSET_M = 20_000.0


class RejectionReason(str, Enum):
    """Why an image gives no fix: by the gates here, and by the node for what does not get as far."""

    NOT_FINITE = "not_finite"  # also a position that no site reaches: the local frame cannot convert it
    TOO_DARK = "too_dark"
    TOO_BRIGHT = "too_bright"
    TOO_BLURRED = "too_blurred"
    REPEATED_IMAGE = "repeated_image"
    OUT_OF_DISTRIBUTION = "out_of_distribution"
    OUTSIDE_SITE = "outside_site"
    ENSEMBLE_SPREAD = "ensemble_spread"
    AMBIGUOUS = "ambiguous"
    SIGMA = "sigma"
    # of the node
    BAD_IMAGE = "bad_image"
    BAD_ESTIMATE = "bad_estimate"
    OUT_OF_MEMORY = "out_of_memory"
    INTERNAL_ERROR = "internal_error"
    CONTRADICTS_TRACK = "contradicts_track"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class QualityIndicators:
    """What speaks for or against an estimate.

    Attributes:
        ensemble_spread_m: Root mean square distance of the members from their mean.
        sigma_m: Claimed standard deviation per axis.
        mode_separation_m: Distance from the heaviest mode of the grid to the farthest other one; 0 for one mode.
        ood_score: Distance of the OOD features from the nearest reference photo's (retrieval.ood); NaN without.
        brightness: Mean grey level of the network's input, 0..255.
        sharpness: Variance of its Laplacian.
        repeat_count: How many images in a row before this one were the same, pixel for pixel.
    """

    ensemble_spread_m: float
    sigma_m: float
    mode_separation_m: float = 0.0
    ood_score: float = math.nan
    brightness: float = math.nan
    sharpness: float = math.nan
    repeat_count: int = 0


@dataclass(frozen=True)
class Gates:
    """Thresholds of the gates. None switches a gate off.

    `site_margin_m` is the distance from the training area; `max_repeated_images` is a count; the others are limits of
    the QualityIndicators.

    Raises:
        ConfigError: a threshold that is not a number of 0 or more.
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
                raise ConfigError(f"gate {field.name} must be a number of 0 or more, or null, got {value}")

    def overridden(self, **values: float) -> Gates:
        """These gates with some thresholds replaced: NaN keeps a gate, a negative number switches it off."""
        kept = {name: value for name, value in values.items() if not math.isnan(value)}
        return replace(self, **{name: None if value < 0.0 else value for name, value in kept.items()})


def brightness_and_sharpness(input_rgb: np.ndarray) -> tuple[float, float]:
    """(S, S, 3) uint8 RGB -> mean grey level and variance of the Laplacian; some tenths of a millisecond at 320 px."""
    grey = cv2.cvtColor(input_rgb, cv2.COLOR_RGB2GRAY)
    _, deviation = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))
    return float(cv2.mean(grey)[0]), float(deviation[0, 0]) ** 2


def check(
    gates: Gates,
    mean_enu_m: np.ndarray,
    cov_enu_m2: np.ndarray,
    site_polygon_enu_m: np.ndarray,
    indicators: QualityIndicators,
) -> RejectionReason | None:
    """The first gate that rejects the estimate, or None when it stands.

    Args:
        gates: Thresholds.
        mean_enu_m: (2,) metres of the local frame.
        cov_enu_m2: (2, 2) square metres.
        site_polygon_enu_m: (V, 2) metres, the training area.
        indicators: Of the image and its estimate.
    """
    if not (np.all(np.isfinite(cov_enu_m2)) and np.all(np.abs(mean_enu_m) <= MAX_OFFSET_M)):
        return RejectionReason.NOT_FINITE
    outside_m = -math.inf if gates.site_margin_m is None else distance_outside_m(mean_enu_m, site_polygon_enu_m)
    verdicts = (
        (RejectionReason.TOO_DARK, _below(indicators.brightness, gates.min_brightness)),
        (RejectionReason.TOO_BRIGHT, _above(indicators.brightness, gates.max_brightness)),
        (RejectionReason.TOO_BLURRED, _below(indicators.sharpness, gates.min_sharpness)),
        (RejectionReason.REPEATED_IMAGE, _above(indicators.repeat_count, gates.max_repeated_images)),
        (RejectionReason.OUT_OF_DISTRIBUTION, _above(indicators.ood_score, gates.max_ood_score)),
        (RejectionReason.OUTSIDE_SITE, _above(outside_m, gates.site_margin_m)),
        (RejectionReason.ENSEMBLE_SPREAD, _above(indicators.ensemble_spread_m, gates.max_ensemble_spread_m)),
        (RejectionReason.AMBIGUOUS, _above(indicators.mode_separation_m, gates.max_mode_separation_m)),
        (RejectionReason.SIGMA, _above(indicators.sigma_m, gates.max_sigma_m)),
    )
    return next((reason for reason, rejected in verdicts if rejected), None)


def distance_outside_m(point_enu_m: np.ndarray, polygon_enu_m: np.ndarray) -> float:
    """Metres from a polygon (V, 2) to a point (2,); negative inside."""
    contour = np.asarray(polygon_enu_m, dtype=np.float32).reshape(-1, 1, 2)
    return -float(cv2.pointPolygonTest(contour, (float(point_enu_m[0]), float(point_enu_m[1])), True))


def _above(value: float, limit: float | None) -> bool:
    return limit is not None and value > limit


def _below(value: float, limit: float | None) -> bool:
    return limit is not None and value < limit
