"""The stages of table 14, before and after each round, and the evaluation of each."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from campus_visual_gps.errors import DatasetError
from campus_visual_gps.io_utils import atomic_write
from training.active.evaluation_files import Evaluation, read_evaluation
from training.active.history import BEFORE, Round, Sizes, stage_predictions, test_set_of
from training.active.stage_metrics import stage_metrics
from training.active.training_photos import frame_of
from training.photos.photo_id import photo_key

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stage:
    """A stage: its name, the sizes of the subsets, the photos that had been moved to training, its evaluation."""

    name: str
    sizes: Sizes
    moved: frozenset[str]
    evaluation: Evaluation | None

    @property
    def train_size(self) -> int:
        """Photos to train and to validate, as the paper counts them."""
        return self.sizes.photos["train"] + self.sizes.photos["val"]


def stages_of(dataset_dir: Path, history: list[Round], given: Mapping[str, Path]) -> list[Stage]:
    """All stages with their evaluations: the given ones, which are kept in rounds/, else those that were kept.

    Raises:
        DatasetError: A name is no stage, or an evaluation scores photos that were in training by then.
    """
    if not history:
        raise DatasetError(f"{dataset_dir}: no round was done yet; run `round {dataset_dir} --decisions FILE`")
    names = [BEFORE, *(entry.name for entry in history)]
    unknown = [name for name in given if name not in names]
    if unknown:
        raise DatasetError(f"--evaluation {unknown[0]}=...: no such stage; expected one of {', '.join(names)}")
    sizes = [history[0].before, *(entry.after for entry in history)]
    stages, moved = [], frozenset[str]()
    for number, name in enumerate(names):
        if number:
            moved |= {photo_key(photo_id) for photo_id in history[number - 1].moved_to_training}
        stage = Stage(name, sizes[number], moved, _evaluation_of(dataset_dir, name, given))
        check_unmoved(stage)
        stages.append(stage)
    for stage in stages:  # only now: all of them are as they should be
        if stage.name in given and stage.evaluation is not None:
            check_trained_on(stage)
            keep_evaluation(dataset_dir, stage.name, stage.evaluation)
    return stages


def _evaluation_of(dataset_dir: Path, name: str, given: Mapping[str, Path]) -> Evaluation | None:
    if name in given:
        return read_evaluation(given[name])
    kept = stage_predictions(dataset_dir, name)
    return read_evaluation(kept) if kept.exists() else None


def check_unmoved(stage: Stage) -> None:
    """Raise DatasetError if photos are scored that were in training by then: they would flatter."""
    if stage.evaluation is None:
        return
    predictions = stage.evaluation.predictions
    seen = predictions["photo_id"].map(photo_key).isin(stage.moved)
    if seen.any():
        raise DatasetError(
            f"{stage.evaluation.path}: scores {seen.sum()} photos that had been moved to training by stage "
            f"{stage.name}, such as {predictions['file'][seen.idxmax()]}; run `evaluate` on the test set of that stage"
        )


def check_trained_on(stage: Stage) -> None:
    """Warn where the evaluated bundle was not trained on the photos that the rounds had moved to training."""
    if stage.evaluation is None or not stage.moved:
        return
    path = Path(str(stage.evaluation.report.get("bundle") or "")) / "bundle.yaml"
    try:
        training = yaml.safe_load(path.read_text(encoding="utf-8"))["training"]
        trained = {photo_key(str(photo_id)) for photo_id in training["photo_ids"]}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError):
        return
    missing = stage.moved - trained
    if missing:
        _log.warning(
            "%s: its bundle was not trained on %d of the %d photos that were moved to training by stage %s; was it "
            "trained before the round?",
            stage.evaluation.path,
            len(missing),
            len(stage.moved),
            stage.name,
        )


def keep_evaluation(dataset_dir: Path, stage: str, evaluation: Evaluation) -> dict:
    """Copy the predictions of a stage into rounds/, and return what rounds.yaml says of them."""
    target = stage_predictions(dataset_dir, stage)
    if evaluation.path.absolute() != target.absolute():
        with atomic_write(target) as partial:
            partial.write_bytes(evaluation.path.read_bytes())
    return describe_evaluation(evaluation)


def describe_evaluation(evaluation: Evaluation) -> dict:
    """Metrics, and the photos that they are of."""
    metrics = stage_metrics(evaluation.predictions, evaluation.errors_m)
    return {
        "predictions": str(evaluation.path),
        "model_id": str(evaluation.report.get("model_id", "")),
        "photos": metrics.photos,
        "test_set": test_set_of(evaluation.predictions["photo_id"]),
        "mean_error_m": metrics.mean_error_m.value,
        "mean_error_m_low": metrics.mean_error_m.low,
        "mean_error_m_high": metrics.mean_error_m.high,
        "over_50m_count": metrics.over,
        "over_50m_share": metrics.over_share.value,
    }


def common_photos(stages: list[Stage]) -> list[str]:
    """Keys of the photos that every evaluated stage scores, in the order of the first."""
    tables = [stage.evaluation.predictions for stage in stages if stage.evaluation is not None]
    if not tables:
        return []
    shared = set.intersection(*(set(table["photo_id"].map(photo_key)) for table in tables))
    return [key for key in tables[0]["photo_id"].map(photo_key) if key in shared]


def errors_against(predictions: pd.DataFrame, labels: pd.DataFrame) -> np.ndarray:
    """(N,) metres from the predicted positions to the labels of today, as `read_labels` has them, row by row."""
    frame = frame_of(labels["latitude_deg"], labels["longitude_deg"])
    truth_m = frame.to_local(labels["latitude_deg"], labels["longitude_deg"])
    known = predictions[["latitude_deg", "longitude_deg"]].notna().all(axis=1).to_numpy()
    errors_m = np.full(len(predictions), np.nan)
    if known.any():
        found_m = frame.to_local(predictions["latitude_deg"][known], predictions["longitude_deg"][known])
        errors_m[known] = np.hypot(*(found_m - truth_m[known]).T)
    return errors_m
