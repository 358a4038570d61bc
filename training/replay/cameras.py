"""Further cameras of a drive: what the tracker makes of all cameras together, beside what it makes of the first."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from campus_visual_gps.estimation.integrity import RejectionReason
from campus_visual_gps.localizer import Localizer
from campus_visual_gps.ros.stamps import NS_PER_S
from training.evaluate.posteriors import posteriors_of
from training.evaluate.predict import positions_m, predict
from training.evaluate.sequence_table import SequenceRun, TrackedBundle
from training.fit.image_sequences import ImageSequence, tracked_positions
from training.metrics.errors import position_errors_m
from training.metrics.sequences import FOUND_M
from training.replay.bag_images import extract_images
from training.replay.bags import Bag
from training.replay.fixes import Fixes
from training.report.flatten import FlatJson
from training.report.formatting import number, percent
from training.report.markdown_blocks import table

log = logging.getLogger(__name__)
FIRST, ALL = "first camera", "all cameras"
RANDOM, ODOMETRY = "at random", "odometry"


@dataclass(frozen=True)
class CameraViews:
    """The N images of one further camera: stamps (N,) in seconds, posteriors (N, K), NaN for those that say nothing.

    `truth_enu_m` and `single_enu_m` are (N, 2) metres: where they were taken, and what each says alone. `unlike` (N,)
    is as of `ImageSequence`.
    """

    topic: str
    times_s: np.ndarray
    grid_probs: np.ndarray
    truth_enu_m: np.ndarray
    single_enu_m: np.ndarray
    unlike: np.ndarray


@dataclass(frozen=True)
class CameraErrors:
    """Tracked errors at the N images of the first camera, metres: by which cameras, and how the belief moves."""

    cameras: str
    motion: str
    n_images: int
    errors_m: np.ndarray


def read_cameras(
    localizer: Localizer, bag: Bag, topics: Sequence[str], truth: Fixes, out_dir: Path, progress: bool = True
) -> list[CameraViews]:
    """Localize the images of further cameras. Raises DatasetError for a topic without images that can be used."""
    found = []
    for topic in topics:
        camera = topic.strip("/").replace("/", "_")
        images = extract_images(bag, topic, truth, localizer.bundle.image.stored_px, out_dir, camera)
        predicted = predict(localizer, images.photos, images.paths, progress)
        if predicted.grid_probs is None or localizer.grid is None:
            log.warning("%s: a bundle without a grid cannot track; the camera is left out", topic)
            continue
        reference = localizer.bundle.calibration.reference_match_score
        own = posteriors_of(predicted.table, predicted.grid_probs, localizer.grid, reference)
        found.append(
            CameraViews(
                topic,
                images.stamps_ns / NS_PER_S,
                own.rows(predicted.table["photo_id"].tolist()),
                positions_m(predicted.table, "true_"),
                positions_m(predicted.table),
                (predicted.table["rejection_reason"] == RejectionReason.OUT_OF_DISTRIBUTION.value).to_numpy(),
            )
        )
    return found


def with_cameras(sequence: ImageSequence, views: Sequence[CameraViews]) -> ImageSequence:
    """The sequence with the images of further cameras from its first image to its last; their rows are -1.

    Of images with one stamp the first camera's comes last, so that what is tracked then knows them all.
    """
    first_s, last_s = sequence.times_s[0], sequence.times_s[-1]
    own = (sequence.rows, sequence.times_s, sequence.grid_probs, sequence.truth_enu_m, sequence.unlike)
    columns, names = [own], ["first"] * len(sequence)
    for view in views:
        kept = (view.times_s >= first_s) & (view.times_s <= last_s)
        rows = np.full(int(kept.sum()), -1)
        columns.append((rows, view.times_s[kept], view.grid_probs[kept], view.truth_enu_m[kept], view.unlike[kept]))
        names += [view.topic] * len(rows)
    rows, times_s, probs, truth, unlike = (np.concatenate(values) for values in zip(*columns, strict=True))
    order = np.lexsort((rows >= 0, times_s))
    return replace(
        sequence,
        rows=rows[order],
        times_s=times_s[order],
        grid_probs=probs[order],
        truth_enu_m=truth[order],
        unlike=unlike[order],
        cameras=tuple(names[index] for index in order),
    )


def camera_errors(run: SequenceRun, views: Sequence[CameraViews]) -> list[CameraErrors]:
    """By the first camera and by all, at random and, where there is any, by odometry."""
    found = []
    for cameras, others in ((FIRST, ()), (ALL, tuple(views))):
        sequences = [(bundle, with_cameras(sequence, others)) for bundle, sequence in run.sequences]
        count = sum(len(sequence) for _, sequence in sequences)
        for motion in (RANDOM, ODOMETRY):
            if motion == ODOMETRY and not all(sequence.odometry for _, sequence in sequences):
                continue
            errors = [_errors_m(bundle, sequence, motion == ODOMETRY) for bundle, sequence in sequences]
            found.append(CameraErrors(cameras, motion, count, np.concatenate(errors)))
    return found


def _errors_m(bundle: TrackedBundle, sequence: ImageSequence, with_odometry: bool) -> np.ndarray:
    positions = tracked_positions(bundle.posteriors.grid, bundle.calibration, sequence, with_odometry)
    tracked = np.array([own.mean_enu_m for own in positions])
    first = sequence.rows >= 0
    return position_errors_m(tracked[first], sequence.truth_enu_m[first])


def cameras_to_flat_json(errors: Sequence[CameraErrors], views: Sequence[CameraViews]) -> FlatJson:
    """Numbers of report.json."""
    flat: dict[str, float | None] = {}
    for own in errors:
        name = f"cameras.{own.cameras.split()[0]}.{'odometry' if own.motion == ODOMETRY else 'random_walk'}"
        known = own.errors_m[np.isfinite(own.errors_m)]
        flat[f"{name}.n_images"] = float(own.n_images)
        flat[f"{name}.mean_error_m"] = float(known.mean()) if len(known) else None
        flat[f"{name}.max_error_m"] = float(known.max()) if len(known) else None
    for view in views:
        single = position_errors_m(view.single_enu_m, view.truth_enu_m)
        flat[f"cameras.{view.topic.strip('/')}.single_mean_error_m"] = float(np.nanmean(single))
    return {**flat}


def camera_block(errors: Sequence[CameraErrors], views: Sequence[CameraViews]) -> str:
    """A table of both, and what each further camera says alone."""
    rows = []
    for own in errors:
        known = own.errors_m[np.isfinite(own.errors_m)]
        values = (known.mean(), np.median(known), known.max()) if len(known) else (np.nan,) * 3
        over = percent(float((known > FOUND_M).mean())) if len(known) else "none"
        rows.append([own.cameras, own.motion, str(own.n_images), *(number(float(value)) for value in values), over])
    header = ["tracked by", "motion", "images", "mean, m", "median, m", "maximum, m", f"over {FOUND_M:.0f} m"]
    alone = ", ".join(
        f"{number(float(np.nanmean(position_errors_m(view.single_enu_m, view.truth_enu_m))))} m for the "
        f"{len(view.times_s)} images of `{view.topic}`"
        for view in views
    )
    text = f"All at the images of the first camera. Mean error of the others alone: {alone}."
    return "\n\n".join(["### Several cameras", table(header, rows), text])


def camera_line(errors: Sequence[CameraErrors]) -> str:
    """For the terminal."""
    means = {(own.cameras, own.motion): float(np.nanmean(own.errors_m)) for own in errors}
    parts = [
        f"{number(means[FIRST, motion])} -> {number(means[ALL, motion])} m ({motion})"
        for motion in (RANDOM, ODOMETRY)
        if (FIRST, motion) in means
    ]
    return f"Tracked mean error with the first camera -> with all: {', '.join(parts)}"
