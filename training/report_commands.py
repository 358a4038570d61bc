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
