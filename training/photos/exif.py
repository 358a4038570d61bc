"""EXIF of a photo: position, time, heading and camera."""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import dataclass
from typing import Any

from PIL import ExifTags, Image

from training.photos.capture_time import captured_at, text_of

# EXIF 2.3 has 0 (above sea level) and 1 (below); EXIF 3.0 adds 2 and 3, the same for the ellipsoid.
_BELOW_REFERENCES = (1, 3)
# GPSMapDatum (EXIF 2.32, section 4.6.7) of positions that are 100 m and more from those of WGS 84.
_OTHER_DATUMS = re.compile(r"tokyo|gcj|bd-?09|ed-?50|european.*50|nad-?27|osgb|pulkovo|krasovsk|sk-?42", re.IGNORECASE)


@dataclass(frozen=True)
class PhotoExif:
    """Fields of a photo's EXIF; NaN or "" where they are missing or unusable.

    Attributes:
        latitude_deg, longitude_deg: WGS 84, both NaN together.
        position_problem: Why there is no position, or "".
        altitude_m: Negative below its reference.
        gps_accuracy_m: Horizontal positioning error as the camera reported it.
        heading_deg: Clockwise from north, 0 to 360, true or magnetic as the camera wrote it.
        captured_at: ISO 8601, see capture_time.
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
            return _to_exif(base, details, gps, image.info)
    except (
        Exception
    ):  # Pillow's EXIF parser raises struct, Key, Value, Syntax and other errors, some when a tag is read
        return PhotoExif(position_problem="the EXIF is damaged")


def _to_exif(base: Image.Exif, details: dict, gps: dict, info: dict) -> PhotoExif:
    latitude, longitude, problem = _position(gps)
    return PhotoExif(
        latitude_deg=latitude,
        longitude_deg=longitude,
        position_problem=problem,
        altitude_m=_altitude_m(gps),
        gps_accuracy_m=_positive(_number(gps.get(ExifTags.GPS.GPSHPositioningError))),
        heading_deg=_number(gps.get(ExifTags.GPS.GPSImgDirection)) % 360.0,
        captured_at=captured_at(base, details, gps, info, longitude),
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
    datum = _text(gps.get(ExifTags.GPS.GPSMapDatum))
    if _OTHER_DATUMS.search(datum):
        return math.nan, math.nan, f"position of another datum: {datum!r:.40}, expected WGS-84"
    north = _hemisphere(gps.get(ExifTags.GPS.GPSLatitudeRef), "N", "S")
    east = _hemisphere(gps.get(ExifTags.GPS.GPSLongitudeRef), "E", "W")
    if north is None or east is None:
        return math.nan, math.nan, "the EXIF position lacks its N/S or E/W reference"
    latitude, problem = _degrees(gps.get(ExifTags.GPS.GPSLatitude), north, "latitude")
    longitude, other_problem = _degrees(gps.get(ExifTags.GPS.GPSLongitude), east, "longitude")
    problem = problem or other_problem or position_problem(latitude, longitude)
    return (math.nan, math.nan, problem) if problem else (latitude, longitude, "")


def _hemisphere(reference: Any, positive: str, negative: str) -> float | None:
    """1 or -1, None for another reference."""
    return {positive: 1.0, negative: -1.0}.get(_text(reference).upper()[:1])


def _degrees(dms: Any, hemisphere: float, name: str) -> tuple[float, str]:
    """Degrees, minutes, seconds and their hemisphere -> signed degrees; and the problem, with NaN, or "".

    EXIF 2.32, section 4.6.7: three unsigned rationals, the sign by the reference. Software writes signed ones too: a
    minus that says the same as the reference is taken, one that contradicts it is a problem, and so is a fraction that
    would count twice (31.5 deg 30 min).
    """
    found = f"{name} {dms!r:.60}"
    if not isinstance(dms, (tuple, list)) or len(dms) != 3:
        return math.nan, f"position is not a number: {found}, expected degrees, minutes and seconds"
    numbers = [_number(value) for value in dms]
    if not all(map(math.isfinite, numbers)):
        return math.nan, f"position is not a number: {found}"
    if min(numbers) < 0:
        first, *others = [number for number in numbers if number]
        if first > 0 or hemisphere > 0 or (others and min(others) < 0 < max(others)):
            return math.nan, f"position is ambiguous: {found} has a minus that contradicts its reference or its degrees"
    degrees, minutes, seconds = map(abs, numbers)
    if minutes > 60 or seconds > 60:
        return math.nan, f"position out of range: {found}, expected minutes and seconds up to 60"
    if (_has_fraction(degrees) and (minutes or seconds)) or (_has_fraction(minutes) and seconds):
        return math.nan, f"position is ambiguous: {found} has a fraction that its minutes or seconds repeat"
    return hemisphere * (degrees + minutes / 60.0 + seconds / 3600.0), ""


def _has_fraction(number: float) -> bool:
    return abs(number - round(number)) > 1e-6


def _altitude_m(gps: dict) -> float:
    altitude = _number(gps.get(ExifTags.GPS.GPSAltitude))
    reference = gps.get(ExifTags.GPS.GPSAltitudeRef, 0)
    if isinstance(reference, bytes):
        reference = reference[0] if reference else 0
    return -altitude if reference in _BELOW_REFERENCES else altitude


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
    return text_of(value).split("\0")[0].strip()
