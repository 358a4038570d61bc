"""Executes one run in this process: trains or combines, then predicts. What is there already is kept."""

from __future__ import annotations

import errno
import logging
import shutil
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from safetensors import safe_open

from campus_visual_gps.errors import DatasetError, VisualGpsError
from campus_visual_gps.io_utils import remove_partial_files
from campus_visual_gps.models.position_model import build_model
from training.config import BEST, TrainConfig
from training.evaluate.predict import PREDICTIONS, write_predictions
from training.experiments.plan import Evaluation, Run
from training.experiments.predictions import predict_split
from training.experiments.store import DONE, FAILED, RUNS, STATUS, locked, read_status, write_status
from training.fit.callbacks import METRICS, read_metrics
from training.fit.combine import combine
from training.fit.ensemble import train_ensemble
from training.fit.guards import loss_gap
from training.fit.member import METRICS as METRICS_CSV
from training.fit.member import WEIGHTS
from training.photos.manifest import write_yaml

log = logging.getLogger(__name__)

BUNDLE = "bundle"
EVALUATIONS = "evaluations"
STOPPED = "stopped"
TRACEBACK = "traceback.txt"
_SUMS = ("train_seconds", "parameters")  # of the members of an ensemble
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True)
class Outcome:
    """How a run ended: `state` is done, failed, or stopped, which ends all: the disk is full."""

    run_id: str
    state: str
    reason: str = ""


def is_finished(run: Run, out: Path, retry_failed: bool = False) -> bool:
    """Whether there is nothing left to do: the run and its evaluations are there, or have failed for good."""
    directories = [out / RUNS / run.run_id, *(evaluation_dir(out, run.run_id, item) for item in run.evaluations)]
    states = [read_status(directory).get("state") for directory in directories]
    if FAILED in states:
        return not retry_failed and (states[0] == FAILED or None not in states)
    return _is_made(directories[0]) and all(
        state == DONE and (directory / PREDICTIONS).is_file()
        for state, directory in zip(states[1:], directories[1:], strict=True)
    )


def evaluation_dir(out: Path, run_id: str, evaluation: Evaluation) -> Path:
    """Where the predictions of a run are."""
    return out / RUNS / run_id / EVALUATIONS / evaluation.key


def record_failure(directory: Path, reason: str) -> None:
    """Write down that a run, or the evaluation in a directory, failed. Raises DatasetError."""
    write_status(directory, FAILED, reason=reason)


def execute(run: Run, out: Path) -> Outcome:
    """Do what of a run is not there yet. Raises nothing but an interruption: what went wrong is written to its status.

    A run that fails is FAILED; one of which only an evaluation fails is DONE, and the evaluation has a status too.
    """
    directory = out / RUNS / run.run_id
    try:
        with locked(directory):
            if not _attempt(directory, lambda: _make(run, out)):
                return Outcome(run.run_id, FAILED, str(read_status(directory)["reason"]))
            for evaluation in run.evaluations:
                target = evaluation_dir(out, run.run_id, evaluation)
                _attempt(target, partial(_evaluate, run, evaluation, out))
    except (OSError, VisualGpsError) as error:
        return Outcome(run.run_id, STOPPED, str(error))
    return Outcome(run.run_id, DONE)


def _attempt(directory: Path, work: Callable[[], None]) -> bool:
    """Whether the work was done; else its failure is in the directory's status. Raises where the disk is full."""
    try:
        work()
    except Exception as error:
        if _is_full_disk(error):
            raise DatasetError(str(error)) from error
        if not isinstance(error, VisualGpsError):  # a fault of this program or of a device: its place is of use
            directory.mkdir(parents=True, exist_ok=True)
            (directory / TRACEBACK).write_text(traceback.format_exc(), encoding="utf-8")
        record_failure(directory, _reason(error))
        return False
    return True


def _is_made(directory: Path) -> bool:
    return read_status(directory).get("state") == DONE and (directory / BUNDLE / "bundle.yaml").is_file()


