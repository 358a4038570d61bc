"""Retrieval baselines: exact search among the training photos, and positions and covariances from the nearest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from campus_visual_gps.retrieval.index import cosine_top_k, unit_rows
from training.photos.photo_id import photo_key

# Standard deviation of a label per axis, as phones report it outdoors.
LABEL_SIGMA_M = 5.0
SPREAD_OF = 5
TOP_K = 10
# Of weighted nearest neighbours on unit features: Wu et al., Unsupervised feature learning via non-parametric
# instance discrimination, CVPR 2018, section 3.4. Taken as published, fitted on nothing.
TEMPERATURE = 0.07

Answers = tuple[np.ndarray, np.ndarray]


def own_rows(query_ids: Sequence[str], reference_ids: Sequence[str]) -> np.ndarray:
    """(Q,) int: the row of each query photo among the reference photos, -1 where it is none of them."""
    row_of = {photo_key(photo_id): row for row, photo_id in enumerate(reference_ids)}
    return np.array([row_of.get(photo_key(photo_id), -1) for photo_id in query_ids], dtype=np.int64)


def nearest(queries: np.ndarray, reference: np.ndarray, excluded: np.ndarray, k: int = 1) -> Answers:
    """The k rows of `reference` (N, d) with the greatest cosine similarity to each of `queries` (Q, d), best first.

    Returns rows (Q, K) int and cosines (Q, K), K the lesser of k and N. Row excluded[q] is never among the answers to
    query q (-1 excludes none); row -1 and cosine -inf where no row is left.
    """
    return cosine_top_k(unit_rows(queries), unit_rows(reference), k, excluded)


def positions_of(rows: np.ndarray, positions_enu_m: np.ndarray) -> np.ndarray:
    """Rows (...) of positions (N, 2) -> (..., 2) metres, NaN for row -1."""
    return np.where((rows >= 0)[..., None], positions_enu_m[rows], np.nan)


def nearest_answers(rows: np.ndarray, positions_enu_m: np.ndarray) -> Answers:
    """Positions (Q, 2) of the nearest photos, and covariances (Q, 2, 2) m^2 for them.

    The covariance is the second moment of the SPREAD_OF nearest photos' positions about the answer, equally weighted,
    plus the label errors of two photos, the nearest and the query (together a sigma of 7 m). rows (Q, K) are those of
    `nearest`.
    """
    near = positions_of(rows[:, :SPREAD_OF], positions_enu_m)
    weights = np.where(np.isfinite(near[..., 0]), 1.0, 0.0)
    return near[:, 0], _second_moment(near, near[:, 0], weights) + 2.0 * LABEL_SIGMA_M**2 * np.eye(2)


def weighted_answers(rows: np.ndarray, cosines: np.ndarray, positions_enu_m: np.ndarray) -> Answers:
    """Mean (Q, 2) and second moment (Q, 2, 2) of the neighbours' positions, weighted by exp(cosine / TEMPERATURE).

    The label error of the photo asked for is added; those of the neighbours are in their spread.
    """
    near = positions_of(rows, positions_enu_m)
    with np.errstate(invalid="ignore"):  # no neighbour at all: -inf less -inf
        weights = np.nan_to_num(np.exp((cosines - cosines[:, :1]) / TEMPERATURE))
    means = np.full((len(near), 2), np.nan)
    some = weights.sum(axis=1) > 0.0
    means[some] = (weights[..., None] * np.nan_to_num(near)).sum(axis=1)[some] / weights.sum(axis=1)[some, None]
    return means, _second_moment(near, means, weights) + LABEL_SIGMA_M**2 * np.eye(2)


def _second_moment(points_m: np.ndarray, about_m: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Points (Q, K, 2) about (Q, 2) with weights (Q, K) -> (Q, 2, 2); NaN where no weight is left."""
    offsets = np.nan_to_num(points_m - about_m[:, None, :])
    total = weights.sum(axis=1)
    total = np.where(total > 0.0, total, np.nan)
    return np.einsum("qk,qki,qkj->qij", weights, offsets, offsets) / total[:, None, None]
