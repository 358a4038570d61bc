"""When a photo was taken: from the times that cameras, phones and editors write, in the forms that they write.

EXIF 2.32, section 4.6.6 (date and time tags) and 4.6.7 (GPS tags). Times are kept to the second.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from PIL import ExifTags

from training.photos.half_day import hour_of_day

_YEARS = range(1900, 2101)  # others come from clocks that were never set, or from damaged files
_BUDDHIST_ERA = 543  # years ahead of the common era; phones set to Thai write it into the EXIF
_OFFSETS = (timedelta(hours=-12), timedelta(hours=14))  # of the time zones there are
# Offsets of time zones are multiples of half an hour, but for Nepal, Eucla and the Chatham Islands (and their summer).
_QUARTER, _HALF_HOUR = timedelta(minutes=15), timedelta(minutes=30)
_QUARTER_ZONES = tuple(timedelta(minutes=minutes) for minutes in (345, 525, 765, 825))
# Of the camera's clock and the fix together: cameras drift by minutes, and a fix is some seconds old.
_GPS_DIFFERENCE = timedelta(minutes=3)
# A camera on a clock of home is up to this far from the sun's time where it is; a fix of last evening is further.
_FROM_SOLAR_TIME = timedelta(hours=8)

_OFFSET = r"(?:(?:UTC|GMT|Z)?\s*([+\-\u2212])\s*(\d{1,2}):?(\d{2})?(?::\d\d)?|(Z|UTC|GMT))"
_ONLY_OFFSET = re.compile(rf"\s*{_OFFSET}\s*", re.IGNORECASE)
# 2025:12:22 09:47:11.123+02:00, with the separators that are written in place of the standard's
_DATE = r"(\d{4})[:/.\-]\s*(\d{1,2})[:/.\-]\s*(\d{1,2})"
# A minus parts seconds from minutes only where one parts these from the hours: in 09:47-05:00 it is an offset's.
_CLOCK = r"(\d{1,2})(?:[:.]\s*|(?P<minus>-)\s*)(\d{1,2})(?:(?:[:.]|(?(minus)-|(?!)))\s*(\d{1,2}))?"
_FRACTION = r"(?:[.,:]\d+)?"
_YEAR_FIRST = re.compile(rf"{_DATE}[T\s_,:\-]+{_CLOCK}{_FRACTION}", re.IGNORECASE)
_COMPACT = re.compile(rf"(\d{{4}})(\d\d)(\d\d)[T\s_\-]?(\d\d)()(\d\d)(\d\d){_FRACTION}", re.IGNORECASE)
_YEAR_LAST = re.compile(rf"(\d{{1,2}})([./\-])(\d{{1,2}})\2(\d{{4}})[T\s_,]+{_CLOCK}{_FRACTION}", re.IGNORECASE)
_OFFSET_BEHIND = re.compile(rf"\s*{_OFFSET}", re.IGNORECASE)
_ONLY_DATE = re.compile(rf"{_DATE}|(\d{{4}})(\d\d)(\d\d)")
_XMP_DATE = re.compile(
    rb"(?:exif:DateTimeOriginal|photoshop:DateCreated|xmp:CreateDate|exif:DateTimeDigitized)\s*(?:=\s*[\"']|>)([^\"'<]+)"
)
_TIME_ZONE_OFFSET = 0x882A  # TIFF/EP: hours, the first for DateTimeOriginal

_BASE = ExifTags.Base
_TAGS = (
    (_BASE.DateTimeOriginal, _BASE.OffsetTimeOriginal),
    (_BASE.DateTimeDigitized, _BASE.OffsetTimeDigitized),
    (_BASE.DateTime, _BASE.OffsetTime),
)


def captured_at(base: Mapping, details: Mapping, gps: Mapping, info: Mapping, longitude_deg: float) -> str:
    """The time of the exposure, ISO 8601, with its offset from UTC where that is known; "" if there is none.

    DateTimeOriginal, else DateTimeDigitized, else a date in the XMP or in a text of a PNG, else DateTime (which editors
    change), else the time of the GPS fix. The GPS time never replaces the camera's, as a fix can be old: it gives the
    offset of a time without one, where the two agree.

    Args:
        base: The EXIF's first directory.
        details: Its Exif directory.
        gps: Its GPS directory.
        info: Pillow's `Image.info`, for XMP and texts.
        longitude_deg: Of the photo, NaN if unknown.
    """
    times = [(parse_time(text_of(details.get(date, base.get(date)))), offset) for date, offset in _TAGS]
    others = [parse_time(text) for text in _other_texts(info)]
    candidates = [time for time, _ in times[:2]] + others + [times[2][0]]
    local = next((time for time in candidates if time), None)
    utc = gps_time(gps)
    if local is None:
        return utc.isoformat() if utc else ""
    if local.tzinfo is None:
        offset = _own_offset(local, times, others, details, base)
        if offset is None and utc:
            offset = _gps_offset(local, utc, longitude_deg)
        if offset is not None:
            local = local.replace(tzinfo=timezone(offset))
    return local.isoformat()


def parse_time(text: str) -> datetime | None:
    """A time in one of the forms that are found in photos, with an offset if it has one; None if it is no valid time.

    Day and month before the year are read where the order is certain.
    """
    text = text.replace("\0", " ").strip()
    if match := _YEAR_FIRST.match(text) or _COMPACT.match(text):
        year, month, day, *rest = match.groups()
    elif match := _YEAR_LAST.match(text):
        first, separator, second, year, *rest = match.groups()
        if separator != "." and int(first) <= 12 and int(second) <= 12 and first != second:
            return None  # 03/04/2025 is March or April
        day, month = (first, second) if separator == "." or int(first) > 12 else (second, first)
    else:
        return None
    written_hour, _, minute, second = rest
    try:
        hour, behind = hour_of_day(int(written_hour), text[match.end() :])
        time = datetime(_common_year(int(year)), int(month), int(day), hour, int(minute), int(second or 0))
    except ValueError:  # cameras without a set clock write 0000:00:00 00:00:00
        return None
    offset = _OFFSET_BEHIND.match(behind)
    shift = _to_offset(offset.groups()) if offset else None
    return time if shift is None else time.replace(tzinfo=timezone(shift))


def parse_offset(text: str) -> timedelta | None:
    """An offset from UTC: +02:00, +0200, +2, Z, UTC+2 and the like; None for anything else."""
    match = _ONLY_OFFSET.fullmatch(text.replace("\0", " "))
    return _to_offset(match.groups()) if match else None


def gps_time(gps: Mapping) -> datetime | None:
    """The time of the GPS fix, UTC, whole seconds."""
    date = _ONLY_DATE.match(text_of(gps.get(ExifTags.GPS.GPSDateStamp)))
    if not date:
        return None
    year, month, day = (int(number) for number in date.groups() if number is not None)
    try:
        hours, minutes, seconds = (float(value) for value in gps.get(ExifTags.GPS.GPSTimeStamp, ()))
        midnight = datetime(_common_year(year), month, day, tzinfo=timezone.utc)
        since_midnight = timedelta(seconds=int(hours * 3600.0 + minutes * 60.0 + seconds))
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        return None
    in_range = 0.0 <= hours <= 24.0 and 0.0 <= minutes <= 60.0 and 0.0 <= seconds <= 60.0
    return midnight + since_midnight if in_range and since_midnight <= timedelta(days=1) else None


def text_of(value: Any) -> str:
    """The text of an EXIF value. Pillow reads it as Latin-1, but phones write the digits of their language as UTF-8."""
    if value is None:
        return ""
    if not isinstance(value, (bytes, str)):
        return str(value)
    try:
        text = (value if isinstance(value, bytes) else value.encode("latin-1")).decode("utf-8")
    except UnicodeError:
        text = value.decode("latin-1") if isinstance(value, bytes) else value
    return text.strip()


def _other_texts(info: Mapping) -> list[str]:
    """Dates in the XMP and in the texts of a PNG."""
    xmp = info.get("xmp") or info.get("XML:com.adobe.xmp") or b""
    xmp = xmp.encode("utf-8", "replace") if isinstance(xmp, str) else bytes(xmp)
    texts = [match.decode("utf-8", "replace") for match in _XMP_DATE.findall(xmp)]
    return texts + [str(info[key]) for key in ("Creation Time", "creation_time", "date:create") if key in info]


def _own_offset(local: datetime, times: list, others: list, details: Mapping, base: Mapping) -> timedelta | None:
    """The offset that the photo itself names for a time: its tag's, or that of an equal time."""
    for time, tag in times:
        # the offset of another time may be that of an editor, in another place or season
        offset = parse_offset(text_of(details.get(tag, base.get(tag))))
        if offset is not None and (time is None or time.replace(tzinfo=None) == local):
            return offset
    for time in [time for time, _ in times] + others:
        if time and time.tzinfo and time.replace(tzinfo=None) == local:
            return time.utcoffset()
    hours = base.get(_TIME_ZONE_OFFSET, details.get(_TIME_ZONE_OFFSET))
    hours = hours[0] if isinstance(hours, tuple) and hours else hours
    return _in_range(timedelta(hours=hours)) if isinstance(hours, int) else None


