"""Folders that are not walks: sessions of one walk are found, named with what mends them, and kept together."""

import pandas as pd
import pytest
from compatibility import Area, condition
from photo_helpers import make_exif, write_photo
from typer.testing import CliRunner

from campus_visual_gps.errors import DatasetError
from training.cli import app
from training.photos.ingest import ingest
from training.photos.manifest import PHOTO_COLUMNS, read_photos, read_splits
from training.photos.session_overlap import sessions_of_several_days, touching_sessions
from training.photos.sessions import SessionsBy
from training.photos.splits import split
from training.photos.tables import write_table

SINCE = "2026-11-26"
MEND = "--sessions-by time"


def walk(session, start, minutes, north_m=0.0, count=10, offset="+02:00"):
    """Photos of a walk north, one every `minutes / count`."""
    begin = pd.Timestamp(start)
    return [
        {
            "session": session,
            "captured_at": (begin + pd.Timedelta(minutes=minutes * i / count)).isoformat() + offset,
            "latitude_deg": 31.262 + (north_m + 10.0 * i) / 111195.0,
            "longitude_deg": 34.8025,
        }
        for i in range(count)
    ]


def table(*walks):
    photos = pd.DataFrame([row for own in walks for row in own])
    photos["file"] = [f"{session}/{i}.jpg" for i, session in enumerate(photos["session"])]
    return photos


def dataset(tmp_path, *walks):
    photos = table(*walks)
    photos["photo_id"] = [f"{7919 * i:016x}" for i in range(len(photos))]
    photos = photos.assign(night=pd.Series([False] * len(photos), dtype="boolean"), width_px=64, height_px=48)
    write_table(tmp_path / "photos.csv", photos.assign(label_source="exif").reindex(columns=list(PHOTO_COLUMNS)))
    return tmp_path


MORNING = "2025-12-22T09:00"
CUT = (walk("100APPLE", MORNING, 20), walk("101APPLE", "2025-12-22T09:20", 20, 100.0))
OTHER = (walk("monday", "2025-12-15T09:00", 20), walk("tuesday", "2025-12-16T09:00", 20))
ONE_WALK = {
    "one walk cut into 100APPLE and 101APPLE": CUT,
    "two phones in two folders at the same time": (walk("a", MORNING, 40), walk("b", "2025-12-22T09:10", 20)),
    "two folders that hold every second photo": (walk("a", MORNING, 40), walk("b", "2025-12-22T09:02", 40)),
    "two walks with a break of 25 minutes": (walk("a", MORNING, 20), walk("b", "2025-12-22T09:43", 20)),
    "two phones, one without an offset": (walk("a", MORNING, 40), walk("b", MORNING, 40, offset="")),
    "two phones in two time zones": (walk("a", MORNING, 40), walk("b", "2025-12-22T07:10", 20, offset="+00:00")),
}
SEVERAL_WALKS = {
    "two hours between them": (walk("a", MORNING, 20), walk("b", "2025-12-22T11:20", 20)),
    "the same time on another day": (walk("a", MORNING, 20), walk("b", "2025-12-23T09:00", 20)),
    "the same time a kilometre away": (walk("a", MORNING, 20), walk("b", MORNING, 20, 1000.0)),
    "unknown times": ([row | {"captured_at": ""} for row in CUT[0]], [row | {"captured_at": ""} for row in CUT[1]]),
}


@pytest.mark.parametrize(
    "walks",
    [
        pytest.param(walks, marks=condition(Area.FOLDERS, text, f"warning that names both and `{MEND}`", since=SINCE))
        for text, walks in ONE_WALK.items()
    ],
)
def test_sessions_of_one_walk_are_found(walks):
    photos = table(*walks).sample(frac=1.0, random_state=1)
    assert touching_sessions(photos) == [tuple(sorted(photos["session"].unique()))]


