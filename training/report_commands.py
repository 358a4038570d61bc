"""The commands that draw tables and figures from results, without inference."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.console import console


def tables(
    directory: Annotated[Path, typer.Argument(help="output of `experiment`, or one table in it")],
    out: Annotated[Path | None, typer.Option(help="where the tables go, by default <DIRECTORY>/tables")] = None,
) -> None:
    """Write the tables of experiments in Markdown and CSV, from their predictions.csv files."""
    from training.report.tables.write import write_experiment_tables

    written = write_experiment_tables(directory, out)
    for name, count in written.rows.items():
        console.print(f"{name}: {written.with_numbers[name]} of {count} rows have numbers")
    console.print(f"tables: {written.page}", soft_wrap=True)


def figures(
    evaluation: Annotated[Path, typer.Argument(help="output of `evaluate`, or any directory with a predictions.csv")],
    out: Annotated[Path | None, typer.Option(help="directory of the report, by default the same one")] = None,
) -> None:
    """Draw the report, its tables and pictures again from predictions.csv. No inference is run."""
    from training.report.redraw import redraw
    from training.report.summary import summary_table

    summary = redraw(evaluation, out)
    console.print(summary_table(summary.metrics))
    console.print(f"report: {summary.report_path}", soft_wrap=True)


def draw_pipeline(
    source: Annotated[Path, typer.Argument(help="model bundle, or a training configuration (YAML)")],
    out: Annotated[Path, typer.Option(help="PNG file to write")],
) -> None:
    """Draw the networks of a bundle or a configuration: backbone, features, head, output (paper, figure 1)."""
    from training.report.pipeline_figure import draw_pipeline as draw
    from training.report.pipeline_parts import read_pipeline
    from training.report.save_figure import save_figure

    save_figure(draw(read_pipeline(source)), out)
    console.print(f"{out}", soft_wrap=True)


def draw_features(
    bundle: Annotated[Path, typer.Argument(help="model bundle directory")],
    out: Annotated[Path, typer.Option(help="PNG file to write")],
    dataset_dir: Annotated[
        Path | None, typer.Argument(help="data set directory; without one, the bundle's own training photos")
    ] = None,
    split: Annotated[str, typer.Option(help="test, val, train, night_holdout or all")] = "test",
    member: Annotated[str | None, typer.Option(help="member of the bundle, by default the first")] = None,
) -> None:
    """Draw a t-SNE of photos' features, coloured by east and by north (paper, figure 2)."""
    from training.report.feature_map import feature_map
    from training.report.save_figure import save_figure

    figure, summary = feature_map(bundle, dataset_dir, split, member)
    save_figure(figure, out)
    console.print(f"{out}: {summary}", soft_wrap=True)
