"""Tracking calibrations of folds that exist, each fitted on what the other folds said of their sessions."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from campus_visual_gps.bundle import Bundle
from campus_visual_gps.errors import DatasetError
from campus_visual_gps.tracking.calibration import TrackingCalibration
from training.config import TrainConfig
from training.config_parsing import validated
from training.fit.folds import read_folds
from training.fit.held_out import load_fold_outputs
from training.fit.site_data import TrainingSite
from training.fit.tracking_calibration import fit_tracking_calibration
from training.photos.manifest import load_dataset

log = logging.getLogger(__name__)


def fold_tracking_calibrations(
    directory: Path, bundles: Sequence[Bundle], dataset_dir: Path
) -> tuple[TrackingCalibration, ...]:
    """One for each of the bundles of folds in a directory, the defaults where the others have too few images.

    Nothing is trained or inferred.

    Raises:
        DatasetError: a fold lacks what it said of its session, or the folds are of another data set.
    """
    session_of = {fold.bundle_dir.resolve(): fold.session for fold in read_folds(directory)}
    photos = load_dataset(dataset_dir)
    fitted = []
    for bundle in bundles:
        session = session_of[bundle.path.resolve()]
        config = bundle.training.get("config")
        if not config:
            raise DatasetError(f"{bundle.path} does not say with which configuration it was trained: train it again")
        site = TrainingSite(photos, dataset_dir, bundle.frame, bundle.image)
        outputs = load_fold_outputs(directory, site, validated(config, TrainConfig, bundle.path))
        others = [own.calibration_set for name, own in outputs.items() if name != session]
        log.info("fitting the tracker of the fold without %s on %d other sessions", session, len(others))
        fitted.append(fit_tracking_calibration(others, bundle.calibration) or TrackingCalibration())
    return tuple(fitted)
