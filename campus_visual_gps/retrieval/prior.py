"""Evidence from the reference photos: the ones that look most like a photo, and where on the site they were taken.

`CosineIndex.nearest` finds them exactly, `density` turns them into a distribution over the site's cells, `fuse`
multiplies that into the network's own map. What is not finite comes out as NaN everywhere, raises nothing, and is
then refused by integrity as `not_finite`: a photo that breaks the network must not stop the node.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from campus_visual_gps.errors import BundleError

# How many reference photos are looked at.
TOP_K = 10
# A reference photo within so many metres of a position may show what is seen from there.
MATCH_RADIUS_M = 25.0
# The share of a density that lies evenly over the site: neighbours that are all wrong must not veto the true cell.
MIN_OUTLIER_MASS = 1e-3
# Rows and queries have norms of 2^7 to 2^8: no product can leave float16's range, and its smallest steps do not show.
_NORM_EXPONENT = 8
# The logarithm of the most that the background outweighs the best neighbour by: more is no more uniform.
_MOST = 50.0
# Rows that are in float64 at one time.
_CHUNK = 2048


@dataclass(frozen=True)
class RetrievalPriorConfig:
    """How the `k` nearest reference photos weigh on the map, fitted on validation photos; weight 0: not at all.

    A photo weighs exp(cosine / temperature) * (agreement / typical_match_score)^match_exponent; a neighbour of the usual
    agreement with the cosine `background` weighs as much as the chance that none of them shows the place.
    Raises BundleError for a value that no fit can give.
    """

    weight: float
    bandwidth_m: float
    temperature: float
    background: float = -1.0
    match_exponent: float = 0.0
    typical_match_score: float = 1.0
    k: int = TOP_K

    def __post_init__(self):
        if not (np.isfinite(self.weight) and self.weight >= 0.0):
            raise BundleError(f"evidence weight {self.weight} must be 0 or more")
        if not (np.isfinite(self.background) and np.isfinite(self.match_exponent) and self.match_exponent >= 0.0):
            raise BundleError(f"evidence background {self.background}, match_exponent {self.match_exponent}")
        for name in ("bandwidth_m", "temperature", "typical_match_score"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) > 0.0):
                raise BundleError(f"evidence {name} {getattr(self, name)} must be positive")
        if not isinstance(self.k, int) or isinstance(self.k, bool) or self.k < 1:
            raise BundleError(f"evidence k {self.k!r} must be a whole number of 1 or more")


class RetrievalResult(NamedTuple):
    """The k reference photos most like a query, best first; equals in the order of their rows.

    rows (k,) int64; similarities (k,) float64 cosines, -1..1, 0 for a vector of zeros, NaN where the query is not
    finite; positions_enu_m (k, 2); agreements (k,) of their parts with the query's (campus_visual_gps/places.py), None
    where they were not compared.
    """

    rows: np.ndarray
    similarities: np.ndarray
    positions_enu_m: np.ndarray
    agreements: np.ndarray | None = None


class CosineIndex:
    """Reference features (N, d) with positions (N, 2) in metres, searched exactly by cosine similarity.

    The features are kept once, in float16 as bundles store them: 256 MB for 100,000 photos of 1280. One pass over
    them in half precision costs the time of reading them; all rows that its rounding could have kept out of the first k
    are then compared in float64. Raises BundleError for features or positions that are no reference.
    """

    def __init__(self, features: np.ndarray, positions_enu_m: np.ndarray, device: str = "cpu"):
        import torch

        features, positions = np.asarray(features), np.asarray(positions_enu_m, dtype=np.float64)
        if features.ndim != 2 or 0 in features.shape or positions.shape != (len(features), 2):
            raise BundleError(
                f"reference features {features.shape} and positions {positions.shape} are not (N, d) and (N, 2)"
            )
        if not np.all(np.isfinite(positions)):
            raise BundleError("reference positions are not finite; build the bundle again")
        self.positions_enu_m = positions
        halves, self._norms = _scaled_halves(features)
        self._rows = torch.from_numpy(halves).to(device)

    def __len__(self) -> int:
        return len(self.positions_enu_m)

    def nearest(self, feature: np.ndarray, k: int) -> RetrievalResult:
        """The k (or all N, if fewer) nearest of a feature (d,). Raises BundleError for another d."""
        feature = np.asarray(feature, dtype=np.float64)
        if feature.shape != self._rows.shape[1:]:
            raise BundleError(f"a feature of shape {feature.shape} meets reference photos of {self._rows.shape[1]}")
        k = min(k, len(self))
        norm = float(np.linalg.norm(feature))
        if not np.isfinite(norm):
            return self._neighbours(np.arange(k), np.full(k, np.nan))
        return self._neighbours(*self._search(feature / norm if norm > 0.0 else feature, k))

    def _search(self, unit: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows (k,) and similarities (k,) of a query (d,) of norm 1, or 0."""
        rough = self._rough(unit)
        # k rows are truly no worse than the k-th rough value less its error; a row of the true k is no worse than
        # they are, and looks so but for its own error
        kth = np.partition(rough, -k)[-k]
        candidates = np.flatnonzero(rough >= kth - 2.0 * rounding_bound(len(unit)))
        exact = np.concatenate([self._exact(some, unit) for some in _chunks(candidates)])
        order = np.argsort(-exact, kind="stable")[:k]
        return candidates[order], exact[order]

    def _rough(self, unit: np.ndarray) -> np.ndarray:
        """Cosines (N,) float64 of all rows with a query of norm 1, or 0, each within the rounding bound."""
        import torch

        with torch.inference_mode():
            query = torch.from_numpy(np.ldexp(unit, _NORM_EXPONENT - 1)).half().to(self._rows.device)
            products = torch.mv(self._rows, query).cpu().numpy()
        return np.ldexp(products / self._norms, 1 - _NORM_EXPONENT)

    def _exact(self, rows: np.ndarray, unit: np.ndarray) -> np.ndarray:
        """Cosines (n,) float64 of some rows (n,); the same for the same features wherever they stand."""
        import torch

        features = self._rows.index_select(0, torch.from_numpy(rows).to(self._rows.device)).cpu().numpy()
        # no matrix product here: its kernels sum some rows in another order, and duplicates would differ
        return np.clip((features * unit).sum(axis=1) / self._norms[rows], -1.0, 1.0)

    def _neighbours(self, rows: np.ndarray, similarities: np.ndarray) -> RetrievalResult:
        return RetrievalResult(rows, similarities, self.positions_enu_m[rows])


