"""Cross-validation: for every session, an ensemble that is trained on all the others.

What the folds say of the sessions that they have not seen is what a calibration must be fitted on, and together it is
the score of a recipe: with few sessions, one that is held out alone may be easier or harder than the next.
"""

from __future__ import annotations

import logging
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from campus_visual_gps.errors import DatasetError
from campus_visual_gps.estimation.grid import LocationGrid
from campus_visual_gps.io_utils import atomic_write
from campus_visual_gps.models.outputs import ModelOutputs
from campus_visual_gps.retrieval.index import RetrievalResult
from training.config import TrainConfig, to_dict
from training.data.augment import warn_of_invalid
from training.fit.bundle_builder import TrainedEnsemble, TrainingSummary, describes_alike, train_members, write_bundle
from training.fit.calibration_set import CalibrationSet, PhotoOutputs, PhotoOutputStore, build_calibration_set
from training.fit.folds import FOLDS, Fold, read_folds
from training.fit.site_data import TrainingSite, directories, load_site
from training.photos.decisions import TRAIN as TO_TRAIN
from training.photos.manifest import TRAIN, VAL, write_yaml
from training.photos.session_overlap import MEND, overlap_warning, touching_sessions

log = logging.getLogger(__name__)

HELD_OUT = "held_out.npz"
# The arrays of HELD_OUT that are of the model, of the image and of the retrieval.
_MODEL = ("member_means_enu_m", "member_covs_enu_m2", "grid_log_probs", "ood_features", "finite")
_IMAGE = ("brightness", "sharpness")
_RETRIEVAL = "retrieval_"


def cross_validate(config: TrainConfig) -> list[tuple[Fold, TrainingSummary]]:
    """Train a fold for every session of the train and val subsets into `<out>/fold-<n>`, and write `<out>/folds.yaml`.

    Each fold's bundle is calibrated on what the other folds say of their sessions, so that nothing in it has seen its
    own. Folds that are complete are kept. Raises ConfigError, DatasetError.
    """
    _, out = directories(config)
    warn_of_invalid(config.augment)
    site = load_site(config)
    photos = site.photos[site.photos["subset"].isin([TRAIN, VAL])]
    sessions = fold_sessions(site.photos)
    if len(sessions) < 3:
        raise DatasetError(
            f"{site.dataset_dir} has {len(sessions)} sessions besides the held-out ones: cross-validation takes three, "
            "one to predict, one to train on and one to calibrate on; capture another walk, hold out fewer sessions in "
            f"`split`, or, if a session holds several walks, `{MEND}`"
        )
    touching = touching_sessions(photos)
    if touching:
        log.warning("%s", overlap_warning(touching, "a fold tests what it trained"))
    folds = [Fold(session, out / f"fold-{number}" / "bundle") for number, session in enumerate(sessions, start=1)]
    store = PhotoOutputStore() if describes_alike(config) else None
    trained = [_train(config, site, photos, fold, store) for fold in folds]
    sets = [held_out(fold, one, photos) for fold, one in zip(folds, trained, strict=True)]
    summaries = []
    for index, (fold, one) in enumerate(zip(folds, trained, strict=True)):
        others = [own for number, own in enumerate(sets) if number != index]
        summaries.append(write_bundle(one, fold.bundle_dir, others, f"the {len(others)} other folds"))
    write_yaml(out / FOLDS, {fold.session: fold.bundle_dir.relative_to(out).as_posix() for fold in folds})
    return list(zip(folds, summaries, strict=True))


@dataclass(frozen=True)
class FoldOutputs:
    """What a fold said of its session: the photos, in the order of the calibration set."""

    photo_ids: tuple[str, ...]
    calibration_set: CalibrationSet


def fold_sessions(photos: pd.DataFrame) -> list[str]:
    """The sessions to hold out, one fold each: those of the train and val subsets.

    Photos that were moved to training from a session that is held out anyway train in every fold: alone they would be
    a fold of a few photos.
    """
    used = photos["subset"].isin([TRAIN, VAL])
    moved = used & (photos["decision"] == TO_TRAIN)
    own = set(photos["session"][used & ~moved])
    return sorted(own | (set(photos["session"][moved]) - set(photos["session"][~used])))


def load_calibration_sets(directory: Path, site: TrainingSite, config: TrainConfig) -> list[CalibrationSet]:
    """As `load_fold_outputs`, without names."""
    return [own.calibration_set for own in load_fold_outputs(directory, site, config).values()]


