"""`split`: assigns photos to training, validation and held-out subsets -> splits.csv."""

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
from training.photos.photo_names import same_names
from training.photos.session_overlap import MEND, divided_pairs, groups_of, overlap_warning, touching_sessions
from training.photos.tables import write_table


@dataclass(frozen=True)
class SplitSummary:
    """Counts of a split.

    Attributes:
        photos: Number of photos by subset.
        sessions: Sessions by subset.
        shared_sessions: Sessions with photos in several subsets.
        moved_to_train: Photos that a correction moved to training.
        warnings: Sessions of one walk in several subsets, in one line.
    """

    photos: dict[str, int]
    sessions: dict[str, tuple[str, ...]]
    shared_sessions: tuple[str, ...]
    moved_to_train: int
    warnings: tuple[str, ...] = ()


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
    """Assign every photo to one of the SUBSETS and write splits.csv, and splits.yaml with the settings.

    Photos that a correction excludes are `excluded`; those that it moves to training are `train` in any session.

    Args:
        dataset_dir: The data set.
        test_sessions, val_sessions, night_holdout_sessions: Whole sessions for these subsets.
        val_fraction: Fraction of the remaining photos for validation, if `val_sessions` is empty: whole sessions of
            about so many photos.
        random: Draw single photos for validation instead (85 to 15 in the paper, section 4.1).
        allow_shared_sessions: Allow a session in several subsets. Neighbouring photos of a session have similar
            positions and label errors, so that validation and test errors are too small.
        night_holdout: Number of night photos to draw for night_holdout.
        seed: Random seed; the same seed gives the same split.

    Raises:
        DatasetError: A session is unknown or shared, settings contradict each other, or there is more than one site.
    """
    dataset_dir = Path(dataset_dir)
    labels = read_labels(dataset_dir)
    usable = labels[labels["decision"] != "exclude"]
    _check_one_site(usable)
    given = {TEST: test_sessions, NIGHT_HOLDOUT: night_holdout_sessions, VAL: val_sessions}
    named: dict[str, Sequence[str]] = {
        subset: same_names(sessions, usable["session"]) for subset, sessions in given.items()
    }
    _check_settings(usable, named, val_fraction, random, night_holdout)
    rng = np.random.default_rng(seed)
    touching = touching_sessions(usable)
    subsets = _assign_named(usable, named)
    _draw_night(usable, subsets, night_holdout, rng)
    if not val_sessions:
        _draw_validation(usable, subsets, val_fraction, random, rng, touching)
    shared = _shared_sessions(usable, subsets)
    if not allow_shared_sessions:
        _check_not_shared(dataset_dir, shared)
    moved = ((usable["decision"] == "train") & (subsets != TRAIN)).sum()
    subsets[usable["decision"] == "train"] = TRAIN
    _check_not_empty(dataset_dir, subsets, val_fraction)
    table = labels[["photo_id", "session"]].assign(subset=subsets.reindex(labels.index, fill_value=EXCLUDED))
    write_table(dataset_dir / "splits.csv", table[list(SPLIT_COLUMNS)])
    summary = _summarise(table, shared, int(moved), touching)
    settings = {f"{subset}_sessions": list(sessions) for subset, sessions in named.items()} | {
        "val_fraction": val_fraction,
        "random": random,
        "allow_shared_sessions": allow_shared_sessions,
        "night_holdout": night_holdout,
        "seed": seed,
    }
    write_yaml(dataset_dir / "splits.yaml", {**settings, "photos": summary.photos})
    return summary


