"""One camera file -> its EXIF and its square stored copy. Light imports: worker processes load this module."""

from __future__ import annotations

import hashlib
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

PHOTO_ID_DIGITS = 16
# A network answers to less than the eye sees: on the shared campus one member moved by 2.5 m (median) between a photo
# and its copy at quality 95 with halved chroma, and by 0.9 m at this setting. 90 KB a photo.
STORED_JPEG = {"quality": 100, "subsampling": 0}
_FORMATS = ("HEIF", "JPEG", "PNG")
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap width and height


@dataclass(frozen=True)
class DecodeTask:
    """A file to store: `file` is its name in the tables; without `has_label` its EXIF must give a position."""

    path: Path
    file: str
    has_label: bool
    images_dir: Path


@dataclass(frozen=True)
class DecodedPhoto:
    """What became of a file: stored unless `reject_reason` is set; `is_new` if it had to be decoded."""

    file: str
    photo_id: str = ""
    exif: PhotoExif = field(default_factory=PhotoExif)
    width_px: int = 0
    height_px: int = 0
    is_new: bool = False
    reject_reason: str = ""


def load_rgb(path: Path) -> np.ndarray:
    """A photo file -> (H, W, 3) uint8 RGB, 0..255, upright. Raises ImageError if it is damaged or no photo."""
    try:
        return _to_rgb(_open(path.read_bytes()))
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror}") from error
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error


def store_photo(task: DecodeTask) -> DecodedPhoto:
    """Reads a file and writes its stored copy, if there is none yet. Raises DatasetError only for a full disk."""
    try:
        data = task.path.read_bytes()
        image = _open(data)
        exif = read_exif(image)
        if not task.has_label and exif.position_problem:
            return DecodedPhoto(task.file, reject_reason=exif.position_problem)
        photo_id = hashlib.sha256(data).hexdigest()[:PHOTO_ID_DIGITS]
        width_px, height_px = _upright_size(image)
        stored = task.images_dir / f"{photo_id}.jpg"
        is_new = not _is_stored(stored)
        rgb = _to_rgb(image) if is_new else None
    except OSError as error:
        return DecodedPhoto(task.file, reject_reason=f"unreadable: {error.strerror}")
    except ImageError as error:
        return DecodedPhoto(task.file, reject_reason=f"unreadable: {error}")
    if is_new:
        _write_stored(stored, rgb)
    return DecodedPhoto(task.file, photo_id, exif, width_px, height_px, is_new)


def _open(data: bytes) -> Image.Image:
    """Reads the header only. Raises ImageError."""
    pillow_heif.register_heif_opener(thumbnails=False, decode_threads=1)  # the processes share the cores
    _check_heif_whole(data)
    try:
        with warnings.catch_warnings():
            # Of corrupt EXIF, without naming the file; and of pictures of 89 megapixels, which phones do make
            # (from 179 on, Pillow refuses them).
            warnings.simplefilter("ignore")
            return Image.open(io.BytesIO(data), formats=_FORMATS)
    except Image.UnidentifiedImageError:
        raise ImageError("empty file" if not data else "no HEIC, JPEG or PNG image") from None
    except Exception as error:  # damaged headers raise whatever the decoder stumbles over
        raise ImageError(_reason(error)) from error


def _check_heif_whole(data: bytes) -> None:
    """Raises ImageError for a truncated HEIC: libheif fills the missing tiles with green and reports nothing.

    A HEIC is a row of boxes, each beginning with its length (ISO 14496-12, section 4.2): 32 bits, or 64 bits
    after the type if that is 1; 0 is a box to the end of the file.
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
    """Decodes, turns upright, converts -> (H, W, 3) uint8. Raises ImageError, also for a truncated file.

    pillow-heif turns a HEIC while decoding and resets its EXIF orientation to 1, so that exif_transpose leaves
    it alone; a JPEG or PNG is turned here. Either way it happens once.
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
    """Width and height after turning, px, without decoding."""
    width, height = image.size
    try:
        sideways = image.getexif().get(ExifTags.Base.Orientation) in _SIDEWAYS
    except Exception:  # damaged EXIF: exif_transpose does not turn it either
        sideways = False
    return (height, width) if sideways else (width, height)


def _is_stored(path: Path) -> bool:
    """Whether a stored copy of today's size is there; it is, whole, once the file has its name."""
    try:
        with Image.open(path) as stored:
            return stored.size == (STORED_SIZE_PX, STORED_SIZE_PX)
    except OSError:
        return False


def _write_stored(path: Path, rgb: np.ndarray) -> None:
    square = Image.fromarray(resize_square(rgb, STORED_SIZE_PX))
    with atomic_write(path) as part:
        square.save(part, format="JPEG", **STORED_JPEG)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
