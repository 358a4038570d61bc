"""When a photo was taken, from what cameras, phones and editors write."""

from datetime import timedelta

import pytest
from compatibility import Area, condition
from hypothesis import given
from hypothesis import strategies as st
from photo_helpers import SITE, blocks, make_exif
from PIL import ExifTags, Image, PngImagePlugin

from training.photos.capture_time import parse_offset, parse_time
from training.photos.decode import DecodeTask, store_photo

BASE, GPS = ExifTags.Base, ExifTags.GPS
SINCE = "2026-11-26"
LOCAL = "2025-12-22T09:47:11"
AT_0747 = {GPS.GPSDateStamp: "2025:12:22", GPS.GPSTimeStamp: (7.0, 47.0, 9.24)}


def taken(tmp_path, *, details=None, base=None, suffix=".jpg", info=None, xmp=None, **options) -> str:
    """`captured_at` of a photo that goes through a file; `details` and `base` are tags of the two directories."""
    exif = make_exif(**({"taken": None, "offset": None} | options))
    exif.get_ifd(ExifTags.IFD.Exif).update(details or {})
    exif.update(base or {})
    path = tmp_path / f"photo{suffix}"
    extra = {"pnginfo": info} if info else {"xmp": xmp} if xmp else {}
    blocks().save(path, exif=exif.tobytes(), **extra)
    photo = store_photo(DecodeTask(path, path.name, True, tmp_path / "images"))
    assert photo.reject_reason == ""
    return photo.exif.captured_at


def row(text: str, outcome: str, *values, since=SINCE):
    return pytest.param(*values, marks=condition(Area.TIME, text, outcome, since=since), id=text)


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        row("date 2025-12-22 09:47:11", "read", "2025-12-22 09:47:11", LOCAL),
        row("date 2025/12/22 09:47:11", "read", "2025/12/22 09:47:11", LOCAL),
        row("date 2025.12.22 09.47.11", "read", "2025.12.22 09.47.11", LOCAL),
        row("date 2025-12-22T09:47:11", "read", "2025-12-22T09:47:11", LOCAL),
        row("date 20251222 094711", "read", "20251222 094711", LOCAL),
        row("date 22.12.2025 09:47:11", "read, the day first", "22.12.2025 09:47:11", LOCAL),
        row("date 12/22/2025 9:47:11 AM", "read, as only one order is possible", "12/22/2025 9:47:11 AM", LOCAL),
        row("date 03/04/2025 09:47:11", "unknown time: March or April", "03/04/2025 09:47:11", ""),
        row("date with a fraction of a second", "read to the second", "2025:12:22 09:47:11.503", LOCAL),
        row("date with blanks for zeros (2025: 3: 4  9: 7: 1)", "read", "2025: 3: 4  9: 7: 1", "2025-03-04T09:07:01"),
        row("date without seconds", "read", "2025:12:22 09:47", "2025-12-22T09:47:00"),
        row("time of day 09:47:11 PM", "read", "2025:12:22 09:47:11 PM", "2025-12-22T21:47:11"),
        row("hour 24, as Android wrote midnight", "hour 0 of that day", "2025:12:22 24:15:00", "2025-12-22T00:15:00"),
        row("offset inside the date (+02:00)", "read", "2025:12:22 09:47:11+02:00", f"{LOCAL}+02:00"),
        row("fraction and offset inside the date", "read", "2025:12:22 09:47:11.27-05:30", f"{LOCAL}-05:30"),
        row("date in ISO 8601 with Z", "read", "2025-12-22T09:47:11Z", f"{LOCAL}+00:00"),
        row("date with a NUL for its blank", "read", "2025:12:22\x0009:47:11", LOCAL),
        row("date with text behind it", "read", "2025:12:22 09:47:11   :  ", LOCAL),
        row("year of the Buddhist era, 2568", "read as 2025", "2568:12:22 09:47:11", LOCAL),
        row("year 1", "unknown time", "0001:01:01 00:00:00", ""),
        row("year 1 with an offset", "unknown time", "0001:01:01 00:00:00+02:00", ""),
        row("year 9999 with an offset", "unknown time", "9999:12:31 23:59:59-01:00", ""),
        row("month 13", "unknown time", "2025:13:22 09:47:11", ""),
        row("30 February", "unknown time", "2025:02:30 09:47:11", ""),
        row("hour 25", "unknown time", "2025:12:22 25:00:00", ""),
        row("date 0000:00:00 00:00:00", "unknown time", "0000:00:00 00:00:00", "", since="2026-11-22"),
        row("date of blanks", "unknown time", "    :  :     :  :  ", ""),
        row("date of NUL bytes", "unknown time", "\0" * 19, ""),
        row("date without a time of day", "unknown time", "2025:12:22", ""),
        row("text in place of a date", "unknown time", "yesterday", ""),
    ],
)
def test_dates_are_read_in_the_forms_that_cameras_write(tmp_path, date, expected):
    assert taken(tmp_path, taken=date) == expected


