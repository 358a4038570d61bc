"""The directories of tables: experiment.yaml, and each row's predictions.csv and status.yaml."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from campus_visual_gps.io_utils import atomic_write
from training.evaluate.predict import PREDICTIONS
from training.experiments.budget import Budget
from training.experiments.data import ExperimentData
from training.experiments.execute import evaluation_dir
from training.experiments.plan import Plan, PlannedRow
from training.experiments.store import DONE, FAILED, NOT_RUN, RUNS, STATUS, read_status, write_status
from training.experiments.table import ExperimentTable
from training.photos.manifest import VAL, write_yaml

log = logging.getLogger(__name__)

EXPERIMENT = "experiment.yaml"
# Of a run's status, what a row's status repeats.
_MEASURED = ("train_seconds", "epochs", "parameters", "train_loss", "val_loss", "val_mean_error_m", "gap")


def write_experiment(
    table: ExperimentTable, plan: Plan, data: ExperimentData, out: Path, budget: Budget, command: str
) -> None:
    """Write experiment.yaml, and remove results of rows that were made of other runs than planned now."""
    rows = plan.rows_of(table)
    directory = out / table.name
    for row in rows:
        _remove_stale(row, directory / row.settings.name)
    paper = table.settings.paper
    content: dict[str, Any] = {
        "title": table.settings.title,
        "paper_table": str(paper.table),
        "paper_section": paper.section,
        "note": paper.remark,
        "budget": budget_text(budget),
        "budget_factors": asdict(budget),
        "command": command,
        "dataset": str(data.dataset_dir),
        "split": data.split,
        "validation_sessions": data.sessions(data.photos[data.photos["subset"] == VAL]),
        "evaluated_sessions": data.sessions(data.evaluated),
        "data_fingerprint": data.training_fingerprint,
        "base": table.base,
        "rows": [_listed(row, plan) for row in rows],
    }
    write_yaml(directory / EXPERIMENT, content)


def write_row(row: PlannedRow, plan: Plan, out: Path) -> str:
    """Write the status of a row, and its predictions where they are there; returns its state. Raises DatasetError."""
    directory = out / row.table / row.settings.name
    state, reason, run_id = _result(row, plan, out)
    if state != DONE or run_id is None:
        write_status(directory, state, reason=reason, **_identity(row, run_id))
        (directory / PREDICTIONS).unlink(missing_ok=True)
        return state
    source = evaluation_dir(out, run_id, row.evaluation)
    with atomic_write(directory / PREDICTIONS) as partial:
        shutil.copyfile(source / PREDICTIONS, partial)
    measured, evaluated = read_status(out / RUNS / run_id), read_status(source)
    write_status(
        directory,
        DONE,
        **{name: measured.get(name) for name in _MEASURED},
        inference_seconds_per_photo=evaluated.get("inference_seconds_per_photo"),
        **_identity(row, run_id),
    )
    return DONE


def budget_text(budget: Budget) -> str:
    """The budget in words."""
    if budget == Budget():
        return "the full recipe"
    return (
        f"{budget.epochs:.3g} of the epochs, {budget.size:.3g} of the image side, {budget.photos:.3g} of the training "
        "photos"
    )


def _listed(row: PlannedRow, plan: Plan) -> dict[str, Any]:
    settings = row.settings
    made_of = {"best_of": settings.best_of, "combine": settings.combine, "of": settings.of, "tta": settings.tta}
    return {
        "name": settings.name,
        "label": settings.label,
        "baseline": settings.baseline,
        "runs": list(row.trainings),
        "settings": settings.overrides or {},
        **{key: list(value) if isinstance(value, tuple) else value for key, value in made_of.items() if value},
        "paper": dict(settings.paper),
    }


def _identity(row: PlannedRow, run_id: str | None) -> dict[str, Any]:
    return {"run": run_id, "candidates": list(row.candidates), "evaluation": row.evaluation.key}


def _remove_stale(row: PlannedRow, directory: Path) -> None:
    status = read_status(directory)
    if not status and not directory.is_dir():
        return
    expected = _identity(row, None)
    if any(status.get(name) != expected[name] for name in ("candidates", "evaluation")):
        log.info("%s: of another configuration, budget or data set; it is made anew", directory)
        for name in (STATUS, PREDICTIONS):
            (directory / name).unlink(missing_ok=True)


def _result(row: PlannedRow, plan: Plan, out: Path) -> tuple[str, str | None, str | None]:
    """State, reason and run of a row."""
    if row.obstacle:
        return NOT_RUN, row.obstacle, None
    results = [_run_result(run_id, row, plan, out) for run_id in row.candidates]
    wrong = next((result for result in results if result[0] != DONE), None)
    if wrong is not None:
        return wrong
    if len(results) == 1:
        return results[0]
    best = min(row.candidates, key=lambda run_id: read_status(out / RUNS / run_id).get("val_loss", float("inf")))
    return DONE, None, best


def _run_result(run_id: str, row: PlannedRow, plan: Plan, out: Path) -> tuple[str, str | None, str | None]:
    for member in plan.runs[run_id].members:
        status = read_status(out / RUNS / member)
        if status.get("state") != DONE:
            became = f"failed: {status.get('reason')}" if status.get("state") == FAILED else "has not run yet"
            return NOT_RUN, f"needs {plan.runs[member].title}, which {became}", run_id
    for directory in (out / RUNS / run_id, evaluation_dir(out, run_id, row.evaluation)):
        status = read_status(directory)
        if status.get("state") != DONE:
            return status.get("state", NOT_RUN), status.get("reason", "not run yet"), run_id
    return DONE, None, run_id


def decided(rows: Sequence[PlannedRow], ended: set[str]) -> list[PlannedRow]:
    """The rows all of whose runs have ended."""
    return [row for row in rows if set(row.candidates) <= ended]
