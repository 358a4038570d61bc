"""`experiment`: tables of runs, one after the other or several at a time, resumable at any moment."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from campus_visual_gps.errors import ConfigError, DatasetError
from training.experiments.budget import Budget
from training.experiments.data import ExperimentData
from training.experiments.execute import Outcome, is_finished
from training.experiments.launchers import Launcher
from training.experiments.plan import Plan, PlannedRow, make_plan
from training.experiments.progress import Progress
from training.experiments.rows import decided, write_experiment, write_row
from training.experiments.store import DONE, FAILED, RUNS, read_status
from training.experiments.table import ExperimentTable, load_table

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExperimentOptions:
    """What tables are run with.

    Attributes:
        split: The subset that is predicted.
        seeds: One member each, of the rows that name none.
        budget: Scales every recipe.
        settings: KEY=VALUE replacements of the base of all rows.
        retry_failed: Runs what has failed before once more.
        command: As it was typed, for experiment.yaml.
    """

    split: str = "val"
    seeds: tuple[int, ...] = (42,)
    budget: Budget = field(default_factory=Budget)
    settings: tuple[str, ...] = ()
    retry_failed: bool = False
    command: str = ""


@dataclass(frozen=True)
class ExperimentSummary:
    """Where the tables are, and the state of every row: (table, row) -> done, failed or not_run."""

    out: Path
    states: dict[tuple[str, str], str]

    def count(self, state: str) -> int:
        """The number of rows in a state."""
        return sum(found == state for found in self.states.values())


def run_experiments(
    paths: Sequence[Path],
    dataset_dir: Path,
    out: Path,
    options: ExperimentOptions,
    make_launcher: Callable[[Path], Launcher],
) -> ExperimentSummary:
    """Run all rows of tables that have not run yet, and write what they gave.

    Args:
        paths: The tables' files.
        dataset_dir: The data set.
        out: Directory of the store of runs and of the tables.
        options: See there.
        make_launcher: Makes what executes the runs, of the directory of the experiments.

    Raises:
        ConfigError: A table is wrong; nothing has run.
        DatasetError: The data set is wrong, or the disk is full.
    """
    tables = _load(paths, options.settings)
    out, data = Path(out).absolute(), ExperimentData(Path(dataset_dir).absolute(), options.split)
    plan = make_plan(tables, data, out, options.budget, options.seeds)
    for table in tables:
        write_experiment(table, plan, data, out, options.budget, options.command)
    launcher = make_launcher(out)
    try:
        _Runner(plan, out, launcher, options.retry_failed).run()
    finally:
        launcher.close()
    states = {(row.table, row.settings.name): write_row(row, plan, out) for row in plan.rows}
    return ExperimentSummary(out, states)


def _load(paths: Sequence[Path], settings: Sequence[str]) -> list[ExperimentTable]:
    tables = [load_table(path, settings) for path in paths]
    names = [table.name for table in tables]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"two tables are called {twice}: their results would share a directory; rename a file")
    return tables


class _Runner:
    """Starts each run when its members are there, and writes each row when its runs have ended."""

    def __init__(self, plan: Plan, out: Path, launcher: Launcher, retry_failed: bool):
        self.plan, self.out, self.launcher, self.retry_failed = plan, out, launcher, retry_failed
        self.ended: dict[str, str] = {}
        self.under_way: set[str] = set()
        self.waiting = deque(plan.runs.values())
        self.rows: list[PlannedRow] = list(plan.rows)
        self.progress = Progress(plan, out, launcher.capacity)

    def run(self) -> None:
        self._skip_finished()
        self._write_rows()
        while self.waiting or self.under_way:
            self._start_ready()
            if self.under_way:
                self._end(self.launcher.wait())
                self._write_rows()

    def _skip_finished(self) -> None:
        for run in list(self.waiting):
            if is_finished(run, self.out, self.retry_failed):
                self.waiting.remove(run)
                self.ended[run.run_id] = str(read_status(self.out / RUNS / run.run_id).get("state"))
        self.progress.begin(list(self.waiting))

    def _start_ready(self) -> None:
        for run in list(self.waiting):
            if len(self.under_way) >= self.launcher.capacity:
                return
            members = [self.ended.get(member) for member in run.members]
            if FAILED in members:  # no failure of its own: it runs once its members do
                self.waiting.remove(run)
                self.ended[run.run_id] = FAILED
                self.progress.skip(run)
                self._write_rows()
            elif all(state == DONE for state in members):
                self.waiting.remove(run)
                self.under_way.add(run.run_id)
                self.progress.start(run)
                self.launcher.start(run)

    def _end(self, outcome: Outcome) -> None:
        run = self.plan.runs[outcome.run_id]
        if outcome.state not in (DONE, FAILED):
            raise DatasetError(f"{outcome.reason} (the finished runs are kept; run the same command again to go on)")
        self.under_way.remove(outcome.run_id)
        self.ended[outcome.run_id] = outcome.state
        self.progress.end(run)
        if outcome.state == FAILED:
            log.warning("%s failed: %s", run.title, outcome.reason)

    def _write_rows(self) -> None:
        for row in decided(self.rows, set(self.ended)):
            self.rows.remove(row)
            write_row(row, self.plan, self.out)
