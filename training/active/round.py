"""`round`: one round of the active-learning loop (paper, section 3.5): decisions -> corrections, labels, subsets."""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import pandas as pd

from campus_visual_gps.errors import DatasetError, GeodesyError
from campus_visual_gps.geodesy import LocalFrame
from campus_visual_gps.io_utils import atomic_write, sha256_of
from training.active.decisions import Decisions, raise_problems, read_decisions
from training.active.evaluation_files import Evaluation, read_evaluation
from training.active.history import BEFORE, BEGUN, DONE, Round, read_history, sizes_of, write_history
from training.active.rehearsal import rehearse
from training.active.stages import keep_evaluation
from training.photos.correction_batch import Correction
from training.photos.corrections import apply_corrections
from training.photos.decisions import TRAIN as TO_TRAIN
from training.photos.manifest import TRAIN, load_dataset, read_photos, read_splits
from training.photos.photo_history import names_of
from training.photos.photo_id import photo_key
from training.photos.splits import split

_log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}")


@dataclass(frozen=True)
class RoundSummary:
    """What a round changed.

    Attributes:
        entry: Its entry in rounds.yaml.
        already_done: Whether it had been done before, so that nothing was changed.
        resumed: Whether an interrupted round was completed.
        last_stage: Name of the stage before this round.
    """

    entry: Round
    already_done: bool
    resumed: bool
    last_stage: str


def run_round(
    dataset_dir: Path, decisions_path: Path, name: str | None = None, evaluation_path: Path | None = None
) -> RoundSummary:
    """Apply the decisions of an audit to a data set, and add the round to its history.

    Everything is checked on a copy of the tables before anything is written. A round that was interrupted is completed
    by the same call; one that is complete stays as it is.

    Args:
        dataset_dir: The data set.
        decisions_path: The list of `blind-spots` with decisions, or another table or map of decisions.
        name: Of the round, by default round-1 and so on.
        evaluation_path: The evaluation that was audited; table 14 keeps its numbers.

    Raises:
        DatasetError: A decision is invalid, or its photo is not in the probe set: the evaluation, else the photos that
            are not in training. Nothing is written then.
    """
    dataset_dir = Path(dataset_dir)
    photos = read_photos(dataset_dir)
    files = dict(zip(photos["photo_id"], photos["file"], strict=True))
    decisions = read_decisions(Path(decisions_path), names_of(dataset_dir, photos))
    if not decisions.corrections:
        raise DatasetError(
            f"{decisions_path}: no photo has a decision ({decisions.undecided} rows are undecided); fill the column "
            "decision"
        )
    content = decisions.as_batch(files)
    history = read_history(dataset_dir)
    known = _find(history, hashlib.sha256(content).hexdigest(), name)
    if known is not None:
        return _complete(dataset_dir, history, known, content)
    _check_previous(dataset_dir, history)
    evaluation = None if evaluation_path is None else read_evaluation(Path(evaluation_path))
    _check_probe(load_dataset(dataset_dir, include_excluded=True), decisions, evaluation)
    entry = _begin(dataset_dir, history, decisions, content, name, evaluation)
    return _write(dataset_dir, [*history, entry], len(history), content, resumed=False)


def _find(history: list[Round], sha256: str, name: str | None) -> int | None:
    """The round with these decisions. Raises DatasetError if the name is another round's."""
    for index, entry in enumerate(history):
        if entry.batch_sha256 == sha256:
            if name not in (None, entry.name):
                raise DatasetError(f"these decisions are those of {entry.name}, not of {name}; nothing was changed")
            return index
    taken = [entry for entry in history if entry.name == name]
    if taken:
        raise DatasetError(
            f"{name} was done at {taken[0].at} with other decisions, which stay; give the new ones another --name"
        )
    return None


def _complete(dataset_dir: Path, history: list[Round], index: int, content: bytes) -> RoundSummary:
    """Go on with an interrupted round; leave one that is done alone."""
    entry, batch = history[index], dataset_dir / history[index].batch
    if entry.state == DONE and batch.exists():
        if sha256_of(batch) != entry.batch_sha256:
            _log.warning("%s was edited since %s; it stays as it is", batch, entry.name)
        return RoundSummary(entry, True, False, _stage_before(history, index))
    return _write(dataset_dir, history, index, content, resumed=True)


