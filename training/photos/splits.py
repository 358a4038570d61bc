"""`split`: which photos train, which validate, and which are held out -> splits.csv."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from campus_visual_gps.errors import DatasetError
from campus_visual_gps.geodesy import MAX_OFFSET_DEG
from training.photos.manifest import (
    EXCLUDED,
    NIGHT_HOLDOUT,
    SPLIT_COLUMNS,
    SUBSETS,
    TEST,
    TRAIN,
    VAL,
    read_labels,
    write_yaml,
)
from training.photos.tables import write_table


@dataclass(frozen=True)
class SplitSummary:
    """Photos and sessions by subset, the sessions that stand on both sides, and photos moved to training."""

    photos: dict[str, int]
    sessions: dict[str, tuple[str, ...]]
    shared_sessions: tuple[str, ...]
    moved_to_train: int


def split(
    dataset_dir: Path,
    test_sessions: Sequence[str] = (),
    val_sessions: Sequence[str] = (),
    val_fraction: float = 0.15,
    random: bool = False,
    allow_shared_sessions: bool = False,
    night_holdout_sessions: Sequence[str] = (),
    night_holdout: int = 0,
    seed: int = 42,
) -> SplitSummary:
    """Gives every photo one of the SUBSETS and writes splits.csv, and splits.yaml that says how.

    Sessions named for `test_sessions`, `night_holdout_sessions` and `val_sessions` go there whole. Of the rest,
    `night_holdout` night photos are drawn for that subset too. Without named validation sessions, whole
    sessions of about `val_fraction` of the remaining photos validate; with `random`, as many single photos (85
    to 15 in the paper, section 4.1). The same seed gives the same split. Photos that a correction excludes are
    'excluded'; those it moves to training train, whatever their session.

    Raises DatasetError for an unknown session, settings that contradict each other, photos of more than one
    site, and where a session would stand on both sides although `allow_shared_sessions` is not set:
    neighbouring photos of one walk share a place and its label, so that the score would be too good.
    """
    dataset_dir = Path(dataset_dir)
    labels = read_labels(dataset_dir)
    usable = labels[labels["decision"] != "exclude"]
    _check_one_site(usable)
    named = {TEST: test_sessions, NIGHT_HOLDOUT: night_holdout_sessions, VAL: val_sessions}
    _check_settings(usable, named, val_fraction, random, night_holdout)
    rng = np.random.default_rng(seed)
    subsets = _assign_named(usable, named)
    _draw_night(usable, subsets, night_holdout, rng)
    if not val_sessions:
        _draw_validation(usable, subsets, val_fraction, random, rng)
    shared = _shared_sessions(usable, subsets)
    if shared and not allow_shared_sessions:
        raise DatasetError(
            f"{dataset_dir}: sessions {', '.join(shared)} would stand on both sides of the split, which makes "
            "every score too good; split by session, or allow shared sessions if you mean it"
        )
    moved = ((usable["decision"] == "train") & (subsets != TRAIN)).sum()
    subsets[usable["decision"] == "train"] = TRAIN
    _check_not_empty(dataset_dir, subsets, val_fraction)
    table = labels[["photo_id", "session"]].assign(subset=subsets.reindex(labels.index, fill_value=EXCLUDED))
    write_table(dataset_dir / "splits.csv", table[list(SPLIT_COLUMNS)])
    summary = _summarise(table, shared, int(moved))
    how = {
        **{f"{subset}_sessions": list(sessions) for subset, sessions in named.items()},
        "val_fraction": val_fraction,
        "random": random,
        "allow_shared_sessions": allow_shared_sessions,
        "night_holdout": night_holdout,
        "seed": seed,
        "photos": summary.photos,
    }
    write_yaml(dataset_dir / "splits.yaml", how)
    return summary


def _check_one_site(labels: pd.DataFrame) -> None:
    position = labels[["latitude_deg", "longitude_deg"]]
    far = (position - position.median()).abs().max(axis=1) > MAX_OFFSET_DEG
    if far.any():
        raise DatasetError(
            f"{far.sum()} of {len(far)} photos, the first is {labels['file'][far.idxmax()]}, are more than "
            f"{MAX_OFFSET_DEG:g} degree from the median position; a data set is one site: ingest the others "
            "into one of their own, or exclude them by a correction"
        )


def _check_settings(
    labels: pd.DataFrame, named: dict[str, Sequence[str]], val_fraction: float, random: bool, night_holdout: int
) -> None:
    known = sorted(set(labels["session"]))
    every = [session for sessions in named.values() for session in sessions]
    unknown = [session for session in every if session not in known]
    if unknown:
        raise DatasetError(f"unknown session '{unknown[0]}'; the data set has {', '.join(known)}")
    doubled = [session for session in every if every.count(session) > 1]
    if doubled:
        raise DatasetError(f"session '{doubled[0]}' is named twice; give it to one subset")
    if not 0.0 <= val_fraction < 1.0:
        raise DatasetError(f"validation fraction {val_fraction:g} is outside 0..1; the usual one is 0.15")
    if random and named[VAL]:
        raise DatasetError("validation photos are either drawn at random or those of named sessions; choose one")
    if night_holdout < 0:
        raise DatasetError(f"{night_holdout} photos cannot be held out; give 0 or more")


def _assign_named(labels: pd.DataFrame, named: dict[str, Sequence[str]]) -> pd.Series:
    """The subset of each photo so far, by the index of `labels`: those of no named session train."""
    subsets = pd.Series(TRAIN, index=labels.index, dtype=object)
    for subset, sessions in named.items():
        subsets[labels["session"].isin(list(sessions))] = subset
    return subsets


def _draw_night(labels: pd.DataFrame, subsets: pd.Series, count: int, rng: np.random.Generator) -> None:
    candidates = labels[(subsets == TRAIN) & labels["night"].fillna(False) & (labels["decision"] != "train")]
    if count > len(candidates):
        raise DatasetError(
            f"{count} night photos are to be held out, but only {len(candidates)} of the remaining photos are "
            "known to be taken at night"
        )
    subsets[_draw(candidates, count, rng)] = NIGHT_HOLDOUT


def _draw_validation(
    labels: pd.DataFrame, subsets: pd.Series, fraction: float, random: bool, rng: np.random.Generator
) -> None:
    if fraction == 0.0:
        return
    rest = labels[(subsets == TRAIN) & (labels["decision"] != "train")]
    count = max(round(fraction * int((subsets == TRAIN).sum())), 1)
    if random:
        subsets[_draw(rest, min(count, len(rest)), rng)] = VAL
    else:
        subsets[rest.index[rest["session"].isin(_choose_sessions(rest, count, rng))]] = VAL


def _draw(labels: pd.DataFrame, count: int, rng: np.random.Generator) -> pd.Index:
    """Index of `count` random photos, the same ones in whatever order the photos stand."""
    ordered = labels.sort_values("photo_id").index
    return ordered[np.sort(rng.permutation(len(ordered))[:count])]


def _choose_sessions(labels: pd.DataFrame, count: int, rng: np.random.Generator) -> list[str]:
    """Whole sessions of together about `count` photos, at least one, and never all.

    Sessions come in random order, each taken if that brings the total nearer to `count`; if every one is too
    large, the smallest.
    """
    sizes = labels["session"].value_counts().sort_index()
    if len(sizes) < 2:
        raise DatasetError(
            f"only session '{', '.join(sizes.index)}' is left to train and validate; name fewer for the test, "
            "capture another, or split at random and allow shared sessions"
        )
    chosen: list[str] = []
    total = 0
    for session in rng.permutation(sizes.index.to_numpy()):
        size = sizes[session]
        if abs(total + size - count) < abs(total - count) and len(chosen) < len(sizes) - 1:
            chosen.append(session)
            total += size
    return chosen or [sizes.idxmin()]


def _shared_sessions(labels: pd.DataFrame, subsets: pd.Series) -> tuple[str, ...]:
    """Sessions with photos in more than one subset, those apart that somebody moved to training."""
    counts = subsets[labels["decision"] != "train"].groupby(labels["session"]).nunique()
    return tuple(counts.index[counts > 1])


def _check_not_empty(dataset_dir: Path, subsets: pd.Series, val_fraction: float) -> None:
    needed = [TRAIN, VAL] if val_fraction else [TRAIN]
    empty = [subset for subset in needed if not (subsets == subset).any()]
    if empty:
        raise DatasetError(f"{dataset_dir}: no photo is left for subset '{empty[0]}'; hold out fewer sessions")


def _summarise(table: pd.DataFrame, shared: tuple[str, ...], moved: int) -> SplitSummary:
    photos = {subset: int((table["subset"] == subset).sum()) for subset in SUBSETS}
    sessions = {
        subset: tuple(sorted(set(table["session"][table["subset"] == subset]))) for subset in SUBSETS if photos[subset]
    }
    return SplitSummary(photos, sessions, shared, moved)
