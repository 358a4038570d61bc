"""The commands about ensembles of trained members."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.console import console, resumable


def combine(
    runs: Annotated[
        list[Path],
        typer.Argument(help="outputs of train, their seed-<seed> directories, or bundles", show_default=False),
    ],
    out: Annotated[Path, typer.Option(help="directory of the new bundle")],
    dataset: Annotated[
        Path | None, typer.Option(help="data set directory; default: the one that the runs name")
    ] = None,
    calibrate_on: Annotated[
        list[Path] | None, typer.Option(help="output of cross-validate (repeat for each recipe among the runs)")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE of bundle or descriptor, such as bundle.site_margin_m=40"),
    ] = None,
) -> None:
    """Join trained members, also of different backbones, into one bundle that is calibrated anew."""
    from training.fit.combine import combine as run

    with resumable():
        summary = run(runs, out, dataset, calibrate_on or (), settings or ())
    console.print(
        f"{summary.bundle_dir}: mean error {summary.val_mean_error_m:.2f} m on {summary.val_photos} held-out photos, "
        f"covariance floor {summary.floor_sigma_m:.2f} m"
    )
