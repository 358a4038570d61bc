"""Times of day with a half of the day, an offset or other text behind them: never twelve hours or an offset away."""

import math

import pytest
from compatibility import Area, condition
from hypothesis import given
from hypothesis import strategies as st
from photo_helpers import make_exif
from PIL import ExifTags, Image

from training.photos.capture_time import gps_time, parse_time
from training.photos.exif import read_exif

GPS = ExifTags.GPS
SINCE = "2026-11-26"
AFTERNOON = ["PM", "pm", "p. m.", "p.\u00a0m.", "下午", "午後", "오후", "م", "ب.ظ.", "אחה״צ", "μ.μ.", "Nachm."]
MORNING = ["AM", "a. m.", "上午", "午前", "오전", "ص", "ق.ظ.", "לפנה״צ", "π.μ.", "vorm."]


def row(text: str, outcome: str, *values):
    return pytest.param(*values, marks=condition(Area.TIME, text, outcome, since=SINCE), id=text)


@pytest.mark.parametrize(("marks", "hours"), [(AFTERNOON, {3: 15, 12: 12}), (MORNING, {3: 3, 12: 0})])
@condition(Area.TIME, "half of the day in the phone's language (03:47:11 p. m., 下午, م)", "read", since=SINCE)
def test_halves_of_the_day_are_read_in_many_languages(marks, hours):
    for mark in marks:
        for written, hour in hours.items():
            time = parse_time(f"2025:12:22 {written:02}:47:11 {mark}")
            assert time is not None and (time.hour, time.minute) == (hour, 47)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        row("word of an unknown language behind 03:47:11", "unknown time", "2025:12:22 03:47:11 xxxxxx.", ""),
        row("word behind an hour after noon", "read", "2025:12:22 15:47:11 xxxxxx.", "2025-12-22T15:47:11"),
        row("abbreviation of a time zone behind the time", "read", "2025:12:22 09:47:11 IST", "2025-12-22T09:47:11"),
        row("hour 13 with AM", "unknown time", "2025:12:22 13:47:11 AM", ""),
        row("hour 0 with PM", "unknown time", "2025:12:22 00:47:11 PM", ""),
        row("hour 13 with PM", "hour 13", "2025:12:22 13:47:11 PM", "2025-12-22T13:47:11"),
        row("no seconds, offset west", "offset", "2025-12-22T09:47-05:00", "2025-12-22T09:47:00-05:00"),
        row("time parted by minus signs", "read", "2025-12-22 09-47-11", "2025-12-22T09:47:11"),
        row("minus signs, and an offset", "read", "2025-12-22 09-47-11-05:00", "2025-12-22T09:47:11-05:00"),
        row("half of the day and an offset", "read", "2025:12:22 3:47:11 PM +02:00", "2025-12-22T15:47:11+02:00"),
    ],
)
def test_text_behind_a_time_is_understood_or_makes_it_unknown(text, expected):
    time = parse_time(text)
    assert (time.isoformat() if time else "") == expected


@given(st.integers(0, 23), st.text(alphabet=st.characters(categories=["Lu", "Ll", "Lo"]), max_size=8))
def test_no_word_moves_a_time_by_half_a_day_in_silence(hour, word):
    time = parse_time(f"2025:12:22 {hour:02}:47:11 {word}")
    known = any(word.casefold().startswith(mark.casefold()) for mark in AFTERNOON + MORNING)
    assert time is None or known or time.hour in (hour, hour % 12, hour % 12 + 12)


@pytest.mark.parametrize(
    ("clock", "expected"),
    [
        row("GPS time with seconds of 60", "the next minute", (7.0, 47.0, 60.0), "2025-12-22T07:48:00+00:00"),
        row("GPS time in decimal hours", "whole seconds", (7.7833, 0.0, 0.0), "2025-12-22T07:46:59+00:00"),
        row("GPS time with minutes of 75", "unknown time", (7.0, 75.0, 0.0), ""),
        row("GPS time with a negative hour", "unknown time", (-1.0, 60.0, 0.0), ""),
        row("GPS time with seconds of 0/0", "unknown time", (7.0, 47.0, math.nan), ""),
    ],
)
def test_gps_time_out_of_range_is_no_time(clock, expected):
    time = gps_time({GPS.GPSDateStamp: "2025:12:22", GPS.GPSTimeStamp: clock})
    assert (time.isoformat() if time else "") == expected


def problem_with_datum(datum: str) -> str:
    image = Image.new("RGB", (8, 8))
    image.getexif = lambda: make_exif(gps={GPS.GPSMapDatum: datum})
    return read_exif(image).position_problem


@pytest.mark.parametrize("datum", ["TOKYO", "GCJ-02", "BD-09", "ED50", "European Datum 1950", "NAD27", "OSGB36"])
@condition(Area.EXIF, "position of another datum (TOKYO, GCJ-02)", "rejected by name: 100 m and more off", since=SINCE)
def test_position_of_another_datum_is_rejected_by_name(datum):
    assert problem_with_datum(datum) == f"position of another datum: '{datum}', expected WGS-84"


@pytest.mark.parametrize("datum", ["WGS-84", "WGS84\0", "wgs 84", "WGS-84   ", "", "NAD83", "ETRS89", "JGD2011"])
def test_position_of_wgs84_or_within_metres_of_it_is_used(datum):
    assert problem_with_datum(datum) == ""
