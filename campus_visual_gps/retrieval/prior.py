"""The retrieval prior: where an image was taken if it was taken near the reference photos that it looks like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from campus_visual_gps.errors import BundleError

if TYPE_CHECKING:
    from campus_visual_gps.retrieval.index import RetrievalResult

# A reference photo within so many metres of a position may show what is seen from there.
MATCH_RADIUS_M = 25.0
# The least mass that lies evenly over the site: photos that are all wrong must not veto the true cell.
MIN_OUTLIER_MASS = 1e-3
# The most by which the null hypothesis outweighs the best photo, as a logarithm: more is no more uniform.
_MAX_LOG_RATIO = 50.0
# Images at one time: a batch of kernels over all cells must fit into memory.
_IMAGES_AT_ONCE = 64


@dataclass(frozen=True)
class RetrievalPriorConfig:
    """How the `k` most similar reference photos weigh on the grid, fitted on held-out photos.

    Attributes:
        weight: Exponent of the likelihood in the log-linear pool; 0 leaves the retrieval out.
        bandwidth_m: Sigma of the Gaussian kernel at each photo's position.
        temperature: A photo weighs exp(similarity / temperature) * (match score / typical_match_score)^match_exponent.
        null_similarity: A photo of this similarity and the typical match score weighs as much as the hypothesis that
            none of them shows the place.
        match_exponent: Exponent of the match score.
        typical_match_score: Geometric mean of the match scores of held-out photos.
        k: How many photos count.

    Raises:
        BundleError: a value that no fit can give.
    """

    weight: float
    bandwidth_m: float
    temperature: float
    null_similarity: float = -1.0
    match_exponent: float = 0.0
    typical_match_score: float = 1.0
    k: int = 10

    def __post_init__(self):
        for name in ("weight", "match_exponent"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) >= 0.0):
                raise BundleError(f"retrieval prior: {name} must be 0 or more, got {getattr(self, name)}")
        if not np.isfinite(self.null_similarity):
            raise BundleError(f"retrieval prior: null_similarity must be finite, got {self.null_similarity}")
        for name in ("bandwidth_m", "temperature", "typical_match_score"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) > 0.0):
                raise BundleError(f"retrieval prior: {name} must be positive, got {getattr(self, name)}")
        if not isinstance(self.k, int) or isinstance(self.k, bool) or self.k < 1:
            raise BundleError(f"retrieval prior: k must be a whole number of 1 or more, got {self.k!r}")


def position_likelihood(
    retrieval: RetrievalResult, cells_enu_m: np.ndarray, config: RetrievalPriorConfig
) -> np.ndarray:
    """Likelihood of each cell (K, 2) metres for N retrieval results: (N, K), each row sums to 1.

    A Gaussian kernel stands at the position of each of the first `config.k` photos, weighted as RetrievalPriorConfig
    says; the mass of the null hypothesis, at least MIN_OUTLIER_MASS, lies evenly over the site.
    """
    cells = np.asarray(cells_enu_m, dtype=np.float64) / config.bandwidth_m
    count = len(retrieval.rows)
    found = [
        _likelihood(retrieval.where(slice(start, start + _IMAGES_AT_ONCE)), cells, config)
        for start in range(0, count, _IMAGES_AT_ONCE)
    ]
    return np.concatenate(found) if found else np.empty((0, len(cells)))


def _likelihood(retrieval: RetrievalResult, cells: np.ndarray, config: RetrievalPriorConfig) -> np.ndarray:
    """(N, K) for cells (K, 2) in bandwidths."""
    photos = retrieval.positions_enu_m[:, : config.k] / config.bandwidth_m
    logs = retrieval.similarities[:, : config.k] / config.temperature
    if retrieval.match_scores is not None:
        relative = retrieval.match_scores[:, : config.k] / config.typical_match_score
        logs = logs + config.match_exponent * np.log(relative)
    best = logs.max(axis=1, keepdims=True)
    weights = np.exp(logs - best)
    null = np.exp(np.minimum(config.null_similarity / config.temperature - best, _MAX_LOG_RATIO))
    uniform = np.maximum(MIN_OUTLIER_MASS, null / (null + weights.sum(axis=1, keepdims=True)))
    east, north = (photos[:, :, None, axis] - cells[:, axis] for axis in (0, 1))
    kernels = np.exp(-0.5 * (east * east + north * north))
    mass = (weights[:, None] @ kernels)[:, 0]
    total = mass.sum(axis=1, keepdims=True)
    even = 1.0 / len(cells)
    # photos that are all far from every cell say nothing
    shares = np.divide(mass, total, out=np.full_like(mass, even), where=total > 0.0)
    return (1.0 - uniform) * shares + uniform * even


def match_score_near(retrieval: RetrievalResult, positions_enu_m: np.ndarray) -> np.ndarray:
    """(N,): the best match score of the retrieved photos within MATCH_RADIUS_M of a position (N, 2) metres.

    Where none of them was taken there, the least score of all retrieved photos: what this image scores by chance.
    """
    if retrieval.match_scores is None:
        raise ValueError("the local descriptors of these images were not compared")
    distances_m = np.linalg.norm(retrieval.positions_enu_m - positions_enu_m[:, None], axis=-1)
    near = np.where(distances_m <= MATCH_RADIUS_M, retrieval.match_scores, -np.inf).max(axis=1)
    return np.where(near > -np.inf, near, retrieval.match_scores.min(axis=1))


def decayed_match_score(retrieval: RetrievalResult, positions_enu_m: np.ndarray, decay_m: float) -> np.ndarray:
    """(N,): the best match score of the retrieved photos, that at d metres from the position times exp(-d^2 / (2 D^2)).

    D is `decay_m`. Not below the least score of all retrieved photos: what this image scores by chance. In the place of
    `match_score_near` it changes steadily with the position, and a photo 20 m away says less than one 5 m away.
    """
    if retrieval.match_scores is None:
        raise ValueError("the local descriptors of these images were not compared")
    distances_m = np.linalg.norm(retrieval.positions_enu_m - positions_enu_m[:, None], axis=-1)
    decayed = retrieval.match_scores * np.exp(-0.5 * (distances_m / decay_m) ** 2)
    return np.maximum(decayed.max(axis=1), retrieval.match_scores.min(axis=1))


def log_linear_pool(grid_probs: np.ndarray, likelihood: np.ndarray, weight: float) -> np.ndarray:
    """grid_probs * likelihood^weight (..., K), normalised over the cells, in logs so that no product can vanish.

    Weight 0 leaves the grid alone. NaN in every cell if a probability is NaN, or if no cell has mass in both.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.asarray(grid_probs, dtype=np.float64))
        if weight > 0.0:  # 0^0 is 1, which logs do not know
            logs = logs + weight * np.log(np.asarray(likelihood, dtype=np.float64))
        product = np.exp(logs - logs.max(axis=-1, keepdims=True))
        return product / product.sum(axis=-1, keepdims=True)
