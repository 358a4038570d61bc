"""EXIF of a photo: position, time, heading and camera."""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from PIL import ExifTags, Image

_DATE_TIME = re.compile(r"(\d{4})\D(\d{2})\D(\d{2})\D(\d{2})\D(\d{2})\D(\d{2})")
_DATE = re.compile(r"(\d{4})\D(\d{2})\D(\d{2})")
_OFFSET = re.compile(r"([+-])(\d{2}):?(\d{2})")
# EXIF 2.3 has 0 (above sea level) and 1 (below); EXIF 3.0 adds 2 and 3, the same for the ellipsoid.
_BELOW_REFERENCES = (1, 3)


@dataclass(frozen=True)
class PhotoExif:
    """Fields of a photo's EXIF; NaN or "" where they are missing or unusable.

    Attributes:
        latitude_deg, longitude_deg: WGS 84, both NaN together.
        position_problem: Why there is no position, or "".
        altitude_m: Negative below its reference.
        gps_accuracy_m: Horizontal positioning error as the camera reported it.
        heading_deg: Clockwise from north, 0 to 360, true or magnetic as the camera wrote it.
        captured_at: ISO 8601: DateTimeOriginal with its offset, else the GPS time in UTC, else DateTimeOriginal without
            an offset.
        camera: Make and model.
        position_source: "exif", or where the position was found that the EXIF lacks.
    """

    latitude_deg: float = math.nan
    longitude_deg: float = math.nan
    position_problem: str = "no position in the EXIF"
    altitude_m: float = math.nan
    gps_accuracy_m: float = math.nan
    heading_deg: float = math.nan
    captured_at: str = ""
    camera: str = ""
    position_source: str = "exif"


def read_exif(image: Image.Image) -> PhotoExif:
    """Read the EXIF of an opened image. Damaged EXIF counts as missing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of corrupt EXIF without naming the file
            base = image.getexif()
            gps = base.get_ifd(ExifTags.IFD.GPSInfo)
            details = base.get_ifd(ExifTags.IFD.Exif)
    except Exception:  # Pillow's EXIF parser raises struct, Key, Value, Syntax and other errors
        return PhotoExif(position_problem="the EXIF is damaged")
    latitude, longitude, problem = _position(gps)
    return PhotoExif(
        latitude_deg=latitude,
        longitude_deg=longitude,
        position_problem=problem,
        altitude_m=_altitude_m(gps),
        gps_accuracy_m=_positive(_number(gps.get(ExifTags.GPS.GPSHPositioningError))),
        heading_deg=_number(gps.get(ExifTags.GPS.GPSImgDirection)) % 360.0,
        captured_at=_captured_at(details, gps),
        camera=_camera(base),
    )


def position_problem(latitude_deg: float, longitude_deg: float) -> str:
    """Why a position is not valid, or ""."""
    if not (math.isfinite(latitude_deg) and math.isfinite(longitude_deg)):
        return "position is not a number"
    if abs(latitude_deg) > 90.0 or abs(longitude_deg) > 180.0:
        return f"position out of range: latitude {latitude_deg:g}, longitude {longitude_deg:g}"
    if abs(latitude_deg) < 1e-6 and abs(longitude_deg) < 1e-6:
        return "position 0, 0: the camera had no fix"
    return ""


def _position(gps: dict) -> tuple[float, float, str]:
    """Latitude and longitude in degrees, both NaN if there is a problem; and the problem."""
    if ExifTags.GPS.GPSLatitude not in gps and ExifTags.GPS.GPSLongitude not in gps:
        return math.nan, math.nan, PhotoExif.position_problem
    north = _hemisphere(gps.get(ExifTags.GPS.GPSLatitudeRef), "N", "S")
    east = _hemisphere(gps.get(ExifTags.GPS.GPSLongitudeRef), "E", "W")
    if north is None or east is None:
        return math.nan, math.nan, "the EXIF position lacks its N/S or E/W reference"
    latitude = north * _degrees(gps.get(ExifTags.GPS.GPSLatitude))
    longitude = east * _degrees(gps.get(ExifTags.GPS.GPSLongitude))
    problem = position_problem(latitude, longitude)
    return (math.nan, math.nan, problem) if problem else (latitude, longitude, "")


def _hemisphere(reference: Any, positive: str, negative: str) -> float | None:
    """1 or -1, None for another reference."""
    return {positive: 1.0, negative: -1.0}.get(_text(reference).upper()[:1])


def _degrees(dms: Any) -> float:
    """Degrees, minutes, seconds -> degrees; NaN for anything else, such as a rational 0/0."""
    try:
        degrees, minutes, seconds = (float(value) for value in dms)
    except (TypeError, ValueError, ZeroDivisionError):
        return math.nan
    return degrees + minutes / 60.0 + seconds / 3600.0


def _altitude_m(gps: dict) -> float:
    altitude = _number(gps.get(ExifTags.GPS.GPSAltitude))
    reference = gps.get(ExifTags.GPS.GPSAltitudeRef, 0)
    if isinstance(reference, bytes):
        reference = reference[0] if reference else 0
    return -altitude if reference in _BELOW_REFERENCES else altitude


def _captured_at(details: dict, gps: dict) -> str:
    local = _date_time(_text(details.get(ExifTags.Base.DateTimeOriginal)))
    offset = _OFFSET.fullmatch(_text(details.get(ExifTags.Base.OffsetTimeOriginal)).replace("Z", "+00:00"))
    if local and offset:
        sign = -1 if offset[1] == "-" else 1
        shift = sign * timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        if abs(shift) < timedelta(hours=24):
            return local.replace(tzinfo=timezone(shift)).isoformat()
    utc = _gps_time(gps)
    if utc:
        return utc.isoformat()
    return local.isoformat() if local else ""


def _gps_time(gps: dict) -> datetime | None:
    """The time of the GPS fix, UTC, whole seconds."""
    date = _DATE.match(_text(gps.get(ExifTags.GPS.GPSDateStamp)))
    if not date:
        return None
    try:
        hours, minutes, seconds = (float(value) for value in gps.get(ExifTags.GPS.GPSTimeStamp, ()))
        midnight = datetime(int(date[1]), int(date[2]), int(date[3]), tzinfo=timezone.utc)
        since_midnight = timedelta(hours=hours, minutes=minutes, seconds=int(seconds))
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        return None
    return midnight + since_midnight


def _date_time(text: str) -> datetime | None:
    match = _DATE_TIME.match(text)
    if not match:
        return None
    year, month, day, hour, minute, second = map(int, match.groups())
    try:
        return datetime(year, month, day, hour, minute, second)
    except ValueError:  # cameras without a set clock write 0000:00:00 00:00:00
        return None


def _camera(base: Image.Exif) -> str:
    make, model = _text(base.get(ExifTags.Base.Make)), _text(base.get(ExifTags.Base.Model))
    return model if model.lower().startswith(make.lower()) else f"{make} {model}".strip()


def _number(value: Any) -> float:
    """A finite float; NaN if it is missing or a rational 0/0."""
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def _positive(value: float) -> float:
    return value if value > 0 else math.nan


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("ascii", errors="replace")
    return str(value).split("\0")[0].strip() if value is not None else ""
