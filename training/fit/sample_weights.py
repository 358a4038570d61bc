"""Weights of the training photos in the losses that trust a label by its reported accuracy (paper, section 6.5)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np

from training.config import AREA_ZSCORE, INVERSE_VARIANCE

log = logging.getLogger(__name__)

# Some phones report 0 for "unknown" or a fraction of a metre; no phone is that accurate, and 1 / 0^2 is no weight.
MIN_ACCURACY_M = 1.0
# Of photos without a reported accuracy, where no training photo has one.
_DEFAULT_ACCURACY_M = 10.0


def sample_weights(
    loss_name: str, gps_accuracy_m: np.ndarray, area_names: Callable[[], Sequence[str]]
) -> np.ndarray | None:
    """Weights of N training photos, their mean 1, so that loss and learning rate keep their scale.

    The ratio of two weights is that of the paper: nothing is clipped but accuracies below MIN_ACCURACY_M. How unequal
    they are is logged: the paper's weights of 1 to 50 came to "ignoring 80 % of the data".

    Args:
        loss_name: `loss.name` of the configuration.
        gps_accuracy_m: (N,) reported accuracies, NaN where unknown: such a photo gets the median of the others.
        area_names: Returns the area of each photo; called for the losses that need it only.

    Returns:
        (N,) float64, or None for a loss without weights.
    """
    if loss_name not in (INVERSE_VARIANCE, AREA_ZSCORE):
        return None
    accuracy_m = known_accuracy_m(gps_accuracy_m)
    if loss_name == INVERSE_VARIANCE:
        weights = inverse_variance_weights(accuracy_m)
    else:
        weights = area_zscore_weights(accuracy_m, area_names())
    weights = weights / weights.mean()
    log.info(
        "loss %s: weights of %d photos from %.3g to %.3g, a ratio of %.3g; they count as %.0f equal ones",
        loss_name,
        len(weights),
        weights.min(),
        weights.max(),
        weights.max() / weights.min(),
        effective_number(weights),
    )
    return weights


def known_accuracy_m(gps_accuracy_m: np.ndarray) -> np.ndarray:
    """(N,) accuracies of at least MIN_ACCURACY_M; unknown ones (NaN, negative) are the median of the known ones."""
    accuracy_m = np.asarray(gps_accuracy_m, dtype=np.float64)
    known = np.isfinite(accuracy_m) & (accuracy_m >= 0.0)
    usual_m = float(np.median(accuracy_m[known])) if known.any() else _DEFAULT_ACCURACY_M
    if not known.all():
        log.warning(
            "%d of %d training photos have no gps_accuracy_m: the loss takes %.1f m for them, %s",
            (~known).sum(),
            len(known),
            usual_m,
            "the median of the others" if known.any() else "as no photo has one, and so weighs all alike",
        )
    return np.where(known, accuracy_m, usual_m).clip(min=MIN_ACCURACY_M)


def inverse_variance_weights(accuracy_m: np.ndarray) -> np.ndarray:
    """1 / sigma^2 (N,) of accuracies (N,), metres (paper, section 6.5)."""
    return 1.0 / np.square(accuracy_m)


def area_zscore_weights(accuracy_m: np.ndarray, areas: Sequence[str]) -> np.ndarray:
    """1 / (1 + max(0, z)), z the accuracy's z-score among the photos of the same area (paper, section 6.5).

    Args:
        accuracy_m: (N,) metres.
        areas: Name of each photo's area. Where an area's accuracies are all equal, z is 0.

    Returns:
        (N,) weights, at most 1.
    """
    z = np.zeros(len(accuracy_m))
    names = np.asarray(areas, dtype=object)
    for name in set(areas):
        own = accuracy_m[names == name]
        spread_m = own.std()
        if spread_m > 1e-9:
            z[names == name] = (own - own.mean()) / spread_m
    return 1.0 / (1.0 + z.clip(min=0.0))


def effective_number(weights: np.ndarray) -> float:
    """Kish's effective sample size: how many equal weights have the same variance of a weighted mean."""
    return float(np.square(weights.sum()) / np.square(weights).sum())
