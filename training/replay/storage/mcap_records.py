"""Records of MCAP files (https://mcap.dev/spec) as bytes: prefixes, the content of a chunk."""

from __future__ import annotations

import struct
from collections.abc import Iterator
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
_OPCODES = frozenset(Opcode)
_PRIVATE = 0x80  # opcodes from here on are free for applications


def is_opcode(value: int) -> bool:
    """Whether a record can begin with this byte."""
    return value >= _PRIVATE or value in _OPCODES


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
