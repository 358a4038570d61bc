"""Evidence from the reference photos: the ones that look most like a photo, and where on the site they were taken.

`ReferenceIndex.nearest` finds them exactly, `density` turns them into a distribution over the site's cells, `fuse`
multiplies that into the network's own map. What is not finite comes out as NaN everywhere, raises nothing, and is
then refused by integrity as `not_finite`: a photo that breaks the network must not stop the node.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from campus_visual_gps.errors import BundleError

# The share of a density that lies evenly over the site: neighbours that are all wrong must not veto the true cell.
UNIFORM_SHARE = 1e-3
# Rows and queries have norms of 2^7 to 2^8: no product can leave float16's range, and its smallest steps do not show.
_NORM_EXPONENT = 8
# Rows that are in float64 at one time.
_CHUNK = 2048


@dataclass(frozen=True)
class EvidenceConfig:
    """How the `k` nearest reference photos weigh on the map, fitted on validation photos; weight 0: not at all.

    Raises BundleError for a value that no fit can give.
    """

    weight: float
    kernel_sigma_m: float
    temperature: float
    k: int = 20

    def __post_init__(self):
        if not (np.isfinite(self.weight) and self.weight >= 0.0):
            raise BundleError(f"evidence weight {self.weight} must be 0 or more")
        for name in ("kernel_sigma_m", "temperature"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) > 0.0):
                raise BundleError(f"evidence {name} {getattr(self, name)} must be positive")
        if not isinstance(self.k, int) or isinstance(self.k, bool) or self.k < 1:
            raise BundleError(f"evidence k {self.k!r} must be a whole number of 1 or more")


class Neighbours(NamedTuple):
    """The k reference photos most like a query, best first; equals in the order of their rows.

    rows (k,) int64; similarities (k,) float64 cosines, -1..1, 0 for a vector of zeros, NaN where the query is not
    finite; positions_enu_m (k, 2); distance: 1 - the best similarity, NaN with it.
    """

    rows: np.ndarray
    similarities: np.ndarray
    positions_enu_m: np.ndarray
    distance: float


class ReferenceIndex:
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
        halves, norms = _scaled_halves(features)
        self._rows = torch.from_numpy(halves).to(device)
        inverse = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0.0)
        self._inverse_norms = torch.from_numpy(inverse.astype(np.float32)).to(device)
        self._error = rounding_bound(features.shape[1])

    def __len__(self) -> int:
        return len(self.positions_enu_m)

    def nearest(self, feature: np.ndarray, k: int) -> Neighbours:
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
        import torch

        with torch.inference_mode():
            query = torch.from_numpy(unit).to(self._rows.device)
            scale = 2.0 ** (_NORM_EXPONENT - 1)
            rough = torch.mv(self._rows, (query * scale).half()).float() * self._inverse_norms / scale
            # k rows are truly as good as the k-th rough value less its error; a better row looks no worse than that
            # less its own error
            kth = torch.topk(rough, k, sorted=True).values[-1]
            candidates = torch.nonzero(rough >= kth - 2.0 * self._error)[:, 0]
            exact = torch.cat([_similarities(self._rows[some], query) for some in candidates.split(_CHUNK)])
            order = torch.sort(exact, descending=True, stable=True).indices[:k]
            return candidates[order].cpu().numpy(), exact[order].cpu().numpy()

    def _neighbours(self, rows: np.ndarray, similarities: np.ndarray) -> Neighbours:
        return Neighbours(rows, similarities, self.positions_enu_m[rows], 1.0 - float(similarities[0]))


def density(neighbours: Neighbours, cells_enu_m: np.ndarray, kernel_sigma_m: float, temperature: float) -> np.ndarray:
    """Where a photo was taken if it was taken near its neighbours: cells (K, 2) metres -> (K,), sums to 1.

    A Gaussian kernel stands at each neighbour's position, weighed by the softmax of similarity / temperature; every
    cell has at least UNIFORM_SHARE / K.
    """
    cells = np.asarray(cells_enu_m, dtype=np.float64)
    logits = neighbours.similarities / temperature
    weights = np.exp(logits - logits.max())
    east, north = neighbours.positions_enu_m.T[:, :, None] - cells.T[:, None, :]
    kernels = np.exp((east**2 + north**2) * (-0.5 / kernel_sigma_m**2))
    mass = weights @ kernels
    total = mass.sum()
    if total == 0.0:  # every neighbour is so far from every cell that it says nothing
        return np.full(len(cells), 1.0 / len(cells))
    return (1.0 - UNIFORM_SHARE) * mass / total + UNIFORM_SHARE / len(cells)


def fuse(map_probabilities: np.ndarray, density: np.ndarray, weight: float) -> np.ndarray:
    """map * density^weight (..., K), normalised over the cells, in logs so that no product can vanish by its size.

    NaN in every cell where a value is not finite or negative, or where no cell has a share in both.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.asarray(map_probabilities, dtype=np.float64))
        if weight > 0.0:  # 0^0 is 1, which logs do not know
            logs = logs + weight * np.log(np.asarray(density, dtype=np.float64))
        product = np.exp(logs - logs.max(axis=-1, keepdims=True))
        return product / product.sum(axis=-1, keepdims=True)


def rounding_bound(d: int) -> float:
    """The most by which a cosine of d numbers is off when the query is float16, the sum float32, the result float16.

    Each float16 rounding is at most 2^-11 of the product of the norms (Cauchy-Schwarz), the sum at most d 2^-24 of it
    (Higham, Accuracy and Stability of Numerical Algorithms, 3.1). Twice that, for libraries that sum in parts.
    """
    return 2.0 * (2.0 * 2.0**-11 + d * 2.0**-24)


def _scaled_halves(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, d) -> the same directions in float16, and their norms (N,). Raises BundleError if one is not finite.

    Powers of two change no digit of a float16, so the directions of stored features stay exactly what they were.
    """
    halves, norms = np.empty(features.shape, dtype=np.float16), np.empty(len(features))
    for start in range(0, len(features), _CHUNK):
        rows = features[start : start + _CHUNK].astype(np.float64)
        exponents = np.frexp(np.linalg.norm(rows, axis=1))[1]
        halves[start : start + _CHUNK] = np.ldexp(rows, _NORM_EXPONENT - exponents[:, None])
        norms[start : start + _CHUNK] = np.linalg.norm(halves[start : start + _CHUNK].astype(np.float64), axis=1)
    if not np.all(np.isfinite(norms)):
        raise BundleError("reference features are not finite; build the bundle again")
    return halves, norms


def _similarities(rows, query):
    """Cosines (n,) float64 of rows (n, d) with a query of norm 1; the same for the same row wherever it stands."""
    rows = rows.double()
    # no matrix product here: its kernels sum the last rows in another order, and duplicates would differ
    dots, norms = (rows * query).sum(dim=1), (rows * rows).sum(dim=1).sqrt()
    return (dots / norms.clamp_min(1e-300)).clamp(-1.0, 1.0)
