"""`ingest`: from a folder of photos to photos.csv, rejected.csv and the stored images."""

import errno
import hashlib
import os
import shutil

import numpy as np
import pytest
from compatibility import Area, condition
from photo_helpers import blocks, make_exif, write_photo
from PIL import Image

from campus_visual_gps.errors import DatasetError
from campus_visual_gps.preprocess import STORED_SIZE_PX, resize_square
from training.photos import decode
from training.photos.decode import load_rgb
from training.photos.ingest import ingest
from training.photos.manifest import image_path, load_dataset, read_photos, read_rejected


@pytest.fixture
def folders(tmp_path):
    photo_dir = tmp_path / "photos"
    photo_dir.mkdir()
    return photo_dir, tmp_path / "dataset"


def run(folders, **options):
    return ingest(*folders, progress=False, workers=1, **options)


def write_table(folders, text):
    path = folders[0].parent / "table.csv"
    path.write_text(text, encoding="utf-8")
    return path


def reasons(folders):
    return dict(read_rejected(folders[1]).itertuples(index=False))


def test_photos_of_every_format_are_taken(folders):
    for seed, name in enumerate(["a.HEIC", "b.heif", "c.JPG", "d.jpeg", "walk/e.png"]):
        write_photo(folders[0] / name, seed)
    (folders[0] / "notes.txt").write_text("no photo")
    (folders[0] / "._a.HEIC").write_text("of macOS")
    summary = run(folders)
    assert (summary.photos, summary.decoded, summary.rejected, summary.ignored_files) == (5, 5, 0, 1)
    table = load_dataset(folders[1])
    assert list(table["file"]) == ["a.HEIC", "b.heif", "c.JPG", "d.jpeg", "walk/e.png"]
    assert table["latitude_deg"].to_list() == pytest.approx([31.262] * 5, abs=1e-8)
    assert set(table["label_source"]) == {"exif"}


def test_photo_id_is_the_hash_of_the_file(folders):
    path = write_photo(folders[0] / "a.heic")
    run(folders)
    assert list(read_photos(folders[1])["photo_id"]) == ["p" + hashlib.sha256(path.read_bytes()).hexdigest()[:16]]


def test_stored_copy_is_the_square_of_the_one_resizing_rule(folders):
    path = write_photo(folders[0] / "a.heic", blocks(0, 480, 360), make_exif(orientation=6))
    run(folders)
    with Image.open(image_path(folders[1], read_photos(folders[1])["photo_id"][0])) as stored:
        assert (stored.format, stored.mode, stored.size) == ("JPEG", "RGB", (STORED_SIZE_PX, STORED_SIZE_PX))
        pixels = np.asarray(stored).astype(int)
    assert np.abs(pixels - resize_square(load_rgb(path), STORED_SIZE_PX)).mean() < 3


def test_every_unusable_photo_is_rejected_with_its_reason_and_stops_nothing(folders):
    good = write_photo(folders[0] / "a.heic", 0)
    shutil.copy(good, folders[0] / "copy.heic")
    (folders[0] / "empty.jpg").touch()
    write_photo(folders[0] / "half.jpg", 1).write_bytes(write_photo(folders[0] / "half.jpg", 1).read_bytes()[:900])
    write_photo(folders[0] / "null.jpg", 2, make_exif((0.0, 0.0)))
    write_photo(folders[0] / "bare.heic", 3, make_exif(None))
    (folders[0] / "broken_link.jpg").symlink_to(folders[0] / "nowhere.jpg")
    summary = run(folders)
    found = reasons(folders)
    assert summary.photos == 1
    assert found["copy.heic"] == "exact duplicate: same content as a.heic"
    assert found["empty.jpg"] == "unreadable: empty file"
    assert found["half.jpg"].startswith("unreadable: ")
    assert found["null.jpg"].startswith("position 0, 0")
    assert found["bare.heic"] == "no position in the EXIF"
    assert found["broken_link.jpg"].startswith("unreadable: No such file")
    assert summary.reject_reasons["unreadable"] == 3


