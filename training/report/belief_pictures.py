"""Strips of the telling images of each tracked session, and what an animation of one sequence shows."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from textwrap import fill

import numpy as np
import pandas as pd

from campus_visual_gps.errors import DatasetError
from training.evaluate.predict import covariances_m2, positions_m
from training.evaluate.sequence_table import SequenceRun, TrackedBundle
from training.fit.image_sequences import ImageSequence, tracked_positions
from training.report.belief_sequence import BeliefSequence, StoredImage, shown_image
from training.report.belief_strip import draw_belief_strip, telling_images

log = logging.getLogger(__name__)

# Beyond, a report is too long to look at; the longest sequences are drawn.
_MOST_STRIPS = 12
_PHOTO_PX, _TITLE_LETTERS = 480, 38


def belief_sequence(
    bundle: TrackedBundle, sequence: ImageSequence, predictions: pd.DataFrame, images: Mapping[str, StoredImage]
) -> BeliefSequence:
    """Track a sequence again, with its odometry where it has any, and keep every belief.

    Args:
        bundle: Its grid and the calibration of the tracker.
        sequence: Its `rows` index `predictions`.
        predictions: As `read_predictions` returns them.
        images: Of all photos of the sequence.
    """
    grid = bundle.posteriors.grid
    tracked = list(tracked_positions(grid, bundle.calibration, sequence, bool(sequence.odometry)))
    own = predictions.iloc[sequence.rows]
    stored = [images[name] for name in own["photo_id"]]
    # as the model gave them: those of the sequence are mixed with a uniform one where an image matches no reference
    row_of = {name: row for row, name in enumerate(bundle.posteriors.photo_ids)}
    return BeliefSequence(
        times_s=sequence.times_s - sequence.times_s[0],
        image_paths=[image.path for image in stored],
        image_aspects=np.array([image.aspect for image in stored]),
        cameras=sequence.cameras or ("",) * len(sequence),
        grid=grid,
        posteriors=bundle.posteriors.grid_probs[[row_of[name] for name in own["photo_id"]]].astype(np.float64),
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


def strips_of(
    run: SequenceRun, predictions: pd.DataFrame, images: Mapping[str, StoredImage], directory: Path
) -> dict[str, str]:
    """One strip for each of the longest sequences whose photos are there -> name and file name of each.

    With odometry, where the sequence has it. An image that cannot be read costs its strip, not the report.
    """
    names = predictions["photo_id"].to_numpy()
    shown = [own for own in run.sequences if all(name in images for name in names[own[1].rows])]
    longest = sorted(range(len(shown)), key=lambda index: -len(shown[index][1]))[:_MOST_STRIPS]
    files: dict[str, str] = {}
    for number, index in enumerate(sorted(longest), start=1):
        bundle, sequence = shown[index]
        own = belief_sequence(bundle, sequence, predictions, images)
        name = f"belief_strip_{number}"
        try:
            draw_strip(directory / f"{name}.png", sequence.session, own)
        except DatasetError as error:
            log.warning("%s; the report does without its strip", error)
            continue
        files[name] = f"{name}.png"
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
