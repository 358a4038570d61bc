"""A number with its 95 % interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.metrics.bootstrap import Interval


@dataclass(frozen=True)
class Estimate:
    """A number and the bounds of its 95 % interval; None for what is unknown (JSON has no NaN)."""

    value: float | None = None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, value: float, interval: Interval) -> Estimate:
        """From a number and its interval; what is not finite becomes None."""
        low, high = interval
        return cls(finite_or_none(value), finite_or_none(low), finite_or_none(high))


UNKNOWN = Estimate()


def finite_or_none(value: float) -> float | None:
    """A plain float, or None for NaN and infinity."""
    return float(value) if np.isfinite(value) else None
