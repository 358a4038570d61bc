"""What a camera wrote into a photo: position, time, direction, camera."""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from PIL import ExifTags, Image

_DATE_TIME = re.compile(r"(\d{4})\D(\d{2})\D(\d{2})\D(\d{2})\D(\d{2})\D(\d{2})")
_DATE = re.compile(r"(\d{4})\D(\d{2})\D(\d{2})")
_OFFSET = re.compile(r"([+-])(\d{2}):?(\d{2})")
# EXIF 2.3 knows 0 (above sea level) and 1 (below); EXIF 3.0 adds 2 and 3, the same for the ellipsoid.
_BELOW_REFERENCES = (1, 3)


@dataclass(frozen=True)
class PhotoExif:
    """The fields of a photo's EXIF that we use; NaN or "" where the camera wrote nothing usable.

    latitude_deg and longitude_deg are NaN together, and then `position_problem` says why. `captured_at` is
    ISO 8601: DateTimeOriginal with its offset; without an offset the time stamp of the GPS in UTC; where that
    is missing too, the camera's clock as it is, without an offset. heading_deg is clockwise from north, 0 to
    360, true or magnetic as the camera wrote it. altitude_m is negative below its reference.
    """

    latitude_deg: float = math.nan
    longitude_deg: float = math.nan
    position_problem: str = "no position in the EXIF"
    altitude_m: float = math.nan
    gps_accuracy_m: float = math.nan
    heading_deg: float = math.nan
    captured_at: str = ""
    camera: str = ""


def read_exif(image: Image.Image) -> PhotoExif:
    """Reads an opened image's EXIF. Damaged EXIF counts as missing: it never spoils the picture itself."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of corrupt EXIF without naming the file
            base = image.getexif()
            gps = base.get_ifd(ExifTags.IFD.GPSInfo)
            details = base.get_ifd(ExifTags.IFD.Exif)
    except Exception:  # Pillow's EXIF parser lets struct, Key, Value, Syntax and other errors through
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
    """Why this cannot be where a photo was taken, or ""."""
    if not (math.isfinite(latitude_deg) and math.isfinite(longitude_deg)):
        return "position is not a number"
    if abs(latitude_deg) > 90.0 or abs(longitude_deg) > 180.0:
        return f"position out of range: latitude {latitude_deg:g}, longitude {longitude_deg:g}"
    if abs(latitude_deg) < 1e-6 and abs(longitude_deg) < 1e-6:
        return "position 0, 0: the camera had no fix"
    return ""


def _position(gps: dict) -> tuple[float, float, str]:
    """-> latitude and longitude in degrees, NaN both if there is a problem, and the problem."""
    if ExifTags.GPS.GPSLatitude not in gps and ExifTags.GPS.GPSLongitude not in gps:
        return math.nan, math.nan, PhotoExif.position_problem
    indicators = (
        _sign(gps.get(ExifTags.GPS.GPSLatitudeRef), "N", "S"),
        _sign(gps.get(ExifTags.GPS.GPSLongitudeRef), "E", "W"),
    )
    if None in indicators:
        return math.nan, math.nan, "the EXIF position lacks its N/S or E/W reference"
    latitude = indicators[0] * _degrees(gps.get(ExifTags.GPS.GPSLatitude))
    longitude = indicators[1] * _degrees(gps.get(ExifTags.GPS.GPSLongitude))
    problem = position_problem(latitude, longitude)
    return (math.nan, math.nan, problem) if problem else (latitude, longitude, "")


def _sign(reference, positive: str, negative: str) -> float | None:
    return {positive: 1.0, negative: -1.0}.get(_text(reference).upper()[:1])


def _degrees(dms) -> float:
    """Degrees, minutes, seconds -> degrees; NaN for anything else, also where a rational is 0/0."""
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
    try:
        hours, minutes, seconds = (float(value) for value in gps.get(ExifTags.GPS.GPSTimeStamp))
        midnight = datetime(int(date[1]), int(date[2]), int(date[3]), tzinfo=timezone.utc)
        since_midnight = timedelta(hours=hours, minutes=minutes, seconds=int(seconds))
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        return None
    return midnight + since_midnight


def _date_time(text: str) -> datetime | None:
    match = _DATE_TIME.match(text)
    try:
        return datetime(*(int(part) for part in match.groups())) if match else None
    except ValueError:  # cameras without a set clock write 0000:00:00 00:00:00
        return None


def _camera(base: Image.Exif) -> str:
    make, model = _text(base.get(ExifTags.Base.Make)), _text(base.get(ExifTags.Base.Model))
    return model if model.lower().startswith(make.lower()) else f"{make} {model}".strip()


def _number(value) -> float:
    """A finite float, or NaN for what is missing or degenerate (0/0)."""
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def _positive(value: float) -> float:
    return value if value > 0 else math.nan


def _text(value) -> str:
    if isinstance(value, bytes):
        value = value.decode("ascii", errors="replace")
    return str(value).split("\0")[0].strip() if value is not None else ""
