"""A table of experiments for programs: one line per row, every estimate with its bounds in columns of their own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from training.metrics.estimate import UNKNOWN, Estimate
from training.report.flatten import flat_errors, flat_estimate, prefixed
from training.report.tables.experiment_files import Experiment
from training.report.tables.row_metrics import RowMetrics

FIRST_COLUMN = "table"


def experiment_csv(experiment: Experiment, rows: Sequence[RowMetrics]) -> pd.DataFrame:
    """The table as `write_table` takes it; a number that is unknown is an empty cell."""
    # of objects: a count stays whole beside cells that are empty
    return pd.DataFrame([_record(experiment, metrics) for metrics in rows], dtype=object)


def _record(experiment: Experiment, metrics: RowMetrics) -> dict[str, Any]:
    row, status = metrics.row, metrics.row.status
    record: dict[str, Any] = {
        FIRST_COLUMN: experiment.name,
        "paper_table": experiment.paper_table,
        "row": row.name,
        "label": row.label,
        "baseline": metrics.is_baseline,
        "state": metrics.state.replace(" ", "_") or "done",
        "reason": metrics.reason,
        "same_answers_as": metrics.same_answers_as,
        "seeds": " ".join(map(str, metrics.seeds)),
        "members": " ".join(metrics.members),
        "sessions": " ".join(metrics.sessions),
    }
    if metrics.errors is not None:
        record |= flat_errors(metrics.errors)
    record |= _by_member(metrics) | _compared(metrics) | _night(metrics)
    record |= {
        "parameters": status.parameters,
        "train_loss": status.train_loss,
        "val_loss": status.val_loss,
        "gap": metrics.gap,
        "epochs": status.epochs,
        "train_seconds": status.train_seconds,
        "train_time_ratio": metrics.train_time_ratio,
        "inference_seconds_per_photo": status.inference_seconds_per_photo,
        "settings": json.dumps(row.settings, sort_keys=True, default=str, ensure_ascii=False) if row.settings else "",
    }
    return record | {f"paper_{key}": value for key, value in row.paper.items()}


def _by_member(metrics: RowMetrics) -> dict[str, Any]:
    single = metrics.by_member
    return {
        **_estimate("one_member_mean_error_m", single.mean_error_m if single else None),
        "best_member_mean_error_m": single.lowest_m if single else None,
        "worst_member_mean_error_m": single.highest_m if single else None,
    }


def _compared(metrics: RowMetrics) -> dict[str, Any]:
    comparison = metrics.comparison
    return {
        "compared_photos": comparison.n_photos if comparison else None,
        **_estimate("minus_baseline_m", comparison.difference_m if comparison else None),
        **_estimate("over_baseline", comparison.ratio if comparison else None),
    }


def _night(metrics: RowMetrics) -> dict[str, Any]:
    night = metrics.night
    if night is None:
        return {"night.n_photos": 0 if metrics.no_night == "no night photos" else None}
    worst = {"worst_25_night_count": night.n_worst_night, "worst_25_night_share": night.worst_share}
    return prefixed("night.", flat_errors(night.errors)) | worst


def _estimate(name: str, estimate: Estimate | None) -> dict[str, Any]:
    return dict(flat_estimate(name, estimate or UNKNOWN))