def test_table_labels_photos_without_exif(folders):
    for seed, name in enumerate(["a.jpg", "b.jpg", "sub/c.jpg"]):
        write_photo(folders[0] / name, seed, make_exif(None, taken=None, camera=("", "")))
    table = write_table(
        folders,
        "file,latitude,longitude,captured_at,session,camera,night,gps_accuracy_m\n"
        "a.jpg,31.2619,34.8011,2025-12-22T09:47:11+02:00,walk,phone-A,0,4.5\n"
        "./b.jpg,31.2620,34.8012,2025-12-22T19:47:11+02:00,walk,phone-A,,\n"
        "c.jpg,31.2621,34.8013,2025-12-22T10:00:00Z,,,1,\n",
    )
    run(folders, labels_csv=table)
    photos = read_photos(folders[1])
    assert photos["latitude_deg"].to_list() == [31.2619, 31.2620, 31.2621]
    assert photos["longitude_deg"].to_list() == [34.8011, 34.8012, 34.8013]
    assert photos["session"].to_list() == ["walk", "walk", "sub"]
    assert photos["camera"].to_list() == ["phone-A", "phone-A", ""]
    assert photos["night"].to_list() == [False, True, True]  # b by the sun
    assert photos["gps_accuracy_m"].fillna(-1).to_list() == [4.5, -1, -1]
    assert photos["captured_at"][2] == "2025-12-22T10:00:00+00:00"
    assert set(photos["label_source"]) == {"table"}


def test_table_needs_no_header(folders):
    write_photo(folders[0] / "a.jpg", 0, make_exif(None))
    run(folders, labels_csv=write_table(folders, "a.jpg, 31.2619, 34.8011\n"))
    assert read_photos(folders[1])[["latitude_deg", "longitude_deg"]].to_numpy().tolist() == [[31.2619, 34.8011]]


def test_table_wins_over_exif_and_exif_fills_its_gaps(folders):
    write_photo(folders[0] / "a.jpg", 0)
    write_photo(folders[0] / "b.jpg", 1)
    table = write_table(folders, "file,latitude_deg,longitude_deg,session\na.jpg,31.5,34.5,\nb.jpg,,,walk\n")
    run(folders, labels_csv=table)
    photos = read_photos(folders[1])
    assert photos["latitude_deg"].to_list() == pytest.approx([31.5, 31.262])
    assert photos["label_source"].to_list() == ["table", "exif"]
    assert photos["camera"].to_list() == ["Acme Phone 1"] * 2
    assert photos["session"].to_list() == ["2025-12-22T0947", "walk"]


