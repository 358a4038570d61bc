"""Compression of whole storage files and of single messages, known by their first bytes."""

from __future__ import annotations

from pathlib import Path

import lz4.frame
import zstandard

from training.replay.storage.base import Notes, one_line

_BLOCK = 1 << 20
ZSTD, LZ4 = b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18"


def unpacked(data: bytes) -> bytes:
    """A message that the recorder compressed (`compression_mode: message`) as CDR; others as they are.

    CDR begins with a byte 0, so that the two cannot be taken for each other. What cannot be decompressed comes back as
    it is: it fails where it is decoded, and is counted there.
    """
    try:
        if data[:4] == ZSTD:
            return zstandard.ZstdDecompressor().decompressobj().decompress(data)
        if data[:4] == LZ4:
            return lz4.frame.decompress(data)
    except (zstandard.ZstdError, RuntimeError):
        pass
    return data


def unpack_file(path: Path, target: Path, notes: Notes) -> None:
    """Decompress a file that was compressed as a whole (`compression_mode: file`), up to where it is damaged."""
    with path.open("rb") as packed, target.open("wb") as plain:
        is_zstd = packed.read(4) == ZSTD
        packed.seek(0)
        if is_zstd:
            source = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
        else:
            source = lz4.frame.LZ4FrameFile(packed)
        try:
            while block := source.read(_BLOCK):
                plain.write(block)
        except (zstandard.ZstdError, RuntimeError, EOFError, ValueError) as error:
            notes.add(
                f"{path}: the compression is damaged or cut ({one_line(error)}): {plain.tell()} bytes were "
                "decompressed; copy the file again from the robot"
            )
