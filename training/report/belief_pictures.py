"""Strips of the telling images of each tracked session, and what an animation of one sequence shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import NamedTuple

import numpy as np
import pandas as pd

from campus_visual_gps.estimation.grid import LocationGrid
from campus_visual_gps.tracking.calibration import TrackingCalibration
from training.evaluate.predict import covariances_m2, positions_m
from training.fit.image_sequences import ImageSequence, tracked_positions
from training.report.belief_sequence import BeliefSequence, shown_image
from training.report.belief_strip import draw_belief_strip, telling_images

# Beyond, a report is too long to look at; the longest sequences are drawn.
_MOST_STRIPS = 12
_PHOTO_PX, _TITLE_LETTERS = 480, 38


class StoredImage(NamedTuple):
    """A stored square copy and the width over the height of its original, NaN where that is not known."""

    path: Path
    aspect: float


def stored_images(photos: pd.DataFrame, paths: Sequence[Path]) -> dict[str, StoredImage]:
    """Of the photos of a table, by photo_id; the columns width_px and height_px are used where they are there."""
    aspects = np.full(len(photos), np.nan)
    if {"width_px", "height_px"} <= set(photos):
        width, height = (photos[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in ("width_px", "height_px"))
        aspects = width / np.where(height > 0.0, height, np.nan)
    names = photos["photo_id"]
    return {name: StoredImage(*own) for name, *own in zip(names, paths, aspects.tolist(), strict=True)}


def belief_sequence(
    grid: LocationGrid,
    calibration: TrackingCalibration,
    sequence: ImageSequence,
    predictions: pd.DataFrame,
    images: Mapping[str, StoredImage],
    with_odometry: bool = False,
) -> BeliefSequence:
    """Track a sequence again and keep every belief.

    Args:
        grid: Of the posteriors.
        calibration: Of the tracker.
        sequence: Its `rows` index `predictions`.
        predictions: As `read_predictions` returns them.
        images: Of all photos of the sequence.
        with_odometry: As of `tracked_positions`.
    """
    tracked = list(tracked_positions(grid, calibration, sequence, with_odometry))
    own = predictions.iloc[sequence.rows]
    stored = [images[name] for name in own["photo_id"]]
    several = len(set(sequence.cameras)) > 1
    return BeliefSequence(
        times_s=sequence.times_s - sequence.times_s[0],
        image_paths=[image.path for image in stored],
        image_aspects=np.array([image.aspect for image in stored]),
        cameras=sequence.cameras if several else [""] * len(sequence),
        grid=grid,
        posteriors=sequence.grid_probs,
        beliefs=np.stack([position.grid_probs for position in tracked]),
        truth_enu_m=sequence.truth_enu_m,
        single_enu_m=positions_m(own),
        single_sigma_m=_sigmas_m(covariances_m2(own)),
        tracked_enu_m=np.stack([position.mean_enu_m for position in tracked]),
        tracked_sigma_m=_sigmas_m(np.stack([position.cov_enu_m2 for position in tracked])),
        lost_probability=np.array([position.lost_probability for position in tracked]),
    )


def _sigmas_m(covs_m2: np.ndarray) -> np.ndarray:
    """(N, 2, 2) -> standard deviation per axis (N,) of a round Gaussian with the same trace."""
    return np.sqrt(np.trace(covs_m2, axis1=1, axis2=2) / 2.0)


def draw_strips(sequences: Sequence[tuple[str, BeliefSequence]], directory: Path) -> dict[str, str]:
    """One strip for each of the longest named sequences -> name and file name of each.

    Raises:
        DatasetError: a stored image is missing or damaged.
    """
    longest = sorted(range(len(sequences)), key=lambda index: -len(sequences[index][1]))[:_MOST_STRIPS]
    files = {}
    for number, index in enumerate(sorted(longest), start=1):
        name, sequence = sequences[index]
        files[f"belief_strip_{number}"] = f"belief_strip_{number}.png"
        draw_strip(directory / f"belief_strip_{number}.png", name, sequence)
    return files


def draw_strip(path: Path, name: str, sequence: BeliefSequence) -> None:
    """The telling images of a sequence. Raises DatasetError for an image that is missing or damaged."""
    truth = sequence.truth_enu_m
    chosen = telling_images(sequence.grid, sequence.posteriors, sequence.beliefs, truth)
    rows = [row for row, _ in chosen]
    images = [
        shown_image(sequence.image_paths[row], float(sequence.image_aspects[row]), _PHOTO_PX, _PHOTO_PX) for row in rows
    ]
    titles = [fill(f"{name}, {sequence.times_s[row]:.0f} s: {reason}", _TITLE_LETTERS) for row, reason in chosen]
    draw_belief_strip(
        path, images, sequence.grid, sequence.posteriors[rows], sequence.beliefs[rows], truth[rows], titles
    )