def load_fold_outputs(directory: Path, site: TrainingSite, config: TrainConfig) -> dict[str, FoldOutputs]:
    """What the folds in a directory said of the sessions that they held out, but for sessions that do not train here.

    What is to be tested must not calibrate. Raises DatasetError where the folds are of another recipe or data set.
    """
    found = {}
    used = site.photos["session"][site.photos["subset"].isin([TRAIN, VAL])].unique()
    for fold in read_folds(directory):
        if fold.session not in used:
            continue
        file = fold.bundle_dir.parent / HELD_OUT
        try:
            with np.load(file, allow_pickle=False) as stored:
                content = {name: stored[name] for name in stored.files}
            recipe = str(content["recipe"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise DatasetError(f"{file} cannot be read: run `cross-validate` again") from error
        if recipe != _recipe(config, site):
            raise DatasetError(
                f"{directory} holds folds of another configuration or stored size than this one: run `cross-validate` "
                "with it"
            )
        photo_ids = tuple(map(str, content["photo_ids"]))
        found[fold.session] = FoldOutputs(photo_ids, _stored_set(content, site, config))
    return found


def _train(
    config: TrainConfig, site: TrainingSite, photos: pd.DataFrame, fold: Fold, store: PhotoOutputStore | None
) -> TrainedEnsemble:
    log.info("fold without %s", fold.session)
    others = photos[photos["session"] != fold.session]
    return train_members(config, site, others, others.iloc[:0], fold.bundle_dir.parent, store)


def held_out(fold: Fold, trained: TrainedEnsemble, photos: pd.DataFrame) -> CalibrationSet:
    """What a fold says of its session, also kept in a file for the ensemble that is trained on all sessions."""
    session = photos[photos["session"] == fold.session]
    own = trained.calibration_set(session)
    content: dict[str, Any] = {name: getattr(own.outputs, name) for name in _MODEL}
    content |= {name: getattr(own, name) for name in _IMAGE}
    content |= {
        "recipe": np.array(_recipe(trained.config, trained.site)),
        "photo_ids": session["photo_id"].to_numpy(dtype=str),
        "frame": np.array([trained.site.frame.latitude_ref_deg, trained.site.frame.longitude_ref_deg]),
    }
    if own.grid is not None:
        content["cells_enu_m"] = own.grid.centres_enu_m
    if own.retrieval is not None:
        content |= {_RETRIEVAL + name: values for name, values in own.retrieval._asdict().items()}
    content = {name: values for name, values in content.items() if values is not None}
    with atomic_write(fold.bundle_dir.parent / HELD_OUT) as file, file.open("wb") as stream:
        np.savez(stream, **content)
    return own


def _stored_set(content: dict[str, Any], site: TrainingSite, config: TrainConfig) -> CalibrationSet:
    photos = site.photos.set_index("photo_id", drop=False).reindex(content["photo_ids"])
    if photos["session"].isna().any():
        raise DatasetError(
            f"{site.dataset_dir} lacks photos that the folds were trained on: run `cross-validate` again"
        )
    # the folds' local frame may have another origin, if the split was another: all metres are moved to the site's
    origin = site.frame.to_local(*(float(value) for value in content["frame"]))
    model: dict[str, Any] = {name: content.get(name) for name in _MODEL}
    outputs = ModelOutputs(
        **model,
        pooled_features=np.empty((len(photos), 0)),
        descriptors=None,
        local_descriptors=None,
        local_features=None,
    )
    outputs.member_means_enu_m[...] += origin
    grid = LocationGrid(content["cells_enu_m"] + origin, config.model.cell_m) if "cells_enu_m" in content else None
    read = PhotoOutputs(outputs, content["brightness"], content["sharpness"])
    return build_calibration_set(
        photos.reset_index(drop=True), read, site.positions_m(photos), grid, _stored_retrieval(content, origin)
    )


def _stored_retrieval(content: dict[str, Any], origin_enu_m: np.ndarray) -> RetrievalResult | None:
    if _RETRIEVAL + "rows" not in content:
        return None
    stored = RetrievalResult._make(content.get(_RETRIEVAL + name) for name in RetrievalResult._fields)
    return stored._replace(positions_enu_m=stored.positions_enu_m + origin_enu_m)


def _recipe(config: TrainConfig, site: TrainingSite) -> str:
    """What a calibration depends on; seeds, guards and the bundle's settings may differ."""
    content = {"stored_px": site.image.stored_px, **to_dict(config)}
    others = ("dataset", "out", "seeds", "guards", "bundle")
    return yaml.safe_dump({key: content[key] for key in content if key not in others})
