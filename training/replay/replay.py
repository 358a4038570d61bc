"""Scores a model, or the fixes that a node published, along a recorded drive."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from campus_visual_gps.errors import DatasetError
from campus_visual_gps.geodesy import LocalFrame
from campus_visual_gps.localizer import Localizer
from training.evaluate.metrics import position_errors_m
from training.evaluate.predict import positions_m
from training.evaluate.report import EvaluationSummary, Subject, score
from training.replay.bags import Fixes, open_bag, read_fixes
from training.replay.frames import FRAMES, extract_frames, image_topic, truth_topic

log = logging.getLogger(__name__)


def replay(
    bag_dir: Path,
    bundle_dir: Path,
    out_dir: Path | None = None,
    recorded: str | None = None,
    truth: str | None = None,
    images: str | None = None,
    areas_csv: Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    progress: bool = True,
) -> EvaluationSummary:
    """Write the report of `evaluate` for the frames of a bag, with the same baselines.

    The model runs offline on every frame; with `recorded`, a NavSatFix topic of the bag, the fixes on it are scored
    instead, each against the truth at its own stamp. `truth` and `images` name topics where the bag has several.
    `out_dir` is by default beside the bag. Raises VisualGpsError.
    """
    bag_dir = Path(bag_dir)
    out_dir = Path(out_dir) if out_dir else bag_dir.absolute().parent / f"{bag_dir.absolute().name}-replay"
    localizer = Localizer.load(bundle_dir, device, precision)
    bundle = localizer.bundle
    with open_bag(bag_dir) as bag:
        reference = read_fixes(bag, truth_topic(bag, truth))
        fixes = read_fixes(bag, recorded) if recorded else None
        topic = image_topic(bag, images)
        frames = extract_frames(bag, topic, reference, bundle.image.stored_px, out_dir / FRAMES)
    if frames.bad_images or frames.without_truth:
        log.warning("%d images unusable, %d without a truth at their time", frames.bad_images, frames.without_truth)
    photos, paths, answers = frames.photos, frames.paths, None
    if fixes is not None:
        answered = np.isin(frames.stamps_ns, fixes.stamps_ns)
        log.info("%s: %d fixes on %d frames", recorded, answered.sum(), len(answered))
        if not answered.any():
            raise DatasetError(f"bag {bag_dir}: no fix on {recorded} carries the stamp of an image on {topic}")
        photos = photos[answered].reset_index(drop=True)
        paths = [path for path, kept in zip(paths, answered, strict=True) if kept]
        answers = _recorded_answers(fixes, frames.stamps_ns[answered], bundle.frame)
    subject = Subject(photos, paths, dataset=str(bag_dir), split=recorded or topic)
    return score(localizer, subject, out_dir, areas_csv, progress, answers)


def _recorded_answers(fixes: Fixes, stamps_ns: np.ndarray, frame: LocalFrame) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Puts the recorded positions and covariances in the place of the offline ones, by stamp."""
    rows = np.searchsorted(fixes.stamps_ns, stamps_ns)
    latitude, longitude = fixes.positions[rows, 0], fixes.positions[rows, 1]
    enu_m = frame.to_local(latitude, longitude)
    cov = fixes.covariances_enu_m2[rows]
    refused = np.where(fixes.status[rows] < 0, "no_fix", "")

    def replace(predictions: pd.DataFrame) -> pd.DataFrame:
        return predictions.assign(
            error_m=position_errors_m(enu_m, positions_m(predictions, "true_")),
            east_m=enu_m[:, 0],
            north_m=enu_m[:, 1],
            latitude_deg=latitude,
            longitude_deg=longitude,
            cov_ee_m2=cov[:, 0, 0],
            cov_en_m2=cov[:, 0, 1],
            cov_nn_m2=cov[:, 1, 1],
            refusal=refused,
        )

    return replace
