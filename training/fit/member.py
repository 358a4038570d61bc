"""Trains one member in its run directory: resolved config, metrics.csv, curves, checkpoints, weights."""

from __future__ import annotations

import logging
import os
import warnings
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
import yaml
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from safetensors.torch import save_file
from torch.utils.data import DataLoader

from campus_visual_gps.errors import ConfigError, DatasetError
from campus_visual_gps.io_utils import atomic_write
from campus_visual_gps.models.position_model import build_model
from campus_visual_gps.preprocess import ImageSpec
from training.config import BEST, TrainConfig, to_dict
from training.data.augment import EvaluationTransform, TrainTransform
from training.data.dataset import PhotoDataset
from training.fit.callbacks import EpochReport
from training.fit.feature_cache import ViewDataset, cached_views
from training.fit.module import RegressionModule, run_depthwise_in_float32
from training.fit.training_curves import plot_curves

log = logging.getLogger(__name__)

WEIGHTS = "member.safetensors"
METRICS = "metrics.csv"


@dataclass(frozen=True)
class TrainingSet:
    """Photos of the train and val subsets: files, and (N, 2) east/north metres of the site's frame.

    `cells_enu_m` (K, 2) are those of a head that gives a map. `pool` are the files whose views are cached together, all
    of train and val among them: folds and splits share one cache.
    """

    train_paths: list[Path]
    train_enu_m: np.ndarray
    val_paths: list[Path]
    val_enu_m: np.ndarray
    fingerprint: str
    cells_enu_m: np.ndarray | None
    pool: list[Path]


def train_member(config: TrainConfig, seed: int, data: TrainingSet, image: ImageSpec, run_dir: Path) -> Path:
    """Train one member, or go on where an interrupted run stopped; return its weights file.

    Raises ConfigError if the run directory belongs to another configuration or other photos.
    """
    weights = run_dir / WEIGHTS
    _claim(run_dir, {"seed": seed, "data": data.fingerprint, **_relevant(config)})
    if weights.is_file():
        log.info("seed %d: already trained, %s stands", seed, weights)
        return weights
    pl.seed_everything(seed, workers=True, verbose=False)
    cells = None if data.cells_enu_m is None else torch.from_numpy(data.cells_enu_m)
    module = RegressionModule(config, build_model(config.model, config.weights, cells), _steps(config, data))
    loaders = _loaders(config, data, image, module)
    with _quiet_lightning():
        trainer = _trainer(config, seed, run_dir)
        if _autocasts_on_cpu(trainer):
            run_depthwise_in_float32(module)
        try:
            trainer.fit(module, *loaders, ckpt_path=_last_checkpoint(run_dir))
        except SystemExit as error:  # what Lightning makes of Ctrl-C
            raise KeyboardInterrupt from error
        except OSError as error:  # its own text names a temporary file
            raise DatasetError(
                f"{run_dir}: {error.strerror or error}; make room and run the same command again; it goes on from the "
                "last whole checkpoint"
            ) from error
    if trainer.is_global_zero:
        _export(trainer.checkpoint_callback.best_model_path, module, weights)
        plot_curves(run_dir / METRICS, run_dir / "curves.png", f"seed {seed}")
    trainer.strategy.barrier()
    return weights


def _claim(run_dir: Path, resolved: dict) -> None:
    path = run_dir / "config.yaml"
    if path.is_file():
        if yaml.safe_load(path.read_text(encoding="utf-8")) != resolved:
            raise ConfigError(
                f"{run_dir} holds a run of another configuration or of other photos; "
                "choose another --out, or delete that directory"
            )
        return
    with atomic_write(path) as part:
        part.write_text(yaml.safe_dump(resolved, sort_keys=False), encoding="utf-8")


def _last_checkpoint(run_dir: Path) -> str | None:
    """The checkpoint to go on from, if there is a whole one: a full disk may have cut it off."""
    path = run_dir / "checkpoints" / "last.ckpt"
    if not path.is_file():
        return None
    if zipfile.is_zipfile(path):
        return str(path)
    log.warning("%s is damaged; this member starts anew", path)
    return None


