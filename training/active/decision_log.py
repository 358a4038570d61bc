"""For a page of the audit: list the queue, get what an auditor needs of one photo, record a decision, undo it.

Nothing here knows how a page is served. The log of decisions is a CSV that `round --decisions` takes.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from campus_visual_gps.errors import DatasetError
from campus_visual_gps.io_utils import atomic_write
from training.active.decisions import BATCH_COLUMNS, DECIDED_AT, SPELLINGS
from training.active.material import Material, MaterialSource
from training.photos.csv_text import format_record
from training.photos.decisions import LABEL, parse_decision
from training.photos.exif import position_problem
from training.photos.photo_id import photo_key
from training.photos.tables import Row, read_rows

LOG_COLUMNS = (*BATCH_COLUMNS, DECIDED_AT)
_threads = threading.Lock()


@dataclass(frozen=True)
class QueueItem:
    """A photo of the queue: its cells in the list of blind spots, and the decision in force, "" if there is none."""

    photo_id: str
    file: str
    cells: dict[str, str]
    decision: str


def list_queue(blind_spots_csv: Path, log_csv: Path) -> list[QueueItem]:
    """The photos of `blind-spots`, the worst first, with the decisions so far. Raises DatasetError.

    A decision that a person wrote into the list itself counts where the log has none.
    """
    in_force = {photo_key(row.text("photo_id")): row.text("decision") for row in _read_log(log_csv)}
    items = []
    for row in read_rows(blind_spots_csv, required=("photo_id", "file")):
        photo_id = row.text("photo_id", required=True)
        decision = in_force.get(photo_key(photo_id)) or row.text("decision")
        items.append(QueueItem(photo_id, row.text("file"), dict(row.values), decision))
    return items


def get_material(source: MaterialSource, photo_id: str) -> Material:
    """What an auditor needs of one photo. Raises DatasetError if the evaluation does not have it."""
    return source.material(source.row_of(photo_id))


def record_decision(
    log_csv: Path,
    photo_id: str,
    decision: str,
    *,
    file: str = "",
    latitude_deg: float = math.nan,
    longitude_deg: float = math.nan,
    gps_accuracy_m: float = math.nan,
    note: str = "",
) -> None:
    """Append a decision to the log; the file is the old one or the new one, whatever happens meanwhile.

    Args:
        log_csv: The log, made if it is not there.
        photo_id: The photo. A later decision on it replaces an earlier one.
        decision: In any spelling.
        file: Its path, for those who read the log.
        latitude_deg, longitude_deg: The right position; needed to correct a label.
        gps_accuracy_m: Accuracy of that position; the usual one without.
        note: Free text.

    Raises:
        DatasetError: The decision is none, lacks its position, or the file is not such a log.
    """
    try:
        name = parse_decision(decision)
    except ValueError as error:
        raise DatasetError(f"{photo_id}: {error}") from None
    given = not (math.isnan(latitude_deg) and math.isnan(longitude_deg))
    problem = position_problem(latitude_deg, longitude_deg) if given else ""
    if not name or not photo_id.strip():
        problem = "a decision needs a photo_id and one of " + ", ".join(SPELLINGS.values())
    elif name == LABEL and not given:
        problem = f"{SPELLINGS[LABEL]} needs the right position"
    elif gps_accuracy_m <= 0.0:
        problem = f"accuracy {gps_accuracy_m:g} m: expected more than 0"
    if problem:
        raise DatasetError(f"{photo_id}: {problem}")
    numbers = [
        "" if math.isnan(value) else repr(float(value)) for value in (latitude_deg, longitude_deg, gps_accuracy_m)
    ]
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    with _locked(log_csv):
        rows = [list(row.values.values()) for row in _read_log(log_csv)]
        _write_log(log_csv, [*rows, [photo_id, file, SPELLINGS[name], *numbers, note, now]])


def undo_decision(log_csv: Path) -> dict[str, str] | None:
    """Take back the last decision of the log, and return its cells; None if there is none. Raises DatasetError.

    An earlier decision on the same photo is in force again.
    """
    with _locked(log_csv):
        rows = _read_log(log_csv)
        if not rows:
            return None
        _write_log(log_csv, [list(row.values.values()) for row in rows[:-1]])
    return dict(rows[-1].values)


def _read_log(log_csv: Path) -> list[Row]:
    if not Path(log_csv).exists():
        return []
    rows = read_rows(log_csv, required=LOG_COLUMNS)
    if rows and tuple(rows[0].values) != LOG_COLUMNS:
        raise DatasetError(f"{log_csv}: expected the columns {', '.join(LOG_COLUMNS)}; give another file for the log")
    return rows


def _write_log(log_csv: Path, rows: list[list[str]]) -> None:
    with atomic_write(Path(log_csv)) as partial:
        partial.write_bytes(b"".join(format_record(row) for row in [LOG_COLUMNS, *rows]))


@contextlib.contextmanager
def _locked(log_csv: Path) -> Iterator[None]:
    """One writer at a time, among threads and, where the system has such locks, among processes."""
    with _threads:
        try:
            import fcntl
        except ImportError:  # Windows
            yield
            return
        lock = Path(log_csv).with_name(f".{Path(log_csv).name}.lock")
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("w", encoding="utf-8") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield
