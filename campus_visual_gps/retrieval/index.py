"""The reference photos, searched exactly by the similarity of their global descriptors.

The similarity is a cosine with local scaling: a cosine of 0.6 says more for a reference photo whose most similar other
photos have 0.5 than for one where they have 0.8. It is cross-domain similarity local scaling (Conneau et al., Word
translation without parallel data, ICLR 2018, section 2.3), for the reference's side alone: an image that resembles
nothing must keep its low similarities.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from campus_visual_gps.errors import BundleError
from campus_visual_gps.retrieval.matching import match_scores

# How many reference photos are looked at.
TOP_K = 10
# A reference photo's neighbourhood similarity is its mean cosine to so many of the other reference photos, the most
# similar ones, and so much of it is taken off its similarities. Both are the values of the publication.
SCALING_NEIGHBOURS = 10
SCALING_SHARE = 0.5
_QUERIES_AT_ONCE = 256


class RetrievalResult(NamedTuple):
    """The k reference photos most similar to each of Q queries, best first.

    rows (Q, k) int64; similarities (Q, k) float64; positions_enu_m (Q, k, 2); match_scores (Q, k) float64 of the local
    descriptors, 1 or more, None where they were not compared.
    """

    rows: np.ndarray
    similarities: np.ndarray
    positions_enu_m: np.ndarray
    match_scores: np.ndarray | None = None

    def where(self, chosen: np.ndarray | slice) -> RetrievalResult:
        """The results of some queries; `chosen` indexes the first axis."""
        return RetrievalResult._make(None if values is None else values[chosen] for values in self)


class RetrievalIndex:
    """The reference photos: descriptors (N, p) of any norm, positions (N, 2) metres, local descriptors (N, T, t) int8.

    With `neighbourhood_similarity` (N,), as of the function of that name, a similarity is the cosine less SCALING_SHARE
    times what that of the reference photo is above the mean; without it (bundles before version 6), it is the cosine.

    One float32 product and a top-k per search: about 100 MB and 25 ms of one core for 100,000 photos.

    Raises:
        BundleError: shapes do not fit each other, or something is not finite.
    """

    def __init__(
        self,
        descriptors: np.ndarray,
        positions_enu_m: np.ndarray,
        local_descriptors: np.ndarray | None = None,
        neighbourhood_similarity: np.ndarray | None = None,
    ):
        descriptors, positions = np.asarray(descriptors), np.asarray(positions_enu_m, dtype=np.float64)
        if descriptors.ndim != 2 or 0 in descriptors.shape or positions.shape != (len(descriptors), 2):
            raise BundleError(
                "expected reference descriptors (N, p) and positions (N, 2), "
                f"got {descriptors.shape} and {positions.shape}"
            )
        if not (np.isfinite(positions).all() and np.isfinite(descriptors).all()):
            raise BundleError("reference descriptors or positions are not finite; build the bundle again")
        if local_descriptors is not None and (local_descriptors.ndim != 3 or len(local_descriptors) != len(positions)):
            raise BundleError(
                f"expected local descriptors ({len(positions)}, T, t) of the reference photos, "
                f"got {local_descriptors.shape}"
            )
        scale = neighbourhood_similarity
        if scale is not None and not (scale.shape == (len(positions),) and np.isfinite(scale).all()):
            raise BundleError(
                f"expected a finite neighbourhood similarity of each of {len(positions)} reference photos, "
                f"got {scale.shape}; build the bundle again"
            )
        self.positions_enu_m = positions
        self.local_descriptors = local_descriptors
        self._penalty = None if scale is None else (SCALING_SHARE * (scale - scale.mean())).astype(np.float32)
        self._units = unit_rows(descriptors)

    def __len__(self) -> int:
        return len(self.positions_enu_m)

    def search(
        self,
        descriptors: np.ndarray,
        local_descriptors: np.ndarray | None = None,
        k: int = TOP_K,
        excluded: np.ndarray | None = None,
    ) -> RetrievalResult:
        """The k (or all N, if fewer) nearest reference photos of descriptors (Q, p), with match scores if both have
        local descriptors, (Q, T, t) int8.

        `excluded` is that of `cosine_top_k`. Where it leaves fewer than k photos, the row is -1, the similarity -inf,
        and position and match score are NaN.

        Raises:
            BundleError: the descriptors have another length than the reference's.
        """
        if descriptors.ndim != 2 or descriptors.shape[1] != self._units.shape[1]:
            raise BundleError(f"expected descriptors (Q, {self._units.shape[1]}), got {descriptors.shape}")
        rows, similarities = cosine_top_k(unit_rows(descriptors), self._units, k, excluded, self._penalty)
        scores = None
        if self.local_descriptors is not None and local_descriptors is not None:
            reference = self.local_descriptors
            pairs = zip(local_descriptors, rows, strict=True)
            scores = np.stack([match_scores(own, reference[near]) for own, near in pairs])
        found = RetrievalResult(rows, similarities.astype(np.float64), self.positions_enu_m[rows], scores)
        if excluded is not None:
            found.positions_enu_m[rows < 0] = np.nan
            if scores is not None:
                scores[rows < 0] = np.nan
        return found


def neighbourhood_similarity(descriptors: np.ndarray) -> np.ndarray:
    """(N,) float32: mean cosine of each of N reference photos to the SCALING_NEIGHBOURS others most similar to it.

    Of fewer photos, to all others; 0 for a single one. `descriptors` (N, p) are of any norm.
    """
    units = unit_rows(descriptors)
    others = min(SCALING_NEIGHBOURS, len(units) - 1)
    if others < 1:
        return np.zeros(len(units), dtype=np.float32)
    return cosine_top_k(units, units, others, excluded=np.arange(len(units)))[1].mean(axis=1)


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """(N, p) -> float32 rows of norm 1; rows of zeros stay zeros."""
    vectors = np.asarray(vectors, dtype=np.float64)
    # scaled first: the square of a very long or very short row has no float
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    scaled = vectors / np.where(largest > 0.0, largest, 1.0)
    norms = np.linalg.norm(scaled, axis=1, keepdims=True)
    return np.ascontiguousarray(scaled / np.where(norms > 0.0, norms, 1.0), dtype=np.float32)


def cosine_top_k(
    queries: np.ndarray,
    reference: np.ndarray,
    k: int,
    excluded: np.ndarray | None = None,
    penalty: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Exact search: the k rows of `reference` (N, p) most similar to each query (Q, p), best first.

    The similarity is the product, less the row's penalty if there is one.

    Args:
        queries: float32 of norm 1, as of `unit_rows`.
        reference: likewise.
        k: At most N are returned.
        excluded: Rows that are never among the answers to a query: (Q,) int, one for each, -1 for none; or (Q, N) bool.
        penalty: (N,) float32 of the rows of `reference`.

    Returns:
        rows (Q, k) int64 and similarities (Q, k) float32; of equals the lower row comes first. Where too few rows are
        left, the row is -1 and the similarity -inf.
    """
    import torch

    k = min(k, len(reference))
    table, found = torch.from_numpy(reference), []
    lowered = None if penalty is None else torch.from_numpy(penalty)
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        # cosines above 1 are of rounding
        products = (torch.from_numpy(queries[start : start + _QUERIES_AT_ONCE]) @ table.T).clamp_(max=1.0)
        if lowered is not None:
            products -= lowered
        if excluded is not None:
            own = torch.from_numpy(np.asarray(excluded[start : start + _QUERIES_AT_ONCE]))
            if own.ndim == 2:
                products[own] = -torch.inf
            else:
                mine = torch.nonzero(own >= 0)[:, 0]
                products[mine, own[mine].long()] = -torch.inf
        values, rows = products.topk(k, dim=1)
        order = np.lexsort((rows.numpy(), -values.numpy()), axis=1)
        found.append([np.take_along_axis(part.numpy(), order, axis=1) for part in (rows, values)])
    rows_found, values_found = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return np.where(values_found > -np.inf, rows_found, -1), values_found
