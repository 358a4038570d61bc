"""The command that shows augmentations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.console import console


def show_augmentations(
    config: Annotated[Path, typer.Argument(help="YAML file, such as config/training/convnext_ensemble.yaml")],
    out: Annotated[Path, typer.Option(help="output directory of the pictures")],
    dataset: Annotated[Path | None, typer.Option(help="data set directory, or any folder of photos")] = None,
    count: Annotated[int, typer.Option(min=1, max=1000, help="number of samples in the grid")] = 120,
    seed: Annotated[int, typer.Option(min=0, help="random seed")] = 0,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE replaces a value of the file, such as augment.hue=0.05")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="replace pictures that this command has not made")] = False,
) -> None:
    """Show what a configuration's augmentation does to photos. Writes grid.png, effects.png and a strip of each."""
    from campus_visual_gps.errors import ConfigError
    from training.config import load_config

    resolved = load_config(config, settings or (), dataset=None if dataset is None else str(dataset))
    if not resolved.dataset:
        raise ConfigError("dataset must be given, in the configuration or as --dataset")
    from training.report.augmentation import show_augmentations as run

    made = run(resolved, Path(resolved.dataset), out, count, seed, force)
    console.print(f"{out}: {made.samples} samples of {made.photos} photos, {len(made.files)} pictures", soft_wrap=True)
