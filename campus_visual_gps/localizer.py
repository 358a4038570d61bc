"""Localizer.load(bundle).localize(rgb) -> PositionEstimate, and the paper's predict_gps(image)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from campus_visual_gps.bundle import Bundle, load_bundle
from campus_visual_gps.engines.torch_engine import Ensemble, EnsembleOutput
from campus_visual_gps.errors import BundleError
from campus_visual_gps.estimation import integrity
from campus_visual_gps.estimation.grid import LocationGrid, Mode, mode_separation_m
from campus_visual_gps.estimation.posterior import CovarianceCalibration, Posterior, believe, sigma_m, spread_m
from campus_visual_gps.retrieval.descriptor import Place, RetrievalIndex
from campus_visual_gps.retrieval.ood import OodDetector
from campus_visual_gps.retrieval.prior import RetrievalResult, density, match_score_near

MODEL_VARIABLE = "CAMPUS_VISUAL_GPS_MODEL"


@dataclass(frozen=True)
class PositionEstimate:
    """Where one image was taken. Arrays are float64; metres are east and north of the bundle's local frame.

    `features` describe the place as the bundle's reference features do, `agreement` is how well the image agrees with
    the reference photos near its position (campus_visual_gps/places.py), NaN where evidence is not used.
    `modes` are the places that the members' maps think possible, empty for heads without maps; `radius90_m` and
    `radius95_m` the circles about the mean that hold the truth so often, NaN where the bundle has not measured them.
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
    agreement: float
    indicators: integrity.QualityIndicators
    modes: tuple[Mode, ...]
    radius90_m: float
    radius95_m: float
    refusal: str | None
    transform_s: float
    ensemble_s: float


class Localizer:
    """A bundle's ensemble on one device. One thread at a time may call `localize`.

    `reference` and `appearance` are of the training photos, `gates` are the bundle's unless others are given.
    """

    def __init__(
        self,
        bundle: Bundle,
        ensemble: Ensemble,
        reference: RetrievalIndex | None = None,
        appearance: OodDetector | None = None,
        gates: integrity.Gates | None = None,
    ):
        self.bundle = bundle
        self.ensemble = ensemble
        self.gates = gates or bundle.gates
        self.cells = _site_cells(bundle, ensemble)
        self.reference = reference
        self._appearance = appearance
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
        return cls(bundle, ensemble, *_of_training_photos(bundle))

    def localize(self, rgb: np.ndarray) -> PositionEstimate:
        """(H, W, 3) uint8 RGB, 0..255 -> PositionEstimate. Raises ImageError for anything else."""
        output = self.ensemble.predict(rgb)
        image = self._inspector.inspect(output.square)
        calibration = self.bundle.calibration
        scaling = calibration.scaling(image.brightness)
        place = self._place(output)
        near = self._neighbours(place)
        belief = believe(
            output.means_enu_m,
            output.covs_enu_m2,
            output.grid_log_probs,
            self.cells,
            calibration,
            scaling,
            None if near is None else density(near, self.cells.centres_enu_m, calibration.evidence),
            None if near is None else partial(match_score_near, near),
        )
        modes = () if belief.grid_probs is None else tuple(self.cells.modes(belief.grid_probs))
        indicators = integrity.QualityIndicators(
            spread_m=float(spread_m(output.means_enu_m)),
            sigma_m=float(sigma_m(belief.cov_enu_m2)),
            mode_separation_m=mode_separation_m(modes),
            ood_score=np.nan if self._appearance is None else self._appearance.distance(output.appearance),
            image=image,
        )
        return self._estimate(output, place, near, belief, scaling, modes, indicators)

    def _estimate(
        self,
        output: EnsembleOutput,
        place: Place | None,
        near: RetrievalResult | None,
        belief: Posterior,
        scaling: CovarianceCalibration,
        modes: tuple[Mode, ...],
        indicators: integrity.QualityIndicators,
    ) -> PositionEstimate:
        bundle, mean, cov = self.bundle, belief.mean_enu_m, belief.cov_enu_m2
        refusal = integrity.check(self.gates, mean, cov, bundle.site_polygon_enu_m, indicators)
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
            features=output.statistics if place is None else place.descriptor,
            agreement=np.nan if near is None else match_score_near(near, mean),
            indicators=indicators,
            modes=modes,
            radius90_m=_or_nan(scaling.radius_m(cov, 90)),
            radius95_m=_or_nan(scaling.radius_m(cov, 95)),
            refusal=refusal,
            transform_s=output.transform_s,
            ensemble_s=output.ensemble_s,
        )

    def _place(self, output: EnsembleOutput) -> Place | None:
        if self.reference is None or not _finite(output):
            return None
        return self.reference.space.place(output.statistics, output.local)

    def _neighbours(self, place: Place | None) -> RetrievalResult | None:
        evidence = self.bundle.calibration.evidence
        if place is None or self.cells is None or evidence is None or not evidence.weight:
            return None
        return self.reference.nearest(place, evidence.k)

    def on_cpu(self) -> Localizer:
        """The same members moved to the CPU; this localizer is of no use any more. Needs no files of the bundle."""
        ensemble = Ensemble(self.ensemble.members, self.bundle.image, "cpu")
        return Localizer(self.bundle, ensemble, self.reference, self._appearance, self.gates)


def _site_cells(bundle: Bundle, ensemble: Ensemble) -> LocationGrid | None:
    if ensemble.cells_enu_m is None:
        return None
    try:
        return LocationGrid(ensemble.cells_enu_m, bundle.members[0].model.cell_m)
    except ValueError as error:
        raise BundleError(f"{bundle.path}: {error}; train the bundle again") from error


def _of_training_photos(bundle: Bundle) -> tuple[RetrievalIndex | None, OodDetector | None]:
    reference = bundle.load_reference()
    if not len(reference.features):
        return None, None
    return reference.index(), OodDetector(reference.appearances)


def _finite(output: EnsembleOutput) -> bool:
    return all(np.isfinite(features).all() for features in (output.statistics, *output.local))


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else float(value)


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
