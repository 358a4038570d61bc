"""held_out.npz: what each fold of a cross-validation said of the session that it has not seen.

Apart from the training of the folds, so that an evaluation loads no training library.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from campus_visual_gps.errors import DatasetError
from campus_visual_gps.estimation.grid import LocationGrid
from campus_visual_gps.io_utils import atomic_write
from campus_visual_gps.models.outputs import ModelOutputs
from campus_visual_gps.retrieval.index import RetrievalResult
from training.config import TrainConfig, to_dict
from training.fit.calibration_set import CalibrationSet, PhotoOutputs, build_calibration_set
from training.fit.folds import Fold, read_folds
from training.fit.site_data import TrainingSite
from training.photos.manifest import TRAIN, VAL

HELD_OUT = "held_out.npz"
# The arrays of HELD_OUT that are of the model, of the image and of the retrieval.
_MODEL = ("member_means_enu_m", "member_covs_enu_m2", "grid_log_probs", "ood_features", "finite")
_IMAGE = ("brightness", "sharpness")
_RETRIEVAL, _ELSEWHERE = "retrieval_", "elsewhere_"
# Of the content: 2 has similarities with local scaling. Files of version 1 do not say theirs.
_VERSION = 2


@dataclass(frozen=True)
class FoldOutputs:
    """What a fold said of its session: the photos, in the order of the calibration set."""

    photo_ids: tuple[str, ...]
    calibration_set: CalibrationSet


def write_held_out(
    fold: Fold, own: CalibrationSet, photo_ids: np.ndarray, config: TrainConfig, site: TrainingSite
) -> None:
    """Keep what a fold said of its session, beside its bundle, for whoever calibrates on it."""
    content: dict[str, Any] = {name: getattr(own.outputs, name) for name in _MODEL}
    content |= {name: getattr(own, name) for name in _IMAGE}
    content |= {
        "version": np.array(_VERSION),
        "recipe": np.array(_recipe(config, site)),
        "photo_ids": photo_ids.astype(str),
        "frame": np.array([site.frame.latitude_ref_deg, site.frame.longitude_ref_deg]),
    }
    if own.grid is not None:
        content["cells_enu_m"] = own.grid.centres_enu_m
    for prefix, found in ((_RETRIEVAL, own.retrieval), (_ELSEWHERE, own.retrieval_elsewhere)):
        if found is not None:
            content |= {prefix + name: values for name, values in found._asdict().items()}
    content = {name: values for name, values in content.items() if values is not None}
    with atomic_write(fold.bundle_dir.parent / HELD_OUT) as file, file.open("wb") as stream:
        np.savez(stream, **content)


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
        if _RETRIEVAL + "rows" in content and content.get("version") != _VERSION:
            raise DatasetError(
                f"{file} is of an earlier version: run `cross-validate` again with this directory as --out; trained "
                "members are kept"
            )
        photo_ids = tuple(map(str, content["photo_ids"]))
        found[fold.session] = FoldOutputs(photo_ids, _stored_set(content, site, config))
    return found


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
    retrieval, elsewhere = (_stored_retrieval(content, prefix, origin) for prefix in (_RETRIEVAL, _ELSEWHERE))
    truth_enu_m = site.positions_m(photos)
    return build_calibration_set(photos.reset_index(drop=True), read, truth_enu_m, grid, retrieval, elsewhere)


def _stored_retrieval(content: dict[str, Any], prefix: str, origin_enu_m: np.ndarray) -> RetrievalResult | None:
    if prefix + "rows" not in content:
        return None
    stored = RetrievalResult._make(content.get(prefix + name) for name in RetrievalResult._fields)
    return stored._replace(positions_enu_m=stored.positions_enu_m + origin_enu_m)


def _recipe(config: TrainConfig, site: TrainingSite) -> str:
    """What a calibration depends on; seeds, guards and the bundle's settings may differ."""
    content = {"stored_px": site.image.stored_px, **to_dict(config)}
    others = ("dataset", "out", "seeds", "guards", "bundle")
    return yaml.safe_dump({key: content[key] for key in content if key not in others})
