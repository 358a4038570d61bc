"""Signs, references and damaged numbers of an EXIF position: the right position or a reason, never one degrees away."""

import math
import struct

import pytest
from compatibility import Area, condition
from hypothesis import given
from hypothesis import strategies as st
from photo_helpers import blocks, make_exif
from PIL import ExifTags, Image

from training.photos.decode import DecodeTask, store_photo
from training.photos.exif import PhotoExif, read_exif

GPS = ExifTags.GPS
ASCII, RATIONAL, SIGNED_RATIONAL = 2, 5, 10  # EXIF 2.32, section 4.6.2
SINCE = "2026-11-26"
SOUTH = -(33 + 51 / 60 + 25.2 / 3600)


def read(tmp_path, latitude, reference="S") -> PhotoExif:
    """The EXIF of a file whose latitude is written as given, with the type that software gives such a value."""
    exif = make_exif((33.0, 151.0), gps={GPS.GPSLatitudeRef: reference}).tobytes()
    order = "<" if exif[6:8] == b"II" else ">"
    entry = exif.index(struct.pack(f"{order}HHL", GPS.GPSLatitude, RATIONAL, 3))
    (offset,) = struct.unpack_from(f"{order}L", exif, entry + 8)
    exif = bytearray(exif)
    if isinstance(latitude, str):
        struct.pack_into(f"{order}HHL4s", exif, entry, GPS.GPSLatitude, ASCII, 4, latitude.encode())
    elif isinstance(latitude, float):
        struct.pack_into(f"{order}HHL", exif, entry, GPS.GPSLatitude, RATIONAL, 1)
        struct.pack_into(f"{order}LL", exif, 6 + offset, round(latitude * 1000), 1000)
    else:
        signed = min(latitude) < 0
        struct.pack_into(f"{order}HHL", exif, entry, GPS.GPSLatitude, SIGNED_RATIONAL if signed else RATIONAL, 3)
        for i, value in enumerate(latitude):
            fraction = (0, 0) if math.isnan(value) else (round(value * 10_000), 10_000)
            struct.pack_into(f"{order}{'ll' if signed else 'LL'}", exif, 6 + offset + 8 * i, *fraction)
    path = tmp_path / "photo.jpg"
    blocks().save(path, exif=bytes(exif))
    with Image.open(path) as image:
        return read_exif(image)


def row(text: str, outcome: str, *values, since=SINCE):
    return pytest.param(*values, marks=condition(Area.EXIF, text, outcome, since=since), id=text)


@pytest.mark.parametrize(
    ("latitude", "reference", "expected"),
    [
        row("latitude 33 51 25.2, S", "south", (33, 51, 25.2), "S", SOUTH, since="2026-11-22"),
        row("latitude -33 51 25.2, S", "south: minus and letter say the same", (-33, 51, 25.2), "S", SOUTH),
        row("latitude -33 -51 -25.2, S", "south", (-33, -51, -25.2), "S", SOUTH),
        row("latitude 33.857 0 0, S", "south", (33.857, 0, 0), "S", -33.857),
        row("latitude 33 51.42 0, S", "south", (33, 51.42, 0), "S", SOUTH),
        row("seconds rounded up to 60", "used", (33, 51, 60.0), "N", 33 + 52 / 60),
        row("reference 'South' or 's'", "south", (33, 51, 25.2), "South", SOUTH),
    ],
)
def test_sign_and_letter_are_read_together(tmp_path, latitude, reference, expected):
    exif = read(tmp_path, latitude, reference)
    assert exif.position_problem == ""
    assert exif.latitude_deg == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("latitude", "reference", "problem"),
    [
        row("latitude -33 51 25.2, N", "rejected as ambiguous", (-33.0, 51.0, 25.2), "N", "ambiguous"),
        row("latitude 33 -51 25.2, S", "rejected as ambiguous", (33.0, -51.0, 25.2), "S", "ambiguous"),
        row("latitude -33 51 -25.2, S", "rejected as ambiguous", (-33.0, 51.0, -25.2), "S", "ambiguous"),
        row("latitude 33.857 51 25.2 (counted twice)", "rejected", (33.857, 51.0, 25.2), "S", "ambiguous"),
        row("latitude 33 51.42 25.2 (counted twice)", "rejected", (33.0, 51.42, 25.2), "S", "ambiguous"),
        row("latitude 33 75 0", "rejected as out of range", (33.0, 75.0, 0.0), "S", "out of range"),
        row("latitude 33 51 2520 (seconds times 100)", "rejected", (33.0, 51.0, 2520.0), "S", "out of range"),
        row("latitude 0/0", "rejected as no number", (math.nan,) * 3, "S", "not a number", since="2026-11-22"),
        row("latitude 33 51 0/0", "rejected as no number", (33.0, 51.0, math.nan), "S", "not a number"),
        row("latitude as a text", "rejected as no number", "335", "S", "not a number"),
        row("latitude as one number", "rejected as no number", 33.857, "S", "not a number"),
        row("reference '+' or empty", "rejected", (33.0, 51.0, 25.2), "+", "reference"),
        row("reference of longitude for the latitude", "rejected", (33.0, 51.0, 25.2), "E", "reference"),
    ],
)
def test_position_that_could_be_another_is_rejected_by_name(tmp_path, latitude, reference, problem):
    exif = read(tmp_path, latitude, reference)
    assert math.isnan(exif.latitude_deg)
    assert math.isnan(exif.longitude_deg)
    assert problem in exif.position_problem


@given(
    st.tuples(st.integers(0, 89), st.integers(0, 59), st.integers(0, 5999)),
    st.tuples(*[st.sampled_from([1, 1, -1])] * 3),
    st.sampled_from("NS"),
)
def test_no_sign_moves_a_position_by_degrees(numbers, signs, reference):
    degrees, minutes, seconds = numbers[0], numbers[1], numbers[2] / 100
    exif = make_exif((1.0, 1.0))
    tags = exif.get_ifd(ExifTags.IFD.GPSInfo)
    tags[GPS.GPSLatitude] = tuple(s * n for s, n in zip(signs, (degrees, minutes, seconds), strict=True))
    tags[GPS.GPSLatitudeRef] = reference
    image = blocks()
    image.getexif = lambda: exif  # the numbers as they are, without a file's rationals
    found = read_exif(image)
    magnitude = degrees + minutes / 60 + seconds / 3600
    expected = -magnitude if reference == "S" else magnitude
    assert found.position_problem or found.latitude_deg == pytest.approx(expected, abs=1e-9)
    if min(signs) > 0:
        assert found.position_problem == ""


@condition(Area.EXIF, "EXIF cut or damaged", "the photo is rejected, or used with a table of positions", since=SINCE)
def test_damaged_exif_of_any_kind_never_stops_a_photo(tmp_path):
    exif = make_exif().tobytes()
    for position in range(0, len(exif), 3):
        damaged = exif[:position] + bytes([exif[position] ^ 0xFF]) + exif[position + 1 :]
        path = tmp_path / "photo.jpg"
        blocks().save(path, exif=b"Exif\0\0" + damaged.removeprefix(b"Exif\0\0"))
        photo = store_photo(DecodeTask(path, "photo.jpg", True, tmp_path / "images"))
        assert photo.photo_id, photo.reject_reason
