"""Images per second of a training as `train` runs it, against its network alone.

The loop is data loader with augmentation, forward and backward pass and optimizer, in Lightning. The network alone is
a plain loop of forward and backward pass and optimizer over one batch that stays where it is, with the same precision
and threads. Both run in turns, so that other processes on the machine disturb both alike.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.geodesy import LocalFrame
from campus_visual_gps.threads import limit_threads, max_threads
from training.config import COSINE, LAST, TrainConfig
from training.data.epoch_sampler import EpochSampler
from training.fit import member
from training.fit.loaders import datasets, loaders
from training.fit.module import Batch, run_depthwise_in_float32
from training.fit.repeatable import RandomNumbers
from training.fit.site_data import TrainingSet, TrainingSite, image_spec, training_set
from training.photos.manifest import TRAIN, load_dataset

# Optimizer state and the libraries' plans are made in the first steps.
_WARM_UP_STEPS = 2


@dataclass(frozen=True)
class Throughput:
    """What was measured.

    Attributes:
        loop_images_per_s, network_images_per_s, loop_to_network: Of the round with the median ratio.
        loop_rounds, network_rounds: Images per second of each round.
        backbone, size_px, batch_size, steps: What ran; steps in a round.
        device, precision, num_threads, workers: Where and how.
    """

    loop_images_per_s: float
    network_images_per_s: float
    loop_to_network: float
    loop_rounds: tuple[float, ...]
    network_rounds: tuple[float, ...]
    backbone: str
    size_px: int
    batch_size: int
    steps: int
    device: str
    precision: str
    num_threads: int
    workers: int


def measure_throughput(config: TrainConfig, dataset_dir: Path, steps: int, rounds: int) -> Throughput:
    """Measure a configuration on the photos of a data set.

    The weights are random, which costs the same time, and cached features are not used.

    Args:
        config: The configuration; `dataset`, `out`, `weights` and `seeds` have no influence.
        dataset_dir: The data set; its training photos if it was split, else all.
        steps: Timed optimizer steps in a round.
        rounds: Of both.

    Raises:
        DatasetError: The photos are stored smaller than the network's input, or one cannot be read.
        ConfigError: There are fewer photos than a batch has.
    """
    config = _comparable(config, dataset_dir)
    data, site = _training_set(config, dataset_dir)
    if len(data.train_paths) < config.trainer.batch_size:
        raise ConfigError(
            f"{dataset_dir}: expected at least one batch of {config.trainer.batch_size} photos, got "
            f"{len(data.train_paths)}; give more photos or a smaller --batch"
        )
    threads = config.trainer.num_threads or max_threads()
    limit_threads(threads)
    with member.quiet_lightning():
        loop = _Loop(config, data, site, steps)
        network = _Network(config, data, loop.first_batch(), steps)
        pairs = [_round(loop, network, index % 2 == 0) for index in range(rounds)]
    ratios = [loop_rate / network_rate for loop_rate, network_rate in pairs]
    middle = ratios.index(statistics.median_low(ratios))
    loop_rounds, network_rounds = zip(*pairs, strict=True)
    return Throughput(
        loop_images_per_s=loop_rounds[middle],
        network_images_per_s=network_rounds[middle],
        loop_to_network=ratios[middle],
        loop_rounds=loop_rounds,
        network_rounds=network_rounds,
        backbone=config.model.backbone,
        size_px=config.size_px,
        batch_size=config.trainer.batch_size,
        steps=steps,
        device=str(network.device),
        precision=network.precision,
        num_threads=threads,
        workers=loop.loader.num_workers,
    )


def _round(loop: _Loop, network: _Network, network_first: bool) -> tuple[float, float]:
    """Images per second of both, in one order and the other by turns."""
    if network_first:
        network_rate = network.images_per_s()
        return loop.images_per_s(), network_rate
    return loop.images_per_s(), network.images_per_s()


def _comparable(config: TrainConfig, dataset_dir: Path) -> TrainConfig:
    """The configuration without what needs weights, validation photos or features of all photos."""
    trainer = replace(config.trainer, cached_views=0, keep=LAST, max_epochs=1, devices=1, num_nodes=1)
    scheduler = replace(config.scheduler, name=COSINE)
    return replace(config, dataset=str(dataset_dir), weights="none", trainer=trainer, scheduler=scheduler)


def _training_set(config: TrainConfig, dataset_dir: Path) -> tuple[TrainingSet, TrainingSite]:
    photos = load_dataset(dataset_dir)
    train = photos[photos["subset"] == TRAIN] if (photos["subset"] == TRAIN).any() else photos
    frame = LocalFrame.at(train["latitude_deg"].median(), train["longitude_deg"].median())
    site = TrainingSite(photos, dataset_dir, frame, image_spec(config, dataset_dir))
    return training_set(config, site, train, train.iloc[:0]), site


class _Loop:
    """The training as `train` runs it."""

    def __init__(self, config: TrainConfig, data: TrainingSet, site: TrainingSite, steps: int):
        self.config, self.data, self.steps = config, data, steps
        train, val = datasets(config, data, site.image, None)
        self.sampler = EpochSampler(len(data.train_paths), config.seeds[0])
        self.loader = loaders(train, val, config.trainer, self.sampler)[0]

    def first_batch(self) -> Batch:
        return next(iter(self.loader))

    def images_per_s(self) -> float:
        # batches that worker processes have prepared while the network ran alone are not counted
        waiting = self.loader.num_workers * (self.loader.prefetch_factor or 0)
        timer = _StepTimer(_WARM_UP_STEPS + waiting, self.steps)
        trainer = _trainer(self.config, timer.last_step, [timer, RandomNumbers(self.config.seeds[0], self.sampler)])
        module = member.build_module(self.config, self.data)
        if member.autocasts_on_cpu(trainer):
            run_depthwise_in_float32(module)
        trainer.fit(module, self.loader)
        return timer.images / timer.seconds


class _StepTimer(pl.Callback):
    """Times the steps after the first ones, and counts their images."""

    def __init__(self, skipped: int, steps: int):
        self.skipped, self.last_step = skipped, skipped + steps
        self.images, self.seconds, self._done, self._started_s = 0, 0.0, 0, 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, *_: Any):
        """Steps are not waited for one by one: a GPU works ahead of Python."""
        self._done += 1
        if self._done > self.skipped:
            self.images += len(batch[0])
        if self._done in (self.skipped, self.last_step):
            _wait_for(module.device)
            self.seconds, self._started_s = perf_counter() - self._started_s, perf_counter()


class _Network:
    """Forward and backward pass and optimizer over one batch."""

    def __init__(self, config: TrainConfig, data: TrainingSet, batch: Batch, steps: int):
        trainer = _trainer(config, 1, [])
        self.device, self.precision, self.steps = trainer.strategy.root_device, trainer.precision, steps
        self.module = member.build_module(config, data).to(self.device).train()
        if member.autocasts_on_cpu(trainer):
            run_depthwise_in_float32(self.module)
        images, targets, weights = (tensor.to(self.device) for tensor in batch)
        self.batch = (images.contiguous(memory_format=torch.channels_last), targets, weights)
        self.optimizer = self.module.build_optimizer()
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "16-mixed")

    def images_per_s(self) -> float:
        self._run(_WARM_UP_STEPS)
        _wait_for(self.device)
        started_s = perf_counter()
        self._run(self.steps)
        _wait_for(self.device)
        return self.steps * len(self.batch[0]) / (perf_counter() - started_s)

    def _run(self, steps: int) -> None:
        for _ in range(steps):
            self._step()

    def _step(self) -> None:
        dtype = torch.float16 if self.precision == "16-mixed" else torch.bfloat16
        self.optimizer.zero_grad()
        with torch.autocast(self.device.type, dtype, enabled=self.precision != "32-true"):
            images, targets, weights = self.batch
            loss = (weights * self.module.losses_and_errors(images, targets)[0]).mean()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()


def _trainer(config: TrainConfig, steps: int, callbacks: list[pl.Callback]) -> pl.Trainer:
    settings = config.trainer
    try:
        return pl.Trainer(
            max_steps=steps,
            max_epochs=-1,
            accelerator=settings.accelerator,
            devices=1,
            precision=member.lightning_precision(settings.precision, settings.accelerator),
            logger=False,
            callbacks=callbacks,
            limit_val_batches=0,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except (MisconfigurationException, ImportError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"device {settings.accelerator} cannot be used on this computer: {' '.join(str(error).split())}"
        ) from error


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
