"""Out-of-distribution detection: how far an image's OOD features are from those of all training photos.

The last features of a network that was trained to tell the positions of one site apart say little of other sites: noise
and photos of elsewhere land among them. Channel means of the middle stage, whitened, keep them apart: what is rare on
the site, such as the textures of another town, then counts as much as what is common there.
"""

from __future__ import annotations

import numpy as np

from campus_visual_gps.errors import BundleError

# Directions in which the training photos hardly differ are noise, the more so the fewer photos there are per channel:
# whitening is damped by this share of a channel's variance, or by channels over photos where that is more.
RIDGE = 0.1
# Rows that are compared with all others at one time.
_ROWS_AT_ONCE = 512


class OodDetector:
    """OOD features (N, c) of the training photos: channel means of the middle stage (ModelOutputs.ood_features).

    Scores are Euclidean distances after whitening over the root of the number of channels: two photos that have nothing
    to do with one another are about 1.4 apart.

    Raises:
        BundleError: the features are not (N, c) finite numbers.
    """

    def __init__(self, ood_features: np.ndarray):
        import torch

        features = np.asarray(ood_features, dtype=np.float64)
        if features.ndim != 2 or 0 in features.shape or not np.all(np.isfinite(features)):
            raise BundleError(f"expected reference OOD features (N, c) of finite numbers, got {features.shape}")
        self._mean = features.mean(axis=0)
        std = features.std(axis=0)
        self._std = np.where(std > 0.0, std, 1.0)
        self._whitening = _whitening((features - self._mean) / self._std)
        self._rows = torch.from_numpy(self._whiten(features))
        self._squares = (self._rows**2).sum(dim=1)

    def __len__(self) -> int:
        return len(self._rows)

    def score(self, ood_features: np.ndarray) -> np.ndarray:
        """Distances (Q,) of OOD features (Q, c) from the nearest training photo's.

        Raises:
            BundleError: the features have another number of channels.
        """
        import torch

        features = np.asarray(ood_features, dtype=np.float64)
        if features.ndim != 2 or features.shape[1:] != self._mean.shape:
            raise BundleError(f"expected OOD features (Q, {len(self._mean)}), got {features.shape}")
        queries = torch.from_numpy(self._whiten(features))
        # |row - query|^2 less |query|^2, in one pass over the rows
        nearest = torch.addmm(self._squares, queries, self._rows.T, alpha=-2.0).amin(dim=1) + (queries**2).sum(dim=1)
        return nearest.clamp(min=0.0).sqrt().double().numpy()

    def scores_against_other_sessions(self, sessions: np.ndarray) -> np.ndarray:
        """Distance of each training photo (N,) from the nearest one of another session (N,); infinite without one."""
        _, labels = np.unique(np.asarray(sessions, dtype=str), return_inverse=True)
        starts = range(0, len(self), _ROWS_AT_ONCE)
        return np.concatenate([self._nearest_of_others(slice(i, i + _ROWS_AT_ONCE), labels) for i in starts])

    def _nearest_of_others(self, rows: slice, labels: np.ndarray) -> np.ndarray:
        import torch

        squared = self._squares + self._squares[rows, None] - 2.0 * self._rows[rows] @ self._rows.T
        squared = squared.masked_fill(torch.from_numpy(labels[rows, None] == labels), torch.inf)
        return squared.amin(dim=1).clamp(min=0.0).sqrt().double().numpy()

    def _whiten(self, features: np.ndarray) -> np.ndarray:
        return (((features - self._mean) / self._std) @ self._whitening).astype(np.float32)


def _whitening(standardised: np.ndarray) -> np.ndarray:
    """(c, c) of standardised features (N, c)."""
    covariance = standardised.T @ standardised / max(len(standardised) - 1, 1)
    variances, directions = np.linalg.eigh(covariance)
    photos, channels = standardised.shape
    damped = variances.clip(min=0.0) + max(RIDGE, channels / photos)
    return directions / np.sqrt(damped * channels)
