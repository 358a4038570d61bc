"""The calibration of a bundle: from what the networks claim to a covariance that holds."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np

from campus_visual_gps.errors import BundleError, ConfigError
from campus_visual_gps.estimation.grid import GEOMETRIC_MEDIAN, POINT_ESTIMATORS
from campus_visual_gps.estimation.site_bound import bounded
from campus_visual_gps.retrieval.prior import RetrievalPriorConfig
from campus_visual_gps.tracking.calibration import TrackingCalibration

# Whatever a validation set says: no photo of a phone-labelled site is known to better than this.
MIN_FLOOR_SIGMA_M = 1.0

# Covariances by name: what was fitted on held-out photos, or the sample covariance of the members' positions.
CALIBRATED = "calibrated"
ENSEMBLE_SPREAD = "ensemble_spread"
COVARIANCES = (CALIBRATED, ENSEMBLE_SPREAD)


@dataclass(frozen=True)
class CovarianceCalibration:
    """grid^(1 / temperature), then cov -> (scale * cov + floor_sigma_m^2 I) * variance_inflation(match score).

    Where it is `bounded`, what lies above the floor is then kept below the covariance of "anywhere on the site".

    Attributes:
        floor_sigma_m: Keeps members that happen to agree from claiming certainty.
        scale: Factor of the covariance.
        temperature: Of the grid's probabilities, before the point and its covariance are taken.
        conformal_90: Quantile of error / sigma over held-out photos: a circle of so many sigma holds the truth with
            90 %, whatever the errors' distribution. None where it was not measured.
        conformal_95: Likewise with 95 %.
        reference_match_score: Match score below which the covariance is inflated; None leaves the score out.
        point_temperature: Of the grid's probabilities for the point and its covariance alone; None takes `temperature`.
        match_decay_m: The match score that inflates the covariance is the best one near the position, that of a photo
            d metres away times exp(-d^2 / (2 match_decay_m^2)); None takes the best one within a radius.
        bounded: Whether the covariance stays below that of "anywhere on the site" (site_bound.py); not in bundles of
            earlier versions.

    Raises:
        BundleError: a value that no fit can give.
    """

    floor_sigma_m: float
    scale: float = 1.0
    temperature: float = 1.0
    conformal_90: float | None = None
    conformal_95: float | None = None
    reference_match_score: float | None = None
    bounded: bool = False
    point_temperature: float | None = None
    match_decay_m: float | None = None

    def __post_init__(self):
        if not (np.isfinite(self.floor_sigma_m) and self.floor_sigma_m >= MIN_FLOOR_SIGMA_M):
            raise BundleError(
                f"calibration: floor_sigma_m must be {MIN_FLOOR_SIGMA_M} m or more, got {self.floor_sigma_m}"
            )
        positive = ("scale", "temperature", "conformal_90", "conformal_95", "reference_match_score")
        for name in (*positive, "point_temperature", "match_decay_m"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0.0):
                raise BundleError(f"calibration: {name} must be positive, got {value}")
        if not isinstance(self.bounded, bool):
            raise BundleError(f"calibration: bounded must be true or false, got {self.bounded!r}")

    def apply(
        self, cov_enu_m2: np.ndarray, match_score: np.ndarray | None = None, anywhere_m2: np.ndarray | None = None
    ) -> np.ndarray:
        """Covariances (..., 2, 2) m^2 -> (..., 2, 2) symmetric, positive definite, not below the floor.

        Args:
            cov_enu_m2: As the grid or the mixture gives them.
            match_score: (...,), 1 or more; None where the images were compared with no reference photo.
            anywhere_m2: (..., 2, 2) second moments of the site about the positions (SiteMoments.about); with the floor
                they are the bound. None where the site is not known.
        """
        cov = np.asarray(cov_enu_m2, dtype=np.float64)
        symmetric = 0.5 * (cov + np.swapaxes(cov, -1, -2))
        floor_m2 = self.floor_sigma_m**2 * np.eye(2)
        calibrated = self.scale * symmetric + floor_m2
        if match_score is not None and self.reference_match_score is not None:
            calibrated = calibrated * variance_inflation(match_score, self.reference_match_score)[..., None, None]
        if not self.bounded or anywhere_m2 is None:
            return calibrated
        return floor_m2 + bounded(calibrated - floor_m2, anywhere_m2)

    def radius_m(self, cov_enu_m2: np.ndarray, level: int) -> np.ndarray:
        """Radius (...,) in metres of the circle that holds the truth with 90 or 95 %; NaN where not measured."""
        quantile = {90: self.conformal_90, 95: self.conformal_95}[level]
        return (np.nan if quantile is None else quantile) * sigma_m(cov_enu_m2)


def variance_inflation(match_score: np.ndarray, reference_match_score: float) -> np.ndarray:
    """Factor (...,), 1 or more, of the covariance of an image with this match score (...,), 1 or more.

    An image that matches no reference photo near its position may have been taken elsewhere, however certain the
    network is: sigma grows in inverse proportion to the score.
    """
    return np.maximum(reference_match_score / np.asarray(match_score, dtype=np.float64), 1.0) ** 2


def sigma_m(cov_enu_m2: np.ndarray) -> np.ndarray:
    """Standard deviation (...,) per axis in metres of covariances (..., 2, 2): sqrt(trace / 2)."""
    return np.sqrt(np.trace(np.asarray(cov_enu_m2, dtype=np.float64), axis1=-2, axis2=-1) / 2.0)


@dataclass(frozen=True)
class Calibration(CovarianceCalibration):
    """The calibration of a bundle, measured on photos that its networks have not seen.

    Attributes:
        night: The covariance calibration of images darker than `night_brightness_threshold`, where night photos
            call for one of their own.
        night_brightness_threshold: Mean grey level, 0..255.
        point_estimator: How a position is taken from a grid: "geometric_median" or "mean".
        retrieval_prior: What the reference photos add to the grid; None for nothing.
        covariance: Which covariance a fix gets, "calibrated" or "ensemble_spread"; the position is the same.
        correlation_time_s: Of the errors of consecutive images (correlated_errors.py); None where it was not measured.
        tracking: Parameters of the tracker; None for its defaults.
        measured: The numbers that justify all of it.
    """

    night: CovarianceCalibration | None = None
    night_brightness_threshold: float | None = None
    point_estimator: str = GEOMETRIC_MEDIAN
    retrieval_prior: RetrievalPriorConfig | None = None
    covariance: str = CALIBRATED
    correlation_time_s: float | None = None
    tracking: TrackingCalibration | None = None
    measured: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        super().__post_init__()
        if (self.night is None) != (self.night_brightness_threshold is None):
            raise BundleError("calibration: night and night_brightness_threshold are given together or not at all")
        if self.point_estimator not in POINT_ESTIMATORS:
            raise BundleError(
                f"calibration: point_estimator {self.point_estimator!r} is none of {', '.join(POINT_ESTIMATORS)}"
            )
        if self.covariance not in COVARIANCES:
            raise BundleError(f"calibration: covariance {self.covariance!r} is none of {', '.join(COVARIANCES)}")
        time_s = self.correlation_time_s
        if time_s is not None and not (np.isfinite(time_s) and time_s > 0.0):
            raise BundleError(f"calibration: correlation_time_s must be a positive number of seconds, got {time_s}")

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Calibration:
        """What `dataclasses.asdict` gave. Raises BundleError, and TypeError for unknown keys."""
        night, prior, tracking = data.get("night"), data.get("retrieval_prior"), data.get("tracking")
        parsed = {
            "night": night and CovarianceCalibration(**night),
            "retrieval_prior": prior and RetrievalPriorConfig(**prior),
            "tracking": None if tracking is None else TrackingCalibration.from_dict(tracking),
        }
        return cls(**data | parsed)

    @property
    def uses_retrieval(self) -> bool:
        """Whether the reference photos weigh on the position."""
        return self.retrieval_prior is not None and self.retrieval_prior.weight > 0.0

    def general(self) -> CovarianceCalibration:
        """The covariance calibration of images that are not dark."""
        return CovarianceCalibration(**{item.name: getattr(self, item.name) for item in fields(CovarianceCalibration)})

    def with_covariance(self, covariance: CovarianceCalibration) -> Calibration:
        """This calibration with one covariance calibration for all images."""
        own = {item.name: getattr(covariance, item.name) for item in fields(CovarianceCalibration)}
        return replace(self, **own, night=None, night_brightness_threshold=None)

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` reads."""
        return asdict(self)


def choose_covariance(covariance: str | None, calibration: Calibration, members: int) -> str:
    """The covariance of that name, or the calibration's for None. Raises ConfigError, also for one member's spread."""
    chosen = covariance or calibration.covariance
    if chosen not in COVARIANCES:
        raise ConfigError(f"covariance {chosen!r} is none of {', '.join(COVARIANCES)}")
    if chosen == ENSEMBLE_SPREAD and members < 2:
        raise ConfigError(f"covariance {chosen}: the bundle has one member, and one member alone has no spread")
    return chosen