def _relevant(config: TrainConfig) -> dict:
    """The part of the configuration that the member depends on: a longer list of seeds does not spoil it."""
    return {key: value for key, value in to_dict(config).items() if key not in ("seeds", "out", "bundle")}


def _steps(config: TrainConfig, data: TrainingSet) -> int:
    return -(-len(data.train_paths) // config.trainer.batch_size)


def _loaders(
    config: TrainConfig, data: TrainingSet, image: ImageSpec, module: RegressionModule
) -> tuple[DataLoader, DataLoader | None]:
    cores = os.cpu_count() or 1
    # On a small CPU machine worker processes only take the cores that the networks need.
    workers = config.trainer.workers if config.trainer.workers is not None else (min(8, cores) if cores > 4 else 0)
    shared = {
        "batch_size": config.trainer.batch_size,
        "num_workers": workers,
        "persistent_workers": workers > 0,
        "pin_memory": torch.cuda.is_available(),
    }
    train, val = _view_datasets(config, data, image, module) if module.cached else _photo_datasets(config, data, image)
    # batch norm cannot learn from a last batch of one photo
    drop_last = len(train) % config.trainer.batch_size == 1 and len(train) > 1
    loaded = DataLoader(train, shuffle=True, drop_last=drop_last, **shared)
    return loaded, DataLoader(val, **shared) if len(val) else None


def _photo_datasets(config: TrainConfig, data: TrainingSet, image: ImageSpec) -> tuple[PhotoDataset, PhotoDataset]:
    return (
        PhotoDataset(data.train_paths, data.train_enu_m, image, TrainTransform(config.augment, image)),
        PhotoDataset(data.val_paths, data.val_enu_m, image, EvaluationTransform(image)),
    )


def _view_datasets(
    config: TrainConfig, data: TrainingSet, image: ImageSpec, module: RegressionModule
) -> tuple[ViewDataset, ViewDataset]:
    views = cached_views(config, image, data.pool, module.frozen)
    row_of = {path: row for row, path in enumerate(data.pool)}
    train, val = (np.array([row_of[path] for path in paths], dtype=int) for paths in (data.train_paths, data.val_paths))
    return ViewDataset(views, train, data.train_enu_m, True), ViewDataset(views, val, data.val_enu_m, False)


def _trainer(config: TrainConfig, seed: int, run_dir: Path) -> pl.Trainer:
    settings = config.trainer
    directory = run_dir / "checkpoints"
    last = ModelCheckpoint(directory, "last", enable_version_counter=False)
    callbacks = [last]
    if settings.keep == BEST:
        # of its own, and first, so that the trainer takes it for the checkpoint to export: `save_last` of this one
        # writes only when an epoch is the best
        callbacks.insert(0, ModelCheckpoint(directory, "best", monitor="val_loss", enable_version_counter=False))
        callbacks.append(EarlyStopping("val_loss", patience=settings.early_stopping_patience_epochs))
    return pl.Trainer(
        max_epochs=settings.max_epochs,
        accelerator=settings.accelerator,
        devices=settings.devices,
        num_nodes=settings.num_nodes,
        strategy=settings.strategy,
        precision=_lightning_precision(settings.precision, settings.accelerator),
        logger=False,
        callbacks=[*callbacks, EpochReport(run_dir / METRICS, seed, settings.max_epochs)],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def _lightning_precision(precision: str, accelerator: str) -> str:
    named = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
    if precision != "auto":
        return named[precision]
    if torch.cuda.is_available() and accelerator != "cpu":
        return named["bf16" if torch.cuda.is_bf16_supported() else "fp16"]
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return named["bf16" if supported() else "fp32"]


def _autocasts_on_cpu(trainer: pl.Trainer) -> bool:
    return trainer.strategy.root_device.type == "cpu" and trainer.precision == "bf16-mixed"


def _export(checkpoint: str, module: RegressionModule, weights: Path) -> None:
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    module.load_state_dict(state)
    state = module.whole_regressor().state_dict()
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    with atomic_write(weights) as part:
        save_file(tensors, part)


@contextmanager
def _quiet_lightning():
    """Lightning's own hints off: they advise on loaders and loggers that this program has chosen."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            warnings.filterwarnings("ignore", module="lightning_fabric")
            yield
    finally:
        logger.setLevel(level)
