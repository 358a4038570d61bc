"""Members trained on some photos -> a model bundle: reference features, calibration, gates, model card."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from campus_visual_gps.bundle import Altitude, ReferenceFeatures, save_bundle
from campus_visual_gps.engines.torch_engine import TorchEngine
from campus_visual_gps.errors import ConfigError
from campus_visual_gps.estimation.calibration import ENSEMBLE_SPREAD, Calibration, choose_covariance, sigma_m
from campus_visual_gps.estimation.grid import LocationGrid
from campus_visual_gps.estimation.integrity import Gates
from campus_visual_gps.estimation.posterior import ensemble_spread_m
from campus_visual_gps.models.backbones import build_backbone
from campus_visual_gps.models.position_model import ModelConfig, PositionModel
from campus_visual_gps.models.site_model import SiteModel
from campus_visual_gps.models.stages import feature_stages
from campus_visual_gps.retrieval.index import neighbourhood_similarity
from training.config import TrainConfig, to_dict
from training.fit.calibration import fit_calibration
from training.fit.calibration_set import (
    CalibrationSet,
    PhotoOutputs,
    PhotoOutputStore,
    build_calibration_set,
    concatenated,
    read_photos,
    retrieve,
)
from training.fit.descriptor_fit import fit_descriptor_extractor
from training.fit.gates import with_image_gates, with_ood_gate, with_posterior_gates, with_spread_gate
from training.fit.member import train_member
from training.fit.model_card import model_card
from training.fit.site_data import TrainingSet, TrainingSite, site_polygon, training_set
from training.fit.tracking_calibration import fit_tracking_calibration
from training.fit.trained_member import TrainedMember, TrainingRecord
from training.fit.withheld_spots import retrieve_elsewhere
from training.photos.areas import read_polygons

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedEnsemble:
    """Trained members, and the photos that describe the site to them: `photos` with the paths and positions of `data`.

    `config` has the settings of the bundle and of the descriptors; it is that of all members, or of the first of a
    combination. Descriptors and OOD features are the first member's. `store` holds the features of photos that were
    read already; see `describes_alike` for who may share one.
    """

    config: TrainConfig
    site: TrainingSite
    photos: pd.DataFrame
    data: TrainingSet
    members: list[TrainedMember]
    store: PhotoOutputStore = field(default_factory=PhotoOutputStore)

    @property
    def networks(self) -> list[PositionModel]:
        """The members as the bundle keeps them."""
        return [member.network for member in self.members]

    @cached_property
    def training_outputs(self) -> PhotoOutputs:
        """The first member's outputs for the training photos, with their features."""
        log.info("reading %d training photos", len(self.data.train_paths))
        model = SiteModel(self.networks[:1], self.members[0].image)
        return self.store.read(TorchEngine(model, precision="fp32"), self.data.train_paths)

    @cached_property
    def reference(self) -> ReferenceFeatures:
        """Descriptors of the training photos, and the extractor that is fitted on them."""
        outputs, positions_enu_m = self.training_outputs.outputs, self.data.train_enu_m
        local = outputs.local_features or ()
        extractor = None
        if outputs.finite.all():
            settings = self.config.descriptor
            extractor = fit_descriptor_extractor(outputs.pooled_features, local, positions_enu_m, settings)
        if extractor is None:
            # a network that has diverged: its bundle is still written, so that evaluation can say so
            largest = float(np.finfo(np.float16).max)
            pooled = outputs.pooled_features.clip(-largest, largest)
            return ReferenceFeatures(pooled.astype(np.float16), outputs.ood_features, positions_enu_m)
        described = extractor.describe(outputs.pooled_features, local)
        descriptors = described.global_descriptors.astype(np.float16)
        return ReferenceFeatures(
            descriptors,
            outputs.ood_features,
            positions_enu_m,
            described.local_descriptors,
            extractor,
            neighbourhood_similarity(descriptors),
        )

    @property
    def grid(self) -> LocationGrid | None:
        """The grid of the members' heads; None for heads without one."""
        cells = self.data.cells_enu_m
        # float32, as the members keep them
        return None if cells is None else LocationGrid(cells.astype(np.float32), self.members[0].model.cell_m)

    def calibration_set(self, photos: pd.DataFrame) -> CalibrationSet:
        """What the ensemble says of photos (rows as of `load_dataset`) that it has not been trained on."""
        images = [member.image for member in self.members]
        model = SiteModel(self.networks, self.site.image, self.reference.extractor, member_images=images)
        read = read_photos(TorchEngine(model, precision="fp32"), self.site.paths(photos))
        index, truth_enu_m = self.reference.index(), self.site.positions_m(photos)
        retrieval = retrieve(read.outputs, index)
        elsewhere = retrieve_elsewhere(read.outputs, index, truth_enu_m)
        return build_calibration_set(photos, read, truth_enu_m, self.grid, retrieval, elsewhere)


