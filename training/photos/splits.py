"""`split`: assigns photos to training, validation and held-out subsets -> splits.csv."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from campus_visual_gps.errors import DatasetError
from campus_visual_gps.geodesy import MAX_OFFSET_DEG
from training.photos.decisions import EXCLUDE
from training.photos.decisions import TRAIN as TO_TRAIN
from training.photos.manifest import EXCLUDED, SPLIT_COLUMNS, SUBSETS, TRAIN, VAL, read_labels, write_yaml
from training.photos.photo_names import same_names
from training.photos.previous_split import changes_of, follow_renamed, read_previous
from training.photos.session_overlap import divided_pairs, overlap_warning, touching_sessions
from training.photos.split_assignment import PreviousSplit, assign
from training.photos.split_settings import SESSION_SETTINGS, SPLITS_YAML, SplitSettings
from training.photos.tables import write_table


@dataclass(frozen=True)
class SplitSummary:
    """Counts of a split.

    Attributes:
        photos: Number of photos by subset.
        sessions: Sessions by subset.
        shared_sessions: Sessions with photos in several subsets.
        moved_to_train: Photos of held-out sessions that a correction moved to training.
        moved_sessions: The held-out sessions that they are of.
        options: The settings, as options of the command.
        repeated: Whether there was a split before whose settings and assignments were kept.
        changes: What is another subset than before, and what else to know of what was kept, one line each.
        warnings: Sessions of one walk in several subsets, in one line.
    """

    photos: dict[str, int]
    sessions: dict[str, tuple[str, ...]]
    shared_sessions: tuple[str, ...]
    moved_to_train: int
    moved_sessions: tuple[str, ...] = ()
    options: str = ""
    repeated: bool = False
    changes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def split(
    dataset_dir: Path,
    test_sessions: Sequence[str] | None = None,
    val_sessions: Sequence[str] | None = None,
    val_fraction: float | None = None,
    random: bool | None = None,
    allow_shared_sessions: bool | None = None,
    night_holdout_sessions: Sequence[str] | None = None,
    night_holdout: int | None = None,
    seed: int | None = None,
    reset: bool = False,
) -> SplitSummary:
    """Assign every photo to one of the SUBSETS and write splits.csv, and splits.yaml with the settings.

    A setting that is None is that of splits.yaml, and else the default. Photos keep the subset that they have, but for
    what the given settings change: without any, new photos and decisions are all that changes. Photos that a correction
    excludes are `excluded`; those that it moves to training are `train` in any session, and stay it.

    Args:
        dataset_dir: The data set.
        test_sessions, val_sessions, night_holdout_sessions: Whole sessions for these subsets.
        val_fraction: Fraction of the remaining photos for validation, if `val_sessions` is empty: whole sessions of
            about so many photos; default 0.15.
        random: Draw single photos for validation instead (85 to 15 in the paper, section 4.1).
        allow_shared_sessions: Allow a session in several subsets. Neighbouring photos of a session have similar
            positions and label errors, so that validation and test errors are too small.
        night_holdout: Number of night photos to draw for night_holdout; default 0.
        seed: Random seed; the same seed gives the same split; default 42.
        reset: Forget the previous split: assign all photos anew.

    Raises:
        DatasetError: A session is unknown or shared, settings contradict each other, or there is more than one site.
    """
    dataset_dir = Path(dataset_dir)
    labels = read_labels(dataset_dir)
    usable = labels[labels["decision"] != EXCLUDE]
    _check_one_site(usable)
    before = read_previous(dataset_dir, labels, reset)
    previous = None if reset else before
    given = {
        "test_sessions": _known_names(test_sessions, usable),
        "night_holdout_sessions": _known_names(night_holdout_sessions, usable),
        "val_sessions": _known_names(val_sessions, usable),
        "val_fraction": val_fraction,
        "random": random,
        "allow_shared_sessions": allow_shared_sessions,
        "night_holdout": night_holdout,
        "seed": seed,
    }
    notes: list[str] = []
    settings = SplitSettings()
    if previous is not None:
        settings, notes = follow_renamed(previous, usable)
    settings = settings.changed(given)
    _check_settings(usable, settings, {name: value for name, value in given.items() if value is not None})
    touching = touching_sessions(usable)
    subsets = assign(usable, settings, {name for name in given if given[name] is not None}, previous, touching)
    moved = _moved(usable, subsets, settings, previous)
    shared = _shared_sessions(usable[~moved], subsets[~moved])
    if not settings.allow_shared_sessions:
        _check_not_shared(dataset_dir, shared, repeats=previous is not None)
    _check_not_empty(dataset_dir, subsets, settings.val_fraction)
    table = labels[["photo_id", "session"]].assign(subset=subsets.reindex(labels.index, fill_value=EXCLUDED))
    write_table(dataset_dir / "splits.csv", table[list(SPLIT_COLUMNS)])
    summary = _summarise(table, shared, touching)
    write_yaml(dataset_dir / SPLITS_YAML, {**settings.content(), "photos": summary.photos})
    return replace(
        summary,
        moved_to_train=int(moved.sum()),
        moved_sessions=tuple(sorted(set(usable["session"][moved]))),
        options=settings.options(),
        repeated=previous is not None,
        changes=(*notes, *changes_of(labels, table, before)),
    )


def _known_names(sessions: Sequence[str] | None, labels: pd.DataFrame) -> tuple[str, ...] | None:
    return None if sessions is None else tuple(same_names(sessions, labels["session"]))


def _check_one_site(labels: pd.DataFrame) -> None:
    position = labels[["latitude_deg", "longitude_deg"]]
    far = (position - position.median()).abs().max(axis=1) > MAX_OFFSET_DEG
    if far.any():
        raise DatasetError(
            f"{far.sum()} of {len(far)} photos, the first is {labels['file'][far.idxmax()]}, are more than "
            f"{MAX_OFFSET_DEG:g} degree from the median position; a data set is one site: ingest the others "
            "into another data set, or exclude them by a correction"
        )


def _check_settings(labels: pd.DataFrame, settings: SplitSettings, given: dict) -> None:
    known = sorted(set(labels["session"]))
    unknown = [name for key in SESSION_SETTINGS.values() for name in given.get(key, ()) if name not in known]
    if unknown:
        raise DatasetError(f"unknown session '{unknown[0]}'; the data set has {', '.join(known)}")
    every = [session for sessions in settings.named().values() for session in sessions]
    doubled = [session for session in every if every.count(session) > 1]
    if doubled:
        raise DatasetError(f"session '{doubled[0]}' is named twice; give it to one subset")
    if not 0.0 <= settings.val_fraction < 1.0:
        raise DatasetError(f"validation fraction: expected 0 or more and less than 1, got {settings.val_fraction:g}")
    if given.get("random") and settings.val_sessions:
        raise DatasetError("expected either random validation photos or validation sessions, got both")
    if settings.night_holdout < 0:
        raise DatasetError(f"night hold-out: expected 0 or more photos, got {settings.night_holdout}")


def _moved(
    labels: pd.DataFrame, subsets: pd.Series, settings: SplitSettings, previous: PreviousSplit | None
) -> pd.Series:
    """Which photos of sessions that are held out train, by a decision of now or of then."""
    named = {session for sessions in settings.named().values() for session in sessions}
    held_out = named | set(labels["session"][subsets != TRAIN])
    in_held_out = labels["session"].isin(held_out) & (subsets == TRAIN)
    moved = in_held_out & (labels["decision"] == TO_TRAIN)
    if previous is not None:
        before = {session for sessions in previous.settings.named().values() for session in sessions}
        then = labels["photo_id"].map(previous.sessions).isin(before) & (
            labels["photo_id"].map(previous.subsets) == TRAIN
        )
        moved |= in_held_out & labels["session"].isin(named) & then
    return moved


def _shared_sessions(labels: pd.DataFrame, subsets: pd.Series) -> tuple[str, ...]:
    """Sessions with photos in several subsets."""
    counts = subsets.groupby(labels["session"]).nunique()
    return tuple(counts.index[counts > 1])


def _check_not_shared(dataset_dir: Path, sessions: Sequence[str], repeats: bool) -> None:
    if sessions:
        why = "; photos keep the subset of the last split, and sessions are others now: name these with --test, --val "
        raise DatasetError(
            f"{dataset_dir}: sessions {', '.join(sessions)} would be in several subsets, which makes validation and "
            "test errors too small; split by session, or allow shared sessions"
            + (why + "or --night-holdout-session, or start anew with --reset" if repeats else "")
        )


def _check_not_empty(dataset_dir: Path, subsets: pd.Series, val_fraction: float) -> None:
    needed = [TRAIN, VAL] if val_fraction else [TRAIN]
    empty = [subset for subset in needed if not (subsets == subset).any()]
    if empty:
        other = ", or name another with --val" if empty[0] == VAL else ""
        raise DatasetError(f"{dataset_dir}: no photo is left for subset '{empty[0]}'; hold out fewer sessions{other}")


def _summarise(table: pd.DataFrame, shared: tuple[str, ...], touching: Sequence[tuple[str, str]]) -> SplitSummary:
    photos = {subset: int((table["subset"] == subset).sum()) for subset in SUBSETS}
    sessions = {
        subset: tuple(sorted(set(table["session"][table["subset"] == subset]))) for subset in SUBSETS if photos[subset]
    }
    divided = divided_pairs(touching, {name: own for name, own in sessions.items() if name != EXCLUDED})
    warnings = (overlap_warning(divided, "one tests what the other trains"),) if divided else ()
    return SplitSummary(photos, sessions, shared, 0, warnings=warnings)
