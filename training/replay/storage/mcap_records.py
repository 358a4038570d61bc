"""Records of MCAP files (https://mcap.dev/spec) as bytes: prefixes, the content of a chunk."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

import lz4.frame
import zstandard
from mcap import records
from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.stream_reader import get_chunk_data_stream

MAGIC = b"\x89MCAP0\r\n"
PREFIX = struct.Struct("<BQ")  # opcode and length of a record
MESSAGE = struct.Struct("<HIQQ")  # channel, sequence, log time, publish time
FOOTER_SIZE = PREFIX.size + 20
_CHUNK_HEADER_SIZE = 8 + 8 + 8 + 4 + 4 + 8  # times, size, CRC, lengths of the compression's name and of the data
_DATA = frozenset(
    {
        Opcode.HEADER,
        Opcode.SCHEMA,
        Opcode.CHANNEL,
        Opcode.MESSAGE,
        Opcode.CHUNK,
        Opcode.MESSAGE_INDEX,
        Opcode.ATTACHMENT,
        Opcode.METADATA,
        Opcode.DATA_END,
    }
)
_PRIVATE = 0x80  # opcodes from here on are free for applications


@dataclass
class Block:
    """A chunk, or a message outside of chunks: offset and length of the record, with its prefix.

    `counts` maps channels to numbers of messages; None where no index tells.
    """

    start_ns: int
    offset: int
    length: int
    counts: Counter[int] | None = None
    is_cut: bool = False


def signed(time_ns: int) -> int:
    """A time, which MCAP stores without a sign: what a recorder wrote as -1 stays so."""
    return time_ns - 2**64 if time_ns >= 2**63 else time_ns


def may_be_data(opcode: int) -> bool:
    """Whether a record of this type can stand in the data section."""
    return opcode in _DATA or opcode >= _PRIVATE


def split_records(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Opcode and data of each record; one that is cut ends it."""
    at = 0
    while at + PREFIX.size <= len(content):
        opcode, length = PREFIX.unpack_from(content, at)
        at += PREFIX.size
        if at + length > len(content):
            return
        yield opcode, content[at : at + length]
        at += length


def chunk_content(data: bytes) -> bytes:
    """The records of a chunk, checked against its size and CRC."""
    chunk = records.Chunk.read(ReadDataStream(BytesIO(data[PREFIX.size :])))
    held = _CHUNK_HEADER_SIZE + len(chunk.compression.encode()) + len(chunk.data)
    if held != len(data) - PREFIX.size:
        raise ValueError(f"a record of {len(data) - PREFIX.size} bytes has {held} bytes of content")
    if chunk.compression not in ("", "lz4", "zstd"):
        raise ValueError(f"compression {chunk.compression!r} is unknown")
    stream, length = get_chunk_data_stream(chunk, validate_crc=True)
    if length != chunk.uncompressed_size:
        raise ValueError(f"expected {chunk.uncompressed_size} bytes, got {length}")
    return stream.read(length)


def cut_chunk_content(data: bytes) -> bytes:
    """As much of the records as a chunk at the end of a cut file has."""
    chunk = records.Chunk.read(ReadDataStream(BytesIO(data[PREFIX.size :])))
    if chunk.compression == "zstd":
        return zstandard.ZstdDecompressor().decompressobj().decompress(chunk.data)
    if chunk.compression == "lz4":
        return lz4.frame.LZ4FrameDecompressor().decompress(chunk.data)
    return chunk.data
