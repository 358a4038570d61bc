"""Compression of whole storage files and of single messages, known by their first bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import lz4.frame
import zstandard

from training.replay.storage.base import Notes, UnreadableFileError, one_line

_BLOCK = 1 << 20
ZSTD, LZ4 = b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18"


def unpacked(data: bytes) -> bytes:
    """A message that the recorder compressed (`compression_mode: message`) as CDR; others as they are.

    CDR begins with a byte 0, so that the two cannot be taken for each other. What cannot be decompressed comes back as
    it is: it fails where it is decoded, and is counted there.
    """
    try:
        if data[:4] == ZSTD:
            return _zstd().decompress(data)
        if data[:4] == LZ4:
            return lz4.frame.decompress(data)
    except (zstandard.ZstdError, RuntimeError):
        pass
    return data


def unpack_file(path: Path, target: Path, notes: Notes) -> None:
    """Decompress a file that was compressed as a whole (`compression_mode: file`), up to where it is damaged.

    Raises:
        UnreadableFileError: nothing can be decompressed.
    """
    with path.open("rb") as packed, target.open("wb") as plain:
        try:
            why = "" if _decompress(packed, plain) else "the file ends within the compressed data"
        except (zstandard.ZstdError, RuntimeError) as error:
            why = one_line(error)
        written = plain.tell()
    advice = "copy the file again from the robot"
    if why and not written:
        raise UnreadableFileError(f"{path}: nothing of it can be decompressed ({why}); {advice}")
    if why:
        notes.add(f"{path}: the compression is damaged or cut ({why}): only {written} bytes of it are read; {advice}")


def _decompress(packed: BinaryIO, plain: BinaryIO) -> bool:
    """Frame by frame; whether the last one is complete."""
    new = _zstd if packed.read(4) == ZSTD else lz4.frame.LZ4FrameDecompressor
    packed.seek(0)
    frame, data = new(), packed.read(_BLOCK)
    while data:
        plain.write(frame.decompress(data))
        data = b""
        if frame.eof:
            data = frame.unused_data or b""
        data = data or packed.read(_BLOCK)
        if frame.eof and data:
            frame = new()
    return bool(frame.eof)


def _zstd() -> Any:
    return zstandard.ZstdDecompressor().decompressobj()
