"""The commands about ensembles of trained members."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from training.console import console, resumable

if TYPE_CHECKING:
    from training.report.evaluation_options import EvaluationOptions


Covariance = Annotated[str | None, typer.Option(help="calibrated or ensemble_spread; default: the bundle's")]
Tta = Annotated[
    list[str] | None,
    typer.Option("--tta", help="test-time augmentation: matched, photometric or original (repeat for more)"),
]
TtaViews = Annotated[int, typer.Option(help="augmented views of each photo")]
TtaOriginalWeight = Annotated[float, typer.Option(help="weight of the photo itself; each view has 1")]
ImpossibleOver = Annotated[
    float, typer.Option(help="list the photos that every member misses by more metres, in impossible.csv")
]


Sequences = Annotated[
    bool, typer.Option("--sequences", help="also track and smooth the photos of each session in time order")
]


def evaluation_options(
    covariance: str | None,
    tta: Sequence[str],
    views: int,
    original_weight: float,
    impossible_over_m: float,
    sequences: bool = False,
) -> EvaluationOptions:
    """The options of `evaluate` as the command line gives them."""
    from training.evaluate.tta import TtaMode, TtaSettings
    from training.report.evaluation_options import EvaluationOptions

    modes = tuple(TtaSettings(cast(TtaMode, mode), views, original_weight) for mode in tta)
    return EvaluationOptions(covariance, modes, impossible_over_m, sequences)


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


def track(
    folds: Annotated[Path, typer.Argument(help="output of cross-validate", show_default=False)],
    dataset_dir: Annotated[Path, typer.Argument(help="its data set directory", show_default=False)],
    out: Annotated[Path, typer.Option(help="output directory of the report")],
    areas: Annotated[Path | None, typer.Option(help="named areas, as of evaluate")] = None,
    fit: Annotated[
        bool, typer.Option("--fit", help="calibrate the tracker anew on the other folds, whatever the bundles have")
    ] = False,
) -> None:
    """Track the held-out sessions of folds in time order, from what the folds stored of them; no network runs."""
    from training.report.fold_sequences import track_folds

    tracked = track_folds(folds, dataset_dir, out, areas, fit)
    console.print(tracked.terminal, soft_wrap=True)
    console.print(f"report: {tracked.out_dir / 'report.md'}")
