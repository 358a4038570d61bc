"""Leave one session out: for every session, an ensemble that has seen all the others.

What the folds say of the sessions that they have not seen is the honest ground for a calibration, and their sum the
honest score of a recipe: with few sessions, one that is held out alone may be easier or harder than the next.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from campus_visual_gps.errors import DatasetError
from campus_visual_gps.estimation.grid import LocationGrid
from campus_visual_gps.io_utils import atomic_write
from campus_visual_gps.retrieval.prior import RetrievalResult
from training.config import TrainConfig, to_dict
from training.fit.bundle_builder import Trained, TrainingSummary, train_members, write_bundle
from training.fit.calibration_set import CalibrationSet, Outputs, calibration_set
from training.fit.site_data import TrainingSite, directories, load_site
from training.photos.manifest import TRAIN, VAL, write_yaml

log = logging.getLogger(__name__)

FOLDS = "folds.yaml"
ANSWERS = "held_out.npz"
# What the arrays of the photos' nearest reference photos are named with in ANSWERS.
_NEAR = "near_"


@dataclass(frozen=True)
class Fold:
    """The session that was left out, and the bundle that was made without it."""

    session: str
    bundle_dir: Path


def cross_validate(config: TrainConfig) -> list[tuple[Fold, TrainingSummary]]:
    """Train a fold for every session of the train and val subsets into `<out>/fold-<n>`, and write `<out>/folds.yaml`.

    Each fold's bundle is calibrated on what the other folds say of their sessions, so that nothing in it has seen its
    own. Folds that are complete are kept. Raises ConfigError, DatasetError.
    """
    _, out = directories(config)
    site = load_site(config)
    photos = site.photos[site.photos["subset"].isin([TRAIN, VAL])]
    sessions = sorted(photos["session"].unique())
    if len(sessions) < 3:
        raise DatasetError(
            f"{site.dataset_dir} has {len(sessions)} sessions beside the held-out ones: leaving one out takes three, "
            "one to answer for, one to train on and one to calibrate on"
        )
    folds = [Fold(session, out / f"fold-{number}" / "bundle") for number, session in enumerate(sessions, start=1)]
    trained = [_train(config, site, photos, fold) for fold in folds]
    parts = [_answers(fold, one, photos) for fold, one in zip(folds, trained, strict=True)]
    summaries = []
    for index, (fold, one) in enumerate(zip(folds, trained, strict=True)):
        others = [part for number, part in enumerate(parts) if number != index]
        summaries.append(write_bundle(one, fold.bundle_dir, others, f"the {len(others)} other folds"))
    write_yaml(out / FOLDS, {fold.session: fold.bundle_dir.relative_to(out).as_posix() for fold in folds})
    return list(zip(folds, summaries, strict=True))


def read_folds(directory: Path) -> list[Fold]:
    """The folds in a directory. Raises DatasetError where there are none."""
    directory = Path(directory)
    try:
        table = yaml.safe_load((directory / FOLDS).read_text(encoding="utf-8"))
        return [Fold(str(session), directory / bundle) for session, bundle in table.items()]
    except (OSError, yaml.YAMLError, AttributeError, TypeError) as error:
        raise DatasetError(f"{directory} holds no complete folds: run `folds` with this directory as --out") from error


def load_calibration_sets(directory: Path, site: TrainingSite, config: TrainConfig) -> list[CalibrationSet]:
    """What the folds in a directory said of the sessions that they held out, but for sessions that do not train here.

    What is to be tested must not calibrate. Raises DatasetError where the folds are of another recipe or data set.
    """
    parts = []
    used = site.photos["session"][site.photos["subset"].isin([TRAIN, VAL])].unique()
    for fold in read_folds(directory):
        if fold.session not in used:
            continue
        file = fold.bundle_dir.parent / ANSWERS
        try:
            with np.load(file, allow_pickle=False) as stored:
                content = {name: stored[name] for name in stored.files}
        except (OSError, ValueError) as error:
            raise DatasetError(f"{file} cannot be read: run `folds` again") from error
        if str(content["recipe"]) != _recipe(config):
            raise DatasetError(f"{directory} holds folds of another configuration than this one: run `folds` with it")
        parts.append(_part(content, site, config))
    return parts


def _train(config: TrainConfig, site: TrainingSite, photos: pd.DataFrame, fold: Fold) -> Trained:
    log.info("fold without %s", fold.session)
    others = photos[photos["session"] != fold.session]
    return train_members(config, site, others, others.iloc[:0], fold.bundle_dir.parent)


def _answers(fold: Fold, trained: Trained, photos: pd.DataFrame) -> CalibrationSet:
    """What a fold says of its session, also kept in a file for the ensemble that is trained on all sessions."""
    session = photos[photos["session"] == fold.session]
    part = trained.calibration_set(session)
    content = {name: value for name, value in vars(part.outputs).items() if value is not None}
    content |= {
        "recipe": np.array(_recipe(trained.config)),
        "photo_ids": session["photo_id"].to_numpy(dtype=str),
        "frame": np.array([trained.site.frame.latitude_ref_deg, trained.site.frame.longitude_ref_deg]),
    }
    if part.cells is not None:
        content["cells_enu_m"] = part.cells.centres_enu_m
    if part.neighbours is not None:
        content |= {_NEAR + name: np.stack(values) for name, values in _by_field(part.neighbours).items()}
    with atomic_write(fold.bundle_dir.parent / ANSWERS) as file, file.open("wb") as stream:
        np.savez(stream, **content)
    return part


def _part(content: dict[str, np.ndarray], site: TrainingSite, config: TrainConfig) -> CalibrationSet:
    photos = site.photos.set_index("photo_id", drop=False).reindex(content["photo_ids"])
    if photos["session"].isna().any():
        raise DatasetError(f"{site.dataset_dir} lacks photos that the folds were trained on: run `folds` again")
    # the folds' frame may have another origin, if the split was another: all metres are moved to the site's
    origin = site.frame.to_local(*(float(value) for value in content["frame"]))
    names = ("means_enu_m", "covs_enu_m2", "grid_log_probs", "appearances", "brightness", "sharpness")
    outputs = Outputs(**{name: content.get(name) for name in names})
    outputs.means_enu_m[...] += origin
    cells = LocationGrid(content["cells_enu_m"] + origin, config.model.cell_m) if "cells_enu_m" in content else None
    near = _neighbours(content, origin) if _NEAR + "rows" in content else None
    return calibration_set(outputs, photos.reset_index(drop=True), site.positions_m(photos), near, cells)


def _neighbours(content: dict[str, np.ndarray], origin_enu_m: np.ndarray) -> list[RetrievalResult]:
    stored = RetrievalResult(*(content[_NEAR + name] for name in RetrievalResult._fields))
    moved = stored._replace(positions_enu_m=stored.positions_enu_m + origin_enu_m)
    return [RetrievalResult(*photo) for photo in zip(*moved, strict=True)]


def _by_field(near: list[RetrievalResult]) -> dict[str, tuple[np.ndarray, ...]]:
    return dict(zip(RetrievalResult._fields, zip(*near, strict=True), strict=True))


def _recipe(config: TrainConfig) -> str:
    """What a calibration depends on; seeds and the bundle's settings may differ."""
    content = to_dict(config)
    return yaml.safe_dump({key: content[key] for key in content if key not in ("dataset", "out", "seeds", "bundle")})
