"""What the trainings of a table have in common, and what differs from row to row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from training.report.tables.experiment_files import ExperimentRow

# what a reader has to know about a training, in the order in which it is told: key -> heading
SHOWN = {
    "model.backbone": "backbone",
    "model.head": "head",
    "loss.name": "loss",
    "weights": "weights",
    "size_px": "size, px",
    "trainer.max_epochs": "epochs",
    "optimizer.frozen_stages": "frozen stages",
}


def common_and_varying(rows: Sequence[ExperimentRow]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Settings by heading: those that all rows share, and those that differ, one text per row ("" where unknown)."""
    common: dict[str, str] = {}
    varying: dict[str, list[str]] = {}
    for key, heading in SHOWN.items():
        values = [_value(row, key) for row in rows]
        known = {value for value in values if value}
        if len(known) == 1:
            common[heading] = known.pop()
        elif known:
            varying[heading] = values
    return common, varying


def _value(row: ExperimentRow, key: str) -> str:
    """The value that a row's trainings ran with, or that it asks for; several ones are joined."""
    found = [_look_up(config, key) for config in row.configs or (row.settings,)]
    return " + ".join(dict.fromkeys(str(value) for value in found if value is not None))


def _look_up(settings: Mapping[str, Any], key: str) -> Any:
    """Of nested tables, or of one table with dotted keys."""
    if key in settings:
        return settings[key]
    section, _, rest = key.partition(".")
    inner = settings.get(section)
    return _look_up(inner, rest) if rest and isinstance(inner, Mapping) else None
