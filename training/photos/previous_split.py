"""The split that a data set has already: what it says of the photos of today, and what another split changes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from campus_visual_gps.errors import DatasetError
from training.photos.decisions import EXCLUDE
from training.photos.decisions import TRAIN as TO_TRAIN
from training.photos.manifest import EXCLUDED, NIGHT_HOLDOUT, TEST, TRAIN, VAL, read_splits
from training.photos.photo_history import names_of
from training.photos.split_assignment import PreviousSplit
from training.photos.split_settings import (
    SESSION_SETTINGS,
    SPLITS_YAML,
    SplitSettings,
    read_settings,
    settings_of_table,
)

_NAMED = 4
_SETS = {TEST: "the test set", VAL: "validation", NIGHT_HOLDOUT: "the night hold-out", TRAIN: "training"}


def read_previous(dataset_dir: Path, labels: pd.DataFrame, reset: bool) -> PreviousSplit | None:
    """The split of a data set, None if it was never split.

    Args:
        dataset_dir: The data set.
        labels: Its photos of today; those with another id than then are found by their path.
        reset: Whether it is read only to say what is given up, so that a damaged one is none.

    Raises:
        DatasetError: splits.csv or splits.yaml is damaged.
    """
    try:
        has_table = (Path(dataset_dir) / "splits.csv").exists()
        settings = read_settings(dataset_dir)
        if not has_table and settings is None:
            return None
        empty = pd.DataFrame({"photo_id": [], "session": [], "subset": []}, dtype=object)
        splits = read_splits(dataset_dir) if has_table else empty
    except DatasetError as error:
        if reset:
            return None
        raise DatasetError(
            f"{error}; or start anew: `split {dataset_dir} --reset` with the sessions to hold out"
        ) from error
    names = names_of(dataset_dir, labels)
    found = {row.photo_id: names.find_id(row.photo_id) for row in splits.itertuples(index=False)}
    now = splits["photo_id"].map({key: next(iter(ids)) for key, ids in found.items() if len(ids) == 1})
    known = splits.assign(photo_id=now)[now.notna()].drop_duplicates("photo_id").set_index("photo_id")
    return PreviousSplit(settings or settings_of_table(splits), known["subset"], known["session"])


def follow_renamed(previous: PreviousSplit, labels: pd.DataFrame) -> tuple[SplitSettings, list[str]]:
    """The previous settings with the names that sessions have now, and a line for each that has another or none.

    A session without photos stays in the settings: its photos may come back.
    """
    today = set(labels["session"])
    now = labels.set_index("photo_id")["session"]
    names_now: dict[str, Any] = {}
    notes: list[str] = []
    taken: set[str] = set()
    for subset, key in SESSION_SETTINGS.items():
        names: list[str] = []
        for session in getattr(previous.settings, key):
            photos = previous.sessions.index[(previous.sessions == session) & (previous.subsets != EXCLUDED)]
            renamed = [] if session in today else sorted(set(now.reindex(photos).dropna()))
            if renamed:
                notes.append(f"session {session} of {_SETS[subset]} is {', '.join(renamed)} now")
            elif session not in today:
                notes.append(f"session {session} of {_SETS[subset]} has no photos; {SPLITS_YAML} keeps its name")
            names += renamed or [session]
        own = tuple(name for name in dict.fromkeys(names) if name not in taken)
        taken.update(own)
        names_now[key] = own
    return replace(previous.settings, **names_now), notes


def changes_of(labels: pd.DataFrame, table: pd.DataFrame, before: PreviousSplit | None) -> list[str]:
    """One line for every subset whose photos are in another one than before, and for new photos.

    Args:
        labels: labels.csv.
        table: The new splits.csv, with rows as of `labels`.
        before: The previous split, if there was one.
    """
    if before is None or before.subsets.empty:
        return []
    old = table["photo_id"].map(before.subsets)
    decided = labels["decision"].isin([TO_TRAIN, EXCLUDE])
    new = table["subset"]
    lines = []
    for was, name in _SETS.items():
        for now in (TRAIN, VAL, TEST, NIGHT_HOLDOUT):
            rows = (old == was) & (new == now) & (was != now) & ~decided
            if rows.any():
                lines.append(_change(table[rows], name, was, now))
    moved = (old.isin([TEST, VAL, NIGHT_HOLDOUT])) & (new == TRAIN) & decided
    if moved.any():
        lines.append(f"{moved.sum()} photos are moved to training by a decision ({_sessions(table[moved])})")
    lines += _new_photos(table[old.isna() & (new != EXCLUDED)])
    return lines


def _change(rows: pd.DataFrame, name: str, was: str, now: str) -> str:
    text = f"{len(rows)} photos of {name} are in {_SETS[now]} now ({_sessions(rows)})"
    if was == TEST:
        return f"given up: {text}"
    if was == TRAIN and now in (TEST, NIGHT_HOLDOUT):
        return f"{text}: bundles that were trained before have seen them"
    return text


def _new_photos(rows: pd.DataFrame) -> list[str]:
    counts = rows["subset"].value_counts()
    return [
        f"{count} new photos are in {_SETS[subset]} ({_sessions(rows[rows['subset'] == subset])})"
        for subset, count in counts.items()
    ]


def _sessions(rows: pd.DataFrame) -> str:
    names = sorted(set(rows["session"]))
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