@dataclass(frozen=True)
class TrainingSummary:
    """Where a bundle is, and what was measured on the held-out photos that its calibration was fitted on."""

    bundle_dir: Path
    train_photos: int
    val_photos: int
    val_mean_error_m: float
    floor_sigma_m: float


def describes_alike(config: TrainConfig) -> bool:
    """Whether all networks of a configuration describe a photo alike: the stages that do it are pretrained and frozen.

    Without pretrained weights every network has random ones of its own.
    """
    backbone = build_backbone(config.model.backbone)
    return config.weights != "none" and config.optimizer.frozen_stages > feature_stages(backbone)[-1]


def train_members(
    config: TrainConfig,
    site: TrainingSite,
    train: pd.DataFrame,
    val: pd.DataFrame,
    out: Path,
    store: PhotoOutputStore | None = None,
) -> TrainedEnsemble:
    """Train every seed on some photos of the site, in `<out>/seed-<seed>`. Members that are complete are kept.

    `store` is shared by ensembles that describe photos alike.
    """
    if config.bundle.covariance == ENSEMBLE_SPREAD and len(config.seeds) < 2:
        raise ConfigError(f"bundle.covariance: {ENSEMBLE_SPREAD} takes two seeds or more, got {list(config.seeds)}")
    _unreachable(config, site)  # a file that cannot be read ends the training before it begins
    data = training_set(config, site, train, val)
    log.info("%d training and %d validation photos", len(data.train_paths), len(data.val_paths))
    record = TrainingRecord(
        site.frame, site.image, data.fingerprint, tuple(train["photo_id"]), tuple(val["photo_id"]), to_dict(config)
    )
    members = []
    for seed in config.seeds:
        weights = train_member(config, seed, data, site.image, out / f"seed-{seed}")
        record.write(weights.parent)
        members.append(TrainedMember.of_run(seed, config.model, site.image, weights))
    return TrainedEnsemble(config, site, train, data, members, store or PhotoOutputStore())


