"""Folders of which every tenth file is faulty: nothing stops an ingest, and every file is in one of its two tables."""

import random
import sys
from pathlib import Path

import pytest
from compatibility import Area, condition
from hypothesis import given, settings
from hypothesis import strategies as st
from photo_faults import REJECTED, SPECIAL, TAKEN, encode, write_kind
from photo_helpers import make_exif, write_photo

from training.photos import photo_rows
from training.photos.ingest import ingest
from training.photos.manifest import read_photos, read_rejected

KINDS = [*TAKEN, *REJECTED, *SPECIAL]
SINCE = "2026-11-26"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="named pipes and links")


def check_tables(dataset_dir: Path, names: set[str], taken: set[str]) -> None:
    """Every file is in one table, once; and in photos.csv those that are expected there."""
    files, rejected = list(read_photos(dataset_dir)["file"]), list(read_rejected(dataset_dir)["file"])
    assert sorted(files + rejected) == sorted(names)
    assert set(files) == taken
    assert all(read_rejected(dataset_dir)["reason"])


@pytest.mark.slow
@condition(
    Area.CONTAINERS,
    "1,000 files, every tenth faulty",
    "each in photos.csv or in rejected.csv, with a reason",
    since=SINCE,
)
def test_thousand_files_of_which_every_tenth_is_faulty(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    drawn = random.Random(10)
    healthy = [encode(number) for number in range(20)]
    taken = set()
    for number in range(1000):
        name = f"{number:04}.jpg"
        if number % 10 == 0:
            # each kind, then kinds at random
            kind = KINDS[number // 10] if number // 10 < len(KINDS) else drawn.choice(KINDS)
            if write_kind(folder / name, kind, number):
                taken.add(name)
        elif number % 50 == 1:
            (folder / name).write_bytes(healthy[0])  # copies of one photo: the first is taken
            taken |= {name} if number == 1 else set()
        else:
            (folder / name).write_bytes(healthy[number % 20] + b"%d" % number)  # other content, the same picture
            taken.add(name)
    summary = ingest(folder, tmp_path / "dataset", progress=False, workers=2)
    assert summary.photos + summary.rejected == 1000
    assert summary.photos == len(taken) == summary.decoded
    check_tables(tmp_path / "dataset", {f"{number:04}.jpg" for number in range(1000)}, taken)


@settings(max_examples=15)
@given(st.lists(st.sampled_from(KINDS), min_size=1, max_size=12), st.sampled_from([".jpg", ".HEIC", ".png", ".webp"]))
def test_any_files_are_in_one_of_the_two_tables(tmp_path_factory, kinds, suffix):
    folder = tmp_path_factory.mktemp("faults")
    write_photo(folder / "photos" / "good.jpg", 1000)
    taken = {"good.jpg"}
    for number, kind in enumerate(kinds):
        name = f"{number}{suffix}"
        if write_kind(folder / "photos" / name, kind, number):
            taken.add(name)
    ingest(folder / "photos", folder / "dataset", progress=False, workers=1)
    check_tables(folder / "dataset", {"good.jpg", *(f"{number}{suffix}" for number in range(len(kinds)))}, taken)


@pytest.mark.parametrize(
    ("suffix", "content", "reason"),
    [
        pytest.param(
            *values,
            marks=condition(
                Area.CONTAINERS, f"{values[0]} in the folder", "rejected by name of its format", since=SINCE
            ),
        )
        for values in (
            (".dng", b"MM\0*", "a TIFF or raw image"),
            (".cr3", b"\0\0\0\x18ftypcrx ", "a raw image"),
            (".tif", b"II*\0", "a TIFF or raw image"),
            (".webp", b"RIFF\0\1\0\0WEBPVP8 ", "a WebP image"),
            (".avif", b"\0\0\0\x1cftypavif", "an AVIF image"),
        )
    ],
)
def test_pictures_of_other_formats_are_named(tmp_path, suffix, content, reason):
    write_photo(tmp_path / "photos" / "good.jpg")
    (tmp_path / "photos" / f"other{suffix}").write_bytes(content + bytes(100))
    assert ingest(tmp_path / "photos", tmp_path / "dataset", progress=False, workers=1).rejected == 1
    assert reason in read_rejected(tmp_path / "dataset")["reason"][0]


@condition(Area.CONTAINERS, "films (.mov, .mp4), .AAE and other files in the folder", "counted as ignored", since=SINCE)
def test_files_that_are_no_pictures_are_counted(tmp_path):
    write_photo(tmp_path / "photos" / "good.jpg")
    for name in ("IMG_1.MOV", "IMG_1.mp4", "IMG_1.AAE", "notes.txt"):
        (tmp_path / "photos" / name).write_bytes(b"x")
    summary = ingest(tmp_path / "photos", tmp_path / "dataset", progress=False, workers=1)
    assert (summary.photos, summary.rejected, summary.ignored_files) == (1, 0, 4)


@condition(
    Area.TIME, "library that fails at the date or position of one photo", "that photo rejected by name", since=SINCE
)
def test_row_that_cannot_be_made_is_rejected_and_stops_nothing(tmp_path, monkeypatch):
    for seed in range(3):
        write_photo(tmp_path / "photos" / f"{seed}.jpg", seed, make_exif((31.0 + seed, 34.8)))
    is_night = photo_rows.is_night

    def fails_for_one(captured_at, latitude, longitude):
        if latitude > 32.5:
            raise OverflowError("date value out of range")
        return is_night(captured_at, latitude, longitude)

    monkeypatch.setattr(photo_rows, "is_night", fails_for_one)
    summary = ingest(tmp_path / "photos", tmp_path / "dataset", progress=False, workers=1)
    assert (summary.photos, summary.rejected) == (2, 1)
    assert dict(read_rejected(tmp_path / "dataset").itertuples(index=False)) == {
        "2.jpg": "no row can be made of it: OverflowError: date value out of range"
    }


@condition(Area.CONTAINERS, "photo that vanishes during an ingest", "rejected by name", since=SINCE)
def test_photo_that_vanishes_is_rejected(tmp_path, monkeypatch):
    write_photo(tmp_path / "photos" / "a.jpg", 0)
    gone = write_photo(tmp_path / "photos" / "b.jpg", 1)
    real = photo_rows.has_position
    monkeypatch.setattr(
        "training.photos.ingest.has_position", lambda label: (gone.unlink(missing_ok=True), real(label))[1]
    )
    summary = ingest(tmp_path / "photos", tmp_path / "dataset", progress=False, workers=1)
    assert (summary.photos, summary.rejected) == (1, 1)
    assert read_rejected(tmp_path / "dataset")["reason"][0] == "unreadable: No such file or directory"
