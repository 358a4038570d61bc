"""Fits the DescriptorExtractor on the training photos and where they were taken.

Directions in which photos from one spot differ as much as any others (light, leaves, the camera) say nothing of the
position. As in linear discriminant analysis they are scaled down: the raw descriptor is whitened by the scatter of
photos within SAME_PLACE_SIGMA_M of each other (Mikolajczyk and Matas, Improving descriptors for fast tree matching by
optimal linear projection, ICCV 2007, there for pairs that match). Closed form; nothing is trained.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning

from campus_visual_gps.retrieval.descriptor import DescriptorExtractor, VladCodebook
from training.config import DescriptorSettings

SAME_PLACE_SIGMA_M = 12.0
# Principal components of the training photos that the metric is learned in.
COMPONENTS = 400
# What the scatter is damped by, as a share of its mean.
SHRINKAGE = 0.1
# A VLAD has many more numbers than the pooled features: each counts for half of one of theirs.
VLAD_WEIGHT = 0.5
# More photos or local features than these estimate a covariance no better.
MAX_PHOTOS, MAX_LOCAL_FEATURES, MAX_VLADS = 4000, 60_000, 500
_KMEANS_ITERATIONS = 15


def fit_descriptor_extractor(
    pooled: np.ndarray,
    local: Sequence[np.ndarray],
    positions_enu_m: np.ndarray,
    settings: DescriptorSettings = DescriptorSettings(),
) -> DescriptorExtractor | None:
    """Fit on N training photos; the same photos give the same extractor.

    Args:
        pooled: Pooled features (N, d).
        local: Local features (N, g, g, C) of two stages.
        positions_enu_m: (N, 2) metres.
        settings: Sizes of the descriptors.

    Returns:
        None for a network that has diverged, or for fewer than two photos.
    """
    if len(pooled) < 2 or not all(np.isfinite(features).all() for features in (pooled, *local)):
        return None
    chosen = _evenly(len(pooled), MAX_PHOTOS)
    pooled, local = pooled[chosen].astype(np.float32), [stage[chosen] for stage in local]
    codebooks = [_fit_codebook(stage, settings.centroids) for stage in local]
    local_rows = local[0].reshape(-1, local[0].shape[-1]).astype(np.float32)
    bare = DescriptorExtractor(
        codebooks,
        pooled_mean=torch.from_numpy(pooled.mean(axis=0)),
        pooled_std=torch.from_numpy(_std(pooled)),
        raw_mean=torch.zeros(0),
        projection=torch.zeros(0, 0),
        local_whitening=torch.from_numpy(_whitening(local_rows, settings.local_dim)),
    )
    raw = _raw_descriptors(bare, pooled, local)
    projection = whitened_lda(raw, np.asarray(positions_enu_m, dtype=np.float64)[chosen], settings.dim)
    bare.raw_mean = torch.from_numpy(raw.mean(axis=0))
    bare.projection = torch.from_numpy(np.ascontiguousarray(projection.T)).half()
    return bare.eval()


@torch.inference_mode()
def _raw_descriptors(extractor: DescriptorExtractor, pooled: np.ndarray, local: Sequence[np.ndarray]) -> np.ndarray:
    rows = [slice(start, start + 64) for start in range(0, len(pooled), 64)]
    batches = [
        extractor.raw_descriptor(torch.from_numpy(pooled[own]), [torch.from_numpy(stage[own]) for stage in local])
        for own in rows
    ]
    return torch.cat(batches).numpy()


def _fit_codebook(local: np.ndarray, count: int) -> VladCodebook:
    """Of local features (N, g, g, C) of one stage."""
    features = local.reshape(-1, local.shape[-1])
    features = features[_evenly(len(features), MAX_LOCAL_FEATURES)].astype(np.float32)
    mean, std = torch.from_numpy(features.mean(axis=0)), torch.from_numpy(_std(features))
    one = torch.ones(1)
    units = VladCodebook(mean, std, torch.zeros(0, len(mean)), one).units(torch.from_numpy(features)[:, None, None])
    centroids = torch.from_numpy(_kmeans(units[:, 0].numpy(), count))
    unscaled = VladCodebook(mean, std, centroids, one)
    with torch.inference_mode():
        chosen = torch.from_numpy(local[_evenly(len(local), MAX_VLADS)])
        spread = max(float(torch.cat([unscaled(batch) for batch in chosen.split(64)]).std(correction=0)), 1e-6)
    return VladCodebook(mean, std, centroids, one * spread / VLAD_WEIGHT)


def whitened_lda(raw: np.ndarray, positions_enu_m: np.ndarray, dim: int) -> np.ndarray:
    """(D, p) of raw descriptors (N, D) at positions (N, 2) metres: what photos of one place share counts most.

    p is `dim`, or fewer where there are not so many photos.
    """
    centred = np.asarray(raw - raw.mean(axis=0), dtype=np.float64)
    components = _principal_components(centred, COMPONENTS)
    reduced = centred @ components
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
    # what the photos vary in most in that metric: the rest costs time per image, and finds no more (docs/results.md)
    metric = components @ whitened @ _principal_components(reduced @ whitened, dim)
    # descriptors become unit vectors, so the size is free: columns of norm 1 at most are well inside of float16
    return metric / np.abs(metric).max()


def _principal_components(centred: np.ndarray, most: int) -> np.ndarray:
    """(D, p) orthonormal principal components of rows (N, D), at most so many, fewer than N."""
    count = min(most, len(centred) - 1, centred.shape[1])
    with np.errstate(invalid="ignore"):  # PCA divides by the total variance, which is 0 for photos that are all alike
        pca = PCA(n_components=count, svd_solver="full").fit(centred)
    kept = pca.explained_variance_ > 1e-9 * max(pca.explained_variance_.max(), 1e-12)
    if not kept.any():  # photos that are all alike
        return np.eye(centred.shape[1], 1)
    return pca.components_[kept].T


def _kmeans(units: np.ndarray, count: int) -> np.ndarray:
    """Centroids (k, C) float32 of unit vectors (n, C)."""
    count = min(count, len(units))
    with warnings.catch_warnings():
        # photos that are all alike have fewer kinds of features than centroids: some are then equal
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = KMeans(count, n_init=1, max_iter=_KMEANS_ITERATIONS, random_state=0).fit(units)
    return found.cluster_centers_.astype(np.float32)


def _whitening(features: np.ndarray, dim: int) -> np.ndarray:
    """(C, t) of local features (n, C): their principal components, each scaled to variance 1."""
    count = min(dim, *features.shape)
    pca = PCA(n_components=count, svd_solver="covariance_eigh").fit(features.astype(np.float64))
    variance = pca.explained_variance_
    return (pca.components_.T / np.sqrt(variance + 1e-6 * variance.max() + 1e-12)).astype(np.float32)


def _std(values: np.ndarray) -> np.ndarray:
    std = np.std(values, axis=0, dtype=np.float64)
    return np.where(std > 0.0, std, 1.0).astype(np.float32)


def _evenly(count: int, most: int) -> np.ndarray:
    """At most so many of `count` rows, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(int))
