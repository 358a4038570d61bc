"""Invalid rows of tables and maps: an error of their own, which a reader raises or hands on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from campus_visual_gps.errors import DatasetError


class RowError(DatasetError):
    """An invalid row: its file, the place in it, and what is wrong."""

    def __init__(self, path: Path, place: str, what: str):
        super().__init__(f"{path}, {place}: {what}")
        self.path, self.place, self.what = path, place, what


OnError = Callable[[RowError], None]


def report_or_raise(error: RowError, on_error: OnError | None) -> None:
    """Give the error of a row to `on_error`, or raise it without one."""
    if on_error is None:
        raise error
    on_error(error)
