"""XMP, in a photo or in a file beside it: position, time and heading."""

from __future__ import annotations

import codecs
import math
import re
from fractions import Fraction
from xml.etree import ElementTree

from training.photos.capture_time import parse_time
from training.photos.exif import position_problem
from training.photos.metadata import PhotoMetadata

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_EXIF = "{http://ns.adobe.com/exif/1.0/}"
_DJI = "{http://www.dji.com/drone-dji/1.0/}"
_POSITIONS = (
    (_EXIF + "GPSLatitude", _EXIF + "GPSLongitude"),
    (_DJI + "GpsLatitude", _DJI + "GpsLongitude"),
    (_DJI + "GpsLatitude", _DJI + "GpsLongtitude"),  # spelled so by older drones
)
_TIMES = (
    _EXIF + "DateTimeOriginal",
    "{http://ns.adobe.com/photoshop/1.0/}DateCreated",
    "{http://ns.adobe.com/xap/1.0/}CreateDate",
)
_COORDINATE = re.compile(r"([+-]?)([\d.]+)(?:[,\s]+([\d.]+))?(?:[,\s]+([\d.]+))?\s*([NSEW]?)[A-Z]*", re.IGNORECASE)
MAX_XMP_BYTES = 16 << 20


def parse_xmp(packet: bytes) -> PhotoMetadata | None:
    """Read an XMP packet; None if it is damaged.

    Only properties of the photo itself count: a place that IPTC's LocationShown holds is that of its motif.
    """
    if len(packet) > MAX_XMP_BYTES:
        return None
    try:
        is_utf16 = packet.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = packet.decode("utf-16") if is_utf16 else packet.strip(b"\0 \t\r\n")
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, LookupError):
        return None
    properties = _properties(root)
    latitude, longitude = _position(properties)
    altitude = _rational(properties.get(_EXIF + "GPSAltitude", ""))
    below = properties.get(_EXIF + "GPSAltitudeRef", "") in ("1", "3")
    accuracy = _rational(properties.get(_EXIF + "GPSHPositioningError", ""))
    return PhotoMetadata(
        source="xmp",
        latitude_deg=latitude,
        longitude_deg=longitude,
        altitude_m=-altitude if below else altitude,
        gps_accuracy_m=accuracy if accuracy > 0 else math.nan,
        heading_deg=_rational(properties.get(_EXIF + "GPSImgDirection", "")) % 360.0,
        captured_at=next((time for time in (_time(properties.get(name, "")) for name in _TIMES) if time), ""),
    )


def _properties(root: ElementTree.Element) -> dict[str, str]:
    """Simple properties by name, written as attributes or as elements."""
    found: dict[str, str] = {}
    for description in root.iter(_RDF + "RDF"):
        for node in description.findall(_RDF + "Description"):
            found |= {child.tag: (child.text or "").strip() for child in node if len(child) == 0}
            found |= {name: value.strip() for name, value in node.attrib.items()}
    return found


def _position(properties: dict[str, str]) -> tuple[float, float]:
    """Latitude and longitude in degrees, both NaN where they are missing or invalid."""
    for name_latitude, name_longitude in _POSITIONS:
        latitude = _degrees(properties.get(name_latitude, ""), properties.get(name_latitude + "Ref", ""), "NS")
        longitude = _degrees(properties.get(name_longitude, ""), properties.get(name_longitude + "Ref", ""), "EW")
        if not position_problem(latitude, longitude):
            return latitude, longitude
    return math.nan, math.nan


def _degrees(text: str, reference: str, letters: str) -> float:
    """A GPSCoordinate -> degrees, NaN if it is none.

    The XMP specification (part 2, section 1.2.7.4) has "DDD,MM,SSk" and "DDD,MM.mmk". Other programs write signed
    decimal degrees, or like Apple Photos unsigned ones with the letter in a property of its own.
    """
    match = _COORDINATE.fullmatch(text.strip())
    if not match:
        return math.nan
    sign, own = match[1], match[5]
    letter = (own or reference.strip()[:1]).upper()
    try:
        degrees, minutes, seconds = (float(match[group] or 0) for group in (2, 3, 4))
    except ValueError:
        return math.nan
    positive, negative = letters[0], letters[1]
    if (
        (letter, sign) in ((positive, "-"), (negative, "+"))
        or letter not in ("", positive, negative)
        or minutes >= 60.0
        or seconds >= 60.0
        or (degrees % 1.0 and (match[3] or match[4]))  # a fraction that minutes would count twice
        or (minutes % 1.0 and match[4])
        or not (letter or sign or match[3] is None)  # degrees and minutes of either side
    ):
        return math.nan
    value = degrees + minutes / 60.0 + seconds / 3600.0
    return -value if sign == "-" or letter == negative else value


def _rational(text: str) -> float:
    """A number such as "3120/10" or "312.0", NaN if it is none."""
    try:
        return float(Fraction(text.replace(" ", "")))
    except (ValueError, ZeroDivisionError, OverflowError):
        return math.nan


def _time(text: str) -> str:
    time = parse_time(text)
    return time.isoformat() if time else ""
