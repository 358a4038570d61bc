"""`track`: the sessions that the folds of a cross-validation have held out, in time order, from what the folds stored.

The networks do not run: `held_out.npz` has what they said. Each session is tracked with a calibration that is fitted on
the sessions of the other folds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from campus_visual_gps.bundle import Bundle, load_bundle
from campus_visual_gps.errors import DatasetError
from campus_visual_gps.tracking.session import informative_share
from training.config import TrainConfig
from training.config_parsing import validated
from training.evaluate.posteriors import POSTERIORS, Posteriors, write_posteriors
from training.evaluate.predict import PREDICTIONS, covariance_columns, write_predictions
from training.evaluate.report_metrics import SiteOutline
from training.fit.calibration_set import CalibrationSet
from training.fit.folds import Fold, read_folds
from training.fit.held_out import FoldOutputs, load_fold_outputs
from training.fit.site_data import TrainingSite, site_polygon
from training.fit.tracking_calibration import fit_tracking_calibration
from training.metrics.errors import position_errors_m
from training.photos.areas import find_areas
from training.photos.manifest import load_dataset
from training.report.sequence_addition import OF_FOLDS, ChosenCalibrations, sequence_addition
from training.report.staging import staged_directory
from training.report.writer import REPORT_JSON, REPORT_MD, Addition

_COPIED = ["photo_id", "file", "session", "captured_at", "camera", "night", "subset", "gps_accuracy_m"]


@dataclass(frozen=True)
class TrackedFolds:
    """Where the report is, and what it says for the terminal."""

    out_dir: Path
    terminal: str


def track_folds(
    directory: Path, dataset_dir: Path, out_dir: Path, areas_csv: Path | None = None, fit: bool = False
) -> TrackedFolds:
    """Write the report of all held-out sessions in time order.

    Args:
        directory: Output of `cross-validate`.
        dataset_dir: Its data set.
        out_dir: Where the report appears, complete or not at all.
        areas_csv: Named areas, by default those of the data set.
        fit: Whether the tracker is calibrated anew on the other folds where the bundles have a calibration already.

    Raises:
        VisualGpsError: DatasetError or BundleError.
    """
    photos = load_dataset(dataset_dir)
    folds = read_folds(directory)
    bundles = [load_bundle(fold.bundle_dir) for fold in folds]
    tables, posteriors, calibrations = [], [], []
    for fold, bundle in zip(folds, bundles, strict=True):
        outputs = _outputs(directory, dataset_dir, photos, bundle)
        table, own = _held_out(fold, bundle, outputs, photos)
        others = [other.calibration_set for name, other in outputs.items() if name != fold.session]
        stored = None if fit else bundle.calibration.tracking
        calibrations.append(stored or fit_tracking_calibration(others, bundle.calibration))
        tables.append(table)
        posteriors.append(own)
    found = [own for own in calibrations if own is not None]
    predictions = pd.concat(tables, ignore_index=True)
    site = _site(bundles)
    areas = find_areas(areas_csv, dataset_dir, bundles[0].frame, site.polygon_enu_m)
    truth = predictions[["true_east_m", "true_north_m"]].to_numpy()
    predictions.insert(predictions.columns.get_loc("subset") + 1, "area", areas.names(predictions, truth))
    with staged_directory(Path(out_dir)) as staging:
        write_predictions(staging / PREDICTIONS, predictions)
        write_posteriors(staging / POSTERIORS, posteriors)
        made = sequence_addition(ChosenCalibrations(tuple(found), OF_FOLDS))(predictions, site, staging)
        _write(staging, made, directory, dataset_dir)
    return TrackedFolds(Path(out_dir), made.terminal)


def _outputs(directory: Path, dataset_dir: Path, photos: pd.DataFrame, bundle: Bundle) -> dict[str, FoldOutputs]:
    config = bundle.training.get("config")
    if not config:
        raise DatasetError(f"{bundle.path} does not say with which configuration it was trained: train it again")
    site = TrainingSite(photos, dataset_dir, bundle.frame, bundle.image)
    return load_fold_outputs(directory, site, validated(config, TrainConfig, bundle.path))


def _held_out(
    fold: Fold, bundle: Bundle, outputs: dict[str, FoldOutputs], photos: pd.DataFrame
) -> tuple[pd.DataFrame, Posteriors]:
    """Rows as of predictions.csv, and the posteriors, of what a fold's bundle says of its session."""
    if fold.session not in outputs:
        raise DatasetError(f"{fold.bundle_dir.parent}: nothing is stored of session {fold.session}")
    names, own = outputs[fold.session].photo_ids, outputs[fold.session].calibration_set
    posterior = own.posterior(bundle.calibration)
    if own.grid is None or posterior.grid_probs is None:
        raise DatasetError(f"{bundle.path}: its heads give points, and a tracker takes a grid")
    rows = photos.set_index("photo_id", drop=False).loc[list(names)].reset_index(drop=True)
    table = rows[_COPIED].assign(**_columns(rows, own, posterior.mean_enu_m, posterior.cov_enu_m2))
    shares = informative_share(posterior.match_score, bundle.calibration.reference_match_score)
    shares[~own.outputs.finite] = np.nan
    return table, Posteriors(names, posterior.grid_probs, shares, own.grid)


def _columns(rows: pd.DataFrame, own: CalibrationSet, mean_m: np.ndarray, cov_m2: np.ndarray) -> dict[str, object]:
    return {
        "true_latitude_deg": rows["latitude_deg"].to_numpy(),
        "true_longitude_deg": rows["longitude_deg"].to_numpy(),
        "true_east_m": own.truth_enu_m[:, 0],
        "true_north_m": own.truth_enu_m[:, 1],
        "error_m": position_errors_m(mean_m, own.truth_enu_m),
        "east_m": mean_m[:, 0],
        "north_m": mean_m[:, 1],
        **covariance_columns("", cov_m2),
        "rejection_reason": "",
    }


def _site(bundles: Sequence[Bundle]) -> SiteOutline:
    outline = np.concatenate([bundle.site_polygon_enu_m for bundle in bundles])
    return SiteOutline(site_polygon(outline), np.empty((0, 2)))


def _write(staging: Path, made: Addition, directory: Path, dataset_dir: Path) -> None:
    title = f"# Held-out sessions of `{directory}` in time order\n\nData set `{dataset_dir}`.\n\n"
    (staging / REPORT_MD).write_text(title + made.section + "\n", encoding="utf-8", errors="backslashreplace")
    (staging / REPORT_JSON).write_text(json.dumps(made.flat, indent=1, allow_nan=False) + "\n", encoding="utf-8")
