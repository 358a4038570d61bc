"""Camera files for the tests of training/photos: real HEIC, JPEG and PNG with EXIF as a phone writes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pillow_heif
from PIL import ExifTags, Image

SITE = (31.262, 34.8025)  # latitude and longitude, degrees


def make_exif(
    position: tuple[float, float] | None = SITE,
    *,
    gps: dict | None = None,
    taken: str | None = "2025:12:22 09:47:11",
    offset: str | None = "+02:00",
    camera: tuple[str, str] = ("Acme", "Phone 1"),
    orientation: int = 1,
) -> Image.Exif:
    """EXIF as a phone writes it; `gps` adds to the position's tags, or takes one away where its value is None."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = camera
    exif[ExifTags.Base.Orientation] = orientation
    details = exif.get_ifd(ExifTags.IFD.Exif)
    if taken is not None:
        details[ExifTags.Base.DateTimeOriginal] = taken
    if offset is not None:
        details[ExifTags.Base.OffsetTimeOriginal] = offset
    tags = (_position_tags(*position) if position else {}) | (gps or {})
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({tag: value for tag, value in tags.items() if value is not None})
    return exif


def blocks(seed: int = 0, width_px: int = 64, height_px: int = 48) -> Image.Image:
    """An RGB picture that no other seed makes, of blocks large enough to survive compression."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width_px, height_px), Image.Resampling.NEAREST)


def write_photo(path: Path, image: Image.Image | int = 0, exif: Image.Exif | None = None) -> Path:
    """Writes a picture (or the blocks of a seed) as HEIC, JPEG or PNG, by the suffix."""
    pillow_heif.register_heif_opener()
    image = blocks(image) if isinstance(image, int) else image
    path.parent.mkdir(parents=True, exist_ok=True)
    # EXIF goes in as bytes: given an Exif object, pillow-heif leaves out the rotation.
    exif_bytes = (make_exif() if exif is None else exif).tobytes()
    image.save(path, exif=exif_bytes, **({} if path.suffix.lower() == ".png" else {"quality": 95}))
    return path


def _position_tags(latitude_deg: float, longitude_deg: float) -> dict:
    gps = ExifTags.GPS
    return {
        gps.GPSLatitudeRef: "S" if latitude_deg < 0 else "N",
        gps.GPSLatitude: _dms(abs(latitude_deg)),
        gps.GPSLongitudeRef: "W" if longitude_deg < 0 else "E",
        gps.GPSLongitude: _dms(abs(longitude_deg)),
    }


def _dms(degrees: float) -> tuple[float, float, float]:
    """Degrees -> degrees, minutes, seconds."""
    minutes = degrees % 1 * 60
    return float(int(degrees)), float(int(minutes)), minutes % 1 * 60
