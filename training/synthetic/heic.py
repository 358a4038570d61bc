"""Stores photos as a phone does: HEIC with position, heading, time and camera in EXIF."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from training.synthetic.capture import Photo
from training.synthetic.site import GROUND_ALTITUDE_M, SITE_FRAME

HEIC_QUALITY = 48
UPRIGHT, ROTATED_TO_THE_LEFT = 1, 6  # EXIF orientations of landscape and portrait


def save_photo(picture: np.ndarray, photo: Photo, path: Path) -> None:
    """Write an upright image (H, W, 3) uint8 RGB. A portrait is stored sideways with its EXIF orientation."""
    pillow_heif.register_heif_opener()
    stored = np.rot90(picture) if photo.portrait else picture
    exif = _exif(photo)
    Image.fromarray(np.ascontiguousarray(stored)).save(path, format="HEIF", quality=HEIC_QUALITY, exif=exif.tobytes())


def _exif(photo: Photo) -> Image.Exif:
    exif = Image.Exif()
    camera = photo.session.camera
    exif[ExifTags.Base.Make] = camera.make
    exif[ExifTags.Base.Model] = camera.model
    exif[ExifTags.Base.Software] = "campus_visual_gps training.synthetic"
    exif[ExifTags.Base.Orientation] = ROTATED_TO_THE_LEFT if photo.portrait else UPRIGHT
    _add_time(exif, photo.captured_at)
    _add_position(exif.get_ifd(ExifTags.IFD.GPSInfo), photo)
    return exif


def _add_time(exif: Image.Exif, when: datetime) -> None:
    details = exif.get_ifd(ExifTags.IFD.Exif)
    text, offset = when.strftime("%Y:%m:%d %H:%M:%S"), when.strftime("%z")
    for tag in (ExifTags.Base.DateTimeOriginal, ExifTags.Base.DateTimeDigitized):
        details[tag] = text
    for tag in (ExifTags.Base.OffsetTimeOriginal, ExifTags.Base.OffsetTime):
        details[tag] = f"{offset[:3]}:{offset[3:]}"
    exif[ExifTags.Base.DateTime] = text


def _add_position(gps: dict, photo: Photo) -> None:
    latitude_deg, longitude_deg = SITE_FRAME.to_geodetic(photo.measured_m)
    gps[ExifTags.GPS.GPSLatitudeRef] = "N" if latitude_deg >= 0 else "S"
    gps[ExifTags.GPS.GPSLatitude] = _degrees_minutes_seconds(float(latitude_deg))
    gps[ExifTags.GPS.GPSLongitudeRef] = "E" if longitude_deg >= 0 else "W"
    gps[ExifTags.GPS.GPSLongitude] = _degrees_minutes_seconds(float(longitude_deg))
    gps[ExifTags.GPS.GPSAltitudeRef] = b"\x00"
    gps[ExifTags.GPS.GPSAltitude] = _rational(GROUND_ALTITUDE_M + photo.view.position_m[2], 100)
    gps[ExifTags.GPS.GPSImgDirectionRef] = "T"
    gps[ExifTags.GPS.GPSImgDirection] = _rational(photo.measured_heading_deg, 100)
    gps[ExifTags.GPS.GPSHPositioningError] = _rational(photo.accuracy_m, 1000)


def _degrees_minutes_seconds(degrees: float) -> tuple[IFDRational, IFDRational, IFDRational]:
    """In steps of 1e-4 seconds of arc, 3 mm."""
    units = round(abs(degrees) * 3600 * 10_000)
    minutes, seconds = divmod(units, 60 * 10_000)
    whole, minutes = divmod(minutes, 60)
    return IFDRational(whole), IFDRational(minutes), IFDRational(seconds, 10_000)


def _rational(value: float, denominator: int) -> IFDRational:
    return IFDRational(round(value * denominator), denominator)
