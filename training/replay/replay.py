"""Scores a model, or the fixes that a node published, along a recorded drive."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from campus_visual_gps.bundle import Bundle
from campus_visual_gps.errors import ConfigError, DatasetError
from campus_visual_gps.estimation.correlated_errors import DEFAULT_CORRELATION_TIME_S, INFLATE, ErrorDecorrelator
from campus_visual_gps.geodesy import LocalFrame
from campus_visual_gps.localizer import Localizer
from training.evaluate.predict import positions_m, read_predictions
from training.metrics.errors import position_errors_m
from training.replay.bag_images import IMAGES_DIR, BagImages, extract_images
from training.replay.bags import Bag, open_bag
from training.replay.cameras import CameraViews, read_cameras
from training.replay.drive import Drive
from training.replay.drive_report import drive_addition
from training.replay.fixes import Fixes, position_faults, read_all_fixes, read_fixes, read_positions
from training.replay.outages import positions_m as fix_positions_m
from training.replay.reading_report import Reading
from training.replay.stamps import read_times
from training.replay.switches import read_arrivals
from training.replay.topics import (
    Topics,
    further_image_topics,
    image_topic,
    named_fix_topic,
    odometry_topic,
    receiver_topic,
    truth_topic,
)
from training.replay.tracking import Shown, bundle_calibration, tracking_addition
from training.replay.tracks import read_odometry
from training.replay.with_fixes import check_target, write_with_fixes
from training.report.belief_sequence import stored_images
from training.report.evaluation import EvaluationSummary, Subject, score
from training.report.evaluation_options import EvaluationOptions
from training.report.moving_picture import check_moving_picture
from training.report.writer import joined_additions

log = logging.getLogger(__name__)
Content = TypeVar("Content")


def replay(
    bag_dir: Path,
    bundle_dir: Path,
    out_dir: Path | None = None,
    topics: Topics = Topics(),
    areas_csv: Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    progress: bool = True,
    animation: Path | None = None,
) -> EvaluationSummary:
    """Write the report of `evaluate` for the images of a bag, with the same baselines, and what a drive adds to it.

    The model runs offline on every image, and a copy of the bag gets its fixes; with `topics.recorded`, a NavSatFix
    topic of the bag, the fixes on it are scored instead, each against the truth at its own stamp.

    Args:
        bag_dir: rosbag2 directory, or a .mcap, .db3 or .bag file.
        bundle_dir: model bundle.
        out_dir: directory of the report, by default next to the bag.
        topics: those to use where the bag has several.
        areas_csv: named areas.
        device: as of `Localizer.load`.
        precision: as of `Localizer.load`.
        progress: whether a progress bar is shown.
        animation: GIF or MP4 to write of the tracked drive.

    Raises:
        VisualGpsError: BundleError, ConfigError or DatasetError.
    """
    bag_dir = Path(bag_dir)
    localizer = _load(bundle_dir, device, precision, topics, animation)
    with open_bag(bag_dir) as bag:
        out_dir = Path(out_dir) if out_dir else bag_dir.absolute().parent / f"{bag.name}-replay"
        check_target(bag, out_dir)
        if topics.recorded:
            topics = replace(topics, recorded=named_fix_topic(bag, topics.recorded, "--recorded"))
        fixes = _one_per_stamp(read_all_fixes(bag, topics.recorded)) if topics.recorded else None
        images, drive = _read(bag, topics, localizer.bundle, out_dir)
        subject, answers = _subject(localizer, bag, images, fixes, topics)
        additions = [partial(drive_addition, drive)]
        if localizer.grid is not None:
            own = bundle_calibration(localizer.bundle.calibration)
            views = _further_cameras(localizer, bag, topics, drive, out_dir, progress)
            shown = Shown(stored_images(images.photos, images.paths), animation, views)
            additions.append(partial(tracking_addition, drive, own, fixes is not None, shown))
        options = EvaluationOptions(sequences=localizer.grid is not None)
        make_addition = partial(joined_additions, additions)
        summary = score([subject], out_dir, areas_csv, progress, answers, make_addition, options=options)
        if fixes is None:
            predictions = read_predictions(summary.predictions_path)
            time_s = drive.correlation_time_s or DEFAULT_CORRELATION_TIME_S
            as_published = ErrorDecorrelator(INFLATE, time_s)
            altitude = localizer.bundle.altitude
            write_with_fixes(bag, predictions, drive.image_delays_s, altitude, out_dir, as_published)
    return summary


def _load(bundle_dir: Path, device: str, precision: str, topics: Topics, animation: Path | None) -> Localizer:
    """The localizer of a bundle that can give what is asked for. Raises ConfigError or BundleError."""
    if animation is not None:
        check_moving_picture(animation)
    localizer = Localizer.load(bundle_dir, device, precision)
    if localizer.grid is None and (animation is not None or topics.further_images):
        raise ConfigError(
            f"{bundle_dir}: its heads give points, and a tracker takes a grid: leave out --animate and further --images"
        )
    return localizer


def _further_cameras(
    localizer: Localizer, bag: Bag, topics: Topics, drive: Drive, out_dir: Path, progress: bool
) -> list[CameraViews]:
    if not topics.further_images:
        return []
    others = further_image_topics(bag, image_topic(bag, topics.images), topics.further_images)
    return read_cameras(localizer, bag, others, drive.truth, out_dir / IMAGES_DIR, progress)


def _read(bag: Bag, topics: Topics, bundle: Bundle, out_dir: Path) -> tuple[BagImages, Drive]:
    images_topic, truth = image_topic(bag, topics.images), truth_topic(bag, topics.truth)
    gps = receiver_topic(bag, topics.gps, {truth, topics.recorded or ""})
    odometry = odometry_topic(bag, topics.odometry)
    log.info("%s: truth %s, receiver %s, odometry %s", bag.path, truth, gps or "none", odometry or "none")
    reference = read_fixes(bag, truth)
    images = extract_images(bag, images_topic, reference, bundle.image.stored_px, out_dir / IMAGES_DIR)
    receiver = _optional(topics.gps, lambda: read_positions(bag, gps)) if gps else None
    used = {
        images_topic: images.text,
        truth: reference.text(),
        gps or "": receiver.text() if receiver is not None else "",
    }
    drive = Drive(
        bundle.frame,
        images.stamps_ns,
        reference,
        receiver=receiver,
        odometry=_optional(topics.odometry, lambda: read_odometry(bag, odometry)) if odometry else None,
        fix_delays_s=read_times(bag, topics.recorded).delays_s() if topics.recorded else {},
        image_delays_s=images.delays_s,
        arrivals=read_arrivals(bag, gps) if gps and receiver is not None else [],
        reading=Reading(
            [*bag.notes.lines, *(f"{topic}: {text}" for topic, text in used.items() if text)],
            images.counts,
            reference.left_out,
            receiver.left_out if receiver is not None else {},
            dict(bag.lost),
        ),
        correlation_time_s=bundle.calibration.correlation_time_s,
    )
    return images, drive


def _optional(named: str | None, read: Callable[[], Content]) -> Content | None:
    """A topic that was found, not named: where it cannot be read, the drive is scored without."""
    try:
        return read()
    except DatasetError as error:
        if named is not None:
            raise
        log.warning("%s; the report does without it", error)
        return None


def _one_per_stamp(fixes: Fixes) -> Fixes:
    _, first = np.unique(fixes.stamps_ns, return_index=True)
    return fixes.where(first)


ReplaceAnswers = Callable[[pd.DataFrame], pd.DataFrame]


def _subject(
    localizer: Localizer, bag: Bag, images: BagImages, fixes: Fixes | None, topics: Topics
) -> tuple[Subject, ReplaceAnswers | None]:
    """All images; or those that a recorded fix answers, and what puts these answers into the table."""
    photos, paths = images.photos, images.paths
    scored = topics.recorded or image_topic(bag, topics.images)
    if fixes is None:
        return Subject(localizer, photos, paths, dataset=str(bag.path), split=scored), None
    answered = np.isin(images.stamps_ns, fixes.stamps_ns)
    log.info("%s: %d fixes of %d images", scored, answered.sum(), len(answered))
    if not answered.any():
        raise DatasetError(f"bag {bag.path}: no fix on {scored} carries the stamp of an image")
    photos = photos[answered].reset_index(drop=True)
    paths = [path for path, kept in zip(paths, answered, strict=True) if kept]
    answers = _recorded_answers(fixes, images.stamps_ns[answered], localizer.bundle.frame)
    return Subject(localizer, photos, paths, dataset=str(bag.path), split=scored), answers


def _recorded_answers(fixes: Fixes, stamps_ns: np.ndarray, frame: LocalFrame) -> ReplaceAnswers:
    """Puts the recorded positions and covariances in place of the offline ones, by stamp."""
    fixes = fixes.where(np.searchsorted(fixes.stamps_ns, stamps_ns))
    latitude, longitude = fixes.positions[:, 0], fixes.positions[:, 1]
    # of a rejected image (status -1) the position is kept if there is one
    nowhere = position_faults(replace(fixes, status=np.zeros_like(fixes.status))) != ""
    enu_m = np.where(nowhere[:, None], np.nan, fix_positions_m(fixes, frame))
    cov = fixes.covariances_enu_m2
    faults = position_faults(fixes)
    rejected = np.select(
        [faults == "no_fix_status", faults != "", np.isnan(enu_m[:, 0])], ["no_fix", faults, "far_from_site"], ""
    )

    def put_in(predictions: pd.DataFrame) -> pd.DataFrame:
        return predictions.assign(
            error_m=position_errors_m(enu_m, positions_m(predictions, "true_")),
            east_m=enu_m[:, 0],
            north_m=enu_m[:, 1],
            latitude_deg=np.where(nowhere, np.nan, latitude),
            longitude_deg=np.where(nowhere, np.nan, longitude),
            cov_ee_m2=cov[:, 0, 0],
            cov_en_m2=cov[:, 0, 1],
            cov_nn_m2=cov[:, 1, 1],
            radius90_m=np.nan,  # a NavSatFix carries none
            radius95_m=np.nan,
            rejection_reason=rejected,
        )

    return put_in
