"""The command that measures how fast this computer trains and ingests."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from campus_visual_gps.errors import ConfigError
from training.console import console

if TYPE_CHECKING:
    from training.config import TrainConfig
    from training.fit.throughput import Throughput
    from training.photos.ingest_speed import IngestSpeed

_CONFIG = Path("config/training/convnext_ensemble.yaml")
_PHOTOS = Path("sample/photos")


def benchmark(
    config: Annotated[Path, typer.Argument(help="training configuration")] = _CONFIG,
    backbone: Annotated[str | None, typer.Option(help="in the place of the configuration's")] = None,
    size: Annotated[int | None, typer.Option(help="side of the network's input, px")] = None,
    batch: Annotated[int | None, typer.Option(help="photos in a step")] = None,
    steps: Annotated[int, typer.Option(min=1, help="timed optimizer steps in a round")] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="rounds of loop and network in turns")] = 5,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps")] = "auto",
    threads: Annotated[int | None, typer.Option(help="threads of a CPU; 0 takes all cores")] = None,
    workers: Annotated[int | None, typer.Option(help="processes of the data loader")] = None,
    photos: Annotated[Path, typer.Option(help="folder of photos to ingest, HEIC where there is any")] = _PHOTOS,
    photo_count: Annotated[int, typer.Option(min=1, help="photos to ingest at most")] = 600,
    dataset: Annotated[
        Path | None, typer.Option(help="data set to train on; by default the ingested photos, in a temporary one")
    ] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE, as of train")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object instead of tables")] = False,
) -> None:
    """Measure the training loop against its network alone, and ingest against a plain loop with Pillow."""
    chosen = {
        "model.backbone": backbone,
        "size_px": size,
        "trainer.batch_size": batch,
        "trainer.accelerator": None if device == "auto" else device,
        "trainer.num_threads": threads,
        "trainer.workers": workers,
    }
    from training.config import load_config

    options = [f"{key}={value}" for key, value in chosen.items() if value is not None]
    resolved = load_config(config, [*(settings or ()), *options])
    if not photos.is_dir():
        raise ConfigError(f"{photos}: no such folder; give photos to ingest with --photos DIR")
    with _without_log(as_json):
        ingested, trained = _measure(resolved, photos, photo_count, dataset, steps, rounds)
    if as_json:
        typer.echo(json.dumps({**dataclasses.asdict(trained), **dataclasses.asdict(ingested)}, indent=2))
        return
    _print(trained, ingested)


def _measure(
    config: TrainConfig, photos: Path, photo_count: int, dataset: Path | None, steps: int, rounds: int
) -> tuple[IngestSpeed, Throughput]:
    from campus_visual_gps.preprocess import STORED_SIZE_PX
    from training.fit.throughput import measure_throughput
    from training.photos.ingest_speed import measure_ingest

    with TemporaryDirectory() as scratch:
        made = Path(scratch) / "set"
        ingested = measure_ingest(photos, made, max(STORED_SIZE_PX, config.size_px), photo_count, min(rounds, 3))
        return ingested, measure_throughput(config, dataset or made, steps, rounds)


def _print(trained: Throughput, ingested: IngestSpeed) -> None:
    table = Table("", "images / s", "ratio")
    table.add_row("training loop", f"{trained.loop_images_per_s:.2f}", f"{trained.loop_to_network:.3f}")
    table.add_row("network alone", f"{trained.network_images_per_s:.2f}", "1")
    table.add_row("ingest", f"{ingested.ingest_photos_per_s:.1f}", f"{ingested.ingest_speedup:.2f}")
    table.add_row("plain Pillow loop", f"{ingested.pillow_photos_per_s:.1f}", "1")
    console.print(table)
    console.print(
        f"{trained.backbone} at {trained.size_px} px, batches of {trained.batch_size}, {trained.device}, "
        f"{trained.precision}, {trained.num_threads} threads, {trained.workers} loader processes; "
        f"{ingested.ingest_photos} photos ingested by up to {ingested.ingest_processes} processes",
        soft_wrap=True,
    )


@contextmanager
def _without_log(quiet: bool) -> Iterator[None]:
    """No log lines, which go to the same output as the JSON."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING if quiet else before)
    try:
        yield
    finally:
        logging.disable(before)
