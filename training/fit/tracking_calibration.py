"""The tracker's parameters, fitted on sequences of photos that the networks have not seen.

What is fitted is the tracker that runs on the robot, over the posteriors of a calibration that is fitted already: the
speed of the random walk, the power of an image's posterior, the time for which errors of consecutive images are alike
and the share of outliers, by a search over a few values of each; then the time for which outliers are alike; then scale
and floor of the covariance of what it says, and of what the smoother says with the same parameters. All by the
likelihood of the labels under the calibrated covariance: it falls with the error and with a covariance that is wrong,
in both directions. In the search, images of one stretch of a walk count as one observation, however many were taken
there.

Scale and floor are also those of stretches that lead through spots that have not been seen (withheld_spots.py): a
belief cannot be where no cell is, and a covariance of known paths alone is too small beside them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from scipy import special

from campus_visual_gps.estimation.calibration import CALIBRATED, Calibration
from campus_visual_gps.estimation.grid import LocationGrid
from campus_visual_gps.tracking.calibration import LIMITS, TrackingCalibration
from campus_visual_gps.tracking.session import informative_share, weighed_posterior
from training.fit.calibration_set import CalibrationSet
from training.fit.covariance_fit import conformal_quantile, fit_scale_and_floor
from training.fit.image_sequences import ImageSequence, TrackedImages, image_sequences, smooth_sequence, track
from training.fit.withheld_spots import WITHHELD_EVERY, can_be_withheld, with_spots_withheld
from training.metrics.consistency import covered, gaussian_nll, nees

log = logging.getLogger(__name__)

# Fewer images in time order cannot tell a speed from a power: the defaults stay.
MIN_IMAGES = 60
# A sequence of fewer images is a start and no walk.
_MIN_LENGTH = 10
# Values that are tried, each with each.
CHOICES: dict[str, tuple[float, ...]] = {
    "measurement_power": (0.5, 1.0),
    "speed_mps": (1.0, 1.7),
    "correlation_time_s": (2.0, 6.0),
    "outlier_share": (0.03, 0.2),
}
# Tried with the best of these only: it matters little where few images are outliers.
REFINED: dict[str, tuple[float, ...]] = {"outlier_memory_s": (30.0, 100.0, 300.0)}
# Stretches of so many seconds are withheld, one in WITHHELD_EVERY at a time; an image in one of them counts by one in
# WITHHELD_EVERY, as a single image of a withheld spot does.
WITHHELD_STRETCH_S = 60.0
_LEVEL = 0.95
_LEAST_FLOOR_M = 0.1
_Positions = Callable[[LocationGrid, TrackingCalibration, ImageSequence], TrackedImages]


@dataclass(frozen=True)
class _Walk:
    """A sequence, the grid that it is tracked over, and the stretch (N,) of each of its images.

    `weights` (N,) say how often each image counts for scale and floor.
    """

    grid: LocationGrid
    sequence: ImageSequence
    blocks: np.ndarray
    weights: np.ndarray


def fit_tracking_calibration(sets: Sequence[CalibrationSet], calibration: Calibration) -> TrackingCalibration | None:
    """The tracking calibration of a bundle with this calibration; None for heads without a grid.

    With too few images in time order the defaults stay, and `measured` says so.

    Args:
        sets: Held-out photos, the same that the calibration was fitted on.
        calibration: Of single images.
    """
    if not sets or any(own.grid is None for own in sets):
        return None
    start = TrackingCalibration()
    calibration = replace(calibration, covariance=CALIBRATED)
    walks_of_sets = [_walks(own, calibration) for own in sets]
    walks = [walk for own in walks_of_sets for walk in own]
    images = sum(len(walk.sequence) for walk in walks)
    if images < MIN_IMAGES:
        log.warning(
            "%d held-out photos in time order are too few to calibrate the tracker: it has its defaults", images
        )
        return replace(start, measured={"images": images, "fitted": "no: too few images in time order"})
    fit = _Fit(walks)
    pairs = zip(sets, walks_of_sets, strict=True)
    withheld = [walk for own, its_walks in pairs for walk in _withheld_walks(own, its_walks, calibration)]
    found = fit.calibrated(_search(fit, start), withheld)
    log.info("tracker calibrated on %d images in %d sequences, %d choices tried", images, len(walks), fit.trials)
    return found


def was_fitted(calibration: TrackingCalibration) -> bool:
    """Whether there were enough images in time order to fit it."""
    return "trials" in calibration.measured


def _walks(own: CalibrationSet, calibration: Calibration) -> list[_Walk]:
    probs = _weighed_posteriors(own, calibration)
    if own.grid is None or probs is None:
        return []
    sequences = image_sequences(own.sessions, own.times_s, probs, own.truth_enu_m)
    walks = [sequence for sequence in sequences if len(sequence) >= _MIN_LENGTH]
    return [_Walk(own.grid, walk, own.blocks[walk.rows], np.ones(len(walk))) for walk in walks]


def _weighed_posteriors(own: CalibrationSet, calibration: Calibration) -> np.ndarray | None:
    """(N, K) as the tracker is given them; None for heads without a grid."""
    posterior = own.posterior(calibration)
    if posterior.grid_probs is None:
        return None
    shares = informative_share(posterior.match_score, calibration.reference_match_score)
    return weighed_posterior(posterior.grid_probs, shares)


def _withheld_walks(own: CalibrationSet, walks: Sequence[_Walk], calibration: Calibration) -> list[_Walk]:
    """Each walk WITHHELD_EVERY times, each time with other stretches through withheld spots, which alone count."""
    if not calibration.uses_retrieval:
        return []
    chosen = can_be_withheld(own)
    unseen = _weighed_posteriors(with_spots_withheld(own, chosen), calibration) if chosen.any() else None
    if unseen is None:
        return []
    found = []
    for walk in walks:
        sequence = walk.sequence
        elsewhere = sequence.grid_probs.copy()
        left = chosen[sequence.rows]
        elsewhere[left] = unseen[(np.cumsum(chosen) - 1)[sequence.rows[left]]]
        stretches = (sequence.times_s - sequence.times_s[0]) // WITHHELD_STRETCH_S
        for turn in range(WITHHELD_EVERY):
            withheld = left & (stretches % WITHHELD_EVERY == turn)
            if withheld.any():
                changed = replace(sequence, grid_probs=np.where(withheld[:, None], elsewhere, sequence.grid_probs))
                found.append(replace(walk, sequence=changed, weights=withheld / WITHHELD_EVERY))
    return found


class _Fit:
    """Runs the tracker with a choice of parameters over all walks; every choice once."""

    def __init__(self, walks: Sequence[_Walk]):
        self.walks = walks
        self.weights = _stretch_weights(walks)
        self._losses: dict[tuple[float, ...], float] = {}
        self.trials = 0

    def loss(self, own: TrackingCalibration) -> float:
        """Mean negative log likelihood of the labels, nats, under scale and floor that suit the choice best."""
        key = tuple(getattr(own, name) for name in (*CHOICES, *REFINED))
        found = self._losses.get(key)
        if found is None:
            self.trials += 1
            offsets_m, covs_m2 = _run(self.walks, own)
            scale, floor_m = fit_scale_and_floor(offsets_m, covs_m2)
            nll = gaussian_nll(offsets_m, scale * covs_m2 + floor_m**2 * np.eye(2))
            found = self._losses[key] = float(np.average(nll, weights=self.weights))
        return found

    def calibrated(self, own: TrackingCalibration, withheld: Sequence[_Walk]) -> TrackingCalibration:
        """The choice with scale and floor of tracked and of smoothed positions, and the numbers that justify it.

        Walks with `withheld` stretches count for scale and floor, and not for the numbers.
        """
        scale, floor_m, tracked = _calibrated_covariance(self.walks, withheld, own, track)
        smoothed_scale, smoothed_floor_m, smoothed = _calibrated_covariance(self.walks, withheld, own, smooth_sequence)
        measured = {
            "images": len(self.weights),
            "withheld_images": int(sum((walk.weights > 0.0).sum() for walk in withheld)),
            "sessions": sorted({walk.sequence.session for walk in self.walks}),
            "sequences": len(self.walks),
            "trials": self.trials,
            **tracked,
            **{f"smoothed_{name}": value for name, value in smoothed.items()},
        }
        return replace(
            own,
            scale=scale,
            floor_sigma_m=floor_m,
            smoothed_scale=smoothed_scale,
            smoothed_floor_sigma_m=smoothed_floor_m,
            measured=measured,
        )


def _run(
    walks: Sequence[_Walk], own: TrackingCalibration, positions: _Positions = track
) -> tuple[np.ndarray, np.ndarray]:
    """Errors (N, 2) of all images of all walks, and the plain second moments (N, 2, 2) of the beliefs."""
    plain = replace(own, scale=1.0, floor_sigma_m=_LEAST_FLOOR_M, smoothed_scale=None, smoothed_floor_sigma_m=None)
    found = [positions(walk.grid, plain, walk.sequence) for walk in walks]
    offsets_m = [own.mean_enu_m - walk.sequence.truth_enu_m for own, walk in zip(found, walks, strict=True)]
    covs_m2 = np.concatenate([own.cov_enu_m2 for own in found]) - _LEAST_FLOOR_M**2 * np.eye(2)
    return np.concatenate(offsets_m), covs_m2


def _calibrated_covariance(
    walks: Sequence[_Walk], withheld: Sequence[_Walk], own: TrackingCalibration, positions: _Positions
) -> tuple[float, float, dict[str, float]]:
    """Scale and floor (metres) of tracked or smoothed positions, and what they give on the walks as they are."""
    offsets_m, covs_m2 = _run([*walks, *withheld], own, positions)
    weights = np.concatenate([walk.weights for walk in (*walks, *withheld)])
    scale, floor_m = scale_and_floor_that_hold(offsets_m, covs_m2, weights)
    images = sum(len(walk.sequence) for walk in walks)
    offsets_m, covs_m2 = offsets_m[:images], scale * covs_m2[:images] + floor_m**2 * np.eye(2)
    squared, errors_m = nees(offsets_m, covs_m2), np.hypot(*offsets_m.T)
    measured = {
        "mean_error_m": round(float(errors_m.mean()), 2),
        "max_error_m": round(float(errors_m.max()), 2),
        "nees": round(float(squared.mean()), 3),
        "coverage_50": round(float(covered(squared, 0.5).mean()), 3),
        "coverage_95": round(float(covered(squared, _LEVEL).mean()), 3),
        "nll": round(float(gaussian_nll(offsets_m, covs_m2).mean()), 3),
    }
    return scale, floor_m, measured


def scale_and_floor_that_hold(offsets_m: np.ndarray, covs_m2: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Likeliest scale and floor (metres) of second moments (N, 2, 2) for errors (N, 2), wide enough to hold 95 %.

    `weights` (N,) say how often each error counts. Errors have longer tails than a Gaussian: see `fit_covariance`.
    """
    scale, floor_m = fit_scale_and_floor(offsets_m, covs_m2, weights)
    squared = nees(offsets_m, scale * covs_m2 + floor_m**2 * np.eye(2))
    factor = max(1.0, conformal_quantile(squared, _LEVEL, weights) / float(special.chdtri(2, 1.0 - _LEVEL)))
    scale = round(float(np.clip(scale * factor, *LIMITS["scale"])), 4)
    return scale, round(float(np.clip(floor_m * np.sqrt(factor), *LIMITS["floor_sigma_m"])), 3)


def _search(fit: _Fit, start: TrackingCalibration) -> TrackingCalibration:
    """The best of all choices, refined."""
    for tried in (CHOICES, REFINED):
        named: list[dict[str, Any]] = [dict(zip(tried, values, strict=True)) for values in product(*tried.values())]
        start = min((replace(start, **values) for values in named), key=fit.loss)
    return start


def _stretch_weights(walks: Sequence[_Walk]) -> np.ndarray:
    """Weights (N,) of the images of all walks: every stretch has the same weight in all."""
    labels = np.concatenate([[f"{index}/{block}" for block in walk.blocks] for index, walk in enumerate(walks)])
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return 1.0 / counts[inverse]
