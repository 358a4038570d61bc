"""`combine`: members of several runs, of any backbones, as one bundle that is calibrated anew (paper, section 5.7)."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from campus_visual_gps.bundle import member_names
from campus_visual_gps.errors import ConfigError, DatasetError
from training.fit.bundle_builder import TrainedEnsemble, TrainingSummary, write_bundle
from training.fit.calibration_set import CalibrationSet
from training.fit.combined_folds import combined_calibration_sets
from training.fit.combined_runs import Run, read_runs, with_settings
from training.fit.one_frame import in_one_frame
from training.fit.site_data import TrainingSet, TrainingSite
from training.photos.manifest import NIGHT_HOLDOUT, TEST, VAL, load_dataset
from training.photos.photo_id import photo_key

log = logging.getLogger(__name__)


def combine(
    directories: Sequence[Path],
    out: Path,
    dataset: Path | None = None,
    calibrate_on: Sequence[Path] = (),
    settings: Sequence[str] = (),
) -> TrainingSummary:
    """Join trained members into one bundle. Positions, calibration and gates are of all of them together.

    The first run gives the local frame, the descriptors, and the settings of the bundle.

    Args:
        directories: Runs of `train`, their `seed-<seed>` directories, or bundles.
        out: The new bundle.
        dataset: Where the photos are; None for the data set that all runs name.
        calibrate_on: Directories of `cross-validate`, one for each recipe among the runs; without them the calibration
            is fitted on validation photos that no run has trained on.
        settings: Replacements of the keys `bundle.*` and `descriptor.*`, such as "bundle.accepted_error_m=10".

    Raises:
        ConfigError: `out` exists, or the members do not fit together.
        DatasetError: A run is incomplete, or no photo is left to calibrate on.
    """
    out = Path(out)
    if out.exists():
        raise ConfigError(f"{out} exists already; name a new directory with --out")
    if not directories:
        raise ConfigError("name one run or more to combine")
    runs = in_one_frame(with_settings(read_runs(directories), settings))
    dataset_dir = dataset or _common_dataset(runs)
    site = TrainingSite(load_dataset(dataset_dir), dataset_dir, runs[0].record.frame, runs[0].record.image)
    trained = _ensemble(runs, site)
    members = sum(len(run.members) for run in runs)
    log.info("%d members of %d runs in one local frame", members, len(runs))
    sets, what = _calibration_sets(trained, runs, site, calibrate_on)
    return write_bundle(trained, out, sets, what, _described(runs))


def _common_dataset(runs: Sequence[Run]) -> Path:
    named = {run.config.dataset for run in runs}
    if len(named) > 1 or None in named:
        names = ", ".join(map(str, named))
        raise ConfigError(f"the runs name different data sets ({names}): choose one with --dataset")
    return Path(str(named.pop()))


def _keys(photo_ids: Iterable[str]) -> set[str]:
    return {photo_key(photo_id) for photo_id in photo_ids}


def _ensemble(runs: Sequence[Run], site: TrainingSite) -> TrainedEnsemble:
    """All members, and as photos of the site every one that any run was trained on."""
    trained_on = set().union(*(_keys(run.record.train_photo_ids) for run in runs))
    train = _rows(site, trained_on)
    if train.empty:
        raise DatasetError(f"{site.dataset_dir} has none of the photos that the runs were trained on: name theirs")
    if len(train) < len(trained_on):
        log.warning(
            "%d of the %d photos that the runs were trained on are not in %s any more: the bundle has no reference of "
            "them",
            len(trained_on) - len(train),
            len(trained_on),
            site.dataset_dir,
        )
    members = [member for run in runs for member in run.members]
    cells = members[0].network.cells_enu_m
    fingerprints = "".join(run.record.fingerprint for run in runs)
    data = TrainingSet(
        site.paths(train),
        site.positions_m(train),
        [],
        np.empty((0, 2)),
        hashlib.sha256(fingerprints.encode()).hexdigest()[:16],
        None if cells is None else cells.double().numpy(),
        [],
    )
    config = replace(runs[0].config, dataset=str(site.dataset_dir), out=None, weights=_weights(runs))
    return TrainedEnsemble(config, site, train, data, members)


def _rows(site: TrainingSite, keys: set[str]) -> pd.DataFrame:
    photos = site.photos
    return photos[photos["photo_id"].map(photo_key).isin(keys)].reset_index(drop=True)


def _weights(runs: Sequence[Run]) -> str:
    return ", ".join(dict.fromkeys(run.config.weights for run in runs))


def _calibration_sets(
    trained: TrainedEnsemble, runs: Sequence[Run], site: TrainingSite, calibrate_on: Sequence[Path]
) -> tuple[list[CalibrationSet], str]:
    """What to calibrate on, and what it is in words."""
    if calibrate_on:
        sets = combined_calibration_sets(calibrate_on, runs, site)
        return sets, f"folds of {len(sets)} sessions"
    photos = calibration_photos(runs, site)
    return [trained.calibration_set(photos)], "validation photos that no member was trained on"


def calibration_photos(runs: Sequence[Run], site: TrainingSite) -> pd.DataFrame:
    """The validation photos of the data set and of the runs, without any that a run was trained on or that is to test.

    A photo that one member was trained on is easy for it, and the covariance of the whole would come out too small.

    Raises:
        DatasetError: None is left.
    """
    photos = site.photos
    validated = (photos["subset"] == VAL) | photos["photo_id"].map(photo_key).isin(
        set().union(*(_keys(run.record.val_photo_ids) for run in runs))
    )
    candidates = photos[validated & ~photos["subset"].isin([TEST, NIGHT_HOLDOUT])]
    keys = candidates["photo_id"].map(photo_key)
    used = [(run.directory, keys.isin(_keys(run.record.train_photo_ids))) for run in runs]
    left = candidates[~np.logical_or.reduce([taken.to_numpy() for _, taken in used])]
    if left.empty:
        counts = ", ".join(f"{directory} on {int(taken.sum())}" for directory, taken in used if taken.any())
        raise DatasetError(
            f"no photo of {site.dataset_dir} is left to calibrate on: of {len(candidates)} validation photos "
            f"{counts or 'there are none to begin with'}"
            f"{' were trained' if counts else ''}; train the runs on one split with validation sessions, or name the "
            "outputs of `cross-validate` with --calibrate-on"
        )
    return left.reset_index(drop=True)


def _described(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The runs as bundle.yaml names them."""
    every = [(member.seed, member.model.backbone) for run in runs for member in run.members]
    names = iter(member_names(every))
    return [
        {
            "directory": str(run.directory),
            "members": [next(names) for _ in run.members],
            "seeds": [member.seed for member in run.members],
            "train_photos": len(run.record.train_photo_ids),
            "data_fingerprint": run.record.fingerprint,
            "config": run.record.config,
        }
        for run in runs
    ]
