"""Thresholds of the gates, measured on the photos that the members were trained and validated on."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from campus_visual_gps.integrity import Gates

log = logging.getLogger(__name__)

# Fewer photos say little of their extremes.
MIN_PHOTOS = 50
# The extremes of the photos but for one in two hundred, which may itself be a covered lens.
TAIL = 0.005
# A robot's camera differs from the phone: only what is far outside of everything seen is refused.
DARK_MARGIN, BRIGHT_MARGIN, BLUR_MARGIN, SPREAD_MARGIN = 0.5, 0.5, 0.25, 2.0


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


def with_spread_gate(gates: Gates, spreads_m: np.ndarray) -> Gates:
    """`gates` with twice the widest spread (N,) of the members, metres, over N validation photos.

    Not over training photos: on these the members agree because they have seen them. A gate that is set stays.
    """
    if gates.max_spread_m is not None:
        return gates
    if len(spreads_m) < MIN_PHOTOS:
        log.warning("%d validation photos are too few to measure the spread gate: it stays off", len(spreads_m))
        return gates
    widest_m = float(np.quantile(spreads_m, 1.0 - TAIL))
    # one member alone has no spread to judge by
    return replace(gates, max_spread_m=round(SPREAD_MARGIN * widest_m, 2)) if widest_m > 0.0 else gates