def _check_previous(dataset_dir: Path, history: list[Round]) -> None:
    unfinished = [entry.name for entry in history if entry.state != DONE]
    if unfinished:
        raise DatasetError(
            f"{dataset_dir}: {unfinished[0]} was interrupted; run it again with the decisions of that round first"
        )
    if not (dataset_dir / "splits.csv").exists():
        raise DatasetError(f"{dataset_dir} was never split; run `split {dataset_dir} --test SESSION` first")


def _check_probe(photos: pd.DataFrame, decisions: Decisions, evaluation: Evaluation | None) -> None:
    """Raise DatasetError for decisions on photos that are not in the probe set, and positions of another site."""
    photo_of = photos.set_index("photo_id")
    scored = set() if evaluation is None else {photo_key(i) for i in evaluation.predictions["photo_id"]}
    problems = []
    for correction in decisions.corrections:
        photo_id = correction.photo_id
        what = f"{correction.row.place}: photo '{correction.row.text('file') or photo_id}'"
        photo = photo_of.loc[photo_id]
        in_training = photo["subset"] == TRAIN
        if evaluation is not None and photo_key(photo_id) not in scored:
            problems.append(f"{what} is not in the probe set {evaluation.path}")
        elif in_training and (evaluation is None or correction.decision == TO_TRAIN):
            problems.append(f"{what} is in training already, not in the probe set")
        elif correction.moves and (problem := _too_far(correction, photo)):
            problems.append(f"{correction.row.place}: {problem}")
    raise_problems(decisions.path, problems)


def _too_far(correction: Correction, photo: pd.Series) -> str:
    """What is wrong with the position of a decision; "" if it is of this site."""
    try:
        LocalFrame.at(photo["latitude_deg"], photo["longitude_deg"]).to_local(
            correction.latitude_deg, correction.longitude_deg
        )
    except GeodesyError as error:
        return f"moves the label too far: {error}; are latitude and longitude swapped?"
    return ""


def _begin(
    dataset_dir: Path,
    history: list[Round],
    decisions: Decisions,
    content: bytes,
    name: str | None,
    evaluation: Evaluation | None,
) -> Round:
    """The entry of a new round, whose steps have been tried out."""
    number = len(history) + 1
    default = f"round-{number}"
    name = default if name is None else name
    if not _NAME.fullmatch(name) or name == BEFORE:
        raise DatasetError(
            f"name '{name}': expected letters, digits, dots, hyphens and underscores, and not '{BEFORE}'"
        )
    # Two digits: corrections are applied in name order, and round 10 comes after round 2.
    batch = Path("corrections") / (f"round-{number:02d}.csv" if name == default else f"round-{number:02d}-{name}.csv")
    if (dataset_dir / batch).exists():
        raise DatasetError(f"{dataset_dir / batch}: exists already; move it away, or give another --name")
    splits = read_splits(dataset_dir)
    subsets = dict(zip(splits["photo_id"], splits["subset"], strict=True))
    after = rehearse(dataset_dir, dataset_dir / batch, content, decisions.corrections)
    return Round(
        name=name,
        state=BEGUN,
        at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        batch=batch.as_posix(),
        batch_sha256=hashlib.sha256(content).hexdigest(),
        decisions=decisions.counts,
        undecided=decisions.undecided,
        moved_to_training=decisions.photo_ids(TO_TRAIN),
        subsets_before={correction.photo_id: subsets[correction.photo_id] for correction in decisions.corrections},
        before=sizes_of(splits),
        after=after,
        evaluation={} if evaluation is None else keep_evaluation(dataset_dir, _last_stage(history), evaluation),
    )


def _write(dataset_dir: Path, history: list[Round], index: int, content: bytes, resumed: bool) -> RoundSummary:
    """The steps of a round, each of which can be done again; the entry says DONE once all are."""
    entry = history[index]
    write_history(dataset_dir, [*history[:index], replace(entry, state=BEGUN), *history[index + 1 :]])
    batch = dataset_dir / entry.batch
    if not batch.exists():
        with atomic_write(batch) as partial:
            partial.write_bytes(content)
    apply_corrections(dataset_dir)
    split(dataset_dir)
    done = replace(entry, state=DONE, after=sizes_of(read_splits(dataset_dir)))
    write_history(dataset_dir, [*history[:index], done, *history[index + 1 :]])
    return RoundSummary(done, False, resumed, _stage_before(history, index))


def _last_stage(history: list[Round]) -> str:
    return history[-1].name if history else BEFORE


def _stage_before(history: list[Round], index: int) -> str:
    return _last_stage(history[:index])
