"""MCAP files (https://mcap.dev/spec), with or without summary and indexes, cut or damaged.

The records are parsed by the library `mcap`. Its readers need a whole file or end at the first fault, so that the way
through the file is here: all chunks that are there are used, whether an index lists them or not.
"""

from __future__ import annotations

import heapq
import struct
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from io import BytesIO
from itertools import count
from pathlib import Path

from mcap import records
from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode

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
from training.replay.storage.mcap_records import (
    FOOTER_SIZE,
    MAGIC,
    MESSAGE,
    PREFIX,
    Block,
    chunk_content,
    cut_chunk_content,
    may_be_data,
    signed,
    split_records,
)
from training.replay.storage.packing import unpacked

_DEFINITIONS = {"ros1msg": "ros1msg", "ros2msg": "ros2msg", "ros2idl": "ros2idl", "omgidl": "ros2idl"}


class McapFile:
    """An open MCAP file. Raises UnreadableFileError where it holds no channel that can be read."""

    def __init__(self, path: Path, notes: Notes, name: Path):
        self._path, self._notes = name, notes
        self.mend = f"`mcap recover {shown(name)} -o NEW.mcap` (`mcap doctor` says what is wrong)"
        self._schemas: dict[int, records.Schema] = {}
        self._channels: dict[int, records.Channel] = {}
        self._statistics: records.Statistics | None = None
        self._blocks: dict[int, Block] = {}
        self._said: set[int] = set()
        self._stream = path.open("rb")
        try:
            self._size = path.stat().st_size
            whole = self._walk()
            self._read_summary(whole)
            self._find_channels()
            if not self._channels and not whole:
                raise UnreadableFileError(f"{name}: the file is cut or damaged before its first topic: {self.mend}")
        except BaseException:
            self._stream.close()
            raise
        self._check_channels()
        self.channels = [self._channel(item) for item in self._channels.values()]
        self.counts = self._counts()

    def close(self) -> None:
        self._stream.close()

    def messages(self, topics: Collection[str]) -> Iterator[BagMessage]:
        """In the order of log times; those of chunks that overlap in time are merged."""
        wanted = {key: self._channel(item) for key, item in self._channels.items() if item.topic in topics}
        pending: list[tuple[int, int, int, bytes]] = []
        numbers = count()
        for block in sorted(self._blocks.values(), key=lambda item: (item.start_ns, item.offset)):
            if block.counts is not None and not any(key in wanted for key in block.counts):
                continue
            while pending and pending[0][0] <= block.start_ns:
                yield _bag_message(wanted, heapq.heappop(pending))
            for channel, time_ns, data in self._messages_in(block):
                if channel in wanted:
                    heapq.heappush(pending, (time_ns, next(numbers), channel, data))
        while pending:
            yield _bag_message(wanted, heapq.heappop(pending))

    def _walk(self) -> bool:
        """Find chunks and messages from record to record; whether the end of the data section was reached."""
        offset, last_chunk = len(MAGIC), None
        while True:
            prefix = self._read(offset, PREFIX.size)
            if len(prefix) < PREFIX.size:
                self._notes.add(
                    f"{self._path}: the recorder did not finish this file or it was cut; all up to its end "
                    f"is read; {self.mend}"
                )
                return False
            opcode, length = PREFIX.unpack(prefix)
            end = offset + PREFIX.size + length
            if (opcode, length) == (Opcode.DATA_END, 4) or (opcode == Opcode.FOOTER and end + len(MAGIC) >= self._size):
                return True
            fits = end <= self._size
            if may_be_data(opcode) and (fits or opcode == Opcode.CHUNK):
                last_chunk = self._take(opcode, offset, length, last_chunk)
            else:
                goes_on = fits and may_be_data((self._read(end, 1) or b"\0")[0])
                self._notes.add(
                    f"{self._path}: no data at byte {offset} of {self._size} (type {opcode}, {length} bytes): damaged "
                    f"or cut, {'skipped' if goes_on else 'what follows is read where an index lists it'}; {self.mend}"
                )
                if not goes_on:
                    return False
            offset = end

    def _take(self, opcode: int, offset: int, length: int, last_chunk: Block | None) -> Block | None:
        """Note a record of the data section; returns the chunk to which message indexes that follow belong."""
        at, size = offset + PREFIX.size, PREFIX.size + length
        if opcode == Opcode.CHUNK:
            start = self._read(at, 8)
            block = Block(struct.unpack("<Q", start)[0] if len(start) == 8 else 0, offset, size)
            block.is_cut = offset + size > self._size
            self._blocks[offset] = block
            return block
        if opcode == Opcode.MESSAGE:
            head = self._read(at, MESSAGE.size)
            # behind a chunk, what has the length of an index in its place is one with a damaged type
            is_index = last_chunk is not None and int.from_bytes(head[2:6], "little") == length - 6
            if length < MESSAGE.size or is_index:
                self._notes.add(f"{self._path}: the message at byte {offset} is damaged; {self.mend}")
            else:
                channel, _, time_ns, _ = MESSAGE.unpack(head)
                self._blocks[offset] = Block(signed(time_ns), offset, size, Counter([channel]))
        elif opcode == Opcode.MESSAGE_INDEX:
            channel, entries = struct.unpack("<HI", self._read(at, 6).ljust(6, b"\xff"))
            if last_chunk is None or entries != length - 6:
                self._notes.add(f"{self._path}: the index at byte {offset} is damaged; {self.mend}")
                return last_chunk
            last_chunk.counts = last_chunk.counts or Counter()
            last_chunk.counts[channel] += entries // 16
        elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
            self._define(opcode, self._read(at, length))
        elif opcode not in (Opcode.ATTACHMENT, Opcode.METADATA) and offset > len(MAGIC):
            self._notes.add(f"{self._path}: the record at byte {offset} (type {opcode}) is skipped")
        return last_chunk

    def _read_summary(self, whole: bool) -> None:
        """Channels, statistics and, where the walk ended early, the chunks of the summary section."""
        tail = self._read(max(self._size - FOOTER_SIZE - len(MAGIC), 0), FOOTER_SIZE + len(MAGIC))
        if tail[-len(MAGIC) :] != MAGIC or tail[0] != Opcode.FOOTER:
            if whole:
                self._notes.add(
                    f"{self._path}: the end of the file is missing or damaged, all messages before it are "
                    f"read; {self.mend}"
                )
            return
        footer = records.Footer.read(ReadDataStream(BytesIO(tail[PREFIX.size :])))
        if footer.summary_start == 0:
            return
        end = self._size - FOOTER_SIZE - len(MAGIC)
        content = self._read(footer.summary_start, max(end - footer.summary_start, 0))
        checked = content + tail[: FOOTER_SIZE - 4]
        if footer.summary_crc and zlib.crc32(checked) != footer.summary_crc:
            self._notes.add(
                f"{self._path}: the summary is damaged (CRC), the topics are taken from the data; {self.mend}"
            )
            return
        for opcode, data in split_records(content):
            self._take_summary(opcode, data, whole)

    def _take_summary(self, opcode: int, data: bytes, whole: bool) -> None:
        stream = ReadDataStream(BytesIO(data))
        if opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
            self._define(opcode, data)
        elif opcode == Opcode.STATISTICS:
            self._statistics = records.Statistics.read(stream)
        elif opcode == Opcode.CHUNK_INDEX and not whole:
            index = records.ChunkIndex.read(stream)
            is_cut = index.chunk_start_offset + index.chunk_length > self._size
            found = self._blocks.get(index.chunk_start_offset)
            if found is None or found.length != index.chunk_length:
                block = Block(index.message_start_time, index.chunk_start_offset, index.chunk_length, None, is_cut)
                self._blocks[index.chunk_start_offset] = block

    def _define(self, opcode: int, data: bytes) -> None:
        stream = ReadDataStream(BytesIO(data))
        try:
            if opcode == Opcode.SCHEMA:
                schema = records.Schema.read(stream)
                self._schemas.setdefault(schema.id, schema)
            else:
                channel = records.Channel.read(stream)
                if stream.count != len(data):
                    raise ValueError(f"expected {len(data)} bytes, got {stream.count}")
                self._channels.setdefault(channel.id, channel)
        except Exception as error:  # EndOfFile, struct.error, UnicodeDecodeError
            kind = "schema" if opcode == Opcode.SCHEMA else "channel"
            self._notes.add(f"{self._path}: a {kind} cannot be read ({one_line(error)}); {self.mend}")

    def _find_channels(self) -> None:
        """Those that no summary lists stand in the chunks."""
        listed = set(self._statistics.channel_message_counts) if self._statistics else None
        for block in sorted(self._blocks.values(), key=lambda item: item.offset):
            missing = block.counts if block.counts is not None else listed
            if missing is None or not set(missing) <= set(self._channels):
                for _ in self._messages_in(block):
                    pass

    def _check_channels(self) -> None:
        unknown = Counter[int]()
        for block in self._blocks.values():
            unknown.update({key: number for key, number in (block.counts or {}).items() if key not in self._channels})
        if unknown:
            self._notes.add(f"{self._path}: {unknown.total()} messages are of no topic: left out; {self.mend}")

    def _messages_in(self, block: Block) -> Iterator[tuple[int, int, bytes]]:
        """Channel, log time and data of every message; what is damaged is noted."""
        data = self._read(block.offset, block.length)
        if data[:1] != bytes([Opcode.CHUNK]):
            if data[:1] == bytes([Opcode.MESSAGE]):
                channel, _, time_ns, _ = MESSAGE.unpack_from(data, PREFIX.size)
                yield channel, signed(time_ns), unpacked(data[PREFIX.size + MESSAGE.size :])
            else:
                self._damaged(block, "no chunk where the index says so")
            return
        try:
            content = cut_chunk_content(data) if block.is_cut else chunk_content(data)
        except Exception as error:  # the decompressors' own, struct.error, MemoryError for an absurd size
            self._damaged(block, one_line(error))
            return
        for opcode, record in split_records(content):
            if opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
                self._define(opcode, record)
            elif opcode == Opcode.MESSAGE and len(record) >= MESSAGE.size:
                channel, _, time_ns, _ = MESSAGE.unpack_from(record)
                yield channel, signed(time_ns), unpacked(record[MESSAGE.size :])
        if block.is_cut:
            self._damaged(block, "the file ends within it")

    def _damaged(self, block: Block, why: str) -> None:
        if block.offset in self._said:
            return
        self._said.add(block.offset)
        if block.is_cut:
            lost = "what it holds up to there is read, the number of lost messages is not known"
        elif block.counts is None:
            lost = "the number of its messages, which are lost, is not known"
        else:
            lost = f"{block.counts.total()} messages are lost"
        self._notes.add(f"{self._path}: the chunk at byte {block.offset} is damaged ({why}): {lost}; {self.mend}")

    def _channel(self, item: records.Channel) -> Channel:
        schema = self._schemas.get(item.schema_id)
        definition = Definition()
        if schema is not None and schema.encoding in _DEFINITIONS:
            definition = Definition(_DEFINITIONS[schema.encoding], schema.data.decode("utf-8", "replace"))
        type_name = normalized_type(schema.name) if schema is not None else ""
        encoding = item.message_encoding or CDR
        return Channel(item.topic, type_name, encoding, definition, read_qos(item.metadata.get("offered_qos_profiles")))

    def _counts(self) -> dict[str, int]:
        """Of the statistics; else of the message indexes, where every chunk has them."""
        counts: Counter[int] = Counter()
        if self._statistics is not None:
            counts.update(self._statistics.channel_message_counts)
        elif all(block.counts is not None for block in self._blocks.values()):
            for block in self._blocks.values():
                counts.update(block.counts or ())
        topics: Counter[str] = Counter()
        for key, number in counts.items():
            if key in self._channels:
                topics[self._channels[key].topic] += number
        return dict(topics)

    def _read(self, offset: int, length: int) -> bytes:
        """Bytes of the file, fewer at its end: a damaged offset or length may be of any size."""
        if offset >= self._size or length <= 0:
            return b""
        self._stream.seek(offset)
        return self._stream.read(min(length, self._size - offset))


def _bag_message(channels: dict[int, Channel], entry: tuple[int, int, int, bytes]) -> BagMessage:
    time_ns, _, key, data = entry
    channel = channels[key]
    return BagMessage(channel.topic, channel.type_name, time_ns, data)
