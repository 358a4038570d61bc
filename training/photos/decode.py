"""One camera file -> its EXIF and its square stored copy. Imports are light: worker processes load this module."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from campus_visual_gps.errors import DatasetError, ImageError
from campus_visual_gps.io_utils import atomic_write
from campus_visual_gps.preprocess import STORED_SIZE_PX, resize_square
from training.photos.exif import PhotoExif, read_exif
from training.photos.photo_file import one_line, open_photo, read_file, to_rgb, upright_size
from training.photos.photo_id import photo_id_of
from training.photos.sidecars import complete_exif, xmp_packet
from training.photos.stored_images import side_px

# Compression changes a network's estimate: with real photos one moved by 2.5 m (median) between a photo and its
# copy at quality 95 with halved chroma, and by 0.9 m with this setting. 90 KB a photo.
STORED_JPEG_QUALITY, STORED_JPEG_SUBSAMPLING = 100, 0


@dataclass(frozen=True)
class DecodeTask:
    """A file to store as a square of `size_px`.

    `file` is its name in the tables; without `has_label`, it or a sidecar must hold a position.
    """

    path: Path
    file: str
    has_label: bool
    images_dir: Path
    sidecars: tuple[Path, ...] = ()
    size_px: int = STORED_SIZE_PX


@dataclass(frozen=True)
class DecodedPhoto:
    """Result for a file: stored unless `reject_reason` is set; `is_new` if it was decoded now.

    `replaced_px` is the side of a stored copy of another size that it had before, 0 without one.
    """

    file: str
    photo_id: str = ""
    exif: PhotoExif = field(default_factory=PhotoExif)
    width_px: int = 0
    height_px: int = 0
    is_new: bool = False
    replaced_px: int = 0
    reject_reason: str = ""


def load_rgb(path: Path) -> np.ndarray:
    """Read a photo file as upright (H, W, 3) uint8 RGB, reduced if it has more than 64 megapixels.

    Raises ImageError if it is damaged or not a photo.
    """
    try:
        return to_rgb(open_photo(read_file(path)))
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror}") from error
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error


def store_photo(task: DecodeTask) -> DecodedPhoto:
    """Read a file and write its stored copy, if there is none.

    Whatever is wrong with the file becomes its reject reason.

    Raises:
        DatasetError: The copy cannot be written.
    """
    try:
        return _store(task)
    except DatasetError:
        raise
    except OSError as error:
        return DecodedPhoto(task.file, reject_reason=f"unreadable: {error.strerror or error}")
    except ImageError as error:
        return DecodedPhoto(task.file, reject_reason=f"unreadable: {error}")
    except MemoryError:
        return DecodedPhoto(task.file, reject_reason="unreadable: out of memory; free some and run again")
    except Exception as error:  # no photo stops an ingest, whichever library stumbles over it
        return DecodedPhoto(task.file, reject_reason=f"unreadable: {type(error).__name__}: {one_line(error)}")


def _store(task: DecodeTask) -> DecodedPhoto:
    data = read_file(task.path)
    photo = open_photo(data)
    exif = complete_exif(read_exif(photo.image), xmp_packet(photo.image), task.sidecars)
    if not task.has_label and exif.position_problem:
        return DecodedPhoto(task.file, reject_reason=exif.position_problem)
    photo_id = photo_id_of(data, task.images_dir)
    width_px, height_px = upright_size(photo.image)
    stored = task.images_dir / f"{photo_id}.jpg"
    before_px = side_px(stored)  # a file is written whole or not at all
    is_new = before_px != task.size_px
    if is_new:
        _write_stored(stored, to_rgb(photo), task.size_px)
    replaced_px = (before_px or 0) if is_new else 0
    return DecodedPhoto(task.file, photo_id, exif, width_px, height_px, is_new, replaced_px)


def _write_stored(path: Path, rgb: np.ndarray, size_px: int) -> None:
    square = Image.fromarray(resize_square(rgb, size_px))
    with atomic_write(path) as partial:
        square.save(partial, format="JPEG", quality=STORED_JPEG_QUALITY, subsampling=STORED_JPEG_SUBSAMPLING)
