"""Members trained on some photos -> a model bundle: reference features, calibration, gates, model card."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from campus_visual_gps.bundle import Altitude, ReferenceFeatures, save_bundle
from campus_visual_gps.engines.torch_engine import Ensemble
from campus_visual_gps.estimation.grid import LocationGrid, mode_separation_m
from campus_visual_gps.estimation.integrity import Gates
from campus_visual_gps.estimation.posterior import Calibration, sigma_m, spread_m
from campus_visual_gps.models.position_model import ModelConfig, PositionModel, build_from_state
from training.config import TrainConfig, to_dict
from training.fit.calibration import fit_calibration
from training.fit.calibration_set import (
    CalibrationSet,
    Outputs,
    RetrievalFeatures,
    calibration_set,
    joined,
    neighbours,
    run,
)
from training.fit.descriptor_fit import fit_descriptor_extractor
from training.fit.gates import with_image_gates, with_ood_gate, with_posterior_gates, with_spread_gate
from training.fit.member import TrainingSet, train_member
from training.fit.model_card import model_card
from training.fit.site_data import TrainingSite, site_polygon, training_set

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """All members of a configuration on one set of photos; members are (seed, architecture, weights file)."""

    config: TrainConfig
    site: TrainingSite
    photos: pd.DataFrame
    data: TrainingSet
    members: list[tuple[int, ModelConfig, Path]]

    @cached_property
    def networks(self) -> list[PositionModel]:
        return [_network(model, path) for _, model, path in self.members]

    @property
    def seen(self) -> Outputs:
        """The first member's outputs for the training photos."""
        return self._seen[0]

    @cached_property
    def _seen(self) -> tuple[Outputs, RetrievalFeatures]:
        log.info("reading the places of %d training photos", len(self.data.train_paths))
        return run(Ensemble(self.networks[:1], self.site.image, precision="fp32"), self.data.train_paths)

    @cached_property
    def reference(self) -> ReferenceFeatures:
        outputs, features = self._seen
        positions_enu_m = self.data.train_enu_m
        space = fit_descriptor_extractor(features.statistics, features.local, positions_enu_m)
        if space is None:
            # a network whose features do not fit float16 has diverged; its bundle must still be written to be told so
            largest = float(np.finfo(np.float16).max)
            statistics = features.statistics.clip(-largest, largest)
            return ReferenceFeatures(statistics.astype(np.float16), outputs.appearances, positions_enu_m)
        descriptors, parts = (np.stack(values) for values in zip(*features.places(space), strict=True))
        return ReferenceFeatures(descriptors.astype(np.float16), outputs.appearances, positions_enu_m, parts, space)

    @property
    def cells(self) -> LocationGrid | None:
        cells = self.data.cells_enu_m
        # as the members keep them
        return None if cells is None else LocationGrid(cells.astype(np.float32), self.config.model.cell_m)

    def calibration_set(self, photos: pd.DataFrame) -> CalibrationSet:
        """What the ensemble says of photos (rows as of `load_dataset`) that it has not been trained on."""
        outputs, features = run(Ensemble(self.networks, self.site.image, precision="fp32"), self.site.paths(photos))
        near = neighbours(features, self.reference.index())
        return calibration_set(outputs, photos, self.site.positions_m(photos), near, self.cells)


@dataclass(frozen=True)
class TrainingSummary:
    """Where a bundle is, and what was measured on the held-out photos that its calibration was fitted on."""

    bundle_dir: Path
    train_photos: int
    val_photos: int
    val_mean_error_m: float
    floor_sigma_m: float


def train_members(
    config: TrainConfig, site: TrainingSite, train: pd.DataFrame, val: pd.DataFrame, out: Path
) -> Trained:
    """Train every seed on some photos of the site, in `<out>/seed-<seed>`. Members that are complete are kept."""
    data = training_set(config, site, train, val)
    log.info("%d training and %d validation photos", len(data.train_paths), len(data.val_paths))
    members = [
        (seed, config.model, train_member(config, seed, data, site.image, out / f"seed-{seed}"))
        for seed in config.seeds
    ]
    return Trained(config, site, train, data, members)


def write_bundle(
    trained: Trained, bundle_dir: Path, parts: Sequence[CalibrationSet], calibrated_on: str
) -> TrainingSummary:
    """Calibrate on the held-out parts and write the bundle; `calibrated_on` says in it what they are."""
    config, data, site = trained.config, trained.data, trained.site
    log.info("calibrating on %d held-out photos", sum(map(len, parts)))
    calibration = fit_calibration(parts, config.bundle.point_estimator, config.bundle.retrieval_prior)
    errors_m = _errors_m(parts, calibration)
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
        "photo_ids": trained.photos["photo_id"].tolist(),
    }
    save_bundle(
        bundle_dir,
        model_id=f"{config.model.backbone}-{config.model.head}-{data.fingerprint[:8]}",
        frame=site.frame,
        image=site.image,
        altitude=_altitude(config, trained.photos),
        members=trained.members,
        calibration=calibration,
        gates=_gates(trained, parts, calibration),
        site_polygon_enu_m=site_polygon(data.train_enu_m),
        reference=trained.reference,
        training=training,
        model_card=model_card(config, training, calibration, site.frame),
    )
    return TrainingSummary(
        bundle_dir, len(data.train_paths), len(errors_m), float(errors_m.mean()), calibration.floor_sigma_m
    )


def _gates(trained: Trained, parts: Sequence[CalibrationSet], calibration: Calibration) -> Gates:
    settings = trained.config.bundle
    gates = Gates(settings.site_margin_m, settings.max_ensemble_spread_m)
    if not settings.measure_gates:
        return gates
    seen = [trained.seen, *(part.outputs for part in parts)]
    gates = with_image_gates(
        gates, np.concatenate([part.brightness for part in seen]), np.concatenate([part.sharpness for part in seen])
    )
    gates = with_ood_gate(gates, trained.seen.appearances, trained.photos["session"].to_numpy())
    gates = with_spread_gate(gates, joined(parts, lambda part: spread_m(part.outputs.means_enu_m)))
    beliefs = [part.believe(calibration) for part in parts]
    apart = [
        np.zeros(len(part)) if belief.grid_probs is None else _mode_separations_m(part.cells, belief.grid_probs)
        for part, belief in zip(parts, beliefs, strict=True)
    ]
    return with_posterior_gates(
        gates,
        _errors_m(parts, calibration),
        np.concatenate([sigma_m(belief.cov_enu_m2) for belief in beliefs]),
        np.concatenate(apart),
        settings.accepted_error_m,
    )


def _mode_separations_m(cells: LocationGrid, grid_probs: np.ndarray) -> np.ndarray:
    return np.array([mode_separation_m(cells.modes(grid_probs)) for grid_probs in grid_probs])


def _errors_m(parts: Sequence[CalibrationSet], calibration: Calibration) -> np.ndarray:
    return joined(parts, lambda part: np.linalg.norm(part.believe(calibration).mean_enu_m - part.truth_enu_m, axis=1))


def _network(model: ModelConfig, path: Path) -> PositionModel:
    from safetensors.torch import load_file

    return build_from_state(model, load_file(path))


def _altitude(config: TrainConfig, train: pd.DataFrame) -> Altitude:
    if config.bundle.altitude_m is not None:
        return Altitude(config.bundle.altitude_m, config.bundle.altitude_sigma_m)
    measured = train["altitude_m"].dropna()
    if measured.empty:
        log.warning("no photo has an altitude: the bundle gets 0 m; set bundle.altitude_m in the configuration")
    return Altitude(0.0 if measured.empty else float(measured.median()), config.bundle.altitude_sigma_m)
