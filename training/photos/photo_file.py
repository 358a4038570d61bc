"""A photo file -> its pixels: whole, upright, 8-bit RGB, and within a bound on memory.

Decoding needs about 1 GB at most, and 0.4 GB for photos of up to 64 megapixels: larger ones are reduced, a JPEG while
it is decoded and others right after. Above MAX_PIXELS only a JPEG, which need not be decoded whole, is taken.
"""

from __future__ import annotations

import io
import os
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import ExifTags, Image, ImageOps, JpegImagePlugin

from campus_visual_gps.errors import ImageError
from campus_visual_gps.jpeg import check_not_filled, complete_jpeg, is_jpeg
from campus_visual_gps.preprocess import check_rgb
from training.photos.heif import is_heif, whole_heif

MAX_FILE_BYTES = 512 << 20
MAX_PIXELS = 178_000_000  # Pillow's own limit
MAX_JPEG_PIXELS = 512_000_000
_REDUCED_FROM_PIXELS = 64_000_000
_FORMATS = ("HEIF", "JPEG", "PNG")
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap width and height
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
# What is often found under a photo's name, by its first bytes.
_OTHER_FORMATS = (
    (b"GIF8", "a GIF image"),
    (b"BM", "a BMP image"),
    (b"II*\0", "a TIFF or raw image"),
    (b"MM\0*", "a TIFF or raw image"),
    (b"IIRO", "a raw image"),
    (b"IIU\0", "a raw image"),
    (b"FUJIFILM", "a raw image"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\x05\x16\x07", "an AppleDouble file of macOS, which holds no picture"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"<", "a web page or XML, perhaps of a failed download"),
    (b"{", "a JSON text"),
    (b"version https://git-lfs", "a pointer of Git LFS; run `git lfs pull`"),
)


@dataclass(frozen=True)
class OpenedPhoto:
    """A photo of which the header was read; `data` is what the decoder gets."""

    image: Image.Image
    data: bytes


def read_file(path: Path) -> bytes:
    """A photo's bytes.

    Raises:
        OSError: It cannot be read.
        ImageError: It is not a file, or larger than any photo. Reading a pipe or a device would never end.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for test, name in _KINDS if test(status.st_mode)), "something else")
        raise ImageError(f"expected a file, got {kind}")
    if status.st_size > MAX_FILE_BYTES:
        raise ImageError(f"expected a photo of up to {MAX_FILE_BYTES >> 20} MiB, got {status.st_size >> 20} MiB")
    # what became a pipe since then must not block either
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read(status.st_size)


def open_photo(data: bytes) -> OpenedPhoto:
    """Read the header only. Raises ImageError, also for a truncated HEIC or JPEG."""
    pillow_heif.register_heif_opener(thumbnails=False, decode_threads=1)  # the processes share the cores
    if is_heif(data):
        data = whole_heif(data)
    if is_jpeg(data):
        data = complete_jpeg(data)
    try:
        with warnings.catch_warnings():
            # Pillow warns of corrupt EXIF without naming the file, and of images of 89 megapixels and more, which
            # phones produce (from 179 on it raises an error).
            warnings.simplefilter("ignore")
            if is_jpeg(data):  # Image.open has a limit of pixels; a larger JPEG is decoded in part
                image: Image.Image = JpegImagePlugin.jpeg_factory(io.BytesIO(data))
            else:
                image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except Image.UnidentifiedImageError:
        raise ImageError(_not_a_photo(data)) from None
    except Image.DecompressionBombError:
        raise ImageError(
            f"more than {MAX_PIXELS // 1_000_000} megapixels, or a decompression bomb; save it as a JPEG"
        ) from None
    except Exception as error:  # decoders raise many types for a damaged header
        raise ImageError(one_line(error)) from error
    _check_pixels(image)
    return OpenedPhoto(image, data)


def _check_pixels(image: Image.Image) -> None:
    pixels = image.width * image.height
    progressive = bool(image.info.get("progressive"))  # kept in memory whole until its last scan
    limit = MAX_JPEG_PIXELS if image.format in ("JPEG", "MPO") and not progressive else MAX_PIXELS
    if pixels > limit:
        raise ImageError(
            f"{pixels // 1_000_000} megapixels, expected up to {limit // 1_000_000}"
            f"{' of a progressive JPEG' if progressive else ''}; save it smaller"
        )


def _not_a_photo(data: bytes) -> str:
    if not data:
        return "empty file"
    if not data.strip(b"\0"):
        return "the file holds nothing but zeros: it was never copied whole"
    found = next((name for start, name in _OTHER_FORMATS if data.startswith(start)), "")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        found = "a WebP image"
    if is_heif(data):
        found = {b"avi": "an AVIF image", b"crx": "a raw image"}.get(data[8:11], "a film")
    return f"not a HEIC, JPEG or PNG image{f', but {found}' if found else ''}"


def to_rgb(photo: OpenedPhoto) -> np.ndarray:
    """Decode to upright (H, W, 3) uint8 RGB. Raises ImageError, also for a truncated file.

    pillow-heif rotates a HEIC while decoding and resets its EXIF orientation to 1, so that exif_transpose rotates only
    JPEG and PNG.
    """
    image = photo.image
    try:
        factor = _reduction(image)
        if factor > 1:
            image.draft(image.mode, (image.width // factor, image.height // factor))  # JPEG only
        image.load()
        if (factor := _reduction(image)) > 1:
            image = image.reduce(factor)
        ImageOps.exif_transpose(image, in_place=True)
        if image.mode.startswith("I"):  # 16-bit grey, which convert() would clip at 255
            return np.repeat((np.asarray(image) // 257).astype(np.uint8)[..., None], 3, axis=2)
        rgb = np.asarray(image)
        if is_jpeg(photo.data):
            check_not_filled(photo.data, rgb)
        if image.mode != "RGB":
            rgb = np.asarray(image.convert("RGB"))
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        raise ImageError(one_line(error)) from error
    return check_rgb(rgb)


def _reduction(image: Image.Image) -> int:
    """By which factor, a power of two, the sides shrink to stay within the bound on memory."""
    factor = 1
    while image.width * image.height > _REDUCED_FROM_PIXELS * factor**2:
        factor *= 2
    return factor


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of the upright image, px, without decoding."""
    width, height = image.size
    try:
        sideways = image.getexif().get(ExifTags.Base.Orientation) in _SIDEWAYS
    except Exception:  # damaged EXIF: exif_transpose does not rotate either
        sideways = False
    return (height, width) if sideways else (width, height)


def one_line(error: Exception) -> str:
    """An error's text on one line; its type if it has none."""
    return " ".join(str(error).split()) or type(error).__name__
