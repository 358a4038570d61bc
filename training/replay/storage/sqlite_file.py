"""sqlite3 files of rosbag2 (.db3) of every schema version, with a journal beside them, cut or damaged."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from training.replay.storage.base import (
    CDR,
    BagMessage,
    Channel,
    Definition,
    Notes,
    UnreadableFileError,
    normalized_type,
    one_line,
    read_qos,
    shown,
)
from training.replay.storage.packing import unpacked

MAGIC = b"SQLite format 3\0"
JOURNALS = ("-wal", "-journal")
_FIRST_ROW = -(2**63)
_MAX_STEP = 2**40
_ROWS = "SELECT rowid, topic_id, timestamp FROM messages WHERE rowid > ? ORDER BY rowid"


class _Row(NamedTuple):
    time_ns: int
    row_id: int
    topic_id: int


class SqliteFile:
    """An open .db3 file. Raises UnreadableFileError where its topics cannot be read.

    The rows are found first, in the order of their ids, and each message is then read by its own: where a page is
    damaged, the rows on other pages are still there.
    """

    counts: dict[str, int]

    def __init__(self, path: Path, notes: Notes, name: Path):
        self._path, self._notes = name, notes
        self.mend = f"`sqlite3 {shown(name)} .recover | sqlite3 NEW.db3`, then `ros2 bag reindex` of its directory"
        self._stack = ExitStack()
        try:
            self._database = self._connect(path)
            self._topics = self._read_topics()
        except (sqlite3.Error, ValueError) as error:
            self._stack.close()
            raise UnreadableFileError(f"{name}: the topics cannot be read ({one_line(error)}): {self.mend}") from error
        self.channels = list(self._topics.values())
        self._rows, self._is_damaged = self._find_rows()
        self.counts = {}
        if not self._is_damaged:
            self.counts = dict(Counter(self._topics[row.topic_id].topic for row in self._rows))

    def close(self) -> None:
        self._stack.close()

    def messages(self, topics: Collection[str]) -> Iterator[BagMessage]:
        """In the order of receive times, and at the same time of their ids."""
        wanted = {key: channel for key, channel in self._topics.items() if channel.topic in topics}
        lost: Counter[str] = Counter()
        for row in self._rows:
            channel = wanted.get(row.topic_id)
            if channel is None:
                continue
            try:
                (data,) = self._execute("SELECT data FROM messages WHERE rowid = ?", row.row_id).fetchone()
            except (sqlite3.Error, TypeError):
                lost[channel.topic] += 1
                continue
            if isinstance(data, bytes):
                yield BagMessage(channel.topic, channel.type_name, row.time_ns, unpacked(data))
            else:
                lost[channel.topic] += 1
        for topic, number in lost.items():
            self._notes.add(f"{self._path}: {number} messages on {topic} are damaged; {self.mend}")

    def _connect(self, path: Path) -> sqlite3.Connection:
        """Read only; with a journal beside it a copy of both, to which sqlite applies the journal."""
        journals = [file for suffix in JOURNALS if (file := Path(f"{path}{suffix}")).is_file() and file.stat().st_size]
        if journals:
            scratch = Path(self._stack.enter_context(TemporaryDirectory(prefix="bag-")))
            for file in (path, *journals):
                shutil.copyfile(file, scratch / file.name)
            path = scratch / path.name
            self._notes.add(f"{self._path}: the recorder did not finish this file; it is read with {journals[0].name}")
        option = "mode=rw" if journals else "immutable=1"
        database = sqlite3.connect(f"{path.absolute().as_uri()}?{option}", uri=True, check_same_thread=False)
        self._stack.callback(database.close)
        # a file that is shorter than its header says is opened all the same, as by the shell's .recover
        database.execute("PRAGMA writable_schema = ON")
        self._check_size(path)
        return database

    def _check_size(self, path: Path) -> None:
        """Against the page size and the number of pages in the header (https://sqlite.org/fileformat2.html)."""
        with path.open("rb") as stream:
            header = stream.read(100).ljust(100, b"\0")
        page, pages = int.from_bytes(header[16:18], "big"), int.from_bytes(header[28:32], "big")
        expected = (65536 if page == 1 else page) * pages
        is_valid = header[24:28] == header[92:96]
        if is_valid and path.stat().st_size < expected:
            self._notes.add(f"{self._path}: cut: {path.stat().st_size} of {expected} bytes are there; {self.mend}")

    def _execute(self, query: str, *values: Any) -> sqlite3.Cursor:
        return self._database.execute(query, values)

    def _read_topics(self) -> dict[int, Channel]:
        names = [row[1] for row in self._execute("PRAGMA table_info(topics)")]
        if not names:
            raise ValueError("it has no table `topics`, expected a file of rosbag2")
        definitions = self._definitions()
        topics = {}
        for values in self._execute("SELECT * FROM topics"):
            row = dict(zip(names, values, strict=True))
            type_name = normalized_type(str(row["type"]))
            encoding = row.get("serialization_format") or CDR
            definition = definitions.get(row["type"], Definition())
            qos = read_qos(row.get("offered_qos_profiles"))
            topics[row["id"]] = Channel(str(row["name"]), type_name, encoding, definition, qos)
        return topics

    def _definitions(self) -> dict[str, Definition]:
        """Of schema version 4 (Iron and later) on; earlier ones have no such table."""
        query = "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
        found = {}
        with suppress(sqlite3.Error):
            for name, encoding, text in self._execute(query):
                if encoding in ("ros2msg", "ros2idl") and isinstance(text, str):
                    found[name] = Definition(encoding, text)
        return found

    def _find_rows(self) -> tuple[list[_Row], bool]:
        """All rows of known topics by time, and whether others may be lost."""
        rows: list[_Row] = []
        after, is_damaged, strange = _FIRST_ROW, False, 0
        while True:
            try:
                for row_id, topic_id, time_ns in self._rows_from(after):
                    if row_id <= after:  # pages that point to each other
                        raise sqlite3.DatabaseError(f"row {row_id} follows row {after}")
                    after = row_id
                    if topic_id in self._topics and isinstance(time_ns, int):
                        rows.append(_Row(time_ns, row_id, topic_id))
                    else:
                        strange += 1
                break
            except sqlite3.Error as error:
                is_damaged = True
                reached = self._next_readable(after)
                if reached != after + 1:
                    self._note_damage(error, after, reached)
                if reached is None:
                    break
                after = reached - 1
        if strange:
            self._notes.add(f"{self._path}: {strange} messages have no topic or no time: left out; {self.mend}")
        return sorted(rows), is_damaged or strange > 0

    def _rows_from(self, after: int) -> Iterator[tuple[int, Any, Any]]:
        """Rows behind a row. The module reads one row ahead, so that the first row is asked for by its own."""
        first = self._execute(f"{_ROWS} LIMIT 1", after).fetchone()
        if first is not None:
            yield first
            yield from self._execute(_ROWS, first[0])

    def _next_readable(self, after: int) -> int | None:
        """Id of the first row that can be read behind a row; None where all of them are damaged."""
        bad, step = max(after, 0), 1
        while (found := self._first_row(bad + step)) is None:
            if step > _MAX_STEP:
                return None
            bad, step = bad + step, step * 2
        good = bad + step
        while good - bad > 1:
            middle = (good + bad) // 2
            nearer = self._first_row(middle)
            if nearer is None:
                bad = middle
            else:
                good, found = middle, nearer
        return found

    def _first_row(self, row_id: int) -> int | None:
        """Id of the first row from `row_id` on; None where it cannot be read or is not there."""
        try:
            row = self._execute(f"{_ROWS} LIMIT 1", row_id - 1).fetchone()
        except sqlite3.Error:
            return None
        return row[0] if row and row[0] >= row_id else None

    def _note_damage(self, error: sqlite3.Error, after: int, reached: int | None) -> None:
        first = max(after, 0) + 1
        lost = "all messages" if after == _FIRST_ROW else f"the messages from row {first}"
        if reached is not None:
            lost = f"{reached - first} messages (rows {first} to {reached - 1})"
        self._notes.add(f"{self._path}: damaged or cut ({one_line(error)}): {lost} cannot be read; {self.mend}")
