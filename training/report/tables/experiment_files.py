"""Reads a directory of experiments: what each table compares, and what became of each of its rows.

`<directory>/<table>/experiment.yaml` names the table's rows, `<table>/<row>/predictions.csv` and `status.yaml` are
their results, `<directory>/runs/<hash>/` are the trainings that the tables share.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from campus_visual_gps.errors import DatasetError, VisualGpsError
from training.config_parsing import parse_yaml
from training.evaluate.predict import PREDICTIONS

EXPERIMENT = "experiment.yaml"
STATUS = "status.yaml"
RUNS = "runs"
DONE, FAILED, NOT_RUN = "done", "failed", "not_run"

Settings = dict[str, Any]


@dataclass(frozen=True)
class RowStatus:
    """What became of a row: `state` is done, failed or not_run, `reason` says why; None for what is unknown.

    `run` names the training or ensemble; two rows may have the same one. `gap` is the validation
    loss over the training loss of the best epoch (paper, table 5).
    """

    state: str = NOT_RUN
    reason: str = ""
    run: str = ""
    parameters: float | None = None
    train_seconds: float | None = None
    epochs: float | None = None
    train_loss: float | None = None
    val_loss: float | None = None
    gap: float | None = None
    inference_seconds_per_photo: float | None = None


@dataclass(frozen=True)
class ExperimentRow:
    """One row of a table.

    Attributes:
        name: The row's directory.
        label: What the table calls it.
        baseline: Whether the other rows are compared with it.
        settings: What it sets beside the table's own settings.
        configs: The configurations of its trainings as they ran.
        paper: The paper's own numbers by name, such as mean_error_m.
        directory: Where its predictions.csv and status.yaml are.
        status: What became of it.
    """

    name: str
    label: str
    baseline: bool
    settings: Settings
    configs: tuple[Settings, ...]
    paper: Settings
    directory: Path
    status: RowStatus

    @property
    def predictions_path(self) -> Path:
        return self.directory / PREDICTIONS


@dataclass(frozen=True)
class Experiment:
    """A table: what it is, how it was made, and its rows in order.

    `split` is the subset that every row was scored on, "" where that is not recorded.
    """

    name: str
    title: str
    paper_table: str
    paper_section: str
    budget: str
    command: str
    validation_sessions: tuple[str, ...]
    data_fingerprint: str
    rows: tuple[ExperimentRow, ...]
    dataset: str = ""
    split: str = ""
    note: str = ""


def find_experiments(directory: Path) -> list[Path]:
    """The directories of the tables in a directory of experiments, or of one table. Raises DatasetError."""
    if (directory / EXPERIMENT).is_file():
        return [directory]
    found = sorted(path.parent for path in directory.glob(f"*/{EXPERIMENT}"))
    if not found:
        raise DatasetError(
            f"{directory}: no table in it (no */{EXPERIMENT}); name the output directory of `experiment`, or run it"
        )
    return found


def read_experiment(directory: Path) -> Experiment:
    """One table with the status of every row. Raises DatasetError that names the file."""
    path = directory / EXPERIMENT
    content = _read_mapping(path)
    rows = content.get("rows")
    if not isinstance(rows, list) or not rows:
        raise DatasetError(f"{path}: expected a list of rows, got {'none' if rows is None else rows!r}")
    names = [str(row.get("name")) for row in rows if isinstance(row, dict)]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise DatasetError(f"{path}: two rows are called {doubled[0]!r}; rename one")
    sessions = content.get("validation_sessions") or []
    return Experiment(
        name=directory.name,
        title=_text(content.get("title")) or directory.name,
        paper_table=_text(content.get("paper_table")),
        paper_section=_text(content.get("paper_section")),
        budget=_text(content.get("budget")),
        command=_text(content.get("command")),
        validation_sessions=tuple(map(str, sessions if isinstance(sessions, list) else [sessions])),
        data_fingerprint=_text(content.get("data_fingerprint")),
        rows=tuple(_row(path, directory, number, row) for number, row in enumerate(rows, start=1)),
        dataset=_text(content.get("dataset")),
        split=_text(content.get("split")),
        note=_text(content.get("note")),
    )


def _row(path: Path, directory: Path, number: int, content: object) -> ExperimentRow:
    if not isinstance(content, dict) or not content.get("name"):
        raise DatasetError(f"{path}, row {number}: expected a table of keys with a name, got {content!r}")
    name = str(content["name"])
    return ExperimentRow(
        name=name,
        label=_text(content.get("label")) or name,
        baseline=bool(content.get("baseline")),
        settings=_mapping(content.get("settings")),
        configs=tuple(_configs(directory.parent / RUNS, content.get("runs"))),
        paper=_mapping(content.get("paper")),
        directory=directory / name,
        status=_read_status(directory / name),
    )


def _read_status(directory: Path) -> RowStatus:
    """The status of a row; one that cannot be read says so instead of stopping the other rows."""
    path = directory / STATUS
    if not path.is_file():
        has_predictions = (directory / PREDICTIONS).is_file()
        return RowStatus(DONE) if has_predictions else RowStatus(NOT_RUN, "not started yet")
    try:
        content = _read_mapping(path)
    except VisualGpsError as error:
        return RowStatus(FAILED, str(error))
    numbers = {name: _number(content.get(name)) for name in RowStatus.__dataclass_fields__ if name not in _TEXTS}
    return RowStatus(
        _text(content.get("state")) or NOT_RUN, _text(content.get("reason")), _text(content.get("run")), **numbers
    )


_TEXTS = ("state", "reason", "run")


def _configs(runs: Path, hashes: object) -> list[Settings]:
    """The configuration of each training: the one that its first member ran with."""
    names = hashes if isinstance(hashes, list) else [hashes]
    configs = []
    for name in filter(None, names):
        for path in sorted((runs / str(name)).glob("seed-*/config.yaml")):
            try:
                configs.append(_read_mapping(path))
            except VisualGpsError:  # the report shows what is there
                continue
    return configs


def _read_mapping(path: Path) -> Settings:
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise DatasetError(f"{path}: cannot be read ({reason}); run `experiment` again, or correct the file") from None
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: expected a table of keys, got {content!r}")
    return content


def _mapping(value: object) -> Settings:
    return dict(value) if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _number(value: object) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) < float("inf") else None
