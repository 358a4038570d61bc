"""The tables of a data set: read strictly, and errors when they are out of date."""

import numpy as np
import pandas as pd
import pytest
from compatibility import Area, condition
from photo_helpers import write_photo

from campus_visual_gps.errors import DatasetError
from training.photos.corrections import apply_corrections
from training.photos.ingest import ingest
from training.photos.manifest import LABEL_COLUMNS, capture_times_s, image_path, load_dataset, read_photos
from training.photos.splits import split


@pytest.fixture
def photo_dir(tmp_path):
    for seed in range(4):
        write_photo(tmp_path / "photos" / f"walk-{seed // 2}" / f"{seed}.jpg", seed)
    return tmp_path / "photos"


@pytest.fixture
def dataset(photo_dir, tmp_path):
    ingest(photo_dir, tmp_path / "dataset", progress=False, workers=1)
    return tmp_path / "dataset"


def write_batch(dataset, text="file,decision\n0.jpg,keep\n"):
    (dataset / "corrections").mkdir(exist_ok=True)
    (dataset / "corrections" / "1.csv").write_text(text)


def test_data_set_has_the_same_columns_before_and_after_every_stage(dataset):
    columns = [*LABEL_COLUMNS, "subset"]
    assert list(load_dataset(dataset).columns) == columns
    apply_corrections(dataset)
    assert list(load_dataset(dataset).columns) == columns
    split(dataset)
    assert list(load_dataset(dataset).columns) == columns
    assert set(load_dataset(dataset)["subset"]) == {"train", "val"}


def test_table_survives_a_round_trip(dataset):
    apply_corrections(dataset)
    photos, labels = read_photos(dataset), load_dataset(dataset)
    assert labels[photos.columns].equals(photos)


def test_corrections_that_were_never_applied_are_not_passed_over(dataset):
    write_batch(dataset)
    with pytest.raises(DatasetError, match=r"labels\.csv: missing or older .* run `apply-corrections"):
        load_dataset(dataset)


def test_changed_correction_makes_the_labels_stale(dataset):
    write_batch(dataset)
    apply_corrections(dataset)
    load_dataset(dataset)
    write_batch(dataset, "file,decision\n1.jpg,keep\n")
    with pytest.raises(DatasetError, match=r"run `apply-corrections"):
        load_dataset(dataset)


def test_changed_photos_make_the_labels_stale_and_the_same_photos_do_not(dataset, photo_dir):
    apply_corrections(dataset)
    ingest(photo_dir, dataset, progress=False, workers=1)
    load_dataset(dataset)
    write_photo(photo_dir / "new.jpg", 99)
    ingest(photo_dir, dataset, progress=False, workers=1)
    with pytest.raises(DatasetError, match=r"run `apply-corrections"):
        load_dataset(dataset)


@condition(Area.FOLDERS, "photos added after the split", "one line: run split again", since="2026-11-22")
def test_split_that_lacks_a_photo_is_stale(dataset, photo_dir):
    split(dataset)
    write_photo(photo_dir / "walk-0" / "new.jpg", 99)
    ingest(photo_dir, dataset, progress=False, workers=1)
    with pytest.raises(DatasetError, match=r"splits\.csv: older .*1 photos differ, .*walk-0/new\.jpg\); run `split"):
        load_dataset(dataset)


@pytest.mark.parametrize("decision", ["exclude", "train"])
def test_split_made_before_a_decision_is_stale(dataset, decision):
    split(dataset)
    calibration_set = load_dataset(dataset).query("subset == 'val'")["photo_id"].iloc[0]
    write_batch(dataset, f"photo_id,decision\n{calibration_set},{decision}\n")
    apply_corrections(dataset)
    with pytest.raises(DatasetError, match=r"run `split"):
        load_dataset(dataset)
    split(dataset)
    load_dataset(dataset)


@condition(Area.FOLDERS, "stored image that was deleted", "one line: run ingest again", since="2026-11-22")
def test_missing_image_is_an_error(dataset):
    image_path(dataset, read_photos(dataset)["photo_id"][0]).unlink()
    with pytest.raises(DatasetError, match=r"\.jpg: no such file \(1 stored images are missing\); run `ingest` again"):
        load_dataset(dataset)


def test_directory_that_is_no_data_set_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match=r"photos\.csv: no such file; run `ingest`"):
        load_dataset(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("latitude_deg", "lat", r"photos\.csv, line 1: missing column latitude_deg"),
        (",31.26", ",x31.26", r"photos\.csv, line 2: column 'latitude_deg' holds 'x31\.26"),
        (",64,48,exif", ",64,exif", r"photos\.csv, line 2: 13 fields, expected 14"),
        (",64,48,exif", ",wide,48,exif", r"photos\.csv, line 2: column 'width_px' holds 'wide'"),
    ],
)
def test_damaged_manifest_is_one_clear_line(dataset, old, new, message):
    path = dataset / "photos.csv"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DatasetError, match=message):
        load_dataset(dataset)


def test_photo_twice_in_the_manifest_is_an_error(dataset):
    path = dataset / "photos.csv"
    path.write_text(path.read_text() + path.read_text().splitlines()[1] + "\n")
    with pytest.raises(DatasetError, match=r"photos\.csv, line 6: photo p[0-9a-f]{16} has two rows"):
        load_dataset(dataset)


def test_times_are_read_with_and_without_an_offset():
    times = capture_times_s(pd.Series(["2025-12-22T09:00:00+02:00", "2025-12-22T07:00:00", ""]))
    assert times[0] == times[1]
    assert np.isnan(times[2])
