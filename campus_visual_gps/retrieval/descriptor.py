"""What an image shows of its place, and how well two images agree on it.

A place's descriptor joins channel statistics of the later stages with VLADs of two stages' local activations (Jegou et
al., Aggregating local descriptors into a compact image representation, CVPR 2010), in a metric that was learned from
where the training photos stand (training/fit/places.py). Photos with like descriptors are then compared part by part:
`agreements` sums up the parts of one image that have an unmistakable counterpart in the other (Lowe, Distinctive image
features from scale-invariant keypoints, IJCV 2004, section 7.1), all displaced alike, as those of one scene are and
those of two similar trees are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from campus_visual_gps.errors import BundleError
from campus_visual_gps.retrieval.prior import CosineIndex, RetrievalResult

# How sharply a local activation is assigned to its nearest words: a softmax of so many times their cosine.
ASSIGNMENT = 20.0
# Parts of one scene need not be displaced quite alike: a step forward moves those at the edges more.
TRANSLATION_TOLERANCE = 3
# What a counterpart's cosine must be above the next likest part's, which is no neighbour of it, to be one vote.
MARGIN = 0.1
# Vectors shorter than this are none.
LEAST_NORM = 1e-6
PREFIX = "place."


class Place(NamedTuple):
    """An image's descriptor (p,) float32 of norm 1, and its parts (T, t) int8, unit vectors times 127."""

    descriptor: np.ndarray
    parts: np.ndarray


@dataclass(frozen=True)
class VladCodebook:
    """What local activations (g, g, C) of one stage are gathered on; arrays float32.

    They are standardised by `mean` and `deviation` (C,) and made unit vectors; `words` (K, C) are the k-means of the
    training photos', and their VLADs are divided by `spread` (1,).
    """

    mean: np.ndarray
    deviation: np.ndarray
    words: np.ndarray
    spread: np.ndarray

    def vlad(self, local: np.ndarray) -> np.ndarray:
        """(g, g, C) -> (K * C,): sums of what activations differ from each word by, each word's a unit vector."""
        import torch
        from torch.nn.functional import normalize

        units, words = torch.from_numpy(self.units(local)), torch.from_numpy(self.words)
        shares = torch.softmax(units @ (ASSIGNMENT * words).T, dim=1).T
        gathered = torch.addcmul(shares @ units, shares.sum(dim=1, keepdim=True), words, value=-1.0)
        return normalize(gathered, dim=1, eps=LEAST_NORM).ravel().numpy() / self.spread

    def units(self, local: np.ndarray) -> np.ndarray:
        """(..., C) -> (n, C) of norm 1."""
        import torch
        from torch.nn.functional import normalize

        flat = torch.from_numpy(np.asarray(local, dtype=np.float32)).reshape(-1, len(self.mean))
        standardised = (flat - torch.from_numpy(self.mean)) / torch.from_numpy(self.deviation)
        return normalize(standardised, dim=1, eps=LEAST_NORM).numpy()


@dataclass(frozen=True)
class DescriptorExtractor:
    """What turns an ensemble's readings into a Place; arrays float32, all fitted on the training photos.

    Statistics (d,) are standardised by `statistics_mean` and `statistics_deviation` (d,) and joined with the VLADs of
    the stages' `vocabularies`; that, less `mean` (D,), times `projection` (D, p) float16, is the descriptor.
    `local_whitening` (C, t) whitens the parts of the first of the two stages.
    """

    statistics_mean: np.ndarray
    statistics_deviation: np.ndarray
    codebooks: tuple[VladCodebook, ...]
    mean: np.ndarray
    projection: np.ndarray
    local_whitening: np.ndarray

    def place(self, statistics: np.ndarray, local: Sequence[np.ndarray]) -> Place:
        """Statistics (d,) and local activations (g, g, C) of one image -> Place. Raises BundleError for other sizes."""
        import torch

        sizes = [statistics.shape[-1], *(stage.shape[-1] for stage in local)]
        own = [len(self.statistics_mean), *(len(vocabulary.mean) for vocabulary in self.codebooks)]
        if sizes != own:
            raise BundleError(f"readings of {sizes} channels meet a bundle's of {own}")
        centred = torch.from_numpy(self.joined(statistics, local) - self.mean)
        # as wide as the matrix is long, it costs the time of reading it: half of it in float16
        descriptor = torch.mv(self._projection, centred.half()).float().numpy()
        parts = local[0].reshape(-1, local[0].shape[-1]) - self.codebooks[0].mean
        parts = _unit(_product(parts, self.local_whitening))
        return Place(_unit(descriptor), np.round(parts * 127.0).astype(np.int8))

    def joined(self, statistics: np.ndarray, local: Sequence[np.ndarray]) -> np.ndarray:
        """(D,) float32: standardised statistics and VLADs, one after the other."""
        standardised = (statistics - self.statistics_mean) / self.statistics_deviation
        vlads = [vocabulary.vlad(stage) for vocabulary, stage in zip(self.codebooks, local, strict=True)]
        return np.concatenate([standardised, *vlads]).astype(np.float32)

    @cached_property
    def _projection(self):
        import torch

        return torch.from_numpy(np.ascontiguousarray(self.projection.T, dtype=np.float16))

    def tensors(self) -> dict[str, np.ndarray]:
        """Its arrays by name, as bundles store them."""
        arrays = {name: getattr(self, name) for name in _ARRAYS} | {
            f"{number}.{field.name}": getattr(vocabulary, field.name)
            for number, vocabulary in enumerate(self.codebooks)
            for field in fields(VladCodebook)
        }
        return {PREFIX + name: np.ascontiguousarray(array) for name, array in arrays.items()}

    @classmethod
    def from_tensors(cls, tensors: dict[str, np.ndarray]) -> DescriptorExtractor | None:
        """What `tensors` gave; None if there is none of it. Raises BundleError where some is missing or not finite."""
        own = {name.removeprefix(PREFIX): value for name, value in tensors.items() if name.startswith(PREFIX)}
        if not own:
            return None
        try:
            if not all(np.isfinite(array).all() for array in own.values()):
                raise BundleError("the reference's place space is not finite; build the bundle again")
            stages = sorted({name.split(".")[0] for name in own} - set(_ARRAYS))
            codebooks = tuple(
                VladCodebook(*(own[f"{stage}.{field.name}"] for field in fields(VladCodebook))) for stage in stages
            )
            return cls(codebooks=codebooks, **{name: own[name] for name in _ARRAYS})
        except KeyError as error:
            raise BundleError(f"tensor {PREFIX}{error.args[0]} is missing; build the bundle again") from error