@pytest.mark.parametrize(
    "walks",
    [
        pytest.param(walks, marks=condition(Area.FOLDERS, f"sessions, {text}", "no warning", since=SINCE))
        for text, walks in SEVERAL_WALKS.items()
    ],
)
def test_sessions_of_several_walks_are_left_alone(walks):
    assert touching_sessions(table(*walks)) == []


def test_a_session_that_spans_another_touches_it_only_near_its_photos():
    week = walk("week", "2025-12-22T09:00", 20) + walk("week", "2025-12-29T09:00", 20)
    assert touching_sessions(table(week, walk("b", "2025-12-25T09:00", 20))) == []
    assert touching_sessions(table(week, walk("b", "2025-12-29T09:10", 20))) == [("b", "week")]


@condition(Area.FOLDERS, "split that tests a part of the walk that it trains", f"warning with `{MEND}`", since=SINCE)
def test_a_split_through_a_walk_is_warned_of(tmp_path):
    summary = split(dataset(tmp_path, *CUT, *OTHER), test_sessions=["100APPLE"], val_sessions=["monday"])
    assert len(summary.warnings) == 1
    assert all(text in summary.warnings[0] for text in ("100APPLE and 101APPLE", "tests what the other trains", MEND))
    assert split(tmp_path, test_sessions=["100APPLE", "101APPLE"], val_sessions=["monday"]).warnings == ()


@condition(Area.FOLDERS, "validation sessions drawn where one walk is two folders", "kept together", since=SINCE)
def test_drawn_validation_keeps_a_walk_together(tmp_path):
    data = dataset(tmp_path, *CUT, *OTHER)
    drawn = set()
    for seed in range(12):
        summary = split(data, seed=seed, val_fraction=0.3)
        assert summary.warnings == ()
        subsets = read_splits(data).groupby("session")["subset"].first()
        assert subsets["100APPLE"] == subsets["101APPLE"]
        drawn |= set(summary.sessions["val"])
    assert {"monday", "tuesday"} <= drawn


def test_where_all_sessions_are_one_walk_the_split_is_made_and_warned_of(tmp_path):
    summary = split(dataset(tmp_path, *CUT))
    assert len(summary.sessions["val"]) == 1 and MEND in summary.warnings[0]


@condition(Area.FOLDERS, "split of one session", "one line that says what to do", since="2026-11-22")
def test_a_single_session_is_one_line_that_says_what_to_do(tmp_path):
    message = r"only session 'monday' is left .*if it holds several walks, `ingest .*--sessions-by time`"
    with pytest.raises(DatasetError, match=message):
        split(dataset(tmp_path, *OTHER[:1]))


def test_days_of_a_folder_are_counted_by_its_walks():
    walks = [walk("all", f"2025-12-{day}T09:00", 20) for day in (20, 21, 22)]
    assert sessions_of_several_days(table(*walks, *OTHER)) == {"all": 3}
    # a walk over midnight is one, and so are two walks of a day
    assert sessions_of_several_days(table(walk("night", "2025-12-22T23:30", 60))) == {}
    assert sessions_of_several_days(table(walk("a", MORNING, 20), walk("a", "2025-12-22T19:00", 20))) == {}
    named = table(*walks).assign(file="elsewhere.jpg")
    assert sessions_of_several_days(named) == {}, "a name in the table of labels is the user's"


@pytest.fixture(scope="module")
def photo_dir(tmp_path_factory):
    """A walk cut in two, a folder of three days, and a photo without a time."""
    root = tmp_path_factory.mktemp("real") / "photos"
    for i in range(6):
        exif = make_exif((31.262 + 1e-4 * i, 34.8025), taken=f"2025:12:22 09:{10 + i}:00")
        write_photo(root / f"{100 + i // 3}APPLE" / f"{i}.jpg", i, exif)
    for i in range(6):
        exif = make_exif((31.263, 34.8025 + 1e-4 * i), taken=f"2025:12:{18 + i // 2} 15:0{i}:00")
        write_photo(root / "all" / f"{i}.jpg", 10 + i, exif)
    write_photo(root / "all" / "untimed.jpg", 20, make_exif(taken=None, offset=None))
    return root


