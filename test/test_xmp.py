"""XMP packets: the forms of positions, times and headings that programs write."""

import math

import pytest
from compatibility import Area, condition
from test_sidecars import xmp

from training.photos.xmp import parse_xmp

SINCE = "2026-11-26"
FORMS = {
    "degrees and minutes (31,15.72N)": ("31,15.72N", "34,48.15E", "", ""),
    "degrees, minutes and seconds (31,15,43.2N)": ("31,15,43.2N", "34,48,9E", "", ""),
    "decimal degrees": ("31.262", "34.8025", "", ""),
    "decimal degrees with a sign": ("+31.262", "+34.8025", "", ""),
    "decimal degrees with a letter": ("31.262N", "34.8025 E", "", ""),
    "decimal degrees, letters apart (Apple Photos)": ("31.262", "34.8025", "N", "E"),
    "decimal degrees, words apart": ("31.262", "34.8025", "North", "East"),
}


def position(latitude, longitude, north="", east=""):
    elements = {"GPSLatitude": latitude, "GPSLongitude": longitude, "GPSLatitudeRef": north, "GPSLongitudeRef": east}
    packet = xmp("".join(f"<exif:{name}>{value}</exif:{name}>" for name, value in elements.items() if value))
    found = parse_xmp(packet.encode())
    return found.latitude_deg, found.longitude_deg


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(form, marks=condition(Area.EXIF, f"position in XMP, {text}", "used", since=SINCE))
        for text, form in FORMS.items()
    ],
)
def test_a_position_is_read_in_all_its_forms(form):
    assert position(*form) == pytest.approx((31.262, 34.8025), abs=1e-9)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (("31,15.72S", "34,48.15W"), (-31.262, -34.8025)),
        (("-31.262", "-34.8025"), (-31.262, -34.8025)),
        (("31.262", "34.8025", "S", "W"), (-31.262, -34.8025)),
        (("-31.262", "-34.8025", "S", "W"), (-31.262, -34.8025)),
    ],
)
@condition(Area.EXIF, "position in XMP, south and west by letter, sign or both", "used", since=SINCE)
def test_south_and_west_are_said_by_letter_sign_or_both(form, expected):
    assert position(*form) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    "form",
    [
        ("-31.262", "34.8025", "N", "E"),
        ("31,15.72E", "34,48.15N"),
        ("31,75.0N", "34,48.15E"),
        ("31,262", "34,8025"),
        ("0,0N", "0,0E"),
        ("131,0N", "34,0E"),
        ("north", "east"),
        ("31,15.72N", ""),
        ("1.2.3", "4"),
    ],
)
@condition(Area.EXIF, "position in XMP, contradictory or out of range", "not used; the photo is rejected", since=SINCE)
def test_a_position_that_cannot_be_one_is_none(form):
    assert all(map(math.isnan, position(*form)))


@pytest.mark.parametrize("form", [("31.5,30N", "34,48.15E"), ("31,15.5,30N", "34,48,9E")])
@condition(Area.EXIF, "position in XMP, a fraction that minutes or seconds repeat", "not used", since=SINCE)
def test_a_fraction_is_not_counted_twice(form):
    assert all(map(math.isnan, position(*form)))


@pytest.mark.parametrize("form", [("31,15.72", "34,48.15"), ("31,26", "34,48")])
@condition(Area.EXIF, "position in XMP, degrees and minutes without sign or letter", "not used", since=SINCE)
def test_degrees_and_minutes_of_either_hemisphere_are_none(form):
    assert all(map(math.isnan, position(*form)))


@condition(Area.EXIF, "XMP in UTF-8 with or without a mark, or in UTF-16, padded", "used", since=SINCE)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("padding", ["", "\0\0", " \n" * 100])
def test_a_packet_is_read_in_every_encoding(encoding, padding):
    if encoding == "utf-16":
        padding = padding.replace("\0", "")
    packet = xmp("", 'exif:GPSLatitude="31,15.72N" exif:GPSLongitude="34,48.15E"') + padding
    assert parse_xmp(packet.encode(encoding)).latitude_deg == pytest.approx(31.262)


@condition(Area.EXIF, "position in XMP of a DJI drone", "used", since=SINCE)
@pytest.mark.parametrize("longitude", ["GpsLongitude", "GpsLongtitude"])
def test_a_drones_position_is_read(longitude):
    found = parse_xmp(xmp("", f'drone-dji:GpsLatitude="+31.262" drone-dji:{longitude}="+34.8025"').encode())
    assert (found.latitude_deg, found.longitude_deg) == (31.262, 34.8025)


@condition(Area.EXIF, "position of the motif in XMP (IPTC LocationShown)", "not used", since=SINCE)
def test_the_position_of_what_is_shown_is_not_that_of_the_photo():
    place = "<exif:GPSLatitude>31,15.72N</exif:GPSLatitude><exif:GPSLongitude>34,48.15E</exif:GPSLongitude>"
    shown = (
        f"<Iptc4xmpExt:LocationShown><rdf:Bag><rdf:li><rdf:Description>{place}</rdf:Description></rdf:li></rdf:Bag>"
        "</Iptc4xmpExt:LocationShown>"
    )
    assert math.isnan(parse_xmp(xmp(shown).encode()).latitude_deg)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-12-22T09:47:11+02:00", "2025-12-22T09:47:11+02:00"),
        ("2025-12-22T09:47:11.123Z", "2025-12-22T09:47:11+00:00"),
        ("2025-12-22T09:47", "2025-12-22T09:47:00"),
        ("2025-12-22T09:47:11+0200", "2025-12-22T09:47:11+02:00"),
        ("2025-12-22", ""),
        ("2025-13-45T09:47:11", ""),
    ],
)
def test_times_are_iso_8601_in_the_forms_of_xmp(text, expected):
    for name in ("exif:DateTimeOriginal", "photoshop:DateCreated", "xmp:CreateDate"):
        assert parse_xmp(xmp("", f'{name}="{text}"').encode()).captured_at == expected


def test_altitude_accuracy_and_heading_are_rationals_or_decimals():
    found = parse_xmp(
        xmp(
            "<exif:GPSImgDirection>68.05</exif:GPSImgDirection>",
            'exif:GPSAltitude="3120/10" exif:GPSAltitudeRef="1" exif:GPSHPositioningError="47/10"',
        ).encode()
    )
    assert (found.altitude_m, found.gps_accuracy_m, found.heading_deg) == (-312.0, 4.7, 68.05)
    none = parse_xmp(xmp("", 'exif:GPSAltitude="1/0" exif:GPSHPositioningError="0"').encode())
    assert math.isnan(none.altitude_m) and math.isnan(none.gps_accuracy_m) and math.isnan(none.heading_deg)


@pytest.mark.parametrize("packet", [b"", b"<x", b"\xff\xfe\x00", b'<?xml version="1.0" encoding="nonsense"?><a/>'])
@condition(Area.EXIF, "damaged XMP", "passed over", since=SINCE)
def test_a_damaged_packet_is_none(packet):
    assert parse_xmp(packet) is None


def test_entities_that_expand_without_end_are_not_expanded():
    lines = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10))
    assert parse_xmp(f'<!DOCTYPE x [<!ENTITY a0 "lol">{lines}]><x>&a9;</x>'.encode()) is None
