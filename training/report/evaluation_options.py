"""What an evaluation does besides the plain one, and with which covariance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from campus_visual_gps.errors import ConfigError
from training.evaluate.agreement import IMPOSSIBLE_OVER_M
from training.evaluate.tta import TtaSettings


@dataclass(frozen=True)
class EvaluationOptions:
    """Options of `evaluate`.

    Attributes:
        covariance: Which one is evaluated, by name; None for the bundle's choice.
        tta: Test-time augmentations, of different modes, with the same numbers.
        impossible_over_m: Photos that every member misses by more are listed in impossible.csv.
        sequences: Whether photos are tracked in time order too, and their posteriors kept.

    Raises:
        ConfigError: A mode is named twice, or the limit is not positive.
    """

    covariance: str | None = None
    tta: tuple[TtaSettings, ...] = ()
    impossible_over_m: float = IMPOSSIBLE_OVER_M
    sequences: bool = False

    def __post_init__(self) -> None:
        modes = [settings.mode for settings in self.tta]
        if len(set(modes)) != len(modes):
            raise ConfigError(f"tta: expected every mode once, got {', '.join(modes)}")
        if not (np.isfinite(self.impossible_over_m) and self.impossible_over_m > 0.0):
            raise ConfigError(f"impossible: expected a positive limit in metres, got {self.impossible_over_m}")
