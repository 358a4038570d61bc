"""`evaluate --sequences`: what the report says of the photos of a session in time order."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from campus_visual_gps.errors import BundleError, DatasetError, VisualGpsError
from campus_visual_gps.localizer import Localizer
from campus_visual_gps.tracking.calibration import TrackingCalibration
from training.evaluate.posteriors import POSTERIORS, TRACKING_JSON, read_posteriors, read_tracking, write_tracking
from training.evaluate.report_metrics import SiteOutline
from training.evaluate.sequence_metrics import sequence_metrics
from training.evaluate.sequence_table import SEQUENCES_CSV, TRIALS_CSV, TrackedBundle, run_sequences
from training.fit.fold_tracking import fold_tracking_calibrations
from training.fit.folds import FOLDS
from training.photos.tables import write_table
from training.report.belief_sequence import StoredImage
from training.report.sequence_section import sequence_lines, sequence_section, sequences_to_flat_json
from training.report.writer import Addition, MakeAddition

log = logging.getLogger(__name__)
_OF_BUNDLE = "The tracker is calibrated as the bundle says (`calibration.tracking`)."
_DEFAULT = "The bundle has no tracking calibration: the tracker has its documented defaults."
OF_FOLDS = (
    "The tracker of each session is calibrated on the sessions of the other folds alone: nothing of it has seen the "
    "session that it is scored on."
)


@dataclass(frozen=True)
class ChosenCalibrations:
    """One tracking calibration for each localizer, and in words where they are from."""

    calibrations: tuple[TrackingCalibration, ...]
    text: str


def tracking_calibrations(bundle_dir: Path, localizers: Sequence[Localizer], dataset_dir: Path) -> ChosenCalibrations:
    """The bundles' own; of folds that were made without, fitted on what the other folds said of their sessions.

    Raises:
        BundleError: a bundle's heads give no grid to track over.
    """
    for localizer in localizers:
        if localizer.grid is None:
            raise BundleError(
                f"{localizer.bundle.path}: its heads give points, and a tracker takes a grid: train with "
                "model.head=probability_map, or evaluate without --sequences"
            )
    own = [localizer.bundle.calibration.tracking for localizer in localizers]
    if any(calibration is None for calibration in own) and (Path(bundle_dir) / FOLDS).is_file():
        try:
            bundles = [localizer.bundle for localizer in localizers]
            return ChosenCalibrations(fold_tracking_calibrations(Path(bundle_dir), bundles, dataset_dir), OF_FOLDS)
        except VisualGpsError as error:
            log.warning("the tracking calibration cannot be fitted on the other folds: %s", error)
    found = tuple(calibration or TrackingCalibration() for calibration in own)
    every = all(calibration is not None for calibration in own)
    folds = (Path(bundle_dir) / FOLDS).is_file()
    return ChosenCalibrations(found, (OF_FOLDS if folds else _OF_BUNDLE) if every else _DEFAULT)


def recorded_sequence_addition(evaluation: Path) -> MakeAddition | None:
    """The same for an evaluation that is there already, with its own strips; None if it was made without sequences.

    Raises:
        DatasetError: its posteriors or calibrations cannot be read, or do not fit together.
    """
    if not ((evaluation / POSTERIORS).is_file() and (evaluation / TRACKING_JSON).is_file()):
        return None
    calibrations = tuple(read_tracking(evaluation / TRACKING_JSON))
    text = OF_FOLDS if len(calibrations) > 1 else _OF_BUNDLE
    if not any(calibration.measured for calibration in calibrations):
        text = _DEFAULT
    return sequence_addition(ChosenCalibrations(calibrations, text), recorded=evaluation)


def sequence_addition(
    chosen: ChosenCalibrations, images: Mapping[str, StoredImage] | None = None, recorded: Path | None = None
) -> MakeAddition:
    """Makes sequences.csv, metrics, section and pictures from predictions.csv and posteriors.npz.

    Args:
        chosen: Of the tracker.
        images: By photo_id, for strips of photo, posterior and belief; None for a report without.
        recorded: An evaluation whose posteriors and strips are taken; None for those of the new report's directory.
    """

    def make(predictions: pd.DataFrame, site: SiteOutline, directory: Path) -> Addition:
        from training.report.belief_pictures import strips_of
        from training.report.sequence_plots import draw_sequences

        path = (recorded or directory) / POSTERIORS
        posteriors = read_posteriors(path)
        if len(posteriors) != len(chosen.calibrations):
            raise DatasetError(f"{path} and {TRACKING_JSON} do not fit together: evaluate again")
        bundles = [TrackedBundle(*pair) for pair in zip(posteriors, chosen.calibrations, strict=True)]
        run = run_sequences(predictions, bundles)
        if run.table.empty:
            log.warning("no photo has a time of capture: nothing can be tracked")
            return Addition()
        write_tracking(directory / TRACKING_JSON, chosen.calibrations)
        write_table(directory / SEQUENCES_CSV, run.table)
        write_table(directory / TRIALS_CSV, run.trials.replace(np.inf, np.nan))
        metrics = sequence_metrics(run, len(predictions))
        pictures = draw_sequences(run.table, site, directory) | strips_of(run, predictions, images or {}, directory)
        for strip in sorted(recorded.glob("belief_strip_*.png")) if recorded else ():
            shutil.copyfile(strip, directory / strip.name)
            pictures[strip.stem] = strip.name
        section = sequence_section(metrics, pictures, chosen.text)
        return Addition(sequences_to_flat_json(metrics), section, pictures, sequence_lines(metrics))

    return make
