"""Which photo goes to which subset: by the names of sessions, by the previous split, and by drawing the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from campus_visual_gps.errors import DatasetError
from training.photos.decisions import TRAIN as TO_TRAIN
from training.photos.manifest import EXCLUDED, NIGHT_HOLDOUT, TRAIN, VAL
from training.photos.session_overlap import MEND, groups_of
from training.photos.split_settings import SESSION_SETTINGS, SplitSettings


@dataclass(frozen=True)
class PreviousSplit:
    """What a data set was split into before.

    Attributes:
        settings: As splits.yaml has them.
        subsets: Subset by photo_id, of the photos that the data set still has.
        sessions: Their sessions then, by photo_id.
    """

    settings: SplitSettings
    subsets: pd.Series
    sessions: pd.Series


def assign(
    labels: pd.DataFrame,
    settings: SplitSettings,
    given: set[str],
    previous: PreviousSplit | None,
    touching: Sequence[tuple[str, str]],
) -> pd.Series:
    """The subset of each photo of `labels`, by its index, with photos that a decision moves to training.

    Photos keep the subset of the previous split, but for what this call gives otherwise: photos of sessions that it
    names, and drawn photos where it changes how they are drawn.

    Args:
        labels: Photos to use, with the columns of labels.csv.
        settings: Of this split.
        given: Names of the settings that this call gives.
        previous: The previous split, to be kept; None to assign all photos anew.
        touching: Pairs of sessions that may be one walk.

    Raises:
        DatasetError: There are too few photos or sessions to draw from.
    """
    rng = np.random.default_rng(settings.seed)
    subsets = _by_name(labels, settings)
    new = pd.Series(True, index=labels.index)
    keeps_night = keeps_val = False
    if previous is not None:
        keeps_night, keeps_val = _keeps_drawn(settings, previous.settings)
        old = labels["photo_id"].map(previous.subsets)
        old_session = labels["photo_id"].map(previous.sessions)
        new = old.isna() | (old == EXCLUDED)
        kept = ~new & ~_given_up(labels, old, old_session, settings, given, previous.settings, keeps_night, keeps_val)
        subsets[kept] = old[kept]
        if keeps_val and not settings.random:
            _follow_session(labels, subsets, new)
    if not keeps_night:
        _draw_night(labels, subsets, settings.night_holdout, rng)
    if not settings.val_sessions and settings.val_fraction > 0.0:
        if keeps_val and (subsets == VAL).any():
            _draw_more(labels, subsets, new, settings, rng)
        else:
            _draw_validation(labels, subsets, settings, rng, touching)
    subsets[labels["decision"] == TO_TRAIN] = TRAIN
    return subsets


def _by_name(labels: pd.DataFrame, settings: SplitSettings) -> pd.Series:
    """Subsets by the index of `labels`: photos of sessions without a subset are `train`."""
    subsets = pd.Series(TRAIN, index=labels.index, dtype=object)
    for subset, sessions in settings.named().items():
        subsets[labels["session"].isin(list(sessions))] = subset
    return subsets


def _keeps_drawn(settings: SplitSettings, before: SplitSettings) -> tuple[bool, bool]:
    """Whether drawn night photos, and drawn validation photos, stay."""
    same_seed = settings.seed == before.seed
    night = same_seed and settings.night_holdout == before.night_holdout
    drawn = not settings.val_sessions and not before.val_sessions
    val = same_seed and drawn and (settings.val_fraction, settings.random) == (before.val_fraction, before.random)
    return night, val


def _given_up(
    labels: pd.DataFrame,
    old: pd.Series,
    old_session: pd.Series,
    settings: SplitSettings,
    given: set[str],
    before: SplitSettings,
    keeps_night: bool,
    keeps_val: bool,
) -> pd.Series:
    """Which photos do not keep their subset, because this call says so."""
    result = pd.Series(False, index=labels.index)
    for subset, name in SESSION_SETTINGS.items():
        was_named = old_session.isin(list(getattr(before, name)))
        if name in given:
            # a photo that was moved out of a session that stays held out has trained: it stays in training
            moved = (old == TRAIN) & was_named
            result |= labels["session"].isin(list(getattr(settings, name))) & ~moved
            result |= (old == subset) & was_named
        elif subset == VAL and before.val_sessions and not settings.val_sessions:
            result |= (old == VAL) & was_named
    drawn_val = (old == VAL) & ~old_session.isin(list(before.val_sessions))
    drawn_night = (old == NIGHT_HOLDOUT) & ~old_session.isin(list(before.night_holdout_sessions))
    if not keeps_val:
        result |= drawn_val
    if not keeps_night:
        result |= drawn_night
    return result


def _follow_session(labels: pd.DataFrame, subsets: pd.Series, new: pd.Series) -> None:
    """New photos of a session that was drawn whole for validation are for validation too."""
    for session in labels["session"][new & (subsets == TRAIN)].unique():
        own = (labels["session"] == session) & (labels["decision"] != TO_TRAIN)
        if set(subsets[own & ~new]) == {VAL}:
            subsets[own & new] = VAL


def _draw_night(labels: pd.DataFrame, subsets: pd.Series, count: int, rng: np.random.Generator) -> None:
    candidates = labels[(subsets == TRAIN) & labels["night"].fillna(False) & (labels["decision"] != TO_TRAIN)]
    if count > len(candidates):
        raise DatasetError(
            f"expected {count} or more night photos among the remaining ones to hold out, got {len(candidates)}"
        )
    subsets[_draw(candidates, count, rng)] = NIGHT_HOLDOUT


def _draw_validation(
    labels: pd.DataFrame,
    subsets: pd.Series,
    settings: SplitSettings,
    rng: np.random.Generator,
    touching: Sequence[tuple[str, str]],
) -> None:
    rest = labels[(subsets == TRAIN) & (labels["decision"] != TO_TRAIN)]
    count = max(round(settings.val_fraction * int((subsets == TRAIN).sum())), 1)
    if settings.random:
        subsets[_draw(rest, min(count, len(rest)), rng)] = VAL
    else:
        subsets[rest.index[rest["session"].isin(_choose_sessions(rest, count, rng, touching))]] = VAL


def _draw_more(
    labels: pd.DataFrame, subsets: pd.Series, new: pd.Series, settings: SplitSettings, rng: np.random.Generator
) -> None:
    """Where single photos are drawn, the fraction of the new ones too."""
    if settings.random:
        fresh = labels[new & (subsets == TRAIN) & (labels["decision"] != TO_TRAIN)]
        subsets[_draw(fresh, round(settings.val_fraction * len(fresh)), rng)] = VAL


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