def _gps_offset(local: datetime, utc: datetime, longitude_deg: float) -> timedelta | None:
    """The offset of the camera's clock by the GPS time; None where the two cannot be of the same moment."""
    difference = local - utc.replace(tzinfo=None)
    offset = round(difference / _QUARTER) * _QUARTER
    if abs(difference - offset) > _GPS_DIFFERENCE or _in_range(offset) is None:
        return None
    if offset % _HALF_HOUR and offset not in _QUARTER_ZONES:
        return None
    if math.isfinite(longitude_deg):
        day = timedelta(days=1)
        from_solar = (offset - timedelta(hours=longitude_deg / 15.0) + day / 2) % day - day / 2
        if abs(from_solar) > _FROM_SOLAR_TIME:
            return None
    return offset


def _to_offset(groups: Any) -> timedelta | None:
    sign, hours, minutes, utc = groups
    if utc:
        return timedelta(0)
    if not sign or int(minutes or 0) >= 60:
        return None
    shift = timedelta(hours=int(hours), minutes=int(minutes or 0))
    return _in_range(shift if sign == "+" else -shift)


def _in_range(offset: timedelta) -> timedelta | None:
    return offset if _OFFSETS[0] <= offset <= _OFFSETS[1] else None


def _common_year(year: int) -> int:
    """A year of the common era. Raises ValueError for one in which no photo of today was taken."""
    if year - _BUDDHIST_ERA in _YEARS:
        year -= _BUDDHIST_ERA
    if year not in _YEARS:
        raise ValueError(f"year {year}")
    return year
