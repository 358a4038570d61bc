"""Capture sessions of photos, and which photos were taken at night."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import PurePosixPath

from astral import Observer
from astral.sun import elevation

SESSION_GAP = timedelta(hours=2)
UNKNOWN_TIME_SESSION = "unknown-time"


def folder_session(file: str) -> str:
    """The sub-folder of a photo, "" for the photo folder itself."""
    folder = PurePosixPath(file).parent.as_posix()
    return "" if folder == "." else folder


def gap_sessions(captured_at: list[str], longitudes_deg: list[float]) -> list[str]:
    """Assign photos to sessions by time: a gap of more than SESSION_GAP starts a new session.

    Args:
        captured_at: ISO 8601 times, "" if unknown.
        longitudes_deg: For the time zone of times without an offset.

    Returns:
        Names of the sessions: the time of their first photo, or UNKNOWN_TIME_SESSION.
    """
    times = [_parse(text) for text in captured_at]
    timed = [(_to_utc(time, longitudes_deg[i]), i, time) for i, time in enumerate(times) if time]
    sessions = [UNKNOWN_TIME_SESSION] * len(times)
    name, previous = "", None
    for utc, i, time in sorted(timed, key=lambda photo: photo[0]):
        if previous is None or utc - previous > SESSION_GAP:
            name = time.strftime("%Y-%m-%dT%H%M")
        sessions[i], previous = name, utc
    return sessions


def is_night(captured_at: str, latitude_deg: float, longitude_deg: float) -> bool | None:
    """Whether the sun was below the horizon; None if the time or its offset is unknown."""
    time = _parse(captured_at)
    if time is None or time.tzinfo is None:
        return None
    return elevation(Observer(latitude_deg, longitude_deg), time) < 0.0


def _parse(captured_at: str) -> datetime | None:
    return datetime.fromisoformat(captured_at) if captured_at else None


def _to_utc(time: datetime, longitude_deg: float) -> datetime:
    """A time without an offset gets that of the longitude's time zone, which is accurate enough for sessions."""
    if time.tzinfo is None:
        time = time.replace(tzinfo=timezone(timedelta(hours=round(longitude_deg / 15.0))))
    return time.astimezone(timezone.utc)