def density(neighbours: RetrievalResult, cells_enu_m: np.ndarray, config: RetrievalPriorConfig) -> np.ndarray:
    """Where a photo was taken if it was taken near its neighbours: cells (K, 2) metres -> (K,), sums to 1.

    A Gaussian kernel stands at the position of each of the first `config.k` neighbours, weighed as RetrievalPriorConfig says;
    the background's share lies evenly over the site, at least MIN_OUTLIER_MASS in all.
    """
    cells = np.asarray(cells_enu_m, dtype=np.float64) / config.bandwidth_m
    centres = neighbours.positions_enu_m[: config.k] / config.bandwidth_m
    logs = neighbours.similarities[: config.k] / config.temperature
    if neighbours.agreements is not None:
        logs = logs + config.match_exponent * np.log(neighbours.agreements[: config.k] / config.typical_match_score)
    best = logs.max()
    weights = np.exp(logs - best)
    background = np.exp(np.minimum(config.background / config.temperature - best, _MOST))
    uniform = max(MIN_OUTLIER_MASS, float(background / (background + weights.sum())))
    east, north = (np.subtract.outer(centres[:, axis], cells[:, axis]) for axis in (0, 1))
    mass = weights @ np.exp(-0.5 * (east * east + north * north))
    total = mass.sum()
    if total == 0.0:  # every neighbour is so far from every cell that it says nothing
        return np.full(len(cells), 1.0 / len(cells))
    return (1.0 - uniform) * (mass / total) + uniform / len(cells)


def match_score_near(neighbours: RetrievalResult, position_enu_m: np.ndarray) -> float:
    """The best agreement of the neighbours within MATCH_RADIUS_M of a position (2,), metres.

    Where none of them stands there, the least of all neighbours': what this image agrees by chance.
    """
    here = np.linalg.norm(neighbours.positions_enu_m - position_enu_m, axis=1) <= MATCH_RADIUS_M
    return float(neighbours.agreements[here].max() if here.any() else neighbours.agreements.min())


def log_linear_pool(map_probabilities: np.ndarray, evidence: np.ndarray, weight: float) -> np.ndarray:
    """map * evidence^weight (..., K), normalised over the cells, in logs so that no product can vanish by its size.

    Weight 0 leaves the map alone. NaN in every cell if one value is not finite or negative, or if no cell has a share
    in both.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.asarray(map_probabilities, dtype=np.float64))
        if weight > 0.0:  # 0^0 is 1, which logs do not know
            logs = logs + weight * np.log(np.asarray(evidence, dtype=np.float64))
        product = np.exp(logs - logs.max(axis=-1, keepdims=True))
        return product / product.sum(axis=-1, keepdims=True)


def rounding_bound(d: int) -> float:
    """The most by which a cosine of d numbers is off with a float16 query, a float32 sum and a float16 result.

    Each float16 rounding is at most 2^-11 of the product of the norms (Cauchy-Schwarz), the sum at most d 2^-24 of it
    (Higham, Accuracy and Stability of Numerical Algorithms, 3.1). Twice that, for libraries that sum in parts.
    """
    return 2.0 * (2.0 * 2.0**-11 + d * 2.0**-24)


def _scaled_halves(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, d) -> the same directions in float16 and their norms (N,), 1 for zeros. Raises BundleError if not finite.

    Powers of two change no digit of a float16 (but of numbers below 2^-21 of their row's norm), so the directions of
    stored features stay what they were.
    """
    halves, norms = np.empty(features.shape, dtype=np.float16), np.empty(len(features))
    with np.errstate(over="ignore", invalid="ignore"):  # told below
        for rows in _chunks(np.arange(len(features))):
            block = features[rows].astype(np.float64)
            exponents = np.frexp(np.linalg.norm(block, axis=1, keepdims=True))[1]
            halves[rows] = np.ldexp(block, _NORM_EXPONENT - exponents)
            norms[rows] = np.linalg.norm(halves[rows].astype(np.float64), axis=1)
    if not np.all(np.isfinite(norms)):
        raise BundleError("reference features are not finite; build the bundle again")
    return halves, np.where(norms > 0.0, norms, 1.0)


def _chunks(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
