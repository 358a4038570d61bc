"""Sessions that are one walk: taken at the same time and place, so that one tests what the other trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from itertools import combinations

import numpy as np
import pandas as pd

from campus_visual_gps.geodesy import SPHERE_RADIUS_M
from training.photos.photo_id import photo_key
from training.photos.sessions import SessionsBy, count_days, folder_session, folders_say_nothing, instants_s

# Photos of one walk that a camera or a person put into two folders lie closer than this.
TOUCH_GAP = timedelta(minutes=30)
TOUCH_DISTANCE_M = 100.0
_NAMED = 5
_METRES_PER_DEGREE = np.radians(1.0) * SPHERE_RADIUS_M
MEND = "ingest PHOTOS DATASET --sessions-by time"


def touching_sessions(photos: pd.DataFrame) -> list[tuple[str, str]]:
    """Pairs of sessions that overlap, or of which one begins less than TOUCH_GAP after a photo of the other.

    Both must have photos less than TOUCH_DISTANCE_M from the area of the other in that time. Photos without a time do
    not count.

    Args:
        photos: Table with the columns session, captured_at, latitude_deg and longitude_deg, all of one site.
    """
    times_s = instants_s(list(photos["captured_at"]), list(photos["longitude_deg"]))
    timed = np.isfinite(times_s)
    if not timed.any():
        return []
    photos, times_s = photos[timed], times_s[timed]
    # accurate to a percent, and for any positions: photos of another site are rejected by `split` only
    scale = np.array([np.cos(np.radians(photos["latitude_deg"].median())), 1.0]) * _METRES_PER_DEGREE
    positions_m = photos[["longitude_deg", "latitude_deg"]].to_numpy(dtype=float) * scale
    rows = {name: own[np.argsort(times_s[own])] for name, own in photos.groupby("session").indices.items()}
    return [
        (first, second)
        for first, second in combinations(sorted(rows), 2)
        if _touch(times_s, positions_m, rows[first], rows[second])
    ]


def _touch(times_s: np.ndarray, positions_m: np.ndarray, first: np.ndarray, second: np.ndarray) -> bool:
    gap_s = TOUCH_GAP.total_seconds()
    if max(times_s[first[0]], times_s[second[0]]) - min(times_s[first[-1]], times_s[second[-1]]) > gap_s:
        return False
    near_first = positions_m[first[_near(times_s[first], times_s[second], gap_s)]]
    near_second = positions_m[second[_near(times_s[second], times_s[first], gap_s)]]
    if not len(near_first) or not len(near_second):
        return False
    apart = np.maximum(near_first.min(0), near_second.min(0)) - np.minimum(near_first.max(0), near_second.max(0))
    return bool(np.hypot(*np.maximum(apart, 0.0)) <= TOUCH_DISTANCE_M)


def _near(own_s: np.ndarray, other_s: np.ndarray, gap_s: float) -> np.ndarray:
    """Which of the sorted times are within a gap of one of the sorted others."""
    place = np.searchsorted(other_s, own_s)
    before = np.abs(own_s - other_s[np.maximum(place - 1, 0)])
    after = np.abs(other_s[np.minimum(place, len(other_s) - 1)] - own_s)
    return np.minimum(before, after) <= gap_s


def groups_of(sessions: Iterable[str], pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The group of each session, named by its first: sessions that touch, directly or through others."""
    group = {session: session for session in sorted(sessions)}
    for first, second in pairs:
        if first in group and second in group:
            low, high = sorted((group[first], group[second]))
            group = {session: low if name == high else name for session, name in group.items()}
    return group


def divided_pairs(pairs: Iterable[tuple[str, str]], sessions_of: Mapping[str, Iterable[str]]) -> list[tuple[str, str]]:
    """The pairs of which one session is in another subset than the other.

    Args:
        pairs: Sessions that touch.
        sessions_of: Sessions by subset.
    """
    subsets: dict[str, set[str]] = {}
    for subset, sessions in sessions_of.items():
        for session in sessions:
            subsets.setdefault(session, set()).add(subset)
    return [(a, b) for a, b in pairs if a in subsets and b in subsets and len(subsets[a] | subsets[b]) > 1]


def sessions_of_several_days(photos: pd.DataFrame) -> dict[str, int]:
    """The number of days of the folders that are a session and hold walks of several days."""
    named = photos[photos["session"] == photos["file"].map(folder_session)]
    days = {
        str(session): count_days(list(own["captured_at"]), list(own["longitude_deg"]))
        for session, own in named.groupby("session")
    }
    return {session: count for session, count in days.items() if count > 1}


def overlap_warning(pairs: list[tuple[str, str]], consequence: str) -> str:
    """One line on sessions that touch.

    Args:
        pairs: One or more.
        consequence: What comes of it.
    """
    first = f"{pairs[0][0]} and {pairs[0][1]}"
    which = f"sessions {first}" if len(pairs) == 1 else f"{len(pairs)} pairs of sessions, such as {first},"
    return (
        f"{which} overlap in time or follow within {TOUCH_GAP.seconds // 60} minutes, at the same place: if they are "
        f"one walk, {consequence}; `{MEND}` makes them one session, unless a table of labels names them"
    )


def session_warnings(photos: pd.DataFrame, previous: Mapping[str, str], sessions_by: SessionsBy) -> list[str]:
    """What to know of the sessions of a new photos.csv, one line each.

    Args:
        photos: The new photos.csv.
        previous: The session that each photo had before, by `photo_key`.
        sessions_by: What makes a session.
    """
    messages = []
    before = photos["photo_id"].map(photo_key).map(previous)
    moved = int((before.notna() & (before != photos["session"])).sum())
    if moved:
        messages.append(
            f"{moved} photos are in another session than before (--sessions-by {sessions_by.value}): run `split` "
            "again; it keeps the subset of every photo"
        )
    pairs = touching_sessions(photos)
    if pairs:
        messages.append(overlap_warning(pairs, "one would test what the other trained"))
    files, times, longitudes = (list(photos[name]) for name in ("file", "captured_at", "longitude_deg"))
    by_time = sessions_by is not SessionsBy.FOLDER
    if not by_time and folder_session(files[0]) and folders_say_nothing(files, times, longitudes):
        by_time = True
        messages.append("all photos are in one folder, of several days: as with --sessions-by time, gaps make sessions")
    if by_time:
        untimed = photos["session"][photos["captured_at"] == ""]
        if len(untimed):
            names = ", ".join(sorted(set(untimed)))
            messages.append(f"{len(untimed)} photos have no time: they are in the sessions of their folders ({names})")
        return messages
    several = [f"{session} ({days} days)" for session, days in sessions_of_several_days(photos).items()]
    if several:
        which = ", ".join(several[:_NAMED]) + (f" and {len(several) - _NAMED} more" if len(several) > _NAMED else "")
        messages.append(f"folders that hold walks of several days: {which}; `{MEND}` makes a session of every walk")
    return messages
