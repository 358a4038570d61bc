"""Held-out photos whose spot neither a reference photo nor the network has seen, made from those whose spot is seen.

A robot also comes to spots that nobody has photographed. Sessions along the same paths have few of them: a covariance
that is fitted on such sessions alone is too small on a walk that leaves these paths. So a share of the held-out photos
counts once more, searched among the reference photos that were taken elsewhere. The network learnt the spot from these
photos too, so its grid is taken as uniform.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from campus_visual_gps.models.outputs import ModelOutputs
from campus_visual_gps.retrieval.index import RetrievalIndex, RetrievalResult
from training.fit.calibration_set import CalibrationSet

# Reference photos so near to a photo's label, metres, are withheld: beyond it a photo shows another spot.
WITHHELD_RADIUS_M = 15.0
# Of so many photos in the order of the walk one counts once more.
WITHHELD_EVERY = 3


def retrieve_elsewhere(
    outputs: ModelOutputs, index: RetrievalIndex | None, truth_enu_m: np.ndarray
) -> RetrievalResult | None:
    """The most similar reference photos of images (N) that were not taken within WITHHELD_RADIUS_M of the truth (N, 2).

    None where there is no index. Where fewer are left than are searched for, the last row is -1.
    """
    if index is None or outputs.descriptors is None:
        return None
    distances_m = np.linalg.norm(truth_enu_m[:, None] - index.positions_enu_m, axis=-1)
    return index.search(outputs.descriptors, outputs.local_descriptors, excluded=distances_m <= WITHHELD_RADIUS_M)


def withheld_spots(sets: Sequence[CalibrationSet]) -> list[CalibrationSet]:
    """Of each set every WITHHELD_EVERY-th photo, with the reference photos of its spot withheld and a uniform grid.

    Photos to which too few reference photos would be left are not among them.
    """
    found = []
    for own in sets:
        chosen = np.zeros(len(own), dtype=bool)
        chosen[::WITHHELD_EVERY] = True
        chosen &= can_be_withheld(own)
        if chosen.any():
            found.append(with_spots_withheld(own, chosen))
    return found


def can_be_withheld(own: CalibrationSet) -> np.ndarray:
    """(N,) bool: whether enough reference photos are left of a photo if those of its spot are withheld."""
    if own.retrieval_elsewhere is None or own.outputs.grid_log_probs is None:
        return np.zeros(len(own), dtype=bool)
    return own.retrieval_elsewhere.rows[:, -1] >= 0


def with_spots_withheld(own: CalibrationSet, chosen: np.ndarray) -> CalibrationSet:
    """The chosen (N,) photos of a set, all of which `can_be_withheld`, without what shows their spot."""
    part = own.rows(chosen)
    assert part.outputs.grid_log_probs is not None
    cells = part.outputs.grid_log_probs.shape[-1]
    uniform = np.full((len(part), 1, cells), -np.log(cells), dtype=part.outputs.grid_log_probs.dtype)
    outputs = replace(part.outputs, grid_log_probs=uniform)
    return replace(part, outputs=outputs, retrieval=part.retrieval_elsewhere, retrieval_elsewhere=None)
