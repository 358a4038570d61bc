"""The calibration of a bundle, fitted on photos that its networks have not seen.

Whole sessions are held out: neighbouring photos of one walk share a place and a label, and a covariance that was fitted
on them is too small on the next day.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from scipy import optimize, special, stats

from campus_visual_gps.estimation.grid import GEOMETRIC_MEDIAN, mean_grid_probs
from campus_visual_gps.estimation.posterior import (
    MIN_FLOOR_SIGMA_M,
    Calibration,
    CovarianceCalibration,
    doubt,
    mixture_moments,
    sigma_m,
)
from campus_visual_gps.retrieval.prior import RetrievalPriorConfig, log_linear_pool
from training.fit.calibration_set import CalibrationSet, joined

log = logging.getLogger(__name__)

# Fewer photos cannot tell a scale from a floor.
MIN_PHOTOS = 30
# A label's own error, metres: what the mass of a map is smeared by before it is asked how likely the label was.
LABEL_SIGMA_M = 7.0
# A label far outside of the map is as unlikely as one at seven sigma, and no more: it must not decide alone.
UNLIKELIEST = float(np.exp(-0.5 * 7.0**2))
TEMPERATURES = (0.2, 10.0)
PRIOR_WEIGHTS = (1.0, 5.0)
PRIOR_BANDWIDTHS_M = (6.0, 12.0)
PRIOR_TEMPERATURES = (0.12,)
NULL_SIMILARITIES = (-1.0, 0.2)
MATCH_EXPONENTS = (0.0, 3.0)
# The share of held-out photos that agree less with the reference photos near their fix than `reference_match_score`.
REFERENCE_MATCH_QUANTILE = 0.95
# Night and day are told apart by the image's brightness; worse than that, they are not told apart at all.
LIGHT_ACCURACY = 0.9
SIGNIFICANCE = 0.05


def fit_calibration(
    parts: Sequence[CalibrationSet], point: str = GEOMETRIC_MEDIAN, evidence: bool = False
) -> Calibration:
    """Evidence, temperature, scale, floor and conformal radii from held-out photos, with the numbers that justify them.

    All of them by likelihood; the scaling apart for night and day only if a likelihood ratio test calls for it. With
    fewer than MIN_PHOTOS photos only the floor is measured.
    """
    photos = sum(map(len, parts))
    if photos < MIN_PHOTOS:
        log.warning("%d held-out photos are too few for a calibration: only the floor is measured", photos)
        means = joined(parts, lambda part: part.outputs.means_enu_m)
        covs = joined(parts, lambda part: part.outputs.covs_enu_m2)
        return replace(fit_floor(means, covs, joined(parts, lambda part: part.truth_enu_m)), point=point)
    searched = all(part.neighbours is not None for part in parts) and parts[0].cells is not None
    chosen = fit_retrieval_prior(parts) if evidence and searched else None
    base = Calibration(MIN_FLOOR_SIGMA_M, point=point, evidence=chosen)
    scaling = fit_scaling(parts, base)
    fitted = replace(base, **vars(scaling))
    measured = _measured(parts, base, fitted)
    night = _fit_lights(parts, base, fitted)
    return replace(fitted, **night[0], measured={**measured, **night[1]})


def fit_floor(means_enu_m: np.ndarray, covs_enu_m2: np.ndarray, truth_enu_m: np.ndarray) -> Calibration:
    """Calibration from N validation photos: means (N, M, 2), covariances (N, M, 2, 2), truth (N, 2), metres.

    The floor is what the members' own covariance leaves unexplained of the squared error, per axis:
    E[e' e] = tr(P) + 2 floor^2. Second moments rather than a robust fit: an EKF pays for the outliers.
    """
    mean, cov = mixture_moments(means_enu_m, covs_enu_m2)
    squared_error_m2 = ((mean - np.asarray(truth_enu_m)) ** 2).sum(axis=-1)
    claimed_m2 = np.trace(cov, axis1=-2, axis2=-1)
    unexplained_m2 = float((squared_error_m2 - claimed_m2).mean()) / 2.0
    return Calibration(floor_sigma_m=float(np.sqrt(max(unexplained_m2, MIN_FLOOR_SIGMA_M**2))))


def fit_scaling(
    parts: Sequence[CalibrationSet], base: Calibration, temperature: float | None = None, tails: bool = True
) -> CovarianceCalibration:
    """Temperature of the maps unless it is given, then scale and floor of the covariance, then the conformal quantiles.

    With evidence, a photo that agrees with no reference photo is doubted in proportion, by rule and not by fit: with
    each session of a campus held out in turn, an exponent that was fitted to the others was 0.4 to 0.5, and 0.2 for the
    one session that needed it most (docs/results.md).

    Scale and floor are the likeliest; with `tails` they are made wider where 95 % of the photos would not lie in their
    95 % ellipse: errors have longer tails than a Gaussian, and on sessions of other days the wider covariance is the
    likelier one. That takes many stretches of many walks: of a single one, the tail is one place's error.
    """
    if temperature is None:
        temperature = _fit_temperature(parts, base.evidence) if parts[0].cells is not None else 1.0
    raw = CovarianceCalibration(MIN_FLOOR_SIGMA_M, temperature=temperature)
    offsets, covs = _offsets_and_covs(parts, base, raw)
    covs = covs - MIN_FLOOR_SIGMA_M**2 * np.eye(2)
    agreement, full = None, None
    if base.evidence is not None:
        agreement = joined(parts, lambda part: part.agreements(part.believe(base, raw).mean_enu_m))
        full = float(np.quantile(agreement, REFERENCE_MATCH_QUANTILE))
    # errors over the root of their doubt are what scale and floor are to explain
    doubts = np.ones(len(offsets)) if full is None else doubt(agreement, full)
    scale, floor_sigma_m = fit_scale_and_floor(offsets / np.sqrt(doubts)[:, None], covs)
    claimed = CovarianceCalibration(floor_sigma_m, scale, reference_match_score=full).apply(covs, agreement)
    wider = _coverage_factor(offsets, claimed) if tails else 1.0
    scaling = CovarianceCalibration(
        float(floor_sigma_m * np.sqrt(wider)), float(scale * wider), temperature, reference_match_score=full
    )
    scores = np.linalg.norm(offsets, axis=1) / sigma_m(scaling.apply(covs, agreement))
    return replace(
        scaling, conformal_90=conformal_quantile(scores, 0.90), conformal_95=conformal_quantile(scores, 0.95)
    )


def _coverage_factor(offsets_m: np.ndarray, covs_m2: np.ndarray, level: float = 0.95) -> float:
    """By how much covariances (N, 2, 2) must grow, if at all, to hold offsets (N, 2) in `level` of their ellipses."""
    squared = (offsets_m * np.linalg.solve(covs_m2, offsets_m[..., None])[..., 0]).sum(axis=1)
    return max(1.0, conformal_quantile(squared, level) / float(special.chdtri(2, 1.0 - level)))


def fit_scale_and_floor(offsets_m: np.ndarray, covs_m2: np.ndarray) -> tuple[float, float]:
    """Scale and floor (metres) under which offsets (N, 2) are likeliest with covariances (N, 2, 2), as Gaussians.

    Where the members claim nothing, as one regressor of points does, there is only the floor.
    """
    trace_m2 = float(np.trace(covs_m2, axis1=-2, axis2=-1).mean())
    error_m2 = float((offsets_m**2).sum(axis=1).mean())
    start_floor = np.log(max(np.sqrt(error_m2 / 4.0), MIN_FLOOR_SIGMA_M))
    if trace_m2 < 1e-6:
        return 1.0, float(max(np.sqrt(error_m2 / 2.0), MIN_FLOOR_SIGMA_M))

    def loss(parameters: np.ndarray) -> float:
        scale, floor = np.exp(np.clip(parameters, -7.0, 7.0))
        floor = max(floor, MIN_FLOOR_SIGMA_M)
        return gaussian_nll(offsets_m, scale * covs_m2 + floor**2 * np.eye(2)).mean()

    starts = [(np.log(max(error_m2 / trace_m2, 1e-2) / 2.0), start_floor), (np.log(error_m2 / trace_m2 + 1e-2), 0.0)]
    best = min((optimize.minimize(loss, start, method="Nelder-Mead") for start in starts), key=lambda found: found.fun)
    scale, floor = np.exp(np.clip(best.x, -7.0, 7.0))
    return float(scale), float(max(floor, MIN_FLOOR_SIGMA_M))


def gaussian_nll(offsets_m: np.ndarray, covs_m2: np.ndarray) -> np.ndarray:
    """Negative log likelihood (N,) of offsets (N, 2) under N(0, covs (N, 2, 2)), without the constant log 2 pi."""
    squared = (offsets_m * np.linalg.solve(covs_m2, offsets_m[..., None])[..., 0]).sum(axis=1)
    return 0.5 * (squared + np.log(np.linalg.det(covs_m2)))


def conformal_quantile(scores: np.ndarray, level: float) -> float:
    """The quantile of scores (N,) that a new one stays below with probability `level` or more, if all are exchangeable.

    With N + 1 in the place of N (Vovk et al., Algorithmic Learning in a Random World, 2005, section 2.2).
    """
    count = len(scores)
    rank = min(int(np.ceil((count + 1) * level)), count)
    return float(np.sort(scores)[rank - 1])


def fit_retrieval_prior(parts: Sequence[CalibrationSet]) -> RetrievalPriorConfig | None:
    """How the neighbours are to weigh so that the labels are likeliest; None if they do not help.

    Each choice is judged at its own best temperature: what sharpens a map must not win by that alone.
    """
    maps = _MapLikelihood(parts)
    agreement = np.concatenate([near.agreements for part in parts for near in part.neighbours])
    usual = round(float(np.exp(np.log(agreement).mean())), 4)
    best, best_loss = None, maps.best_temperature()[1]
    kinds = product(PRIOR_BANDWIDTHS_M, PRIOR_TEMPERATURES, NULL_SIMILARITIES, MATCH_EXPONENTS)
    for kernel_m, temperature, background, match_exponent in kinds:
        candidate = RetrievalPriorConfig(1.0, kernel_m, temperature, background, match_exponent, usual)
        densities = [part.densities(candidate) for part in parts]
        for weight in PRIOR_WEIGHTS:
            loss = maps.best_temperature(densities, weight)[1]
            if loss < best_loss:
                best, best_loss = replace(candidate, weight=weight), loss
    return best


class _MapLikelihood:
    """How likely the labels of held-out parts are under their maps, with evidence or without, at any temperature."""

    def __init__(self, parts: Sequence[CalibrationSet]):
        self._maps = [mean_grid_probs(part.outputs.grid_log_probs) for part in parts]
        self._near_label = [label_kernel(part.cells.centres_enu_m, part.truth_enu_m) for part in parts]

    def best_temperature(
        self, densities: Sequence[np.ndarray] | None = None, weight: float = 0.0
    ) -> tuple[float, float]:
        """The likeliest temperature, and the mean negative log likelihood there."""
        maps = self._maps
        if densities is not None:
            maps = [log_linear_pool(own, near, weight) for own, near in zip(maps, densities, strict=True)]
        with np.errstate(divide="ignore"):
            logs = [np.log(own).astype(np.float32) for own in maps]

        def loss(log_temperature: float) -> float:
            powers = [np.exp((own - own.max(axis=1, keepdims=True)) / np.exp(log_temperature)) for own in logs]
            shares = [
                (power * kernel).sum(axis=1) / power.sum(axis=1)
                for power, kernel in zip(powers, self._near_label, strict=True)
            ]
            return float(-np.log(np.concatenate(shares) + UNLIKELIEST).mean())

        found = optimize.minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 0.05})
        return float(np.exp(found.x)), float(found.fun)


def label_kernel(cells_enu_m: np.ndarray, truth_enu_m: np.ndarray) -> np.ndarray:
    """(N, K) float32: how much of a cell's mass a label (N, 2) metres is smeared over, at most 1."""
    squared_m2 = ((cells_enu_m - truth_enu_m[:, None, :]) ** 2).sum(axis=-1)
    return np.exp(-squared_m2 / (2.0 * LABEL_SIGMA_M**2)).astype(np.float32)


def _fit_temperature(parts: Sequence[CalibrationSet], evidence: RetrievalPriorConfig | None) -> float:
    """The likeliest temperature."""
    if evidence is None:
        return _MapLikelihood(parts).best_temperature()[0]
    return _MapLikelihood(parts).best_temperature([part.densities(evidence) for part in parts], evidence.weight)[0]


def _offsets_and_covs(
    parts: Sequence[CalibrationSet], calibration: Calibration, scaling: CovarianceCalibration | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Errors (N, 2) in metres and claimed covariances (N, 2, 2) of all parts."""
    beliefs = [part.believe(calibration, scaling) for part in parts]
    offsets = [belief.mean_enu_m - part.truth_enu_m for belief, part in zip(beliefs, parts, strict=True)]
    return np.concatenate(offsets), np.concatenate([belief.cov_enu_m2 for belief in beliefs])


def _fit_lights(parts: Sequence[CalibrationSet], base: Calibration, fitted: Calibration) -> tuple[dict, dict]:
    """Fields of a calibration for the night, if the data call for one, and the numbers of the test."""
    night = joined(parts, lambda part: part.night)
    counts = [int((night == light).sum()) for light in (0.0, 1.0)]
    if min(counts) < MIN_PHOTOS:
        return {}, {"light": f"not tested: {counts[0]} photos by day, {counts[1]} by night"}
    threshold, accuracy = brightness_of_night(joined(parts, lambda part: part.outputs.brightness), night)
    by_light = [[part.rows(part.night == light) for part in parts] for light in (0.0, 1.0)]
    scalings = [fit_scaling([part for part in light if len(part)], base) for light in by_light]
    apart = sum(_nll_sum(light, base, scaling) for light, scaling in zip(by_light, scalings, strict=True))
    together = sum(_nll_sum(light, base, fitted) for light in by_light)
    # photos of one stretch of a walk are one observation, not many
    effective = sum(len(set(part.blocks.tolist())) for part in parts) / sum(map(len, parts))
    ratio, free = 2.0 * (together - apart) * effective, 3 if parts[0].cells is not None else 2
    limit = float(stats.chi2.ppf(1.0 - SIGNIFICANCE, free))
    measured = {
        "light_ratio": round(ratio, 2),
        "light_ratio_limit": round(limit, 2),
        "light_accuracy": round(accuracy, 3),
        "light": "apart" if ratio > limit and accuracy >= LIGHT_ACCURACY else "together",
    }
    if measured["light"] == "together":
        return {}, measured
    return {**vars(scalings[0]), "night": scalings[1], "night_brightness_threshold": threshold}, measured


def brightness_of_night(brightness: np.ndarray, night: np.ndarray) -> tuple[float, float]:
    """The brightness below which it is night, and how often that is right (mean of both lights), of photos (N,)."""
    known = np.isfinite(night)
    brightness, night = brightness[known], night[known] == 1.0
    candidates = np.quantile(brightness, np.linspace(0.01, 0.99, 99))
    below = brightness[None, :] < candidates[:, None]
    right = 0.5 * (below[:, night].mean(axis=1) + (~below[:, ~night]).mean(axis=1))
    best = int(right.argmax())
    return round(float(candidates[best]), 2), float(right[best])


def _nll_sum(parts: Sequence[CalibrationSet], base: Calibration, scaling: CovarianceCalibration) -> float:
    filled = [part for part in parts if len(part)]
    return float(gaussian_nll(*_offsets_and_covs(filled, base, scaling)).sum())


def _measured(parts: Sequence[CalibrationSet], base: Calibration, fitted: Calibration) -> dict[str, object]:
    """The numbers that justify a calibration: before (evidence and the smallest floor alone) and after."""
    return {
        "photos": sum(map(len, parts)),
        "sessions": sorted({str(session) for part in parts for session in part.sessions}),
        **before_and_after(parts, base, fitted),
    }


def before_and_after(parts: Sequence[CalibrationSet], before: Calibration, after: Calibration) -> dict[str, float]:
    """Likelihood, NEES, coverage and errors of the parts' photos with one calibration and with the other."""
    numbers: dict[str, float] = {}
    for name, calibration in (("before", before), ("after", after)):
        offsets, covs = _offsets_and_covs(parts, calibration)
        squared = (offsets * np.linalg.solve(covs, offsets[..., None])[..., 0]).sum(axis=1)
        numbers |= {
            f"nll_{name}": round(float(gaussian_nll(offsets, covs).mean() + np.log(2.0 * np.pi)), 3),
            f"nees_{name}": round(float(squared.mean()), 3),
            f"coverage_95_{name}": round(float((squared <= special.chdtri(2, 0.05)).mean()), 3),
            f"mean_error_{name}_m": round(float(np.linalg.norm(offsets, axis=1).mean()), 2),
            f"rms_error_{name}_m": round(float(np.sqrt((offsets**2).sum(axis=1).mean())), 2),
        }
    return numbers