@pytest.mark.parametrize(
    "offset", ["+02:00", "+0200", "+2:00", "+2", "+02", " +02:00 ", "UTC+2", "GMT+02:00", "utc +2"]
)
@condition(Area.TIME, "offset +2:00, +0200, +2, UTC+2 or GMT+02:00", "read", since=SINCE)
def test_offsets_are_read_in_the_forms_that_phones_write(tmp_path, offset):
    assert taken(tmp_path, taken="2025:12:22 09:47:11", offset=offset) == f"{LOCAL}+02:00"


@pytest.mark.parametrize("offset", ["", "   :  ", "+99:99", "+02:75", "-13:00", "+15:00", "Asia/Jerusalem", "\0\0\0"])
@condition(Area.TIME, "offset of blanks, or of no time zone (+99:99, -13:00)", "unknown offset", since=SINCE)
def test_offset_that_is_none_is_unknown(tmp_path, offset):
    assert taken(tmp_path, taken="2025:12:22 09:47:11", offset=offset) == LOCAL


DIGITS = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")


@condition(Area.TIME, "date in Arabic or Persian digits", "read", since=SINCE)
def test_digits_of_the_phones_language_are_read(tmp_path):
    date = "2025:12:22 09:47:11".translate(DIGITS)
    exif = (
        make_exif(taken="D" * len(date.encode()), offset=None)
        .tobytes()
        .replace(b"D" * len(date.encode()), date.encode())
    )
    path = tmp_path / "photo.jpg"
    blocks().save(path, exif=exif)
    photo = store_photo(DecodeTask(path, path.name, True, tmp_path / "images"))
    assert photo.exif.captured_at == LOCAL


@pytest.mark.parametrize(
    ("details", "base", "expected"),
    [
        row("DateTimeDigitized alone", "read", {BASE.DateTimeDigitized: "2025:12:22 09:47:11"}, {}, LOCAL),
        row("DateTime alone", "read", {}, {BASE.DateTime: "2025:12:22 09:47:11"}, LOCAL),
        row(
            "DateTimeOriginal of year 1, DateTimeDigitized right",
            "DateTimeDigitized",
            {BASE.DateTimeOriginal: "0001:01:01 00:00:00", BASE.DateTimeDigitized: "2025:12:22 09:47:11"},
            {},
            LOCAL,
        ),
        row(
            "DateTime changed by an editor",
            "DateTimeOriginal, and not the editor's offset",
            {BASE.DateTimeOriginal: "2025:12:22 09:47:11", BASE.OffsetTime: "+03:00"},
            {BASE.DateTime: "2026:07:01 12:00:00"},
            LOCAL,
        ),
        row(
            "OffsetTime alone, DateTime that of the exposure",
            "used",
            {BASE.DateTimeOriginal: "2025:12:22 09:47:11", BASE.OffsetTime: "+02:00"},
            {BASE.DateTime: "2025:12:22 09:47:11"},
            f"{LOCAL}+02:00",
        ),
        row(
            "OffsetTimeDigitized alone",
            "used",
            {BASE.DateTimeOriginal: "2025:12:22 09:47:11", BASE.OffsetTimeDigitized: "+02:00"},
            {},
            f"{LOCAL}+02:00",
        ),
        row(
            "fraction in SubSecTimeOriginal",
            "read to the second",
            {BASE.DateTimeOriginal: "2025:12:22 09:47:11", BASE.SubsecTimeOriginal: "503"},
            {},
            LOCAL,
        ),
    ],
)
def test_the_time_of_the_exposure_is_found_in_whichever_tag_has_it(tmp_path, details, base, expected):
    assert taken(tmp_path, details=details, base=base) == expected


def stamp(date: str, *time: float) -> dict:
    return {GPS.GPSDateStamp: date, GPS.GPSTimeStamp: time}


