"""From a data set to the input of training: local frame, grid cells, image files and positions."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from campus_visual_gps.errors import ConfigError, DatasetError
from campus_visual_gps.geodesy import LocalFrame
from campus_visual_gps.models.backbones import get_backbone
from campus_visual_gps.models.heads import PROBABILITY_MAP
from campus_visual_gps.preprocess import ImageSpec
from training.config import LAST, TrainConfig
from training.fit.sample_weights import sample_weights
from training.fit.site_cells import site_cells
from training.photos.areas import find_areas
from training.photos.manifest import TRAIN, VAL, image_path, load_dataset
from training.photos.stored_images import check_network_size, read_stored_images

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingSite:
    """A data set for training: photos (rows of `load_dataset`), its directory, local frame and image specification."""

    photos: pd.DataFrame
    dataset_dir: Path
    frame: LocalFrame
    image: ImageSpec

    def paths(self, photos: pd.DataFrame) -> list[Path]:
        """The image files of some photos."""
        return [image_path(self.dataset_dir, photo_id) for photo_id in photos["photo_id"]]

    def positions_m(self, photos: pd.DataFrame) -> np.ndarray:
        """(N, 2) metres of some photos' labels."""
        return self.frame.to_local(photos["latitude_deg"], photos["longitude_deg"])


@dataclass(frozen=True)
class TrainingSet:
    """Photos of the train and val subsets, in the site's local frame.

    Attributes:
        train_paths, val_paths: Stored photos.
        train_enu_m, val_enu_m: Their positions (N, 2), metres.
        fingerprint: Hash of photos, labels, subsets, weights and stored size.
        cells_enu_m: Centres (K, 2) of the grid head's cells, metres; None for other heads.
        pool: Photos whose features are cached in one file, with all of train and val among them, so that folds and
            splits share the file.
        train_weights: Weights (N,) of the training photos in the loss, their mean 1; None for a loss without weights.
    """

    train_paths: list[Path]
    train_enu_m: np.ndarray
    val_paths: list[Path]
    val_enu_m: np.ndarray
    fingerprint: str
    cells_enu_m: np.ndarray | None
    pool: list[Path]
    train_weights: np.ndarray | None = None


def directories(config: TrainConfig) -> tuple[Path, Path]:
    """The directories of the data set and of the runs. Raises ConfigError if one is not given."""
    if not config.dataset or not config.out:
        raise ConfigError("dataset and out must be given, in the configuration or as --dataset and --out")
    return Path(config.dataset), Path(config.out)


def load_site(config: TrainConfig) -> TrainingSite:
    """The data set of a configuration. Raises ConfigError, DatasetError."""
    dataset_dir, _ = directories(config)
    photos = load_dataset(dataset_dir)
    if "subset" not in photos or not (photos["subset"] == TRAIN).any():
        raise DatasetError(
            f"{dataset_dir} has no training photos: run `split {dataset_dir}`, or hold out fewer sessions"
        )
    train = photos[photos["subset"] == TRAIN]
    # The middle of the site keeps coordinates small; the median is not moved by one wrong label.
    frame = LocalFrame.at(train["latitude_deg"].median(), train["longitude_deg"].median())
    photos = pd.concat([photos[photos["subset"] != TRAIN], thinned(train, config.photo_fraction)]).sort_index()
    return TrainingSite(photos.reset_index(drop=True), dataset_dir, frame, image_spec(config, dataset_dir))


def thinned(photos: pd.DataFrame, fraction: float) -> pd.DataFrame:
    """A share of each session's photos, at least one, spread evenly over the time of the session."""
    if fraction == 1.0:
        return photos
    kept = []
    for _, session in photos.sort_values(["captured_at", "photo_id"]).groupby("session"):
        count = max(1, round(fraction * len(session)))
        kept.append(session.iloc[((np.arange(count) + 0.5) * len(session) / count).astype(int)])
    return pd.concat(kept).sort_index()


def image_spec(config: TrainConfig, dataset_dir: Path) -> ImageSpec:
    """The evaluation transform of a configuration: from the data set's stored size to the network's.

    Raises:
        DatasetError: The photos are stored smaller than the network's input.
    """
    stored = read_stored_images(dataset_dir)
    check_network_size(dataset_dir, stored, config.size_px)
    backbone = get_backbone(config.model.backbone)
    return ImageSpec(config.size_px, backbone.mean, backbone.std, stored.stored_px)


def training_set(config: TrainConfig, site: TrainingSite, train: pd.DataFrame, val: pd.DataFrame) -> TrainingSet:
    """Photos to train and to validate on; features are cached for all photos of the site, for all splits and folds.

    Raises DatasetError where validation photos are missing and the epoch depends on them.
    """
    if val.empty and config.trainer.keep != LAST:
        raise DatasetError(
            f"{site.dataset_dir} has no validation photos: run `split {site.dataset_dir} --val SESSION`, or set "
            f"trainer.keep to {LAST} with a cosine schedule"
        )
    if val.empty and config.scheduler.name != "cosine":
        raise ConfigError(
            "scheduler plateau follows the validation loss, and there are no validation photos: set cosine"
        )
    subsets = pd.concat([train.assign(subset=TRAIN), val.assign(subset=VAL)])
    table = subsets[["photo_id", "latitude_deg", "longitude_deg", "subset"]].to_csv(index=False)
    table += f"stored_px {site.image.stored_px}"
    train_enu_m = site.positions_m(train)
    weights = sample_weights(
        config.loss.name, train["gps_accuracy_m"].to_numpy(), lambda: _area_names(site, train, train_enu_m)
    )
    cells = None
    if config.model.head == PROBABILITY_MAP:
        cells = site_cells(train_enu_m, config.model.cell_m, config.loss.grid_margin_m)
    return TrainingSet(
        site.paths(train),
        train_enu_m,
        site.paths(val),
        site.positions_m(val),
        hashlib.sha256(table.encode() + (b"" if weights is None else weights.tobytes())).hexdigest()[:16],
        cells,
        site.paths(site.photos),
        weights,
    )


def _area_names(site: TrainingSite, photos: pd.DataFrame, positions_enu_m: np.ndarray) -> list[str]:
    """The area of each training photo: one of the data set's areas, or of the grid that evaluation takes too."""
    areas = find_areas(None, site.dataset_dir, site.frame, site_polygon(positions_enu_m))
    log.info("areas of the loss: %s", areas.source)
    return areas.names(photos, positions_enu_m)


def site_polygon(positions_enu_m: np.ndarray) -> np.ndarray:
    """Convex hull (V, 2) of positions (N, 2), metres. Raises DatasetError if they do not span an area."""
    hull = cv2.convexHull(np.asarray(positions_enu_m, dtype=np.float32)).reshape(-1, 2)
    if len(hull) < 3:
        raise DatasetError("the training photos stand in fewer than three places: they do not span a site")
    return hull.astype(np.float64)
