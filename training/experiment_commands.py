"""The command that runs tables of experiments."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from training.console import console, fail, resumable


def experiment(
    tables: Annotated[
        list[Path], typer.Argument(help="tables, such as config/training/experiments/losses.yaml", show_default=False)
    ],
    dataset: Annotated[Path, typer.Option(help="data set directory")],
    out: Annotated[Path, typer.Option(help="directory of the runs, which all tables share, and of the tables")],
    split: Annotated[str, typer.Option(help="subset that rows are compared on")] = "val",
    seeds: Annotated[
        list[int] | None, typer.Option(help="seed of rows that name none (repeat for more: an ensemble); default 42")
    ] = None,
    budget: Annotated[float, typer.Option(help="share of the full recipe's computation, for a trial")] = 1.0,
    budget_epochs: Annotated[float | None, typer.Option(help="factor of the epochs instead")] = None,
    budget_size: Annotated[float | None, typer.Option(help="factor of the image side instead")] = None,
    budget_photos: Annotated[float | None, typer.Option(help="factor of the training photos instead")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE replaces a value of the base of all rows; a row's own override wins"),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="runs at a time; default 1, on a cluster one for each GPU or machine")
    ] = None,
    ray: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Ray cluster to run on: auto, local, or ray://HOST:10001")
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="run failed rows once more")] = False,
) -> None:
    """Run the rows of tables that have not run yet. Run again to resume after an interruption."""
    from training.experiments.budget import Budget
    from training.experiments.cluster import RayCluster
    from training.experiments.launchers import Launcher, Processes
    from training.experiments.runner import ExperimentOptions, run_experiments
    from training.report.tables.write import write_experiment_tables

    options = ExperimentOptions(
        split=split,
        seeds=tuple(seeds or (42,)),
        budget=Budget.of(budget, budget_epochs, budget_size, budget_photos),
        settings=tuple(settings or ()),
        retry_failed=retry_failed,
        command=f"python -m training {shlex.join(sys.argv[1:])}",
    )

    def make_launcher(directory: Path) -> Launcher:
        return Processes(directory, jobs or 1) if ray is None else RayCluster(directory, ray, jobs)

    with resumable():
        summary = run_experiments(tables, dataset, out, options, make_launcher)
        written = write_experiment_tables(out)
    printed = Table("table", "row", "state")
    for (table, row), state in summary.states.items():
        printed.add_row(table, row, state)
    console.print(printed)
    console.print(f"tables: {written.page}", soft_wrap=True)
    if summary.count("failed"):
        fail(f"{summary.count('failed')} of {len(summary.states)} rows failed; their status.yaml says why")
