"""Trains all members of an ensemble and writes the model bundle."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from campus_visual_gps.bundle import Altitude, ReferenceFeatures, save_bundle
from campus_visual_gps.ensemble import Ensemble, EnsembleOutput
from campus_visual_gps.errors import ConfigError, DatasetError
from campus_visual_gps.geodesy import LocalFrame
from campus_visual_gps.integrity import Gates, brightness_and_sharpness
from campus_visual_gps.models.backbones import get_backbone
from campus_visual_gps.models.regressor import Regressor, build_model
from campus_visual_gps.preprocess import ImageSpec
from campus_visual_gps.uncertainty import Calibration, combine, spread_m
from training.config import TrainConfig, to_dict
from training.data.dataset import read_rgb
from training.fit.calibrate import fit_floor
from training.fit.gates import with_image_gates, with_spread_gate
from training.fit.member import TrainingSet, train_member
from training.fit.model_card import model_card
from training.photos.manifest import image_path, load_dataset

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingSummary:
    """Where the bundle is, and what was measured on the validation photos on the way."""

    bundle_dir: Path
    train_photos: int
    val_photos: int
    val_mean_error_m: float
    floor_sigma_m: float


def train_ensemble(config: TrainConfig) -> TrainingSummary:
    """Train every seed of a configuration and write `<out>/bundle`. Members that are complete are kept.

    Raises ConfigError or DatasetError for a configuration or data set that cannot be trained on.
    """
    dataset_dir, out = _directories(config)
    photos = load_dataset(dataset_dir)
    frame = _site_frame(photos, dataset_dir)
    image = image_spec(config)
    data = _training_set(photos, dataset_dir, frame)
    log.info("%d training and %d validation photos", len(data.train_paths), len(data.val_paths))
    members = [
        (seed, config.model, train_member(config, seed, data, image, out / f"seed-{seed}")) for seed in config.seeds
    ]
    return _write_bundle(config, out, photos, data, frame, image, members)


def image_spec(config: TrainConfig) -> ImageSpec:
    """The evaluation transform that a configuration stands for."""
    backbone = get_backbone(config.model.backbone)
    return ImageSpec(config.size_px, backbone.mean, backbone.std)


def _directories(config: TrainConfig) -> tuple[Path, Path]:
    if not config.dataset or not config.out:
        raise ConfigError("dataset and out must be given, in the configuration or as --dataset and --out")
    return Path(config.dataset), Path(config.out)


def _site_frame(photos: pd.DataFrame, dataset_dir: Path) -> LocalFrame:
    if "subset" not in photos or not (photos["subset"] == "train").any():
        raise DatasetError(f"{dataset_dir} has no training photos: run split first")
    if not (photos["subset"] == "val").any():
        raise DatasetError(f"{dataset_dir} has no validation photos: run split again with validation sessions")
    train = photos[photos["subset"] == "train"]
    # The middle of the site, so that coordinates are small; the median, so that one wild label does not move it.
    return LocalFrame.at(train["latitude_deg"].median(), train["longitude_deg"].median())


def _training_set(photos: pd.DataFrame, dataset_dir: Path, frame: LocalFrame) -> TrainingSet:
    def part(subset: str) -> tuple[list[Path], np.ndarray]:
        rows = photos[photos["subset"] == subset]
        paths = [image_path(dataset_dir, photo_id) for photo_id in rows["photo_id"]]
        return paths, frame.to_local(rows["latitude_deg"], rows["longitude_deg"])

    used = photos[photos["subset"].isin(["train", "val"])]
    table = used[["photo_id", "latitude_deg", "longitude_deg", "subset"]].to_csv(index=False)
    return TrainingSet(*part("train"), *part("val"), hashlib.sha256(table.encode()).hexdigest()[:16])


def _write_bundle(
    config: TrainConfig,
    out: Path,
    photos: pd.DataFrame,
    data: TrainingSet,
    frame: LocalFrame,
    image: ImageSpec,
    members: list,
) -> TrainingSummary:
    networks = [_trained(config, path) for _, _, path in members]
    log.info("measuring the covariance's floor on %d validation photos", len(data.val_paths))
    val_outputs = _outputs(Ensemble(networks, image, precision="fp32"), data.val_paths)
    calibration, val_mean_error_m = _calibrate(val_outputs, data.val_enu_m)
    log.info("extracting the features of %d training photos", len(data.train_paths))
    train_outputs = _outputs(Ensemble(networks[:1], image, precision="fp32"), data.train_paths)
    features = np.stack([output.features for output, _ in train_outputs])
    gates = Gates(config.bundle.site_margin_m, config.bundle.max_spread_m)
    if config.bundle.measure_gates:
        gates = with_image_gates(gates, *np.transpose([seen for _, seen in (*train_outputs, *val_outputs)]))
        gates = with_spread_gate(gates, spread_m(np.stack([output.means_enu_m for output, _ in val_outputs])))
    train = photos[photos["subset"] == "train"]
    training = {
        "trained_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "dataset": str(config.dataset),
        "data_fingerprint": data.fingerprint,
        "weights": config.weights,
        "sessions": sorted(train["session"].astype(str).unique()),
        "train_photos": len(data.train_paths),
        "val_photos": len(data.val_paths),
        "val_mean_error_m": round(val_mean_error_m, 3),
        "config": to_dict(config),
        "photo_ids": train["photo_id"].tolist(),
    }
    bundle_dir = save_bundle(
        out / "bundle",
        model_id=f"{config.model.backbone}-{config.model.head}-{data.fingerprint[:8]}",
        frame=frame,
        image=image,
        altitude=_altitude(config, train),
        members=members,
        calibration=calibration,
        gates=gates,
        site_polygon_enu_m=site_polygon(data.train_enu_m),
        reference=ReferenceFeatures(features.astype(np.float16), data.train_enu_m),
        training=training,
        model_card=model_card(config, training, calibration, frame),
    )
    return TrainingSummary(
        bundle_dir, len(data.train_paths), len(data.val_paths), val_mean_error_m, calibration.floor_sigma_m
    )


def _trained(config: TrainConfig, path: Path) -> Regressor:
    from safetensors.torch import load_file

    model = build_model(config.model)
    model.load_state_dict(load_file(path))
    return model


def _outputs(ensemble: Ensemble, paths: list[Path]) -> list[tuple[EnsembleOutput, tuple[float, float]]]:
    """Of every photo, without its square, and with that square's brightness and sharpness."""
    outputs = (ensemble.predict(read_rgb(path)) for path in paths)
    return [(output._replace(square=None), brightness_and_sharpness(output.square)) for output in outputs]


