"""What a SiteModel says of a batch of images, as numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class ModelOutputs:
    """Outputs for N images; metres are of the bundle's local frame.

    Attributes:
        member_means_enu_m: (N, M, 2) float64, one position for each of M members.
        member_covs_enu_m2: (N, M, 2, 2) float64, zero for a head that regresses a point.
        grid_log_probs: (N, M, K) float64 over the K cells of the site, or None for heads without a grid.
        ood_features: (N, c) float32, channel means of the backbone's middle stage.
        pooled_features: (N, d) float32, channel means and standard deviations of the later stages.
        descriptors: (N, p) float32 of norm 1, or None for a model without a descriptor extractor.
        local_descriptors: (N, T, t) int8, unit vectors times 127, or None likewise.
        local_features: two (N, g, g, C), what local descriptors are made of; None for a model with an extractor.
        finite: (N,) bool, whether all numbers of an image were finite. Where not, means, covariances and
            log probabilities are NaN and everything else is 0, so that nothing behind the engine asks again.
    """

    member_means_enu_m: np.ndarray
    member_covs_enu_m2: np.ndarray
    grid_log_probs: np.ndarray | None
    ood_features: np.ndarray
    pooled_features: np.ndarray
    descriptors: np.ndarray | None
    local_descriptors: np.ndarray | None
    local_features: tuple[np.ndarray, ...] | None
    finite: np.ndarray

    def __len__(self) -> int:
        return len(self.finite)

    def rows(self, chosen: Any) -> ModelOutputs:
        """The outputs of some images; `chosen` indexes the first axis."""
        taken = {field.name: _taken(getattr(self, field.name), chosen) for field in fields(self)}
        return replace(self, **taken)

    @classmethod
    def concatenate(cls, batches: Sequence[ModelOutputs]) -> ModelOutputs:
        """The outputs of all batches as one."""
        return cls(**{field.name: _joined([getattr(batch, field.name) for batch in batches]) for field in fields(cls)})


def _taken(value: Any, chosen: Any) -> Any:
    if value is None:
        return None
    return tuple(item[chosen] for item in value) if isinstance(value, tuple) else value[chosen]


def _joined(values: list[Any]) -> Any:
    if values[0] is None:
        return None
    if isinstance(values[0], tuple):
        return tuple(np.concatenate(items) for items in zip(*values, strict=True))
    return np.concatenate(values)