@pytest.mark.parametrize(
    ("gps", "position", "expected"),
    [
        row("no offset, GPS time of the exposure", "the GPS time gives the offset", AT_0747, SITE, f"{LOCAL}+02:00"),
        row(
            "no offset, GPS time with a date like 2025-12-22",
            "gives the offset",
            stamp("2025-12-22", 7, 47, 9),
            SITE,
            f"{LOCAL}+02:00",
        ),
        row(
            "no offset, camera and GPS 2 minutes apart",
            "gives the offset",
            stamp("2025:12:22", 7, 45, 11),
            SITE,
            f"{LOCAL}+02:00",
        ),
        row(
            "no offset, Nepal's quarter of an hour",
            "gives +05:45",
            stamp("2025:12:22", 4, 2, 10),
            (27.7, 85.3),
            f"{LOCAL}+05:45",
        ),
        row(
            "GPS date 1024 weeks back (week rollover)", "the camera's time", stamp("2006:05:08", 7, 47, 9), SITE, LOCAL
        ),
        row("GPS time 20 years back", "the camera's time", stamp("2005:12:22", 7, 47, 9), SITE, LOCAL),
        row("GPS time of last evening", "the camera's time", stamp("2025:12:21", 17, 12, 30), SITE, LOCAL),
        row(
            "GPS time of last evening, a whole hour off",
            "the camera's time",
            stamp("2025:12:21", 20, 47, 9),
            SITE,
            LOCAL,
        ),
        row("GPS time 46 minutes old", "the camera's time", stamp("2025:12:22", 7, 1, 0), SITE, LOCAL),
        row("GPS time 7 minutes old", "the camera's time", stamp("2025:12:22", 7, 40, 0), SITE, LOCAL),
        row("GPS date without GPS time", "the camera's time", {GPS.GPSDateStamp: "2025:12:22"}, SITE, LOCAL),
        row("GPS time 99:99:99", "the camera's time", stamp("2025:12:22", 99, 99, 99), SITE, LOCAL),
    ],
)
def test_the_gps_time_gives_the_offset_where_it_can_be_that_of_the_exposure(tmp_path, gps, position, expected):
    assert taken(tmp_path, taken="2025:12:22 09:47:11", gps=gps, position=position) == expected


@condition(Area.TIME, "offset in the EXIF, GPS time of last evening", "the camera's time and offset", since=SINCE)
def test_a_stale_gps_time_never_replaces_the_cameras(tmp_path):
    gps = stamp("2025:12:21", 17, 47, 9)
    assert taken(tmp_path, taken="2025:12:22 09:47:11", offset="+02:00", gps=gps) == f"{LOCAL}+02:00"


@condition(Area.TIME, "GPS time alone", "used, in UTC", since="2026-11-22")
def test_the_gps_time_alone_is_taken(tmp_path):
    assert taken(tmp_path, gps=AT_0747) == "2025-12-22T07:47:09+00:00"


@condition(Area.TIME, "PNG with its date in a text chunk (Creation Time)", "read", since=SINCE)
def test_date_in_a_text_of_a_png_is_read(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_text("Creation Time", "2025-12-22T09:47:11+02:00")
    assert taken(tmp_path, suffix=".png", info=info) == f"{LOCAL}+02:00"


@pytest.mark.parametrize("name", ["exif:DateTimeOriginal", "photoshop:DateCreated", "xmp:CreateDate"])
@condition(Area.TIME, "date in XMP alone", "read", since=SINCE)
def test_date_in_xmp_is_read(tmp_path, name):
    xmp = f'<x:xmpmeta><rdf:Description {name}="2025-12-22T09:47:11.50+02:00"/></x:xmpmeta>'.encode()
    assert taken(tmp_path, xmp=xmp) == f"{LOCAL}+02:00"


@given(st.text())
def test_no_text_is_more_than_an_unknown_time(text):
    time = parse_time(text)
    assert time is None or 1900 <= time.year <= 2100
    offset = parse_offset(text)
    assert offset is None or timedelta(hours=-12) <= offset <= timedelta(hours=14)


@given(st.datetimes(), st.sampled_from(["", "+14:00", "-12:00", "Z"]))
def test_every_date_can_be_compared_with_others(time, offset):
    parsed = parse_time(time.strftime("%Y:%m:%d %H:%M:%S") + offset)
    assert parsed is None or abs(parsed.timestamp()) < 1e11


def test_damaged_tags_of_time_are_unknown(tmp_path):
    gps = {GPS.GPSDateStamp: "2025:12:22", GPS.GPSTimeStamp: (7.0, 47.0)}
    assert taken(tmp_path, gps=gps) == ""
    with Image.open(tmp_path / "photo.jpg") as image:
        assert image.getexif().get_ifd(ExifTags.IFD.GPSInfo)[GPS.GPSTimeStamp] == (7.0, 47.0)