def _calibrate(val_outputs: list[tuple], val_enu_m: np.ndarray) -> tuple[Calibration, float]:
    means = np.stack([output.means_enu_m for output, _ in val_outputs])
    covs = np.stack([output.covs_enu_m2 for output, _ in val_outputs])
    mean, _ = combine(means, covs)
    error_m = np.linalg.norm(mean - val_enu_m, axis=1)
    return fit_floor(means, covs, val_enu_m), float(error_m.mean())


def site_polygon(positions_enu_m: np.ndarray) -> np.ndarray:
    """Convex hull (V, 2) of positions (N, 2), metres. Raises DatasetError if they do not span an area."""
    hull = cv2.convexHull(np.asarray(positions_enu_m, dtype=np.float32)).reshape(-1, 2)
    if len(hull) < 3:
        raise DatasetError("the training photos stand in fewer than three places: they do not span a site")
    return hull.astype(np.float64)


def _altitude(config: TrainConfig, train: pd.DataFrame) -> Altitude:
    if config.bundle.altitude_m is not None:
        return Altitude(config.bundle.altitude_m, config.bundle.altitude_sigma_m)
    measured = train["altitude_m"].dropna()
    if measured.empty:
        log.warning("no photo has an altitude: the bundle gets 0 m; set bundle.altitude_m in the configuration")
    return Altitude(0.0 if measured.empty else float(measured.median()), config.bundle.altitude_sigma_m)
