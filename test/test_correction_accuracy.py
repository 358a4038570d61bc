"""A corrected label carries the accuracy of its correction, not that of the phone."""

import numpy as np
import pytest
from photo_helpers import SITE, make_exif, write_photo
from PIL import ExifTags

from campus_visual_gps.errors import DatasetError
from training.photos.corrections import apply_corrections
from training.photos.ingest import ingest
from training.photos.manifest import load_dataset, read_photos

LATITUDE, LONGITUDE = SITE[0] + 5e-4, SITE[1]


@pytest.fixture
def dataset(tmp_path):
    """Photos a.jpg of 30 m and b.jpg of unknown accuracy."""
    for seed, (name, accuracy_m) in enumerate({"a.jpg": 30.0, "b.jpg": None}.items()):
        gps = {ExifTags.GPS.GPSHPositioningError: accuracy_m}
        write_photo(tmp_path / "photos" / name, seed, make_exif(gps=gps))
    ingest(tmp_path / "photos", tmp_path / "dataset", progress=False, workers=1)
    (tmp_path / "dataset" / "corrections").mkdir()
    return tmp_path / "dataset"


def accuracies_m(dataset, **batches):
    for name, text in batches.items():
        (dataset / "corrections" / f"{name}.csv").write_text(text)
    apply_corrections(dataset)
    return load_dataset(dataset)["gps_accuracy_m"].tolist()


def test_a_moved_label_has_seven_metres_and_the_others_keep_theirs(dataset):
    rows = f"file,latitude_deg,longitude_deg\na.jpg,{LATITUDE},{LONGITUDE}\n"
    found = accuracies_m(dataset, batch=rows)
    assert found[0] == 7.0 and np.isnan(found[1])
    assert read_photos(dataset)["gps_accuracy_m"][0] == 30.0


@pytest.mark.parametrize("column", ["gps_accuracy_m", "accuracy_m", "accuracy", "GPS accuracy"])
def test_a_column_gives_the_accuracy_of_each_correction(dataset, column):
    rows = f"file,lat,lon,{column}\na.jpg,{LATITUDE},{LONGITUDE},2.5\nb.jpg,{LATITUDE},{LONGITUDE},\n"
    assert accuracies_m(dataset, batch=rows) == [2.5, 7.0]


@pytest.mark.parametrize("cell", ["30.0", "30", "30.04"])
def test_the_phones_number_in_an_edited_copy_of_review_csv_is_not_the_corrections(dataset, cell):
    rows = f"file,gps_accuracy_m,latitude_deg,longitude_deg\na.jpg,{cell},{LATITUDE},{LONGITUDE}\n"
    assert accuracies_m(dataset, batch=rows)[0] == 7.0


def test_the_last_correction_of_a_photo_counts(dataset):
    first = f"file,lat,lon,accuracy_m\na.jpg,{LATITUDE},{LONGITUDE},2\n"
    second = f"file,lat,lon\na.jpg,{LATITUDE + 1e-4},{LONGITUDE}\n"
    assert accuracies_m(dataset, one=first, two=second)[0] == 7.0


def test_a_label_that_is_kept_may_be_given_a_better_accuracy(dataset):
    assert accuracies_m(dataset, batch="file,decision,accuracy_m\na.jpg,keep,4\nb.jpg,keep,\n")[0] == 4.0


def test_a_marker_that_nobody_moved_keeps_the_phones_accuracy(dataset):
    rows = f"file,lat,lon\na.jpg,{SITE[0]},{SITE[1]}\n"
    assert accuracies_m(dataset, batch=rows)[0] == 30.0


@pytest.mark.parametrize("cell, says", [("0", "expected more than 0"), ("-3", "more than 0"), ("good", "a number")])
def test_an_accuracy_that_is_none_is_named_with_its_line(dataset, cell, says):
    path = dataset / "corrections" / "batch.csv"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"file,lat,lon,accuracy_m\na.jpg,{LATITUDE},{LONGITUDE},{cell}\n")
    with pytest.raises(DatasetError, match=rf"batch\.csv, line 2: .*{says}"):
        apply_corrections(dataset, strict=True)
