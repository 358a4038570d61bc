"""One camera file -> its EXIF and its square stored copy. Imports are light: worker processes load this module."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import ExifTags, Image, ImageOps

from campus_visual_gps.errors import ImageError
from campus_visual_gps.io_utils import atomic_write
from campus_visual_gps.preprocess import STORED_SIZE_PX, check_rgb, resize_square
from training.photos.exif import PhotoExif, read_exif
from training.photos.photo_id import photo_id_of

# Compression changes a network's estimate: with real photos one moved by 2.5 m (median) between a photo and its
# copy at quality 95 with halved chroma, and by 0.9 m with this setting. 90 KB a photo.
STORED_JPEG_QUALITY, STORED_JPEG_SUBSAMPLING = 100, 0
_FORMATS = ("HEIF", "JPEG", "PNG")
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap width and height


@dataclass(frozen=True)
class DecodeTask:
    """A file to store. `file` is its name in the tables; without `has_label`, its EXIF must hold a position."""

    path: Path
    file: str
    has_label: bool
    images_dir: Path


@dataclass(frozen=True)
class DecodedPhoto:
    """Result for a file: stored unless `reject_reason` is set; `is_new` if it was decoded now."""

    file: str
    photo_id: str = ""
    exif: PhotoExif = field(default_factory=PhotoExif)
    width_px: int = 0
    height_px: int = 0
    is_new: bool = False
    reject_reason: str = ""


def load_rgb(path: Path) -> np.ndarray:
    """Read a photo file as upright (H, W, 3) uint8 RGB. Raises ImageError if it is damaged or not a photo."""
    try:
        return _to_rgb(_open(path.read_bytes()))
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror}") from error
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error


def store_photo(task: DecodeTask) -> DecodedPhoto:
    """Read a file and write its stored copy, if there is none. Raises DatasetError if it cannot be written."""
    try:
        data = task.path.read_bytes()
        image = _open(data)
        exif = read_exif(image)
        if not task.has_label and exif.position_problem:
            return DecodedPhoto(task.file, reject_reason=exif.position_problem)
        photo_id = photo_id_of(data, task.images_dir)
        width_px, height_px = _upright_size(image)
        stored = task.images_dir / f"{photo_id}.jpg"
        rgb = None if _is_stored(stored) else _to_rgb(image)
    except OSError as error:
        return DecodedPhoto(task.file, reject_reason=f"unreadable: {error.strerror}")
    except ImageError as error:
        return DecodedPhoto(task.file, reject_reason=f"unreadable: {error}")
    if rgb is not None:
        _write_stored(stored, rgb)
    return DecodedPhoto(task.file, photo_id, exif, width_px, height_px, is_new=rgb is not None)


def _open(data: bytes) -> Image.Image:
    """Read the header only. Raises ImageError."""
    pillow_heif.register_heif_opener(thumbnails=False, decode_threads=1)  # the processes share the cores
    _check_heif_whole(data)
    try:
        with warnings.catch_warnings():
            # Pillow warns of corrupt EXIF without naming the file, and of images of 89 megapixels and more, which
            # phones produce (from 179 on it raises an error).
            warnings.simplefilter("ignore")
            return Image.open(io.BytesIO(data), formats=_FORMATS)
    except Image.UnidentifiedImageError:
        raise ImageError("empty file" if not data else "not a HEIC, JPEG or PNG image") from None
    except Exception as error:  # decoders raise many types for a damaged header
        raise ImageError(_reason(error)) from error


def _check_heif_whole(data: bytes) -> None:
    """Raise ImageError for a truncated HEIC: libheif fills the missing tiles with green without an error.

    A HEIC is a sequence of boxes that begin with their length (ISO 14496-12, section 4.2): 32 bits, or 64 bits after
    the type if those are 1; 0 is a box to the end of the file.
    """
    if data[4:8] != b"ftyp":
        return
    start = 0
    while start < len(data):
        header = data[start : start + 16]
        size = int.from_bytes(header[8:16] if header[:4] == b"\0\0\0\1" else header[:4], "big")
        if size == 0:
            return
        start += max(size, 8)
    if start > len(data):
        raise ImageError(f"truncated file: {start - len(data)} bytes are missing")


def _to_rgb(image: Image.Image) -> np.ndarray:
    """Decode to upright (H, W, 3) uint8 RGB. Raises ImageError, also for a truncated file.

    pillow-heif rotates a HEIC while decoding and resets its EXIF orientation to 1, so that exif_transpose rotates only
    JPEG and PNG.
    """
    try:
        image.load()
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I"):  # 16-bit grey, which convert() would clip at 255
            return np.repeat((np.asarray(upright) // 257).astype(np.uint8)[..., None], 3, axis=2)
        rgb = np.asarray(upright.convert("RGB"))
    except Exception as error:
        raise ImageError(_reason(error)) from error
    return check_rgb(rgb)


def _upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of the upright image, px, without decoding."""
    width, height = image.size
    try:
        sideways = image.getexif().get(ExifTags.Base.Orientation) in _SIDEWAYS
    except Exception:  # damaged EXIF: exif_transpose does not rotate either
        sideways = False
    return (height, width) if sideways else (width, height)


def _is_stored(path: Path) -> bool:
    """Whether there is a stored copy of STORED_SIZE_PX; files are written atomically, so that it is complete."""
    try:
        with Image.open(path) as stored:
            return stored.size == (STORED_SIZE_PX, STORED_SIZE_PX)
    except OSError:
        return False


def _write_stored(path: Path, rgb: np.ndarray) -> None:
    square = Image.fromarray(resize_square(rgb, STORED_SIZE_PX))
    with atomic_write(path) as partial:
        square.save(partial, format="JPEG", quality=STORED_JPEG_QUALITY, subsampling=STORED_JPEG_SUBSAMPLING)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