def _check_one_site(labels: pd.DataFrame) -> None:
    position = labels[["latitude_deg", "longitude_deg"]]
    far = (position - position.median()).abs().max(axis=1) > MAX_OFFSET_DEG
    if far.any():
        raise DatasetError(
            f"{far.sum()} of {len(far)} photos, the first is {labels['file'][far.idxmax()]}, are more than "
            f"{MAX_OFFSET_DEG:g} degree from the median position; a data set is one site: ingest the others "
            "into another data set, or exclude them by a correction"
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
        raise DatasetError(f"validation fraction: expected 0 or more and less than 1, got {val_fraction:g}")
    if random and named[VAL]:
        raise DatasetError("expected either random validation photos or validation sessions, got both")
    if night_holdout < 0:
        raise DatasetError(f"night hold-out: expected 0 or more photos, got {night_holdout}")


def _assign_named(labels: pd.DataFrame, named: dict[str, Sequence[str]]) -> pd.Series:
    """Subsets by the index of `labels`: photos of sessions without a subset are `train`."""
    subsets = pd.Series(TRAIN, index=labels.index, dtype=object)
    for subset, sessions in named.items():
        subsets[labels["session"].isin(list(sessions))] = subset
    return subsets


def _draw_night(labels: pd.DataFrame, subsets: pd.Series, count: int, rng: np.random.Generator) -> None:
    candidates = labels[(subsets == TRAIN) & labels["night"].fillna(False) & (labels["decision"] != "train")]
    if count > len(candidates):
        raise DatasetError(
            f"expected {count} or more night photos among the remaining ones to hold out, got {len(candidates)}"
        )
    subsets[_draw(candidates, count, rng)] = NIGHT_HOLDOUT


def _draw_validation(
    labels: pd.DataFrame,
    subsets: pd.Series,
    fraction: float,
    random: bool,
    rng: np.random.Generator,
    touching: Sequence[tuple[str, str]],
) -> None:
    if fraction == 0.0:
        return
    rest = labels[(subsets == TRAIN) & (labels["decision"] != "train")]
    count = max(round(fraction * int((subsets == TRAIN).sum())), 1)
    if random:
        subsets[_draw(rest, min(count, len(rest)), rng)] = VAL
    else:
        subsets[rest.index[rest["session"].isin(_choose_sessions(rest, count, rng, touching))]] = VAL


def _draw(labels: pd.DataFrame, count: int, rng: np.random.Generator) -> pd.Index:
    """Index of `count` random photos, independent of the order of the photos."""
    ordered = labels.sort_values("photo_id").index
    return ordered[np.sort(rng.permutation(len(ordered))[:count])]


def _choose_sessions(
    labels: pd.DataFrame, count: int, rng: np.random.Generator, touching: Sequence[tuple[str, str]]
) -> list[str]:
    """Whole sessions with about `count` photos in total: at least one session, and never all.

    Sessions are tried in random order and chosen if that brings the total closer to `count`; if all are too large, the
    smallest is chosen. Those that touch stay together, unless all do.
    """
    names = labels["session"].unique()
    group = groups_of(names, touching)
    if len(set(group.values())) < 2:
        group = groups_of(names, ())
    sizes = labels["session"].map(group).value_counts().sort_index()
    if len(sizes) < 2:
        raise DatasetError(
            f"only session '{', '.join(sizes.index)}' is left to train and validate; name fewer for the test, "
            "capture another, split at random and allow shared sessions, or, if it holds several walks, "
            f"`{MEND}`"
        )
    chosen: list[str] = []
    total = 0
    for session in rng.permutation(sizes.index.to_numpy()):
        size = sizes[session]
        if abs(total + size - count) < abs(total - count) and len(chosen) < len(sizes) - 1:
            chosen.append(session)
            total += size
    chosen = chosen or [sizes.idxmin()]
    return [name for name in names if group[name] in chosen]


def _shared_sessions(labels: pd.DataFrame, subsets: pd.Series) -> tuple[str, ...]:
    """Sessions with photos in several subsets, without counting photos that a correction moved to training."""
    counts = subsets[labels["decision"] != "train"].groupby(labels["session"]).nunique()
    return tuple(counts.index[counts > 1])


def _check_not_shared(dataset_dir: Path, sessions: Sequence[str]) -> None:
    if sessions:
        raise DatasetError(
            f"{dataset_dir}: sessions {', '.join(sessions)} would be in several subsets, which makes validation and "
            "test errors too small; split by session, or allow shared sessions"
        )


def _check_not_empty(dataset_dir: Path, subsets: pd.Series, val_fraction: float) -> None:
    needed = [TRAIN, VAL] if val_fraction else [TRAIN]
    empty = [subset for subset in needed if not (subsets == subset).any()]
    if empty:
        raise DatasetError(f"{dataset_dir}: no photo is left for subset '{empty[0]}'; hold out fewer sessions")


def _summarise(
    table: pd.DataFrame, shared: tuple[str, ...], moved: int, touching: Sequence[tuple[str, str]]
) -> SplitSummary:
    photos = {subset: int((table["subset"] == subset).sum()) for subset in SUBSETS}
    sessions = {
        subset: tuple(sorted(set(table["session"][table["subset"] == subset]))) for subset in SUBSETS if photos[subset]
    }
    divided = divided_pairs(touching, {name: own for name, own in sessions.items() if name != EXCLUDED})
    warnings = (overlap_warning(divided, "one tests what the other trains"),) if divided else ()
    return SplitSummary(photos, sessions, shared, moved, warnings)