_ARRAYS = tuple(field.name for field in fields(DescriptorExtractor) if field.name != "vocabularies")


class RetrievalIndex:
    """The reference photos' places, searched by descriptor and compared part by part.

    Descriptors (N, p), parts (N, T, t) int8, positions (N, 2) metres. Raises BundleError as RetrievalIndex does.
    """

    def __init__(
        self, space: DescriptorExtractor, descriptors: np.ndarray, parts: np.ndarray, positions_enu_m: np.ndarray
    ):
        self.space = space
        self._index = CosineIndex(descriptors, positions_enu_m)
        if parts.ndim != 3 or len(parts) != len(descriptors):
            raise BundleError(f"reference parts {parts.shape} are not those of {len(descriptors)} photos")
        self._parts = parts

    def __len__(self) -> int:
        return len(self._index)

    def nearest(self, place: Place, k: int) -> RetrievalResult:
        """The k reference photos with the likest descriptors, best first, with their agreements (k,)."""
        found = self._index.nearest(place.descriptor, k)
        return found._replace(agreements=agreements(place.parts, self._parts[found.rows]))


def agreements(parts: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How well an image's parts (T, t) int8 agree with those of others (R, T, t): (R,) float64, 1 or more.

    Parts that are each other's likest vote for the displacement between them, in parts, with what their cosine is above
    that of the next likest part, in units of MARGIN: grass is like all grass, and says nothing. The votes of the best
    displacement and of those within TRANSLATION_TOLERANCE of it are summed, and 1 is added.
    """
    import torch

    count, total, size = others.shape
    side = round(np.sqrt(total))
    own, their = torch.from_numpy(parts).float(), torch.from_numpy(others).float()
    cosines = (own @ their.view(-1, size).T).view(total, count, total)  # (own part, other, its part)
    likest_of_theirs = cosines.amax(dim=0)
    # numpy finds the places of maxima faster than torch
    mine = torch.from_numpy(cosines.numpy().argmax(axis=2))
    best = cosines.gather(2, mine[..., None])[..., 0]
    mutual = best >= likest_of_theirs.gather(1, mine.T).T
    cosines.scatter_(2, torch.from_numpy(_around(side))[mine], 0.0)
    votes = torch.where(mutual, best - cosines.amax(dim=2), 0.0).clamp(min=0.0) / (127.0**2 * MARGIN)
    return 1.0 + _most_alike(votes.T.numpy(), mine.T.numpy(), side)


@lru_cache(maxsize=4)
def _around(side: int) -> np.ndarray:
    """(T, 9): each part of a raster of side * side with its neighbours; at the edges, some stand twice."""
    row, column = np.divmod(np.arange(side * side), side)
    steps = ((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1))
    inside = [(np.clip(row + down, 0, side - 1), np.clip(column + right, 0, side - 1)) for down, right in steps]
    return np.stack([rows * side + columns for rows, columns in inside], axis=1)


def _most_alike(votes: np.ndarray, counterparts: np.ndarray, side: int) -> np.ndarray:
    """(R,) largest sums of votes (R, T) for displacements within TRANSLATION_TOLERANCE of one, to counterparts (R, T) in a raster."""
    import torch

    count, total = votes.shape
    width = 2 * side - 1  # of all displacements
    there, here = divmod(counterparts, side), divmod(np.arange(total), side)
    rows, columns = (to - own + side - 1 for to, own in zip(there, here, strict=True))
    cells = (np.arange(count)[:, None] * width + rows) * width + columns
    table = np.bincount(cells.ravel(), votes.ravel(), minlength=count * width * width)
    near = torch.from_numpy(_within_slack(width))
    along = torch.from_numpy(table.astype(np.float32)).view(-1, width) @ near
    both = along.view(count, width, width).transpose(1, 2).reshape(-1, width) @ near
    return both.view(count, -1).amax(dim=1).double().numpy()


@lru_cache(maxsize=4)
def _within_slack(width: int) -> np.ndarray:
    """(width, width) ones where two displacements are within TRANSLATION_TOLERANCE of each other."""
    steps = np.arange(width)
    return (np.abs(steps[:, None] - steps) <= TRANSLATION_TOLERANCE).astype(np.float32)


def _product(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n, m) times (m, k) in float32, by torch: numpy's threads and torch's would wait for each other on few cores."""
    import torch

    return (torch.from_numpy(np.float32(first)) @ torch.from_numpy(np.float32(second))).numpy()


def _unit(rows: np.ndarray) -> np.ndarray:
    """(..., c) of norm 1, zeros staying zeros."""
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), LEAST_NORM)