def test_row_out_of_range_and_row_without_photo_are_rejected_and_stop_nothing(folders):
    write_photo(folders[0] / "a.jpg", 0, make_exif(None))
    write_photo(folders[0] / "b.jpg", 1, make_exif(None))
    table = write_table(folders, "file,latitude,longitude\na.jpg,31.5,34.5\nb.jpg,91,34.5\ngone.jpg,31.5,34.5\n")
    assert run(folders, labels_csv=table).photos == 1
    assert reasons(folders)["b.jpg"].startswith("position out of range")
    assert reasons(folders)["gone.jpg"] == "no such photo: listed in table.csv, line 4"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,latitude,longitude\na.jpg,31.5,34.5\nb.jpg,north,34.5\n", r"line 3: .*'north', expected a number"),
        ("file,latitude,longitude\na.jpg,31.5\n", r"line 2: 2 fields, expected 3"),
        ("file,latitude,longitude\na.jpg,31.5,\n", r"line 2: only one of latitude and longitude"),
        ("file,latitude,longitude\na.jpg,nan,34.5\n", r"line 2: .*expected a number"),
        ("file,latitude,longitude\n,31.5,34.5\n", r"line 2: column 'file' is empty"),
        ("file,latitude,longitude\na.jpg,1,2\na.jpg,1,2\n", r"line 3: a.jpg is labelled twice, also on line 2"),
        ("file,latitude,longitude,night\na.jpg,1,2,dark\n", r"line 2: column 'night' holds 'dark'"),
        ("file,latitude,longitude,captured_at\na.jpg,1,2,noon\n", r"line 2: column 'captured_at' holds 'noon'"),
        ("file,session,east\na.jpg,31.5,34.5\n", r"line 1: missing column latitude_deg, longitude_deg"),
        ("a.jpg 31.5 34.5\n", r"line 1: missing column file"),
        ("", r"the table is empty"),
        ("file,latitude,longitude\nsame.jpg,31.5,34.5\n", r"line 2: 2 photos are named same.jpg"),
    ],
)
def test_broken_table_is_one_clear_line_and_nothing_is_written(folders, text, message):
    for seed, name in enumerate(["a.jpg", "b.jpg", "walk/same.jpg", "ride/same.jpg"]):
        write_photo(folders[0] / name, seed)
    with pytest.raises(DatasetError, match=message) as error:
        run(folders, labels_csv=write_table(folders, text))
    assert "table.csv" in str(error.value)
    assert "\n" not in str(error.value)
    assert not folders[1].exists()


def test_second_run_decodes_only_new_photos(folders):
    write_photo(folders[0] / "a.heic", 0)
    run(folders)
    write_photo(folders[0] / "b.heic", 1)
    (folders[0] / "a.heic").rename(folders[0] / "renamed.heic")
    summary = run(folders)
    assert (summary.photos, summary.decoded, summary.removed) == (2, 1, 0)
    assert read_photos(folders[1])["file"].to_list() == ["b.heic", "renamed.heic"]


def test_changed_label_of_a_known_photo_is_taken_over(folders):
    write_photo(folders[0] / "a.jpg", 0)
    run(folders, labels_csv=write_table(folders, "a.jpg,31.1,34.1\n"))
    summary = run(folders, labels_csv=write_table(folders, "a.jpg,31.2,34.2\n"))
    assert summary.decoded == 0
    assert read_photos(folders[1])["latitude_deg"].to_list() == [31.2]


@condition(Area.FOLDERS, "photo renamed or removed since the last ingest", "followed", since="2026-11-22")
def test_photo_removed_from_the_folder_leaves_the_manifest(folders):
    write_photo(folders[0] / "a.jpg", 0)
    write_photo(folders[0] / "b.jpg", 1).with_name("b.jpg")
    run(folders)
    (folders[0] / "b.jpg").unlink()
    assert run(folders).removed == 1
    assert read_photos(folders[1])["file"].to_list() == ["a.jpg"]


@condition(Area.FOLDERS, "quite other photos for a data set", "one line; the data set stays", since="2026-11-22")
def test_quite_other_photos_do_not_replace_a_data_set(folders, tmp_path):
    write_photo(folders[0] / "a.jpg", 0)
    write_photo(tmp_path / "other" / "b.jpg", 1)
    run(folders)
    before = (folders[1] / "photos.csv").read_bytes()
    with pytest.raises(DatasetError, match=r"expected some of its 1 photos .* got none"):
        run((tmp_path / "other", folders[1]))
    assert (folders[1] / "photos.csv").read_bytes() == before


@condition(Area.FOLDERS, "ingest killed in the middle", "resumed; half-written files removed", since="2026-11-22")
def test_killed_run_is_resumed_and_its_half_written_file_removed(folders):
    write_photo(folders[0] / "a.heic", 0)
    write_photo(folders[0] / "b.heic", 1)
    run(folders)
    first, second = read_photos(folders[1])["photo_id"]
    (folders[1] / "photos.csv").unlink()
    image_path(folders[1], second).unlink()
    part = folders[1] / "images" / f".{second}.jpg.4711.part"
    part.write_bytes(b"\xff\xd8 half")
    assert run(folders).decoded == 1
    assert sorted(path.name for path in (folders[1] / "images").iterdir()) == sorted([f"{first}.jpg", f"{second}.jpg"])


