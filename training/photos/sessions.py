"""Capture sessions of photos, and which photos were taken at night."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import Enum
from itertools import count
from pathlib import PurePosixPath

import numpy as np
from astral import Observer
from astral.sun import elevation

from campus_visual_gps.errors import DatasetError

SESSION_GAP = timedelta(hours=2)
UNKNOWN_TIME_SESSION = "unknown-time"
_DAY_S = 86400.0
_EPOCH = datetime(1970, 1, 1)


class SessionsBy(str, Enum):
    """What makes photos one session."""

    FOLDER = "folder"  # the sub-folder; where there is none, or only one for several days, gaps in time
    TIME = "time"  # gaps in time
    DAY = "day"  # the day, which ends at a gap in time

    @classmethod
    def parse(cls, text: str) -> SessionsBy:
        """Raises DatasetError for another text."""
        if text not in [by.value for by in cls]:
            raise DatasetError(f"sessions by '{text}': expected {', '.join(by.value for by in cls)}")
        return cls(text)


class Folders(str, Enum):
    """What the sub-folders of the photo folder are."""

    SESSION = "session"
    AREA = "area"  # areas of the site; sessions come from time
    IGNORE = "ignore"

    @classmethod
    def parse(cls, text: str) -> Folders:
        """Raises DatasetError for another text."""
        if text not in [own.value for own in cls]:
            raise DatasetError(f"folders '{text}': expected {', '.join(own.value for own in cls)}")
        return cls(text)


def sessions_with(folders: Folders, by: SessionsBy | None) -> SessionsBy:
    """What makes a session where folders mean that; `by` is what was asked for, if anything.

    Raises:
        DatasetError: Folders cannot be sessions and something else.
    """
    if folders is Folders.SESSION:
        return by or SessionsBy.FOLDER
    if by is SessionsBy.FOLDER:
        raise DatasetError(
            f"folders are either sessions or '{folders.value}'; leave out --sessions-by, or give time or day"
        )
    return by or SessionsBy.TIME


def folder_session(file: str) -> str:
    """The sub-folder of a photo, "" for the photo folder itself."""
    folder = PurePosixPath(file).parent.as_posix()
    return "" if folder == "." else folder


def assign_sessions(
    files: Sequence[str], captured_at: Sequence[str], longitudes_deg: Sequence[float], by: SessionsBy
) -> list[str]:
    """The session of each photo. Those without a time are in the session of their sub-folder.

    Args:
        files: Paths below the photo folder.
        captured_at: ISO 8601 times, "" if unknown.
        longitudes_deg: For the time zone of times without an offset.
        by: What makes a session.
    """
    folders = [folder_session(file) for file in files]
    if folders_say_nothing(files, captured_at, longitudes_deg) and by is SessionsBy.FOLDER:
        by = SessionsBy.TIME
    rows = [i for i, folder in enumerate(folders) if not folder or (by is not SessionsBy.FOLDER and captured_at[i])]
    found = gap_sessions([captured_at[i] for i in rows], [longitudes_deg[i] for i in rows], by is SessionsBy.DAY)
    sessions = list(folders)
    for i, session in zip(rows, found, strict=True):
        sessions[i] = session
    return sessions


def folders_say_nothing(files: Sequence[str], captured_at: Sequence[str], longitudes_deg: Sequence[float]) -> bool:
    """Whether all photos are in one folder, of several days: the folder is no walk."""
    return len({folder_session(file) for file in files}) == 1 and count_days(captured_at, longitudes_deg) > 1


def count_days(captured_at: Sequence[str], longitudes_deg: Sequence[float]) -> int:
    """The number of days on which walks began."""
    return len(set(gap_sessions(captured_at, longitudes_deg, by_day=True)) - {UNKNOWN_TIME_SESSION})


def gap_sessions(captured_at: Sequence[str], longitudes_deg: Sequence[float], by_day: bool = False) -> list[str]:
    """Assign photos to sessions by time: a gap of more than SESSION_GAP starts a new session.

    Args:
        captured_at: ISO 8601 times, "" if unknown.
        longitudes_deg: For the time zone of times without an offset.
        by_day: Sessions that begin on the same day are one.

    Returns:
        Names of the sessions: the time of their first photo, or its day, or UNKNOWN_TIME_SESSION.
    """
    times_s = instants_s(captured_at, longitudes_deg)
    sessions = [UNKNOWN_TIME_SESSION] * len(captured_at)
    name, previous_s = "", -np.inf
    taken: set[str] = set()
    for i in np.argsort(times_s, kind="stable")[: int(np.isfinite(times_s).sum())]:
        if times_s[i] - previous_s > SESSION_GAP.total_seconds():
            name = captured_at[i][:10] if by_day else _session_name(captured_at[i], taken)
            taken.add(name)
        sessions[i], previous_s = name, times_s[i]
    return sessions


def _session_name(captured_at: str, taken: set[str]) -> str:
    """The local time of the first photo, with a number where a session in another time zone has that name."""
    name = captured_at[:16].replace(":", "")
    return name if name not in taken else next(f"{name}-{n}" for n in count(2) if f"{name}-{n}" not in taken)


def instants_s(captured_at: Sequence[str], longitudes_deg: Sequence[float]) -> np.ndarray:
    """ISO 8601 texts -> seconds since the epoch (N,), NaN for "".

    A time without an offset has that of the nearest time within a day that has one, else that of the longitude's time
    zone, which is accurate enough for sessions.
    """
    times = [_parse(text) for text in captured_at]
    local_s = np.array([(t.replace(tzinfo=None) - _EPOCH).total_seconds() if t else np.nan for t in times], dtype=float)
    offset_s = np.array([_offset_s(t) for t in times], dtype=float)
    known = np.flatnonzero(np.isfinite(offset_s))
    known = known[np.argsort(local_s[known], kind="stable")]
    for i in map(int, np.flatnonzero(np.isnan(offset_s) & np.isfinite(local_s))):
        offset_s[i] = round(longitudes_deg[i] / 15.0) * 3600.0
        if len(known):
            place = np.searchsorted(local_s[known], local_s[i])
            beside = known[max(place - 1, 0) : place + 1]
            nearest = beside[np.argmin(np.abs(local_s[beside] - local_s[i]))]
            if abs(local_s[nearest] - local_s[i]) <= _DAY_S:
                offset_s[i] = offset_s[nearest]
    return local_s - offset_s


def is_night(captured_at: str, latitude_deg: float, longitude_deg: float) -> bool | None:
    """Whether the sun was below the horizon; None if the time or its offset is unknown."""
    time = _parse(captured_at)
    if time is None or time.tzinfo is None:
        return None
    try:
        return elevation(Observer(latitude_deg, longitude_deg), time) < 0.0
    except (ValueError, OverflowError):  # a clock that was set to year 1 or 9999
        return None


def _parse(captured_at: str) -> datetime | None:
    """None for a text that is no time, as a person may have written it."""
    try:
        return datetime.fromisoformat(captured_at.replace("Z", "+00:00")) if captured_at else None
    except ValueError:
        return None


def _offset_s(time: datetime | None) -> float:
    """Seconds east of UTC, NaN if unknown."""
    offset = time.utcoffset() if time else None
    return np.nan if offset is None else offset.total_seconds()
