"""Train and evaluate GPS from camera images."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from campus_visual_gps.errors import VisualGpsError, printable
from campus_visual_gps.io_utils import escape_unencodable_output
from campus_visual_gps.threads import wait_passively
from training.active_commands import blind_spots, round, round_table, smooth_labels, worst
from training.augment_commands import show_augmentations
from training.benchmark_commands import benchmark
from training.console import OneLineHandler, console, fail, resumable
from training.ensemble_commands import (
    Covariance,
    ImpossibleOver,
    Sequences,
    Tta,
    TtaOriginalWeight,
    TtaViews,
    combine,
    evaluation_options,
    track,
)
from training.experiment_commands import experiment
from training.photo_commands import DatasetDir, apply_corrections, export_review, ingest, split
from training.report_commands import draw_features, draw_pipeline, figures, tables

# Each command parses, calls one function and prints. Errors become one line and exit code 1.
app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)

Settings = Annotated[
    list[str] | None, typer.Option("--set", help="KEY=VALUE replaces a value of the file, such as model.head=gaussian")
]
AreasCsv = Annotated[
    Path | None, typer.Option("--areas", help="areas: polygons (GeoJSON, KML), a table of their corners or of photos")
]
BagPath = Annotated[Path, typer.Argument(help="rosbag2 directory, or a .mcap, .db3 or .bag file")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")]
Precision = Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16")]
ImageTopic = Annotated[str | None, typer.Option(help="image topic, if the bag has several")]
TruthTopic = Annotated[str | None, typer.Option(help="NavSatFix topic of the true position, if the bag has several")]


_PHOTOS = (ingest, apply_corrections, export_review, split, show_augmentations, benchmark)
_RESULTS = (
    combine,
    track,
    smooth_labels,
    experiment,
    tables,
    figures,
    draw_pipeline,
    draw_features,
    blind_spots,
    worst,
    round,
    round_table,
)
for command in (*_PHOTOS, *_RESULTS):
    app.command()(command)


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="YAML file, such as config/training/convnext_ensemble.yaml")],
    dataset: Annotated[Path | None, typer.Option(help="data set directory")] = None,
    out: Annotated[Path | None, typer.Option(help="output directory of the runs and the bundle")] = None,
    calibrate_on: Annotated[
        Path | None, typer.Option(help="output of cross-validate: calibrate on its held-out sessions")
    ] = None,
    settings: Settings = None,
) -> None:
    """Train all members and write <out>/bundle. Run again to resume after an interruption."""
    from training.config import load_config

    resolved = load_config(config, settings or (), dataset=_text(dataset), out=_text(out))
    from training.fit.ensemble import train_ensemble

    with resumable():
        summary = train_ensemble(resolved, calibrate_on)
    console.print(
        f"{summary.bundle_dir}: {len(resolved.seeds)} members, mean error {summary.val_mean_error_m:.2f} m on "
        f"{summary.val_photos} held-out photos, covariance floor {summary.floor_sigma_m:.2f} m"
    )


@app.command()
def cross_validate(
    config: Annotated[Path, typer.Argument(help="YAML file, such as config/training/site_best.yaml")],
    dataset: Annotated[Path | None, typer.Option(help="data set directory")] = None,
    out: Annotated[Path | None, typer.Option(help="output directory of the folds")] = None,
    seed: Annotated[
        list[int] | None, typer.Option(help="member to train in each fold (repeat for more); default all")
    ] = None,
    settings: Settings = None,
) -> None:
    """Leave-one-session-out cross-validation: one bundle per session, trained on all others."""
    from training.config import load_config

    resolved = load_config(config, settings or (), dataset=_text(dataset), out=_text(out), seeds=seed or None)
    from training.fit.cross_validation import cross_validate as run

    table = Table("held-out session", "training photos", "bundle")
    with resumable():
        for fold, summary in run(resolved):
            table.add_row(printable(fold.session), str(summary.train_photos), str(fold.bundle_dir))
    console.print(table)


@app.command()
def evaluate(
    bundle: Annotated[Path, typer.Argument(help="model bundle, or the output of cross-validate")],
    dataset_dir: DatasetDir,
    split: Annotated[str, typer.Option(help="test, val, train, night_holdout or all")] = "test",
    out: Annotated[Path | None, typer.Option(help="output directory of the report")] = None,
    areas: AreasCsv = None,
    device: Device = "auto",
    precision: Precision = "auto",
    compare: Annotated[
        list[Path] | None, typer.Option(help="output of another evaluation of the same photos (repeat for more)")
    ] = None,
    covariance: Covariance = None,
    tta: Tta = None,
    tta_views: TtaViews = 5,
    tta_original_weight: TtaOriginalWeight = 2.0,
    impossible_over_m: ImpossibleOver = 20.0,
    sequences: Sequences = False,
) -> None:
    """Evaluate a bundle on photos. Writes predictions.csv, report.json, report.md and plots."""
    from training.report.evaluation import evaluate as run
    from training.report.summary import summary_table

    options = evaluation_options(covariance, tta or (), tta_views, tta_original_weight, impossible_over_m, sequences)
    summary = run(
        bundle,
        dataset_dir,
        split,
        out,
        device=device,
        precision=precision,
        areas_csv=areas,
        comparisons=compare or (),
        options=options,
    )
    console.print(summary_table(summary.metrics))
    if summary.terminal:
        console.print(summary.terminal, soft_wrap=True)
    console.print(f"report: {summary.report_path}")


@app.command()
def play(
    bag: BagPath,
    rate: Annotated[float, typer.Option(help="playback speed")] = 1.0,
    loop: Annotated[bool, typer.Option("--loop", help="repeat until interrupted")] = False,
    clock: Annotated[bool, typer.Option("--clock", help="publish /clock")] = False,
    wait_for: Annotated[
        list[str] | None, typer.Option(help="wait for a subscriber of this topic (repeat for more)")
    ] = None,
    record: Annotated[Path | None, typer.Option(help="write the bag and the --topic messages to this bag")] = None,
    topic: Annotated[
        list[str] | None, typer.Option(help="NavSatFix topic to record (repeat for more), default /visual_gps/fix")
    ] = None,
) -> None:
    """Publish a bag without `ros2 bag`. With --record, also record the fixes that nodes publish."""
    from training.replay.bags import NAVSATFIX
    from training.replay.play import play as run

    answers = dict.fromkeys(topic or ["/visual_gps/fix"], NAVSATFIX) if record else {}
    count = run(bag, rate, loop, clock, tuple(wait_for or ()), answers, record)
    console.print(f"{bag}: {count} messages published" + (f", recorded to {record}" if record else ""))


@app.command()
def replay(
    bag: BagPath,
    bundle: Annotated[Path, typer.Option(help="model bundle directory")],
    recorded: Annotated[str | None, typer.Option(help="NavSatFix topic to evaluate instead of the bundle")] = None,
    truth: TruthTopic = None,
    images: Annotated[
        list[str] | None, typer.Option(help="image topic, if the bag has several; repeat it for cameras to track with")
    ] = None,
    gps: Annotated[str | None, typer.Option(help="NavSatFix topic of the receiver, for its outages")] = None,
    odometry: Annotated[str | None, typer.Option(help="Odometry topic, for dead reckoning during outages")] = None,
    out: Annotated[Path | None, typer.Option(help="output directory of the report")] = None,
    areas: AreasCsv = None,
    animate: Annotated[Path | None, typer.Option(help="GIF or MP4 to write of the tracked drive")] = None,
) -> None:
    """Evaluate a bundle, or the fixes that a node published, on a recorded drive."""
    from training.replay.replay import replay as run
    from training.replay.topics import Topics
    from training.report.summary import summary_table

    first, others = (images[0], tuple(images[1:])) if images else (None, ())
    topics = Topics(recorded, truth, first, gps, odometry, others)
    summary = run(bag, bundle, out, topics, areas, animation=animate)
    console.print(summary_table(summary.metrics))
    console.print(summary.terminal, soft_wrap=True)
    console.print(f"report: {summary.report_path}")


@app.command()
def recalibrate(
    bundle: Annotated[Path, typer.Argument(help="model bundle directory")],
    bag: Annotated[Path, typer.Argument(help="rosbag2 directory of a drive of the robot, not one to be evaluated")],
    out: Annotated[Path, typer.Option(help="directory of the new bundle")],
    images: ImageTopic = None,
    truth: TruthTopic = None,
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """Recalibrate the covariance on a drive of the robot. Writes the new bundle to a new directory."""
    from training.replay.recalibrate import recalibrate as run

    made = run(bundle, bag, out, images, truth, device, precision)
    measured = {name: value for name, value in made.measured.items() if isinstance(value, (int, float))}
    console.print(
        "{}: {images} images, mean NEES {nees_before:.2f} -> {nees_after:.2f} (ideal 2), truth in the 95 % ellipse "
        "{coverage_95_before:.0%} -> {coverage_95_after:.0%}".format(made.bundle_dir, **measured),
        soft_wrap=True,
    )


@app.command()
def synthesize(
    out: Annotated[Path, typer.Argument(help="output directory")],
    second_camera: Annotated[
        str | None,
        typer.Option(help="rear or left: also write drive_two_cameras, with this camera beside the front one"),
    ] = None,
) -> None:
    """Render the sample campus: photos with noisy positions, true positions, and drives of a robot."""
    from training.synthetic.generate import generate_sample

    summary = generate_sample(out, second_camera=second_camera)
    console.print(f"{out}: {summary}")


def main() -> None:
    """Entry point: bad input and files that cannot be accessed end in one line and exit code 1."""
    wait_passively()  # before a command imports torch
    escape_unencodable_output()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[OneLineHandler()])
    for ours in ("training", "campus_visual_gps"):
        logging.getLogger(ours).setLevel(logging.INFO)
    try:
        app()
    except VisualGpsError as error:
        fail(str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        fail(f"{where}{error.strerror or error}; make room or fix the permissions, and run the same command again")


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
