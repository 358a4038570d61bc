"""Localizer.load(bundle).localize(rgb) -> PositionEstimate, and the paper's predict_gps(image)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from time import perf_counter, process_time
from typing import NamedTuple

import numpy as np

from campus_visual_gps.bundle import Bundle, load_bundle
from campus_visual_gps.engines.torch_engine import TorchEngine
from campus_visual_gps.errors import BundleError
from campus_visual_gps.estimation import integrity
from campus_visual_gps.estimation.calibration import choose_covariance, sigma_m
from campus_visual_gps.estimation.grid import LocationGrid, Mode, mode_separation_m
from campus_visual_gps.estimation.integrity import Gates, QualityIndicators, RejectionReason
from campus_visual_gps.estimation.posterior import Posterior, PosteriorEstimator, ensemble_spread_m
from campus_visual_gps.estimation.site_bound import SiteMoments
from campus_visual_gps.models.outputs import ModelOutputs
from campus_visual_gps.preprocess import prepare
from campus_visual_gps.retrieval.index import RetrievalIndex
from campus_visual_gps.retrieval.ood import OodDetector
from campus_visual_gps.threads import torch_threads

MODEL_VARIABLE = "CAMPUS_VISUAL_GPS_MODEL"


@dataclass(frozen=True)
class PositionEstimate:
    """Where one image was taken. Arrays are float64; metres are east and north of the bundle's local frame.

    Attributes:
        mean_enu_m: (2,) metres.
        cov_enu_m2: (2, 2) square metres, calibrated or of the members' spread, as the localizer was told.
        calibrated_cov_enu_m2: (2, 2) square metres, the calibrated one.
        latitude_deg: NaN, like the longitude, where the mean cannot be converted, which is always rejected.
        longitude_deg: Likewise.
        altitude_m: The site's, over the ellipsoid.
        altitude_sigma_m: Its standard deviation.
        member_means_enu_m: (M, 2) metres of the members.
        member_covs_enu_m2: (M, 2, 2) square metres of the members; zero for heads that regress a point.
        descriptor: (p,) float32, to be compared with the descriptors of the bundle's reference photos; the pooled
            features of a bundle without a descriptor extractor.
        match_score: Of the reference photos near the position (retrieval.matching), NaN where retrieval is not used.
        indicators: What the gates look at.
        grid_probs: (K,), the calibrated posterior over the cells of `Localizer.grid`; None for heads without a grid.
        modes: Possible positions by the grid, the most probable first; empty for heads without a grid.
        radius90_m: Radius of the circle about the mean that holds the truth with 90 %; NaN where not measured.
        radius95_m: Likewise with 95 %.
        rejection_reason: None, or the gate that says that the estimate must not be used.
        transform_s: Seconds of the evaluation transform.
        ensemble_s: Seconds of the SiteModel.
        ensemble_processor_s: Processor seconds of all threads of this process meanwhile. Less than `ensemble_s` times
            the number of threads: they waited for each other, for a core, or for a GPU.
    """

    mean_enu_m: np.ndarray
    cov_enu_m2: np.ndarray
    calibrated_cov_enu_m2: np.ndarray
    latitude_deg: float
    longitude_deg: float
    altitude_m: float
    altitude_sigma_m: float
    member_means_enu_m: np.ndarray
    member_covs_enu_m2: np.ndarray
    descriptor: np.ndarray
    match_score: float
    indicators: QualityIndicators
    grid_probs: np.ndarray | None
    modes: tuple[Mode, ...]
    radius90_m: float
    radius95_m: float
    rejection_reason: RejectionReason | None
    transform_s: float
    ensemble_s: float
    ensemble_processor_s: float


class _Times(NamedTuple):
    """Seconds of one image, named as in PositionEstimate."""

    transform_s: float
    ensemble_s: float
    ensemble_processor_s: float


class Localizer:
    """A bundle on one device. It has no memory: the same image gives the same answer. One thread at a time may call it.

    Args:
        bundle: Where the calibration, the local frame and the gates come from.
        engine: Runs the bundle's SiteModel.
        index: The reference photos, or None for a bundle without descriptors.
        ood_detector: Of the reference photos, or None for a bundle without.
        gates: In the place of the bundle's.
        covariance: "calibrated" or "ensemble_spread"; None for the bundle's choice.

    Raises:
        BundleError: the members' cells lie on no grid.
        ConfigError: the covariance is unknown, or is the spread of one member.
    """

    def __init__(
        self,
        bundle: Bundle,
        engine: TorchEngine,
        index: RetrievalIndex | None = None,
        ood_detector: OodDetector | None = None,
        gates: Gates | None = None,
        covariance: str | None = None,
    ):
        self.bundle = bundle
        self.engine = engine
        self.index = index
        self.gates = gates or bundle.gates
        self.grid = _location_grid(bundle, engine)
        self.covariance = choose_covariance(covariance, bundle.calibration, len(bundle.members))
        calibration = replace(bundle.calibration, covariance=self.covariance)
        site = None if self.grid is not None else SiteMoments.of_polygon(bundle.site_polygon_enu_m)
        self.estimator = PosteriorEstimator(calibration, self.grid, site)
        self._ood_detector = ood_detector

    @classmethod
    def load(
        cls,
        model_dir: Path | str,
        device: str = "auto",
        precision: str = "auto",
        warm_up: bool = True,
        num_threads: int = 0,
        covariance: str | None = None,
    ) -> Localizer:
        """Load a bundle directory.

        Args:
            model_dir: The directory.
            device: auto, cpu, cuda or cuda:N.
            precision: auto, fp32, bf16 or fp16.
            warm_up: Run on grey images first. Without it the number of threads is not measured.
            num_threads: Threads of a CPU for one image; 0 measures with the first images whether more than one pays.
            covariance: calibrated or ensemble_spread; None for the bundle's choice.

        Raises:
            BundleError: the bundle is bad.
            ConfigError: the device does not exist, the precision or covariance is unknown, or the covariance is the
                spread of a bundle with one member.
        """
        bundle = load_bundle(model_dir)
        reference = bundle.load_reference()
        engine = TorchEngine(bundle.load_site_model(reference.extractor), device, precision, num_threads)
        if warm_up:
            engine.warm_up()
        detector = OodDetector(reference.ood_features) if len(reference.ood_features) else None
        return cls(bundle, engine, reference.index(), detector, covariance=covariance)

    def localize(self, rgb: np.ndarray, repeat_count: int = 0) -> PositionEstimate:
        """Locate one image.

        Args:
            rgb: (H, W, 3) uint8 RGB, 0..255.
            repeat_count: How many images in a row before this one were the same, for the gate of repeated images.

        Raises:
            ImageError: the image is of another type or shape, or too small.
        """
        with torch_threads(1):  # of all but the networks: its parallel regions are too small for more
            return self.localize_batch([rgb], [repeat_count])[0]

    def localize_batch(
        self, images: Sequence[np.ndarray], repeat_counts: Sequence[int] | None = None
    ) -> list[PositionEstimate]:
        """Locate several images in one pass of the networks; times are shared evenly. Raises ImageError."""
        start = perf_counter()
        inputs = np.stack([prepare(rgb, self.bundle.image) for rgb in images])
        transformed, processor_start = perf_counter(), process_time()
        outputs = self.engine.run(inputs)
        seconds = (transformed - start, perf_counter() - transformed, process_time() - processor_start)
        times = _Times(*(own / len(images) for own in seconds))
        seen = [integrity.brightness_and_sharpness(input_rgb) for input_rgb in inputs]
        posterior = self.posterior(outputs, np.array([brightness for brightness, _ in seen]))
        ood_scores = self._ood_scores(outputs)
        counts = repeat_counts or [0] * len(images)
        return [
            self._estimate(row, outputs, posterior, ood_scores[row], seen[row], counts[row], times)
            for row in range(len(images))
        ]

    def posterior(self, outputs: ModelOutputs, brightness: np.ndarray) -> Posterior:
        """Posterior of outputs for N images with these mean grey levels (N,), with the retrieval where it is used."""
        retrieval = None
        if self.estimator.uses_retrieval and self.index is not None and outputs.descriptors is not None:
            prior = self.bundle.calibration.retrieval_prior
            k = prior.k if prior is not None else 0
            retrieval = self.index.search(outputs.descriptors, outputs.local_descriptors, k)
        return self.estimator.estimate(outputs, retrieval, brightness)

    def _ood_scores(self, outputs: ModelOutputs) -> np.ndarray:
        if self._ood_detector is None:
            return np.full(len(outputs), np.nan)
        return np.where(outputs.finite, self._ood_detector.score(outputs.ood_features), np.nan)

    def _estimate(
        self,
        row: int,
        outputs: ModelOutputs,
        posterior: Posterior,
        ood_score: float,
        seen: tuple[float, float],
        repeat_count: int,
        times: _Times,
    ) -> PositionEstimate:
        bundle, mean, cov = self.bundle, posterior.mean_enu_m[row], posterior.cov_enu_m2[row]
        grid_probs = None if posterior.grid_probs is None else posterior.grid_probs[row]
        modes = () if self.grid is None or grid_probs is None else self.grid.modes(grid_probs)
        member_means = outputs.member_means_enu_m[row]
        indicators = QualityIndicators(
            ensemble_spread_m=float(ensemble_spread_m(member_means)),
            sigma_m=float(sigma_m(cov)),
            mode_separation_m=mode_separation_m(modes),
            ood_score=float(ood_score),
            brightness=seen[0],
            sharpness=seen[1],
            repeat_count=repeat_count,
        )
        reason = integrity.check(self.gates, mean, cov, bundle.site_polygon_enu_m, indicators)
        latitude, longitude = np.nan, np.nan
        if reason != RejectionReason.NOT_FINITE:
            latitude, longitude = map(float, bundle.frame.to_geodetic(mean))
        descriptors = outputs.pooled_features if outputs.descriptors is None else outputs.descriptors
        return PositionEstimate(
            mean_enu_m=mean,
            cov_enu_m2=cov,
            calibrated_cov_enu_m2=posterior.calibrated_cov_enu_m2[row],
            latitude_deg=latitude,
            longitude_deg=longitude,
            altitude_m=bundle.altitude.altitude_m,
            altitude_sigma_m=bundle.altitude.sigma_m,
            member_means_enu_m=member_means,
            member_covs_enu_m2=outputs.member_covs_enu_m2[row],
            descriptor=descriptors[row],
            match_score=float(posterior.match_score[row]),
            indicators=indicators,
            grid_probs=grid_probs,
            modes=modes,
            radius90_m=float(posterior.radius90_m[row]),
            radius95_m=float(posterior.radius95_m[row]),
            rejection_reason=reason,
            **times._asdict(),
        )

    def on_cpu(self) -> Localizer:
        """The same model moved to the CPU; this localizer must not be used any more. Reads no file of the bundle."""
        engine = TorchEngine(self.engine.model, "cpu", num_threads=self.engine.num_threads)
        engine.warm_up()
        return Localizer(self.bundle, engine, self.index, self._ood_detector, self.gates, self.covariance)


def _location_grid(bundle: Bundle, engine: TorchEngine) -> LocationGrid | None:
    cells = engine.model.cells_enu_m
    if cells is None:
        return None
    try:
        return LocationGrid(cells.numpy(), bundle.members[0].model.cell_m)
    except ValueError as error:
        raise BundleError(f"{bundle.path}: {error}; train the bundle again") from error


@lru_cache(maxsize=2)
def _cached_localizer(model_dir: str) -> Localizer:
    return Localizer.load(model_dir)


def predict_gps(image: np.ndarray, model_dir: Path | str | None = None) -> np.ndarray:
    """The paper's interface (section 3.1): (H, W, 3) uint8 RGB -> float32 [latitude, longitude] in degrees.

    float32 degrees are good to about 0.4 m; `Localizer` keeps float64. Gates do not reject here: the paper's interface
    always answers.

    Args:
        image: (H, W, 3) uint8 RGB, 0..255.
        model_dir: A bundle; else the environment variable CAMPUS_VISUAL_GPS_MODEL names it. It is kept loaded.

    Raises:
        ImageError: the image is of another type or shape.
        BundleError: no bundle is named, or it cannot be loaded.
    """
    directory = model_dir or os.environ.get(MODEL_VARIABLE)
    if not directory:
        raise BundleError(f"no model: pass model_dir, or set {MODEL_VARIABLE} to a bundle directory")
    estimate = _cached_localizer(str(Path(directory).expanduser().resolve())).localize(image)
    return np.array([estimate.latitude_deg, estimate.longitude_deg], dtype=np.float32)
