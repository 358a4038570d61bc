"""Trains all members of an ensemble and writes the model bundle."""

from __future__ import annotations

from pathlib import Path

from campus_visual_gps.errors import DatasetError
from training.config import TrainConfig
from training.data.augment import warn_of_invalid
from training.fit.bundle_builder import TrainingSummary, train_members, write_bundle
from training.fit.held_out import load_calibration_sets
from training.fit.site_data import directories, load_site
from training.photos.manifest import TRAIN, VAL


def train_ensemble(config: TrainConfig, calibrate_on: Path | None = None) -> TrainingSummary:
    """Train every seed of a configuration and write `<out>/bundle`. Members that are complete are kept.

    Args:
        config: The configuration.
        calibrate_on: Directory of `cross-validate`: the calibration is fitted on the sessions that its folds have held
            out, in the place of the validation photos.

    Raises:
        ConfigError: the configuration cannot be trained with.
        DatasetError: the data set cannot be trained on.
    """
    _, out = directories(config)
    warn_of_invalid(config.augment)
    site = load_site(config)
    train, val = (site.photos[site.photos["subset"] == subset] for subset in (TRAIN, VAL))
    if calibrate_on is None and val.empty:
        raise DatasetError(
            f"{site.dataset_dir} has no validation photos to calibrate on: run `split {site.dataset_dir} "
            "--val SESSION`, or cross-validate first and name its directory with --calibrate-on"
        )
    held_out = [] if calibrate_on is None else load_calibration_sets(calibrate_on, site, config)
    trained = train_members(config, site, train, val, out)
    what = f"folds of {len(held_out)} sessions" if held_out else "validation photos"
    return write_bundle(trained, out / "bundle", held_out or [trained.calibration_set(val)], what)
