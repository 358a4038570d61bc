"""The metric in which photos of one place are near: fitted on the training photos and where they stand.

Directions in which photos from one spot differ as much as any others (light, leaves, the camera) say nothing of the
place. As in linear discriminant analysis, they are scaled down: the descriptor is whitened by the scatter of photos
within SAME_PLACE_SIGMA_M of each other (Mikolajczyk and Matas, Improving descriptors for fast tree matching by optimal
linear projection, ICCV 2007, there for pairs that match). Closed form; nothing is trained.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.cluster.vq import kmeans2

from campus_visual_gps.retrieval.descriptor import DescriptorExtractor, VladCodebook

SAME_PLACE_SIGMA_M = 12.0
WORDS = 32
# Main directions of the training photos that the metric is learned in, and what of it is kept.
DIRECTIONS = 400
DESCRIPTOR_DIM = 256
PART_DIRECTIONS = 64
# What the scatter is damped by, as a share of its mean.
SHRINKAGE = 0.1
# A VLAD has many more numbers than the statistics: each counts for half of one of theirs.
VLAD_WEIGHT = 0.5
# More photos or activations than these tell a covariance no better.
MAX_PHOTOS, MAX_ACTIVATIONS, MAX_VLADS = 4000, 60_000, 500
_ITERATIONS = 15


def fit_descriptor_extractor(
    statistics: np.ndarray, local: Sequence[np.ndarray], positions_enu_m: np.ndarray
) -> DescriptorExtractor | None:
    """From statistics (N, d), two stages' activations (N, g, g, C) and positions (N, 2) metres of the training photos.

    The same photos give the same space. None for a network that has diverged, or for fewer than two photos.
    """
    if len(statistics) < 2 or not all(np.isfinite(features).all() for features in (statistics, *local)):
        return None
    chosen = _spread_out(len(statistics), MAX_PHOTOS)
    statistics, local = statistics[chosen].astype(np.float32), [stage[chosen] for stage in local]
    codebooks = tuple(_vocabulary(stage) for stage in local)
    parts = local[0].reshape(-1, local[0].shape[-1]).astype(np.float32) - codebooks[0].mean
    space = DescriptorExtractor(
        statistics_mean=statistics.mean(axis=0),
        statistics_deviation=_deviation(statistics),
        codebooks=codebooks,
        mean=np.zeros(0, np.float32),
        projection=np.zeros((0, 0), np.float16),
        local_whitening=_whitening(parts),
    )
    joined = np.stack([space.joined(*photo) for photo in zip(statistics, zip(*local, strict=True), strict=True)])
    projection = whitened_lda(joined, np.asarray(positions_enu_m, dtype=np.float64)[chosen])
    return replace(space, mean=joined.mean(axis=0), projection=projection.astype(np.float16))


def _main_directions(centred: np.ndarray, most: int) -> np.ndarray:
    """(D, p) orthonormal directions of most variance of rows (N, D), at most so many, fewer than N."""
    # photos are fewer than numbers: their products (N, N) have the same directions as the covariance (D, D)
    variances, combinations = np.linalg.eigh(centred @ centred.T)
    kept = np.argsort(-variances)[: min(most, len(centred) - 1)]
    kept = kept[variances[kept] > 1e-9 * max(variances.max(), 1e-12)]
    if not len(kept):  # photos that are all alike
        return np.eye(centred.shape[1], 1)
    return centred.T @ (combinations[:, kept] / np.sqrt(variances[kept]))


def _vocabulary(local: np.ndarray) -> VladCodebook:
    """Of activations (N, g, g, C) of one stage."""
    activations = local.reshape(-1, local.shape[-1])
    activations = activations[_spread_out(len(activations), MAX_ACTIVATIONS)].astype(np.float32)
    one = np.ones(1, np.float32)
    bare = VladCodebook(activations.mean(axis=0), _deviation(activations), np.zeros((0, local.shape[-1])), one)
    bare = replace(bare, words=_words(bare.units(activations)))
    vlads = np.stack([bare.vlad(photo) for photo in local[_spread_out(len(local), MAX_VLADS)]])
    return replace(bare, spread=one * max(float(vlads.std()), 1e-6) / VLAD_WEIGHT)


def whitened_lda(joined: np.ndarray, positions_enu_m: np.ndarray) -> np.ndarray:
    """(D, p) of standardised photos (N, D) at positions (N, 2) metres: what one place's photos share counts."""
    centred = np.asarray(joined - joined.mean(axis=0), dtype=np.float64)
    directions = _main_directions(centred, DIRECTIONS)
    reduced = centred @ directions
    distances_m = np.linalg.norm(positions_enu_m[:, None] - positions_enu_m[None], axis=-1)
    near = np.exp(-0.5 * (distances_m / SAME_PLACE_SIGMA_M) ** 2)
    np.fill_diagonal(near, 0.0)
    near /= near.sum(axis=1, keepdims=True) + 1e-9  # a photo that stands alone has no pair to learn from
    near = 0.5 * (near + near.T)
    laplacian = np.diag(near.sum(axis=1)) - near
    scatter = reduced.T @ laplacian @ reduced / len(reduced)
    least = SHRINKAGE * np.trace(scatter) / len(scatter) + 1e-6 * (reduced**2).mean() + 1e-12
    within = 0.5 * (scatter + scatter.T) + least * np.eye(len(scatter))
    whitened = np.linalg.cholesky(np.linalg.inv(within))
    # what the photos vary in most in that metric: the rest costs each frame time, and finds no more (docs/results.md)
    metric = directions @ whitened @ _main_directions(reduced @ whitened, DESCRIPTOR_DIM)
    # descriptors become unit vectors, so the size is free: columns of norm 1 at most are well inside of float16
    return metric / np.abs(metric).max()


def _words(units: np.ndarray) -> np.ndarray:
    """(K, C) of activations (n, C) of norm 1: their k-means."""
    count = min(WORDS, len(units))
    # photos that are all alike have fewer kinds of activations than words: some words then stand alone
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        words, _ = kmeans2(units.astype(np.float64), count, iter=_ITERATIONS, minit="++", seed=0, missing="warn")
    return words.astype(np.float32)


def _whitening(centred: np.ndarray) -> np.ndarray:
    """(C, t) of parts (n, C): their main directions, each with variance 1."""
    variances, basis = np.linalg.eigh(np.cov(centred.T.astype(np.float64)).reshape(centred.shape[1], -1))
    kept = np.argsort(-variances)[:PART_DIRECTIONS]
    return (basis[:, kept] / np.sqrt(variances[kept].clip(min=0.0) + 1e-6 * variances.max() + 1e-12)).astype(np.float32)


def _deviation(values: np.ndarray) -> np.ndarray:
    deviation = np.std(values, axis=0, dtype=np.float64)
    return np.where(deviation > 0.0, deviation, 1.0).astype(np.float32)


def _spread_out(count: int, most: int) -> np.ndarray:
    """At most so many of `count` rows, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(int))