def sessions(photo_dir, tmp_path, by):
    summary = ingest(photo_dir, tmp_path / "set", progress=False, workers=1, sessions_by=by)
    return summary.sessions, tuple(line for line in summary.warnings if "stored 320 px" not in line)


@condition(Area.FOLDERS, "folder that holds walks of three days", f"warning with `{MEND}`", since=SINCE)
def test_ingest_warns_of_what_folders_hide(photo_dir, tmp_path):
    counts, warnings = sessions(photo_dir, tmp_path, SessionsBy.FOLDER)
    assert counts == {"100APPLE": 3, "101APPLE": 3, "all": 7}
    assert len(warnings) == 2 and all(MEND in warning for warning in warnings)
    assert "100APPLE and 101APPLE" in warnings[0] and "several days: all (3 days);" in warnings[1]


@condition(Area.FOLDERS, "walks of several days in the only folder", "a session each, told apart by time", since=SINCE)
def test_several_days_in_the_only_folder_are_several_sessions(photo_dir, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "all").symlink_to(photo_dir / "all")
    counts, warnings = sessions(tmp_path / "photos", tmp_path, SessionsBy.FOLDER)
    assert counts == {"2025-12-18T1500": 2, "2025-12-19T1502": 2, "2025-12-20T1504": 2, "all": 1}
    assert warnings[0].startswith("all photos are in one folder, of several days: as with --sessions-by time")
    assert warnings[1].startswith("1 photos have no time")


@condition(Area.FOLDERS, f"`{MEND}`", "a session for every gap of two hours, named by its first photo", since=SINCE)
def test_sessions_by_time_mend_both(photo_dir, tmp_path):
    counts, warnings = sessions(photo_dir, tmp_path, SessionsBy.TIME)
    assert counts == {
        "2025-12-18T1500": 2,
        "2025-12-19T1502": 2,
        "2025-12-20T1504": 2,
        "2025-12-22T0910": 6,
        "all": 1,
    }
    assert warnings == ("1 photos have no time: they are in the sessions of their folders (all)",)
    assert split(tmp_path / "set", test_sessions=["2025-12-22T0910"]).warnings == ()


@condition(Area.FOLDERS, "`--sessions-by day`", "a session for every day with photos", since=SINCE)
def test_sessions_by_day(photo_dir, tmp_path):
    counts, _ = sessions(photo_dir, tmp_path, SessionsBy.DAY)
    assert counts == {"2025-12-18": 2, "2025-12-19": 2, "2025-12-20": 2, "2025-12-22": 6, "all": 1}


@condition(
    Area.FOLDERS, "ingest again with another `--sessions-by`, or without it", "warning: run split again", since=SINCE
)
def test_changed_sessions_are_said(photo_dir, tmp_path):
    sessions(photo_dir, tmp_path, SessionsBy.TIME)
    _, warnings = sessions(photo_dir, tmp_path, SessionsBy.TIME)
    assert len(warnings) == 1  # that one photo has no time
    _, warnings = sessions(photo_dir, tmp_path, SessionsBy.FOLDER)
    message = "12 photos are in another session than before (--sessions-by folder): run `split` again; it keeps"
    assert warnings[0].startswith(message)


def test_the_command_prints_each_warning_in_one_line(photo_dir, tmp_path):
    arguments = ["ingest", str(photo_dir), str(tmp_path / "set")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    lines = [line for line in done.output.splitlines() if MEND in line]
    assert len(lines) == 2 and all(line.startswith("warning: ") for line in lines)
    assert CliRunner().invoke(app, [*arguments, "--sessions-by", "time"]).exit_code == 0
    assert "2025-12-22T0910" in set(read_photos(tmp_path / "set")["session"])
    wrong = CliRunner().invoke(app, [*arguments, "--sessions-by", "moon"])
    assert isinstance(wrong.exception, DatasetError)
    assert str(wrong.exception) == "sessions by 'moon': expected folder, time, day"
