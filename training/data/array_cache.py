"""Arrays that are kept on disk and can be computed again: a damaged file counts as missing."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from campus_visual_gps.io_utils import atomic_write

_log = logging.getLogger(__name__)

# A .npy file with this behind the array, which numpy does not read. Files without it are read too.
_MARK = b"crc32:"
_BLOCK = 1 << 24
# Files that this process has read whole: path -> time of modification and size.
_verified: dict[Path, tuple[int, int]] = {}


def write_array(path: Path, fill: Callable[[Path], None]) -> None:
    """Write an array whole or not at all, with a checksum.

    Args:
        path: The .npy file.
        fill: Writes a .npy file at the given temporary path.

    Raises:
        DatasetError: The file cannot be written.
    """
    with atomic_write(path) as partial:
        fill(partial)
        checksum = _crc32(partial, partial.stat().st_size)
        with partial.open("ab") as stream:
            stream.write(_MARK + b"%08x" % checksum)


def read_array(path: Path, shape: tuple[int | None, ...], dtype: np.dtype | type) -> np.ndarray | None:
    """Map an array from disk, read-only.

    Args:
        path: The .npy file.
        shape: What it must have; None for any length.
        dtype: What it must have.

    Returns:
        The array, or None if there is no such file, or it is damaged or another array; the log then says why.
    """
    if not path.exists():
        return None
    problem = _problem(path, shape, np.dtype(dtype))
    if problem:
        _log.warning("%s: %s; made again", path, problem)
        return None
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _problem(path: Path, shape: tuple[int | None, ...], dtype: np.dtype) -> str:
    """What is wrong with a file, or ""."""
    try:
        with path.open("rb") as stream:
            version = npy.read_magic(stream)
            read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            found_shape, fortran, found_dtype = read_header(stream)
            start = stream.tell()
        size = path.stat().st_size
    except Exception as error:  # numpy's reader evaluates the header: Syntax, Value, Unicode and other errors
        return f"damaged header ({' '.join(str(error).split()) or type(error).__name__})"
    fits = len(found_shape) == len(shape) and all(
        wanted in (None, found) for wanted, found in zip(shape, found_shape, strict=True)
    )
    if not fits or fortran or found_dtype != dtype:
        wanted_shape = ", ".join("any" if length is None else str(length) for length in shape)
        return f"expected an array of shape ({wanted_shape}), {dtype}, got {found_shape}, {found_dtype}"
    end = start + int(np.prod(found_shape, dtype=np.int64)) * dtype.itemsize
    if size not in (end, end + len(_MARK) + 8):
        return f"expected {end} bytes, got {size}"
    return "" if size == end else _checksum_problem(path, end)


def _checksum_problem(path: Path, end: int) -> str:
    status = path.stat()
    state = (status.st_mtime_ns, status.st_size)
    if _verified.get(path) == state:
        return ""
    with path.open("rb") as stream:
        stream.seek(end)
        trailer = stream.read()
    if trailer != _MARK + b"%08x" % _crc32(path, end):
        return "its content does not fit its checksum"
    _verified[path] = state
    return ""


def _crc32(path: Path, end: int) -> int:
    """Checksum of the first bytes of a file."""
    checksum = 0
    with path.open("rb") as stream:
        while end > 0 and (block := stream.read(min(_BLOCK, end))):
            checksum = zlib.crc32(block, checksum)
            end -= len(block)
    return checksum
