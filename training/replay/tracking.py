"""A drive through the tracker: by its odometry and at random, from no knowledge and after a kidnap."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from campus_visual_gps.estimation.calibration import Calibration
from campus_visual_gps.tracking.calibration import TrackingCalibration
from training.evaluate.posteriors import POSTERIORS, read_posteriors
from training.evaluate.predict import positions_m
from training.evaluate.report_metrics import SiteOutline
from training.evaluate.sequence_metrics import sequence_metrics
from training.evaluate.sequence_table import (
    SEQUENCES_CSV,
    TRACKED,
    TRIALS_CSV,
    WITH_ODOMETRY,
    SequenceRun,
    TrackedBundle,
    run_sequences,
)
from training.metrics.errors import position_errors_m
from training.photos.tables import write_table
from training.replay.cameras import CameraViews, camera_block, camera_errors, camera_line, cameras_to_flat_json
from training.replay.drive import Drive
from training.report.belief_sequence import StoredImage
from training.report.flatten import FlatJson
from training.report.formatting import number
from training.report.sequence_section import sequence_lines, sequence_section, sequences_to_flat_json
from training.report.writer import Addition

log = logging.getLogger(__name__)
_OF_BUNDLE = "The tracker is calibrated as the bundle says (`calibration.tracking`)."
_DEFAULT = "The bundle has no tracking calibration: the tracker has its documented defaults."


def bundle_calibration(calibration: Calibration) -> TrackingCalibration:
    """What the node tracks with."""
    return calibration.tracking or TrackingCalibration()


@dataclass(frozen=True)
class Shown:
    """What the report of a tracked drive shows besides numbers.

    `images` are the stored images by photo_id, for the strip; `animation` is the GIF or MP4 to write, None for none;
    `views` are those of further cameras.
    """

    images: Mapping[str, StoredImage] = field(default_factory=dict)
    animation: Path | None = None
    views: Sequence[CameraViews] = ()


def tracking_addition(
    drive: Drive,
    calibration: TrackingCalibration,
    recorded: bool,
    shown: Shown,
    predictions: pd.DataFrame,
    site: SiteOutline,
    directory: Path,
) -> Addition:
    """Metrics, section and pictures of the tracked drive, from the posteriors in the directory.

    With recorded fixes in the place of the bundle's, the single-image positions are those, and it is said how far they
    are from the tracked ones: zero, but for rounding, where a node recorded its tracked fixes.
    """
    from training.report.belief_pictures import strips_of
    from training.report.sequence_plots import draw_sequences

    bundles = [TrackedBundle(own, calibration) for own in read_posteriors(directory / POSTERIORS)]
    poses = drive.odometry.poses if drive.odometry is not None else ()
    run = run_sequences(predictions, bundles, predictions["stamp_ns"].to_numpy(dtype=np.int64) / 1e9, poses)
    if run.table.empty:
        log.warning("fewer than two images: nothing can be tracked")
        return Addition()
    write_table(directory / SEQUENCES_CSV, run.table)
    write_table(directory / TRIALS_CSV, run.trials.replace(np.inf, np.nan))
    metrics = sequence_metrics(run, len(predictions))
    pictures = draw_sequences(run.table, site, directory) | strips_of(run, predictions, shown.images, directory)
    if shown.animation is not None:
        _animate(shown.animation, run, predictions, shown.images)
    text = _OF_BUNDLE if calibration.measured else _DEFAULT
    flat, more = sequences_to_flat_json(metrics), []
    if recorded:
        differences = recorded_differences_m(run)
        flat |= differences
        more = [_recorded_line(differences)]
    lines = [sequence_lines(metrics), *more]
    if shown.views:
        errors = camera_errors(run, shown.views)
        flat |= cameras_to_flat_json(errors, shown.views)
        more.append(camera_block(errors, shown.views))
        lines.append(camera_line(errors))
    section = sequence_section(metrics, pictures, text, "Tracked along the drive", *more)
    return Addition(flat, section, pictures, "\n".join(lines))


def _animate(path: Path, run: SequenceRun, predictions: pd.DataFrame, images: Mapping[str, StoredImage]) -> None:
    """The longest sequence of the drive."""
    from training.report.belief_pictures import belief_sequence
    from training.report.drive_animation import animate_drive

    bundle, sequence = max(run.sequences, key=lambda own: len(own[1]))
    animate_drive(path, belief_sequence(bundle, sequence, predictions, images))
    log.info("animation: %s", path)


def recorded_differences_m(run: SequenceRun) -> FlatJson:
    """Greatest distance of the recorded positions from the tracked ones, by way of tracking, metres."""
    recorded, flat = positions_m(run.table, "single_"), dict[str, float | None]()
    for name in (TRACKED, WITH_ODOMETRY):
        if name in run.methods:
            apart_m = position_errors_m(positions_m(run.table, f"{name}_"), recorded)
            known = apart_m[np.isfinite(apart_m)]
            flat[f"sequences.recorded_from_{name}_max_m"] = float(known.max()) if len(known) else None
    return {**flat}


def _recorded_line(differences: FlatJson) -> str:
    parts = [
        f"{number(value, 3) if isinstance(value, float) else number(None)} m from `"
        + key.removeprefix("sequences.recorded_from_").removesuffix("_max_m")
        + "`"
        for key, value in differences.items()
    ]
    return (
        "*Single image* is what was recorded. At most "
        + " and ".join(parts)
        + " as computed here from the same images: "
        "what a node publishes on `visual_gps/tracked_fix` is one of these."
    )
