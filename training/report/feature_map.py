"""A t-SNE map of photos' features, coloured by where they were taken (paper, figure 2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from campus_visual_gps.bundle import load_bundle
from campus_visual_gps.errors import DatasetError, printable
from training.evaluate.member_features import PhotoFeatures, member_features, reference_descriptors
from training.report.palette import plain

MIN_PHOTOS = 5
_PERPLEXITY = 30.0  # of scikit-learn's default; fewer photos take a third of their number
_COMPONENTS = 50
_NEIGHBOURS = 10
_SEED = 42
_NIGHT, _DAY = "^", "o"


def feature_map(
    bundle_dir: Path, dataset_dir: Path | None = None, split: str = "test", member: str | None = None
) -> tuple[Figure, str]:
    """The map of a subset's photos, or of a bundle's own training photos, and one line that says what it shows.

    Raises:
        VisualGpsError: BundleError, ConfigError, DatasetError.
    """
    bundle = load_bundle(bundle_dir)
    if dataset_dir is None:
        photos = reference_descriptors(bundle)
    else:
        photos = member_features(bundle, Path(dataset_dir), split, member)
    points = embed(photos.features)
    shares = [explained_share(points, photos.positions_enu_m[:, axis]) for axis in (0, 1)]
    figure = draw_feature_map(points, photos, shares)
    east, north = (f"{100.0 * share:.0f} %" for share in shares)
    return figure, f"{photos.source}; neighbours in the map explain {east} of the variance of east, {north} of north"


def embed(features: np.ndarray) -> np.ndarray:
    """Features (N, d) -> points (N, 2) by t-SNE, the same ones in every run. Raises DatasetError for too few photos."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    features = np.asarray(features, dtype=np.float64)
    if len(features) < MIN_PHOTOS:
        raise DatasetError(f"{len(features)} photos: expected {MIN_PHOTOS} or more for a map of their features")
    if not np.isfinite(features).all():
        raise DatasetError("the features of these photos are not finite: the network diverged; train it again")
    if np.ptp(features, axis=0).max() <= 0.0:
        raise DatasetError("all photos have the same features: the network tells none from another; train it again")
    components = min(_COMPONENTS, *features.shape)
    reduced = PCA(components, svd_solver="full", random_state=_SEED).fit_transform(features)
    perplexity = min(_PERPLEXITY, (len(features) - 1) / 3.0)
    return TSNE(perplexity=perplexity, init=_start(reduced), random_state=_SEED, n_jobs=1).fit_transform(reduced)


def _start(reduced: np.ndarray) -> np.ndarray:
    """The first two principal components, small, as scikit-learn starts too; a column of zeros where there is one."""
    start = np.zeros((len(reduced), 2))
    start[:, : reduced.shape[1]] = reduced[:, :2]
    return (start / start[:, 0].std() * 1e-4).astype(np.float32)


def explained_share(points: np.ndarray, values: np.ndarray) -> float:
    """Share of the variance of values (N,) that the mean of each point's nearest neighbours in the map explains.

    1 where neighbours in the map stand together on the ground, 0 where the map says nothing about it.
    """
    from sklearn.neighbors import NearestNeighbors

    count = min(_NEIGHBOURS, len(points) - 1)
    rows = NearestNeighbors(n_neighbors=count).fit(points).kneighbors(return_distance=False)
    variance = float(np.var(values))
    residual = float(np.mean((values - values[rows].mean(axis=1)) ** 2))
    return max(0.0, 1.0 - residual / variance) if variance > 0.0 else 0.0


def draw_feature_map(points: np.ndarray, photos: PhotoFeatures, shares: list[float]) -> Figure:
    """Two panels of the same points (N, 2): coloured by east, and by north."""
    figure = Figure(figsize=(12, 5.6), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, axis, name, share in zip(panels, (0, 1), ("east", "north"), shares, strict=True):
        values = photos.positions_enu_m[:, axis]
        drawn = _points(axes, points, values, photos.night)
        figure.colorbar(drawn, ax=axes, label=f"{name}, m", shrink=0.9)
        axes.set(xlabel="t-SNE 1 (no unit)", ylabel="t-SNE 2 (no unit)", xticks=[], yticks=[])
        axes.set_title(
            f"by {name}: neighbours explain {100.0 * share:.0f} % of its variance", loc="left", fontsize="medium"
        )
        plain(axes)
    figure.suptitle(f"t-SNE of {printable(photos.source)}", x=0.01, ha="left")
    if (photos.night == 1.0).any():
        handles = [
            Line2D([], [], ls="", marker=marker, ms=6, mfc="#888888", mec="black", mew=0.4, label=label)
            for marker, label in ((_DAY, "day"), (_NIGHT, "night"))
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _points(axes: Axes, points: np.ndarray, values: np.ndarray, night: np.ndarray) -> Any:
    """Night photos are triangles; both kinds share one scale of colours, which rises in lightness."""
    scale: dict[str, Any] = {"cmap": "viridis", "vmin": float(values.min()), "vmax": float(values.max())}
    size = 30.0 if len(points) < 400 else 14.0
    drawn = None
    for marker, rows in ((_DAY, night != 1.0), (_NIGHT, night == 1.0)):
        if rows.any():
            drawn = axes.scatter(
                points[rows, 0], points[rows, 1], c=values[rows], s=size, marker=marker, ec="black", lw=0.3, **scale
            )
    return drawn
