"""How well the local descriptors of two images match.

Mutual nearest neighbours vote for the displacement between them, each with what its cosine is above that of the second
best match (the margin of Lowe, Distinctive image features from scale-invariant keypoints, IJCV 2004, section 7.1, as a
difference). In two images of one scene the displacements agree; in images of two similar trees they do not.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

# Displacements of one scene differ: a step forward moves what is at the edges more. In raster steps.
TRANSLATION_TOLERANCE = 3
# The margin of a match that counts as one vote.
SCORE_MARGIN = 0.1
_INT8_SCALE = 127.0


def match_scores(local_descriptors: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Scores of an image's local descriptors (T, t) int8 against those of R others (R, T, t): (R,) float64, 1 or more.

    The score is 1 plus the votes for the best displacement and for those within TRANSLATION_TOLERANCE of it. A vote is
    the match's margin over SCORE_MARGIN: grass matches all grass, and adds nothing.
    """
    import torch

    count, total, size = others.shape
    side = round(np.sqrt(total))
    own, their = torch.from_numpy(local_descriptors).float(), torch.from_numpy(others).float()
    cosines = (own @ their.view(-1, size).T).view(total, count, total)  # (own, other image, its descriptor)
    best_of_theirs = cosines.amax(dim=0)
    # numpy finds the index of maxima faster than torch
    nearest = torch.from_numpy(cosines.numpy().argmax(axis=2))
    best = cosines.gather(2, nearest[..., None])[..., 0]
    mutual = best >= best_of_theirs.gather(1, nearest.T).T
    # the neighbours of the best match overlap with it: the second best is looked for elsewhere
    cosines.scatter_(2, torch.from_numpy(_neighbourhoods(side))[nearest], 0.0)
    margins = (best - cosines.amax(dim=2)).clamp(min=0.0) / (_INT8_SCALE**2 * SCORE_MARGIN)
    votes = torch.where(mutual, margins, 0.0)
    return 1.0 + _most_votes(votes.T.numpy(), nearest.T.numpy(), side)


@lru_cache(maxsize=4)
def _neighbourhoods(side: int) -> np.ndarray:
    """(T, 9): each position of a raster of side * side with its neighbours; at the edges some are repeated."""
    row, column = np.divmod(np.arange(side * side), side)
    steps = ((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1))
    inside = [(np.clip(row + down, 0, side - 1), np.clip(column + right, 0, side - 1)) for down, right in steps]
    return np.stack([rows * side + columns for rows, columns in inside], axis=1)


def _most_votes(votes: np.ndarray, matches: np.ndarray, side: int) -> np.ndarray:
    """(R,) largest sum of votes (R, T) for displacements within the tolerance of one; matches (R, T) are positions."""
    import torch

    count, total = votes.shape
    width = 2 * side - 1  # of all displacements
    there, here = divmod(matches, side), divmod(np.arange(total), side)
    rows, columns = (to - own + side - 1 for to, own in zip(there, here, strict=True))
    bins = (np.arange(count)[:, None] * width + rows) * width + columns
    histogram = np.bincount(bins.ravel(), votes.ravel(), minlength=count * width * width)
    window = torch.from_numpy(_tolerance_window(width))
    along = torch.from_numpy(histogram.astype(np.float32)).view(-1, width) @ window
    both = along.view(count, width, width).transpose(1, 2).reshape(-1, width) @ window
    return both.view(count, -1).amax(dim=1).double().numpy()


@lru_cache(maxsize=4)
def _tolerance_window(width: int) -> np.ndarray:
    """(width, width) ones where two displacements are within TRANSLATION_TOLERANCE of each other."""
    steps = np.arange(width)
    return (np.abs(steps[:, None] - steps) <= TRANSLATION_TOLERANCE).astype(np.float32)
