"""Thresholds of the gates, measured on the photos that the members were trained and validated on."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from campus_visual_gps.estimation.integrity import Gates
from campus_visual_gps.retrieval.ood import OodDetector

log = logging.getLogger(__name__)

# Fewer photos do not tell their extremes.
MIN_PHOTOS = 50
# Quantile for the extremes of the photos: one in two hundred may itself be faulty, such as a covered lens.
TAIL = 0.005
# A robot's camera differs from the phone: only what is far outside the range of the photos is rejected.
DARK_MARGIN, BRIGHT_MARGIN, BLUR_MARGIN, SPREAD_MARGIN = 0.5, 0.5, 0.25, 2.0
# The share of the site's own photos that the OOD gate may reject: a wider gate lets other sites in.
OOD_FALSE_POSITIVE_RATE = 0.01
MODE_LIMITS_M = (40.0, 60.0, 80.0, 120.0, 160.0, 240.0)


def with_image_gates(gates: Gates, brightness: np.ndarray, sharpness: np.ndarray) -> Gates:
    """`gates` with thresholds from N photos: mean grey levels (N,), 0..255, and variances of the Laplacian (N,).

    Half as bright as the darkest, half as far from white as the brightest, a quarter as sharp as the most blurred.
    Off for fewer than MIN_PHOTOS.
    """
    if len(brightness) < MIN_PHOTOS:
        log.warning("%d photos are too few to measure the image gates: they stay off", len(brightness))
        return gates
    darkest, brightest = np.quantile(brightness, [TAIL, 1.0 - TAIL])
    return replace(
        gates,
        min_brightness=round(float(DARK_MARGIN * darkest), 2),
        max_brightness=round(float(255.0 - BRIGHT_MARGIN * (255.0 - brightest)), 2),
        min_sharpness=round(float(BLUR_MARGIN * np.quantile(sharpness, TAIL)), 2),
    )


def with_posterior_gates(
    gates: Gates,
    errors_m: np.ndarray,
    sigmas_m: np.ndarray,
    mode_separation_m: np.ndarray,
    accepted_error_m: float | None,
) -> Gates:
    """`gates` with thresholds from N held-out photos: errors, claimed sigmas and distances of the modes, (N,) metres.

    Where a mean error is asked of the accepted fixes, the least certain are rejected first, and before them those whose
    modes are so far apart that their own mean error is above it.
    """
    if accepted_error_m is None:
        return gates
    if len(errors_m) < MIN_PHOTOS:
        log.warning(
            "%d held-out photos are too few to measure the gates of sigma and modes: they stay off", len(errors_m)
        )
        return gates
    apart = modes_limit_m(errors_m, mode_separation_m, accepted_error_m)
    kept = mode_separation_m <= (np.inf if apart is None else apart)
    limit = sigma_limit_m(errors_m[kept], sigmas_m[kept], accepted_error_m)
    return replace(gates, max_mode_separation_m=apart, max_sigma_m=limit)


def with_ood_gate(gates: Gates, ood_features: np.ndarray, sessions: np.ndarray) -> Gates:
    """`gates` with the OOD score that OOD_FALSE_POSITIVE_RATE of the training photos exceed against other sessions.

    Photos of another day, in other light, are what a robot will bring. Off for a single session and for too few photos.

    Args:
        gates: The gates so far.
        ood_features: (N, c) of the training photos.
        sessions: (N,) names.
    """
    if len(ood_features) < MIN_PHOTOS or len(set(sessions)) < 2:
        log.warning(
            "%d photos of %d sessions cannot measure the OOD gate: it stays off", len(ood_features), len(set(sessions))
        )
        return gates
    scores = OodDetector(ood_features).scores_against_other_sessions(sessions)
    return replace(gates, max_ood_score=round(float(np.quantile(scores, 1.0 - OOD_FALSE_POSITIVE_RATE)), 4))


def modes_limit_m(errors_m: np.ndarray, mode_separation_m: np.ndarray, accepted_error_m: float) -> float | None:
    """The least distance of modes (N,) above which MIN_PHOTOS or more have a mean error above the accepted one."""
    for limit in MODE_LIMITS_M:
        beyond = errors_m[mode_separation_m > limit]
        if len(beyond) < MIN_PHOTOS:
            return None
        if beyond.mean() > accepted_error_m:
            return limit
    return None


def sigma_limit_m(errors_m: np.ndarray, sigmas_m: np.ndarray, accepted_error_m: float) -> float | None:
    """The greatest sigma (N,) up to which the mean error is not above the accepted one; None if no limit is needed.

    Where not even the MIN_PHOTOS most certain photos are as good there is no such limit, and a warning.
    """
    order = np.argsort(sigmas_m, kind="stable")
    means_m = np.cumsum(errors_m[order]) / np.arange(1, len(order) + 1)
    good = np.flatnonzero(means_m <= accepted_error_m)
    if len(good) and good[-1] == len(order) - 1:
        return None
    if not len(good) or good[-1] + 1 < MIN_PHOTOS:
        log.warning("no limit of sigma brings the mean error to %.1f m: the gate stays off", accepted_error_m)
        return None
    return round(float(sigmas_m[order][good[-1]]), 2)


def with_spread_gate(gates: Gates, spreads_m: np.ndarray) -> Gates:
    """`gates` with twice the widest spread (N,) of the members, metres, over N validation photos.

    Not over training photos: on these the members agree because they have seen them. A gate that is set stays.
    """
    if gates.max_ensemble_spread_m is not None:
        return gates
    if len(spreads_m) < MIN_PHOTOS:
        log.warning("%d validation photos are too few to measure the spread gate: it stays off", len(spreads_m))
        return gates
    widest_m = float(np.quantile(spreads_m, 1.0 - TAIL))
    # a single member has no spread
    return replace(gates, max_ensemble_spread_m=round(SPREAD_MARGIN * widest_m, 2)) if widest_m > 0.0 else gates
