"""Sessions by folder and by gaps in time, and night by the sun."""

import pytest

from training.photos.sessions import SessionsBy, assign_sessions, folder_session, gap_sessions, instants_s, is_night


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


@pytest.mark.parametrize("year", ["0001", "9999"])
def test_a_clock_that_was_never_set_gives_sessions_and_no_error(year):
    times = [f"{year}-01-01T00:00:00+14:00", f"{year}-12-31T23:59:59-12:00", "2025-12-22T09:47:11+02:00"]
    assert len(set(gap_sessions(times, [34.8] * 3))) == 3
    assert gap_sessions(times, [34.8] * 3)[0] == f"{year}-01-01T0000"
    for time in times:
        is_night(time, 31.262, 34.802)


def test_a_text_that_is_no_time_is_no_time():
    times = ["noon", "2025-12-22T09:47:11Z", "22.12.2025 09:47"]
    assert gap_sessions(times, [34.8] * 3) == ["unknown-time", "2025-12-22T0947", "unknown-time"]
    assert is_night("noon", 31.262, 34.802) is None


def test_a_time_without_an_offset_has_that_of_the_photo_beside_it():
    # summer time: the longitude alone would say +02:00, and the gap would be over two hours
    times = ["2025-07-22T09:00:00+03:00", "2025-07-22T10:30:00", "2025-07-22T11:30:00+03:00"]
    assert set(gap_sessions(times, [34.8] * 3)) == {"2025-07-22T0900"}
    alone = ["2025-07-20T09:00:00+03:00", "2025-07-22T10:30:00"]
    assert instants_s(alone, [34.8] * 2)[1] == instants_s(["2025-07-22T10:30:00+02:00"], [34.8])[0]


def test_two_sessions_never_have_one_name():
    times = ["2025-12-22T09:00:00+02:00", "2025-12-22T09:00:00-05:00"]
    assert gap_sessions(times, [34.8] * 2) == ["2025-12-22T0900", "2025-12-22T0900-2"]


def test_a_walk_over_midnight_is_one_session_of_the_day_on_which_it_begins():
    times = ["2025-12-22T23:30:00+02:00", "2025-12-23T00:30:00+02:00", "2025-12-23T09:00:00+02:00"]
    assert gap_sessions(times, [34.8] * 3, by_day=True) == ["2025-12-22", "2025-12-22", "2025-12-23"]


def test_sessions_by_time_do_not_look_at_folders_and_photos_without_a_time_stay_in_theirs():
    files = ["a/1.jpg", "b/2.jpg", "a/3.jpg", "4.jpg"]
    times = ["2025-12-22T09:00:00+02:00", "2025-12-22T09:10:00+02:00", "", ""]
    assert assign_sessions(files, times, [34.8] * 4, SessionsBy.FOLDER) == ["a", "b", "a", "unknown-time"]
    by_time = ["2025-12-22T0900", "2025-12-22T0900", "a", "unknown-time"]
    assert assign_sessions(files, times, [34.8] * 4, SessionsBy.TIME) == by_time
