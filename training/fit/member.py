"""Trains one member in its run directory: resolved configuration, metrics.csv, curves, checkpoints, weights."""

from __future__ import annotations

import logging
import pickle
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import pytorch_lightning as pl
import torch
import yaml
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from campus_visual_gps.errors import ConfigError, DatasetError
from campus_visual_gps.io_utils import atomic_write
from campus_visual_gps.models.position_model import build_model
from campus_visual_gps.preprocess import ImageSpec
from campus_visual_gps.threads import limit_threads, max_threads
from training.config import BEST, TrainConfig, TrainerSettings, to_dict
from training.console import logging_level
from training.data.epoch_sampler import EpochSampler
from training.fit.callbacks import EpochReport
from training.fit.guards import DivergenceGuard, GapReport, median_position_error_m, warn_of_device
from training.fit.loaders import datasets, loaders
from training.fit.losses import loss_label
from training.fit.module import PositionModule, run_depthwise_in_float32
from training.fit.repeatable import PlateauResume, RandomNumbers, epochs_in
from training.fit.site_data import TrainingSet
from training.fit.training_curves import plot_curves

log = logging.getLogger(__name__)

WEIGHTS = "member.safetensors"
METRICS = "metrics.csv"
_WITHOUT_INFLUENCE = ("dataset", "seeds", "out", "guards", "descriptor", "bundle")

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


def train_member(config: TrainConfig, seed: int, data: TrainingSet, image: ImageSpec, run_dir: Path) -> Path:
    """Train one member, or resume an interrupted training.

    Args:
        config: The configuration; `seeds`, `out`, `guards`, `descriptor` and `bundle` have no influence.
        seed: Of the member.
        data: Photos and positions.
        image: The evaluation transform.
        run_dir: Directory of the run.

    Returns:
        The weights file, in `run_dir`.

    Raises:
        ConfigError: The run directory belongs to another configuration or other photos.
        TrainingError: The training has diverged.
        DatasetError: A file cannot be written.
    """
    weights = run_dir / WEIGHTS
    _claim(run_dir, {"seed": seed, "data": data.fingerprint, **_relevant(config)})
    if weights.is_file() and _is_whole(weights):
        log.info("seed %d: already trained, %s is kept", seed, weights)
        return weights
    limit_threads(config.trainer.num_threads or max_threads())
    pl.seed_everything(seed, workers=True, verbose=False)
    module = build_module(config, data)
    train, val = datasets(config, data, image, module.frozen)
    resume_from = _last_checkpoint(run_dir)
    sampler = EpochSampler(len(data.train_paths), seed, epochs_in(resume_from))
    train_loader, val_loader = loaders(train, val, config.trainer, sampler)
    checkpoints = _checkpoints(config.trainer.keep, run_dir / "checkpoints")
    with quiet_lightning():
        callbacks = [
            DivergenceGuard(config, seed, median_position_error_m(data.train_enu_m)),
            GapReport(config, seed),
            *checkpoints,
            RandomNumbers(seed, sampler),
            PlateauResume(),
        ]
        trainer = _trainer(config.trainer, seed, run_dir, callbacks)
        warn_of_device(trainer.strategy.root_device, config)
        if autocasts_on_cpu(trainer):
            run_depthwise_in_float32(module)
        try:
            trainer.fit(module, train_loader, val_loader, ckpt_path=resume_from)
        except SystemExit as error:  # Lightning's answer to Ctrl-C
            raise KeyboardInterrupt from error
        except OSError as error:  # its own text names a temporary file
            raise DatasetError(
                f"{run_dir}: {error.strerror or error}; make room and run the same command again to resume from the "
                "last complete checkpoint"
            ) from error
    if trainer.is_global_zero:
        _export(checkpoints[0].best_model_path, module, weights)
        label = loss_label(config.model.head, config.loss)
        plot_curves(run_dir / METRICS, run_dir / "curves.png", f"{config.model.backbone}, seed {seed}", label)
    trainer.strategy.barrier()
    return weights


def _is_whole(weights: Path) -> bool:
    try:
        with safe_open(weights, "pt"):
            return True
    except (SafetensorError, OSError) as error:
        log.warning("%s is damaged (%s) and is made again", weights, error)
        return False


