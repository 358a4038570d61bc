"""Numbers as text: decimals, percentages and intervals."""

from __future__ import annotations

from training.metrics.estimate import Estimate

NONE = "–"


def number(value: float | None, digits: int = 1) -> str:
    """Decimals, or NONE for what is unknown."""
    return NONE if value is None else f"{value:.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share as "81.3 %"."""
    return NONE if value is None else f"{100.0 * value:.{digits}f} %"


def with_interval(estimate: Estimate, digits: int = 1) -> str:
    """A number with its interval: "25.1 [21.2, 29.3]"; without the interval where that is unknown."""
    value = number(estimate.value, digits)
    if estimate.low is None or estimate.high is None:
        return value
    return f"{value} [{number(estimate.low, digits)}, {number(estimate.high, digits)}]"


def percent_with_interval(estimate: Estimate) -> str:
    """A share with its interval: "81.3 % [75, 86]"."""
    if estimate.low is None or estimate.high is None:
        return percent(estimate.value)
    return f"{percent(estimate.value)} [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]"