def _make(run: Run, out: Path) -> None:
    directory = out / RUNS / run.run_id
    if _is_made(directory):
        return
    # what is interrupted from here on is neither done nor failed
    (directory / STATUS).unlink(missing_ok=True)
    remove_partial_files(directory)
    write_yaml(directory / "config.yaml", run.content)
    started_s = perf_counter()
    if run.config is not None:
        train_ensemble(replace(run.config, out=str(directory)))
        measured = _training_results(run.config, directory)
        shutil.rmtree(directory / f"seed-{run.config.seeds[0]}" / "checkpoints", ignore_errors=True)
    else:
        measured = _combine(run, out)
    write_status(
        directory,
        DONE,
        **measured,
        made_seconds=round(perf_counter() - started_s, 1),  # of the last process, where it was interrupted
        finished_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def _combine(run: Run, out: Path) -> dict[str, Any]:
    bundle_dir = out / RUNS / run.run_id / BUNDLE
    shutil.rmtree(bundle_dir, ignore_errors=True)  # of a run that was interrupted after it
    members = [path for member in run.members for path in sorted((out / RUNS / member).glob("seed-*"))]
    combine(members, bundle_dir, run.dataset_dir)
    return combined_results([read_status(out / RUNS / member) for member in run.members])


def combined_results(statuses: list[dict[str, Any]]) -> dict[str, Any]:
    """What the trainings of several members took and reached: times and sizes add up, the rest is their mean."""
    results: dict[str, Any] = {}
    for name in (*_SUMS, "epochs", *METRICS, "gap"):
        values = [status[name] for status in statuses if name in status]
        if len(values) == len(statuses):
            total = sum(values)
            results[name] = total if name in _SUMS else round(total / len(values), 4)
    return results


def _training_results(config: TrainConfig, directory: Path) -> dict[str, Any]:
    """Of a training of one member: its times, its size, and the losses of the exported epoch."""
    seed_dir = directory / f"seed-{config.seeds[0]}"
    rows = read_metrics(seed_dir / METRICS_CSV)
    results: dict[str, Any] = {
        "train_seconds": round(float(rows["seconds"].sum()), 1),
        "epochs": len(rows),
        "parameters": _parameters(config, seed_dir / WEIGHTS),
    }
    best = config.trainer.keep == BEST and rows["val_loss"].notna().any()
    row = rows.loc[rows["val_loss"].idxmin()] if best else rows.iloc[-1]
    losses = {name: float(row[name]) for name in METRICS}
    losses["gap"] = loss_gap(losses["train_loss"], losses["val_loss"])
    return results | {name: round(value, 4) for name, value in losses.items() if np.isfinite(value)}


def _parameters(config: TrainConfig, weights: Path) -> int:
    """The number of trained and frozen parameters of a member; running statistics and grids are none."""
    with safe_open(weights, "pt") as file:
        cells = file.get_tensor("head.cells_enu_m") if "head.cells_enu_m" in file.keys() else None  # noqa: SIM118
    with torch.device("meta"):
        model = build_model(config.model, cells_enu_m=cells)
    return sum(parameter.numel() for parameter in model.parameters())


def _evaluate(run: Run, evaluation: Evaluation, out: Path) -> None:
    target = evaluation_dir(out, run.run_id, evaluation)
    if read_status(target).get("state") == DONE and (target / PREDICTIONS).is_file():
        return
    (target / STATUS).unlink(missing_ok=True)
    predicted = predict_split(out / RUNS / run.run_id / BUNDLE, run.dataset_dir, evaluation.split, evaluation.tta)
    write_predictions(target / PREDICTIONS, predicted.table)
    write_status(target, DONE, inference_seconds_per_photo=round(predicted.seconds_per_photo, 5))


def _reason(error: Exception) -> str:
    if isinstance(error, VisualGpsError):
        return str(error)
    first_line = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first_line}; see {TRACEBACK} of the run"


def _is_full_disk(error: BaseException | None) -> bool:
    while error is not None:
        if getattr(error, "errno", None) in _NO_ROOM or f"os error {errno.ENOSPC}" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
