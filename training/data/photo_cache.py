"""Photos at the network's size, decoded once and mapped from disk, so that an epoch waits for augmentation only.

Decoding and resizing a stored photo takes about as long as all of its augmentation, and gives the same pixels in every
epoch, seed and fold.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from rich.console import Console
from rich.progress import track

from campus_visual_gps.errors import DatasetError
from campus_visual_gps.preprocess import ImageSpec
from campus_visual_gps.threads import usable_cores
from training.data.array_cache import read_array, write_array
from training.data.dataset import ReadPixels, read_pixels

_log = logging.getLogger(__name__)

DIRECTORY = "photo_cache"
MAX_BYTES = 4 << 30  # 14 000 photos at 320 px
_SPARE_DISK = 2.0  # free disk over the size of the file
_READ_AT_ONCE = 256


def cached_pixels(paths: Sequence[Path], image: ImageSpec) -> ReadPixels:
    """A function that reads photos of one data set at the network's size, from a file that is made first if needed.

    Without room on the disk, with a data set that cannot be written to, or with a damaged photo among them the photos
    are decoded every time; that is slower and changes nothing else.

    Args:
        paths: Stored photos, all in one directory.
        image: Sizes of the photos.
    """
    decode = partial(read_pixels, image=image)
    file = _file(paths, image) if paths else None
    if file is None:
        return decode
    shape = (len(paths), image.size_px, image.size_px, 3)
    try:
        pixels = read_array(file, shape, np.uint8)
        if pixels is None:
            if not _has_room(file.parent.parent, int(np.prod(shape, dtype=np.int64))):
                return decode
            write_array(file, lambda incomplete: _write(incomplete, paths, shape, decode))
            _remove_others(file)
            pixels = read_array(file, shape, np.uint8)
    except (DatasetError, OSError) as error:
        _log.warning("%s; photos are decoded in every epoch", error)
        return decode
    return (
        decode if pixels is None else CachedPixels(pixels, file, {path: row for row, path in enumerate(paths)}, decode)
    )


class CachedPixels:
    """Reads photos from the cache file, and decodes those that it does not hold.

    Args:
        pixels: (N, S, S, 3) uint8, mapped from disk.
        file: Where from: another process maps it anew, instead of getting a copy of all photos.
        row_of: Rows of the photos.
        decode: Reads other photos.
    """

    def __init__(self, pixels: np.ndarray | None, file: Path, row_of: dict[Path, int], decode: ReadPixels):
        self.pixels, self.file, self.row_of, self.decode = pixels, file, row_of, decode

    def __call__(self, path: Path) -> np.ndarray:
        row = self.row_of.get(path)
        return self.decode(path) if row is None or self.pixels is None else np.array(self.pixels[row])

    def __getstate__(self) -> dict:
        return {**self.__dict__, "pixels": None}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        with suppress(OSError, ValueError):  # replaced meanwhile: photos are decoded
            self.pixels = np.load(self.file, mmap_mode="r", allow_pickle=False)


def _file(paths: Sequence[Path], image: ImageSpec) -> Path | None:
    """The cache file; its name has the size and a hash of the photos. None if one is missing, which reading it says."""
    try:
        states = [(path.name, (status := path.stat()).st_mtime_ns, status.st_size) for path in paths]
    except OSError:
        return None
    content = json.dumps([image.size_px, image.stored_px, states])
    key = hashlib.sha256(content.encode()).hexdigest()[:16]
    return paths[0].parent.parent / DIRECTORY / f"{image.size_px}px-{key}.npy"


def _has_room(directory: Path, size_bytes: int) -> bool:
    return size_bytes <= MAX_BYTES and shutil.disk_usage(directory).free >= _SPARE_DISK * size_bytes


def _write(file: Path, paths: Sequence[Path], shape: tuple[int, ...], decode: ReadPixels) -> None:
    _log.info("decoding %d photos at %d px, once", len(paths), shape[1])
    decoded = track(_decoded(paths, decode), "photos", total=len(paths), console=Console(stderr=True))
    # not through a memory map, which ends the process where the disk is full
    with file.open("wb") as stream:
        npy.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for pixels in decoded:
            stream.write(np.ascontiguousarray(pixels).data)


def _decoded(paths: Sequence[Path], decode: ReadPixels) -> Iterator[np.ndarray]:
    """The photos in order, decoded on all cores, a few hundred in memory."""
    waiting = iter(paths)
    with ThreadPoolExecutor(usable_cores()) as pool:
        while batch := list(islice(waiting, _READ_AT_ONCE)):
            yield from pool.map(decode, batch)


def _remove_others(file: Path) -> None:
    """Remove the files of this size that were made of other photos."""
    for other in file.parent.glob(f"{file.name.split('-')[0]}-*.npy"):
        if other != file:
            with suppress(OSError):
                other.unlink()
