"""Expands tables into runs: which trainings, ensembles and evaluations their rows need, each of them once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from campus_visual_gps.errors import DatasetError
from training.config import AREA_ZSCORE, TrainConfig, to_dict
from training.evaluate.tta_columns import TtaMode
from training.experiments.budget import Budget
from training.experiments.data import ExperimentData, data_at_round
from training.experiments.store import identity
from training.experiments.table import ExperimentTable, RowSettings


@dataclass(frozen=True)
class Evaluation:
    """Predictions of a run for a split of the data set.

    Attributes:
        split: The subset.
        fingerprint: Of its photos.
        tta: Mode of the test-time augmentation.
    """

    split: str
    fingerprint: str
    tta: TtaMode | None = None

    @property
    def key(self) -> str:
        """The name of its directory."""
        return "-".join([self.split, self.fingerprint[:8], *([f"tta-{self.tta}"] if self.tta else [])])


@dataclass(frozen=True)
class Run:
    """A training of one member, or an ensemble of trained members.

    Attributes:
        run_id: Hash of all that the result depends on.
        title: Of the first row that needs it, for the log.
        dataset_dir: The data set that it is trained and evaluated on.
        content: What the id stands for.
        config: Of a training, with its one seed; None for an ensemble.
        members: The run ids of an ensemble's members.
        evaluations: What is predicted with it.
    """

    run_id: str
    title: str
    dataset_dir: Path
    content: dict[str, Any]
    config: TrainConfig | None = None
    members: tuple[str, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()


@dataclass(frozen=True)
class PlannedRow:
    """A row and where its result comes from.

    Attributes:
        table: Name of its table.
        settings: As the file has it.
        trainings: The run ids of its members.
        candidates: The runs of which the best is taken; otherwise the one run of the row.
        evaluation: What is predicted with it.
        obstacle: Why it cannot run here; "" if it can.
    """

    table: str
    settings: RowSettings
    trainings: tuple[str, ...]
    candidates: tuple[str, ...]
    evaluation: Evaluation
    obstacle: str = ""


@dataclass(frozen=True)
class Plan:
    """Rows of all tables in order, and the runs that they need by id, members before their ensembles."""

    rows: list[PlannedRow]
    runs: dict[str, Run]

    def rows_of(self, table: ExperimentTable) -> list[PlannedRow]:
        """The rows of one table."""
        return [row for row in self.rows if row.table == table.name]


def make_plan(
    tables: Sequence[ExperimentTable], data: ExperimentData, out: Path, budget: Budget, seeds: Sequence[int]
) -> Plan:
    """Expand tables into rows and runs.

    Args:
        tables: The tables.
        data: The data set and the split that is predicted.
        out: Directory of the experiments.
        budget: Scales every recipe.
        seeds: Of the trainings that name none: one member each.
    """
    planner = _Planner(data, out, budget, tuple(seeds))
    for table in tables:
        planner.add(table)
    return Plan(planner.rows, planner.runs)


class _Planner:
    def __init__(self, data: ExperimentData, out: Path, budget: Budget, seeds: tuple[int, ...]):
        self.data, self.out, self.budget, self.seeds = data, out, budget, seeds
        self.rows: list[PlannedRow] = []
        self.runs: dict[str, Run] = {}

    def add(self, table: ExperimentTable) -> None:
        base_size_px = table.base_config().size_px
        by_name: dict[str, PlannedRow] = {}
        for row in table.settings.rows:
            if row.overrides is not None:
                config = self.budget.scaled(table.config_of(row), base_size_px)
                planned = self._training(table.name, row, config)
            else:
                planned = self._derived(table.name, row, [by_name[name] for name in row.sources])
            by_name[row.name] = planned
            self.rows.append(planned)

    def _training(self, table: str, row: RowSettings, config: TrainConfig) -> PlannedRow:
        data = self.data
        try:
            data = data_at_round(self.data, row.round, self.out)
            data.check_size(config.size_px)
            data.check_loss(config.loss.name)
        except DatasetError as error:
            return PlannedRow(table, row, (), (), self._evaluation(data), str(error))
        evaluation = self._evaluation(data)
        trainings = tuple(self._member(f"{table}/{row.name}", config, seed, data) for seed in row.seeds or self.seeds)
        return self._planned(table, row, trainings, evaluation)

    def _derived(self, table: str, row: RowSettings, sources: list[PlannedRow]) -> PlannedRow:
        evaluation = replace(sources[0].evaluation, tta=row.tta)
        missing = [source for source in sources if source.obstacle]
        if missing:
            reason = f"needs row {missing[0].settings.name}, which cannot run: {missing[0].obstacle}"
            return PlannedRow(table, row, (), (), evaluation, reason)
        trainings = tuple(dict.fromkeys(run for source in sources for run in source.trainings))
        if not row.best_of:
            return self._planned(table, row, trainings, evaluation)
        candidates = tuple(dict.fromkeys(run for source in sources for run in source.candidates))
        for run_id in candidates:
            self._evaluate(run_id, evaluation)
        return PlannedRow(table, row, trainings, candidates, evaluation)

    def _planned(self, table: str, row: RowSettings, trainings: tuple[str, ...], evaluation: Evaluation) -> PlannedRow:
        title = f"{table}/{row.name}, ensemble"
        run_id = trainings[0] if len(trainings) == 1 else self._ensemble(title, trainings)
        self._evaluate(run_id, evaluation)
        return PlannedRow(table, row, trainings, (run_id,), evaluation)

    def _evaluation(self, data: ExperimentData) -> Evaluation:
        return Evaluation(data.split, data.evaluation_fingerprint)

    def _member(self, title: str, config: TrainConfig, seed: int, data: ExperimentData) -> str:
        # one device: rows, not the parts of one row, are what runs side by side
        devices = 1 if config.trainer.devices == "auto" else config.trainer.devices
        config = replace(config, seeds=(seed,), trainer=replace(config.trainer, devices=devices))
        content = {"config": _relevant(config), "data": data.training_fingerprint}
        if config.loss.name == AREA_ZSCORE:
            content["areas"] = data.areas_fingerprint
        run_id = identity(content)
        config = replace(config, dataset=str(data.dataset_dir), out=str(self.out))
        run = Run(run_id, f"{title}, seed {seed}", data.dataset_dir, content, config)
        self.runs.setdefault(run_id, run)
        return run_id

    def _ensemble(self, title: str, members: tuple[str, ...]) -> str:
        content = {"members": sorted(members)}
        run_id = identity(content)
        dataset_dir = self.runs[members[0]].dataset_dir
        self.runs.setdefault(run_id, Run(run_id, title, dataset_dir, content, members=members))
        return run_id

    def _evaluate(self, run_id: str, evaluation: Evaluation) -> None:
        run = self.runs[run_id]
        if evaluation not in run.evaluations:
            self.runs[run_id] = replace(run, evaluations=(*run.evaluations, evaluation))


def _relevant(config: TrainConfig) -> dict[str, Any]:
    """What of a configuration the result depends on: neither where it is, nor how many threads, nor the guards."""
    settings = {key: value for key, value in to_dict(config).items() if key not in ("dataset", "out", "guards")}
    settings["trainer"] = {key: value for key, value in settings["trainer"].items() if key != "num_threads"}
    return settings
