"""Which photos were taken on one walk, and which of them at night."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import PurePosixPath

from astral import Observer
from astral.sun import elevation

SESSION_GAP = timedelta(hours=2)
UNKNOWN_TIME_SESSION = "unknown-time"


def folder_session(file: str) -> str:
    """The sub-folder that a photo lies in, "" for one in the photo folder itself."""
    folder = PurePosixPath(file).parent.as_posix()
    return "" if folder == "." else folder


def gap_sessions(captured_at: list[str], longitudes_deg: list[float]) -> list[str]:
    """Sessions of photos by their times (ISO 8601): a gap of more than two hours begins a new one.

    A session is named by the time of its first photo; photos without a time share UNKNOWN_TIME_SESSION.
    """
    times = [_parse(text) for text in captured_at]
    order = [i for i, time in enumerate(times) if time]
    order.sort(key=lambda i: _to_utc(times[i], longitudes_deg[i]))
    sessions = [UNKNOWN_TIME_SESSION] * len(times)
    previous = None
    for i in order:
        utc = _to_utc(times[i], longitudes_deg[i])
        if previous is None or utc - previous > SESSION_GAP:
            name = times[i].strftime("%Y-%m-%dT%H%M")
        sessions[i], previous = name, utc
    return sessions


def is_night(captured_at: str, latitude_deg: float, longitude_deg: float) -> bool | None:
    """Whether the sun stood below the horizon; None without a time, or for a time without an offset."""
    time = _parse(captured_at)
    if time is None or time.tzinfo is None:
        return None
    return elevation(Observer(latitude_deg, longitude_deg), time) < 0.0


def _parse(captured_at: str) -> datetime | None:
    return datetime.fromisoformat(captured_at) if captured_at else None


def _to_utc(time: datetime, longitude_deg: float) -> datetime:
    """A time without an offset is taken as that of the longitude's zone: near enough to line up sessions."""
    if time.tzinfo is None:
        time = time.replace(tzinfo=timezone(timedelta(hours=round(longitude_deg / 15.0))))
    return time.astimezone(timezone.utc)