def write_bundle(
    trained: TrainedEnsemble,
    bundle_dir: Path,
    sets: Sequence[CalibrationSet],
    calibrated_on: str,
    runs: Sequence[dict[str, Any]] = (),
) -> TrainingSummary:
    """Calibrate on held-out photos and write the bundle.

    `calibrated_on` says in it what these are, and `runs` from which runs its members come where it is a combination.
    """
    config, data, site, members = trained.config, trained.data, trained.site, trained.members
    log.info("calibrating on %d held-out photos", sum(map(len, sets)))
    calibration = fit_calibration(sets, config.bundle.point_estimator, config.bundle.retrieval_prior)
    covariance = choose_covariance(config.bundle.covariance, calibration, len(members))
    tracking = fit_tracking_calibration(sets, calibration)
    calibration = replace(calibration, covariance=covariance, tracking=tracking)
    errors_m = concatenated(sets, lambda own: own.errors_m(calibration))
    training = {
        "trained_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "dataset": str(config.dataset),
        "data_fingerprint": data.fingerprint,
        "weights": config.weights,
        "sessions": sorted(trained.photos["session"].astype(str).unique()),
        "train_photos": len(data.train_paths),
        "val_photos": len(errors_m),
        "val_mean_error_m": round(float(errors_m.mean()), 3),
        "calibrated_on": calibrated_on,
        "config": to_dict(config),
        **({"runs": list(runs)} if runs else {}),
        "photo_ids": trained.photos["photo_id"].tolist(),
    }
    models = [member.model for member in members]
    architecture = "-".join("+".join(dict.fromkeys(names)) for names in _backbones_and_heads(models))
    save_bundle(
        bundle_dir,
        model_id=f"{architecture}-{data.fingerprint[:8]}",
        frame=site.frame,
        image=site.image,
        altitude=_altitude(config, trained.photos),
        members=[(member.seed, member.network) for member in members],
        member_images=[member.image for member in members],
        calibration=calibration,
        gates=_gates(trained, sets, calibration),
        site_polygon_enu_m=site_polygon(data.train_enu_m),
        unreachable_enu_m=_unreachable(config, site),
        reference=trained.reference,
        training=training,
        model_card=model_card(
            [(member.seed, member.model) for member in members], site.image, training, calibration, site.frame
        ),
    )
    return TrainingSummary(
        bundle_dir, len(data.train_paths), len(errors_m), float(errors_m.mean()), calibration.floor_sigma_m
    )


def _unreachable(config: TrainConfig, site: TrainingSite) -> tuple[tuple[np.ndarray, ...], ...]:
    """Polygons where nobody can be, each its outline and its holes. Raises DatasetError."""
    path = config.bundle.unreachable
    return () if path is None else tuple((own.outer, *own.holes) for own in read_polygons(path, site.frame))


def _backbones_and_heads(models: Sequence[ModelConfig]) -> tuple[list[str], list[str]]:
    return [model.backbone for model in models], [model.head for model in models]


def _gates(trained: TrainedEnsemble, sets: Sequence[CalibrationSet], calibration: Calibration) -> Gates:
    settings, seen = trained.config.bundle, trained.training_outputs
    gates = Gates(settings.site_margin_m, settings.max_ensemble_spread_m)
    if not settings.measure_gates:
        return gates
    brightness = np.concatenate([seen.brightness, *(own.brightness for own in sets)])
    sharpness = np.concatenate([seen.sharpness, *(own.sharpness for own in sets)])
    gates = with_image_gates(gates, brightness, sharpness)
    if seen.outputs.finite.all():
        gates = with_ood_gate(gates, seen.outputs.ood_features, trained.photos["session"].to_numpy())
    spreads_m = concatenated(sets, lambda own: ensemble_spread_m(own.outputs.member_means_enu_m))
    gates = with_spread_gate(gates, spreads_m)
    posteriors = [own.posterior(calibration) for own in sets]
    separations = [
        np.zeros(len(own))
        if own.grid is None or posterior.grid_probs is None
        else own.grid.mode_separations_m(posterior.grid_probs)
        for own, posterior in zip(sets, posteriors, strict=True)
    ]
    return with_posterior_gates(
        gates,
        concatenated(sets, lambda own: own.errors_m(calibration)),
        np.concatenate([sigma_m(posterior.cov_enu_m2) for posterior in posteriors]),
        np.concatenate(separations),
        settings.accepted_error_m,
    )


def _altitude(config: TrainConfig, train: pd.DataFrame) -> Altitude:
    if config.bundle.altitude_m is not None:
        return Altitude(config.bundle.altitude_m, config.bundle.altitude_sigma_m)
    measured = train["altitude_m"].dropna()
    if measured.empty:
        log.warning("no photo has an altitude: the bundle gets 0 m; set bundle.altitude_m in the configuration")
    return Altitude(0.0 if measured.empty else float(measured.median()), config.bundle.altitude_sigma_m)