@condition(Area.FOLDERS, "disk full during an ingest", "one clear line; no half-written file", since="2026-11-22")
def test_full_disk_is_one_clear_line_and_leaves_no_half_written_file(folders, monkeypatch):
    write_photo(folders[0] / "a.jpg", 0)

    def save_half(image, path, **options):
        path.write_bytes(b"\xff\xd8 half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(decode.Image.Image, "save", save_half)
    with pytest.raises(DatasetError, match=r"\.jpg: cannot be written: No space left"):
        run(folders)
    assert list((folders[1] / "images").iterdir()) == []


@condition(Area.FOLDERS, "folder without photos, or missing", "one line", since="2026-11-22")
def test_folders_without_photos_are_errors(folders, tmp_path):
    with pytest.raises(DatasetError, match=r"no photos in this folder"):
        run(folders)
    with pytest.raises(DatasetError, match=r"nowhere: no such folder"):
        run((tmp_path / "nowhere", folders[1]))
    with pytest.raises(DatasetError, match=r"expected a directory apart from the photos"):
        run((folders[0], folders[0]))


def test_folder_of_which_no_photo_is_usable_is_an_error_with_the_commonest_reason(folders, caplog):
    write_photo(folders[0] / "a.jpg", 0, make_exif(None))
    write_photo(folders[0] / "b.jpg", 1, make_exif(None))
    (folders[0] / "c.jpg").touch()
    (folders[0].parent / "labels.csv").write_text("a.jpg,31,34\n")
    with pytest.raises(DatasetError, match=r"none of 3 photos can be used, 2 of them because of: no position"):
        run(folders)
    assert len(reasons(folders)) == 3
    assert "did you mean --labels?" in caplog.text


def test_data_set_inside_the_photo_folder_is_not_ingested_itself(folders):
    write_photo(folders[0] / "a.jpg", 0)
    inside = (folders[0], folders[0] / "dataset")
    assert run(inside).photos == 1
    assert (run(inside).photos, run(inside).rejected) == (1, 0)


@condition(Area.FOLDERS, "links to photos and folders, also in a loop", "followed once", since="2026-11-22")
def test_linked_photos_and_folders_are_followed_once(folders, tmp_path):
    write_photo(tmp_path / "elsewhere" / "a.jpg", 0)
    write_photo(tmp_path / "b.jpg", 1)
    (folders[0] / "walk").symlink_to(tmp_path / "elsewhere")
    (folders[0] / "b.jpg").symlink_to(tmp_path / "b.jpg")
    (tmp_path / "elsewhere" / "loop").symlink_to(folders[0])
    assert (run(folders).photos, run(folders).rejected) == (2, 0)


def test_processes_give_the_same_as_one(folders, tmp_path):
    for seed in range(30):
        write_photo(folders[0] / f"{seed:02}.jpg", seed)
    (folders[0] / "bad.jpg").touch()
    run(folders)
    summary = ingest(folders[0], tmp_path / "parallel", progress=False, workers=2)
    assert (summary.photos, summary.decoded, summary.rejected) == (30, 30, 1)
    for name in ("photos.csv", "rejected.csv"):
        assert (tmp_path / "parallel" / name).read_bytes() == (folders[1] / name).read_bytes()


@condition(Area.FOLDERS, "file name that is no Unicode", "kept byte for byte", since="2026-11-22")
def test_file_name_that_is_no_unicode_survives(folders):
    write_photo(folders[0] / "a.jpg").rename(os.fsdecode(os.fsencode(folders[0]) + b"/caf\xe9.jpg"))
    run(folders)
    assert os.fsencode(load_dataset(folders[1])["file"][0]) == b"caf\xe9.jpg"
