"""How far an image's appearance is from all that the training photos look like.

The last features of a network that was trained to tell the places of one site apart say little of other places: noise
and photos of elsewhere land among them. Channel means of the middle stage, whitened, keep them apart: what is
rare on the site, such as the textures of another town, then counts as much as what is common there.
"""

from __future__ import annotations

import math

import numpy as np

from campus_visual_gps.errors import BundleError

# Directions in which the training photos hardly differ are noise, the more so the fewer photos there are for a channel:
# whitening is damped by this share of a channel's variance, or by channels over photos where that is more.
RIDGE = 0.1
# Rows that are compared with all others at one time.
_CHUNK = 512


class OodDetector:
    """Appearances (N, c) of the training photos: channel means of the middle stage (`EnsembleOutput.appearance`).

    Distances are Euclidean after whitening, divided by the root of the number of channels: two photos that have
    nothing to do with one another are about 1.4 apart. Raises BundleError for what is no (N, c) of finite numbers.
    """

    def __init__(self, appearances: np.ndarray):
        import torch

        appearances = np.asarray(appearances, dtype=np.float64)
        if appearances.ndim != 2 or 0 in appearances.shape or not np.all(np.isfinite(appearances)):
            raise BundleError(f"reference appearances {appearances.shape} are not (N, c) finite numbers")
        self._mean = appearances.mean(axis=0)
        deviation = appearances.std(axis=0)
        self._deviation = np.where(deviation > 0.0, deviation, 1.0)
        self._whitening = _whitening((appearances - self._mean) / self._deviation)
        self._rows = torch.from_numpy(self._whiten(appearances))
        self._squares = (self._rows**2).sum(dim=1)

    def __len__(self) -> int:
        return len(self._rows)

    def distance(self, appearance: np.ndarray) -> float:
        """Of an appearance (c,) from the nearest reference photo's; NaN where it is not finite. Raises BundleError."""
        if np.shape(appearance) != self._mean.shape:
            raise BundleError(f"an appearance {np.shape(appearance)} meets reference photos of {self._mean.shape}")
        if not np.all(np.isfinite(appearance)):
            return float("nan")
        import torch

        query = torch.from_numpy(self._whiten(np.asarray(appearance, dtype=np.float64)))
        # |row - query|^2 less |query|^2, in one pass over the rows
        nearest = torch.addmv(self._squares, self._rows, query, alpha=-2.0).min() + query @ query
        return math.sqrt(max(float(nearest), 0.0))

    def scores_against_other_sessions(self, sessions: np.ndarray) -> np.ndarray:
        """Of each reference photo (N,) from the nearest one of another session (N,); infinite where there is none."""
        _, labels = np.unique(np.asarray(sessions, dtype=str), return_inverse=True)
        starts = range(0, len(self), _CHUNK)
        return np.concatenate([self._nearest_of_others(slice(i, i + _CHUNK), labels) for i in starts])

    def _nearest_of_others(self, rows: slice, labels: np.ndarray) -> np.ndarray:
        import torch

        squared = self._squares + self._squares[rows, None] - 2.0 * self._rows[rows] @ self._rows.T
        squared = squared.masked_fill(torch.from_numpy(labels[rows, None] == labels), torch.inf)
        return squared.min(dim=1).values.clamp(min=0.0).sqrt().double().numpy()

    def _whiten(self, appearances: np.ndarray) -> np.ndarray:
        return (((appearances - self._mean) / self._deviation) @ self._whitening).astype(np.float32)


def _whitening(standardised: np.ndarray) -> np.ndarray:
    """(c, c) of standardised appearances (N, c)."""
    covariance = standardised.T @ standardised / max(len(standardised) - 1, 1)
    variances, directions = np.linalg.eigh(covariance)
    photos, channels = standardised.shape
    damped = variances.clip(min=0.0) + max(RIDGE, channels / photos)
    return directions / np.sqrt(damped * channels)
