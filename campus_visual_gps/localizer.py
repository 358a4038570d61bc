"""Localizer.load(bundle).localize(rgb) -> PositionEstimate, and the paper's predict_gps(image)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from campus_visual_gps import integrity
from campus_visual_gps.bundle import Bundle, load_bundle
from campus_visual_gps.ensemble import Ensemble
from campus_visual_gps.errors import BundleError
from campus_visual_gps.uncertainty import combine

MODEL_VARIABLE = "CAMPUS_VISUAL_GPS_MODEL"


@dataclass(frozen=True)
class PositionEstimate:
    """Where one image was taken. Arrays are float64; metres are east and north of the bundle's local frame.

    `refusal` is None, or the name of the gate that says the estimate is not to be used; latitude and longitude are
    NaN where the mean cannot be placed on the globe, which is always refused.
    """

    mean_enu_m: np.ndarray
    cov_enu_m2: np.ndarray
    latitude_deg: float
    longitude_deg: float
    altitude_m: float
    altitude_sigma_m: float
    member_means_enu_m: np.ndarray
    member_covs_enu_m2: np.ndarray
    features: np.ndarray
    image: integrity.ImageStatistics
    refusal: str | None
    transform_s: float
    ensemble_s: float


class Localizer:
    """A bundle's ensemble on one device. One thread at a time may call `localize`.

    `gates` are the bundle's, unless others are given.
    """

    def __init__(self, bundle: Bundle, ensemble: Ensemble, gates: integrity.Gates | None = None):
        self.bundle = bundle
        self.ensemble = ensemble
        self.gates = gates or bundle.gates
        self._inspector = integrity.ImageInspector()

    @classmethod
    def load(
        cls, model_dir: Path | str, device: str = "auto", precision: str = "auto", warm_up: bool = True
    ) -> Localizer:
        """Load a bundle directory. Raises BundleError for a bad bundle, ConfigError for a bad device or precision."""
        bundle = load_bundle(model_dir)
        ensemble = Ensemble(bundle.load_members(), bundle.image, device, precision)
        if warm_up:
            ensemble.warm_up()
        return cls(bundle, ensemble)

    def localize(self, rgb: np.ndarray) -> PositionEstimate:
        """(H, W, 3) uint8 RGB, 0..255 -> PositionEstimate. Raises ImageError for anything else."""
        output = self.ensemble.predict(rgb)
        bundle = self.bundle
        mean, cov = combine(output.means_enu_m, output.covs_enu_m2)
        cov = bundle.calibration.apply(cov)
        image = self._inspector.inspect(output.square)
        refusal = integrity.check(self.gates, mean, cov, output.means_enu_m, bundle.site_polygon_enu_m, image)
        latitude, longitude = (np.nan, np.nan)
        if refusal != integrity.NOT_FINITE:
            latitude, longitude = bundle.frame.to_geodetic(mean)
        return PositionEstimate(
            mean_enu_m=mean,
            cov_enu_m2=cov,
            latitude_deg=float(latitude),
            longitude_deg=float(longitude),
            altitude_m=bundle.altitude.altitude_m,
            altitude_sigma_m=bundle.altitude.sigma_m,
            member_means_enu_m=output.means_enu_m,
            member_covs_enu_m2=output.covs_enu_m2,
            features=output.features,
            image=image,
            refusal=refusal,
            transform_s=output.transform_s,
            ensemble_s=output.ensemble_s,
        )

    def on_cpu(self) -> Localizer:
        """The same members moved to the CPU; this localizer is of no use any more. Needs no files of the bundle."""
        return Localizer(self.bundle, Ensemble(self.ensemble.members, self.bundle.image, "cpu"), self.gates)


@lru_cache(maxsize=2)
def _cached_localizer(model_dir: str) -> Localizer:
    return Localizer.load(model_dir)


def predict_gps(image: np.ndarray, model_dir: Path | str | None = None) -> np.ndarray:
    """The paper's interface (section 3.1): (H, W, 3) uint8 RGB -> float32 [latitude, longitude] in degrees.

    The bundle comes from `model_dir` or from the environment variable CAMPUS_VISUAL_GPS_MODEL, and is kept loaded.
    float32 degrees are good to about 0.4 m; `Localizer` keeps float64. Gates do not refuse here: the paper's
    interface always answers. Raises ImageError, BundleError.
    """
    directory = model_dir or os.environ.get(MODEL_VARIABLE)
    if not directory:
        raise BundleError(f"no model: pass model_dir, or set {MODEL_VARIABLE} to a bundle directory")
    estimate = _cached_localizer(str(Path(directory).expanduser().resolve())).localize(image)
    return np.array([estimate.latitude_deg, estimate.longitude_deg], dtype=np.float32)