def _claim(run_dir: Path, resolved: dict) -> None:
    path = run_dir / "config.yaml"
    if path.is_file():
        try:
            found = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, ValueError):
            found = None
        if found != resolved:
            raise ConfigError(
                f"{run_dir} holds a run of another configuration or of other photos; "
                "choose another --out, or delete that directory"
            )
        return
    with atomic_write(path) as partial:
        partial.write_text(yaml.safe_dump(resolved, sort_keys=False), encoding="utf-8")


def _last_checkpoint(run_dir: Path) -> str | None:
    """The checkpoint to resume from, if there is a complete one: a full disk may have truncated it."""
    path = run_dir / "checkpoints" / "last.ckpt"
    if not path.is_file():
        return None
    with suppress(zipfile.BadZipFile, OSError, NotImplementedError), zipfile.ZipFile(path) as archive:
        if archive.testzip() is None:
            return str(path)
    log.warning("%s is damaged; this member starts again", path)
    return None


def _relevant(config: TrainConfig) -> dict:
    """The part of the configuration that the member depends on; more seeds or threads do not invalidate it.

    Nor does another path of the data set: the photos are known by their fingerprint.
    """
    kept = {key: value for key, value in to_dict(config).items() if key not in _WITHOUT_INFLUENCE}
    kept["trainer"] = {key: value for key, value in kept["trainer"].items() if key != "num_threads"}
    return kept


def build_module(config: TrainConfig, data: TrainingSet) -> PositionModule:
    """The member before its training."""
    cells = None if data.cells_enu_m is None else torch.from_numpy(data.cells_enu_m)
    return PositionModule(
        build_model(config.model, config.weights, cells),
        config.loss,
        config.optimizer,
        config.scheduler,
        steps_per_epoch=-(-len(data.train_paths) // config.trainer.batch_size),
        cached=config.trainer.cached_views > 0,
    )


def _checkpoints(keep: str, directory: Path) -> list[ModelCheckpoint]:
    """The checkpoint to export first: `save_last` of a checkpoint with a monitor writes only the best epochs."""
    last = ModelCheckpoint(directory, "last", enable_version_counter=False)
    if keep != BEST:
        return [last]
    return [ModelCheckpoint(directory, "best", monitor="val_loss", enable_version_counter=False), last]


def _trainer(settings: TrainerSettings, seed: int, run_dir: Path, others: Sequence[pl.Callback]) -> pl.Trainer:
    # the report first: it writes the row of an epoch that a guard stops
    callbacks: list[pl.Callback] = [EpochReport(run_dir / METRICS, seed, settings.max_epochs), *others]
    if settings.keep == BEST:
        callbacks.append(EarlyStopping("val_loss", patience=settings.early_stopping_patience_epochs))
    return pl.Trainer(
        max_epochs=settings.max_epochs,
        accelerator=settings.accelerator,
        devices=settings.devices,
        num_nodes=settings.num_nodes,
        strategy=settings.strategy,
        precision=lightning_precision(settings.precision, settings.accelerator),
        logger=False,
        callbacks=callbacks,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def lightning_precision(precision: str, accelerator: str) -> Precision:
    """Lightning's name of a precision; `auto` takes what the device computes fast."""
    named: dict[str, Precision] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
    if precision != "auto":
        return named[precision]
    if torch.cuda.is_available() and accelerator != "cpu":
        return named["bf16" if torch.cuda.is_bf16_supported() else "fp16"]
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return named["bf16" if supported() else "fp32"]


def autocasts_on_cpu(trainer: pl.Trainer) -> bool:
    """Whether the networks run in bfloat16 on a CPU."""
    return trainer.strategy.root_device.type == "cpu" and trainer.precision == "bf16-mixed"


def _export(checkpoint: str, module: PositionModule, weights: Path) -> None:
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    except (OSError, EOFError, RuntimeError, KeyError, pickle.UnpicklingError) as error:
        raise DatasetError(
            f"{checkpoint or weights.parent}: the best checkpoint is missing or damaged; delete {weights.parent} and "
            "train this member again"
        ) from error
    module.load_state_dict(state)
    state = module.merged_model().state_dict()
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    with atomic_write(weights) as partial:
        save_file(tensors, partial)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Turn off Lightning's own hints on loaders and loggers, which this program has chosen."""
    with logging_level("pytorch_lightning", logging.ERROR), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        warnings.filterwarnings("ignore", module="lightning_fabric")
        yield
