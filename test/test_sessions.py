"""Sessions by folder and by gaps in time, and night by the sun."""

import pytest

from training.photos.sessions import folder_session, gap_sessions, is_night


def test_sub_folder_is_the_session():
    assert folder_session("2025-12-22/morning/a.heic") == "2025-12-22/morning"
    assert folder_session("a.heic") == ""


def test_gap_of_more_than_two_hours_begins_a_session_named_by_its_first_photo():
    times = ["2025-12-22T12:00:00+02:00", "2025-12-22T09:47:11+02:00", "2025-12-22T11:47:11+02:00"]
    assert gap_sessions(times, [34.8] * 3) == ["2025-12-22T0947"] * 3
    times[0] = "2025-12-22T13:47:12+02:00"
    assert gap_sessions(times, [34.8] * 3) == ["2025-12-22T1347", "2025-12-22T0947", "2025-12-22T0947"]


def test_times_in_different_offsets_are_compared_as_instants():
    times = ["2025-12-22T09:47:11+02:00", "2025-12-22T07:50:00+00:00", "2025-12-22T09:55:00"]
    assert len(set(gap_sessions(times, [34.8] * 3))) == 1


def test_photos_without_a_time_share_a_session_of_their_own():
    assert gap_sessions(["", "2025-12-22T09:47:11+02:00"], [34.8] * 2) == ["unknown-time", "2025-12-22T0947"]


@pytest.mark.parametrize(
    ("captured_at", "latitude_deg", "longitude_deg", "night"),
    [
        ("2025-12-22T09:47:11+02:00", 31.262, 34.802, False),
        ("2025-12-22T19:00:00+02:00", 31.262, 34.802, True),
        ("2025-12-22T12:00:00+00:00", 39.0, -94.3, True),  # 06:00 in Missouri, before sunrise
        ("2025-06-21T23:30:00+02:00", 69.6, 18.9, False),  # midnight sun
        ("2025-12-22T19:00:00", 31.262, 34.802, None),
        ("", 31.262, 34.802, None),
    ],
)
def test_night_is_the_sun_below_the_horizon(captured_at, latitude_deg, longitude_deg, night):
    assert is_night(captured_at, latitude_deg, longitude_deg) is night
