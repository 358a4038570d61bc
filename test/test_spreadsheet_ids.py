"""Ids of photos that a spreadsheet took for numbers find their photos, and those of new data sets look like none."""

import re

import pytest
from compatibility import Area, condition
from table_helpers import make_dataset, moved, write_batch

from campus_visual_gps.errors import DatasetError
from training.photos.corrections import apply_corrections
from training.photos.manifest import read_labels

NUMBERS = {
    "big.jpg": "9942507299e11605",
    "zeros.jpg": "0012345678901234",
    "long.jpg": "7234567890123456",
    "twin1.jpg": "5555551111111111",
    "twin2.jpg": "5555552222222222",
    "short.jpg": "1234e00000000005",
    "other.jpg": "ab34567890123456",
}


def mangled(written, file, text):
    outcome = "finds its photo"
    return pytest.param(written, file, marks=condition(Area.TABLES, text, outcome, since="2026-11-26"), id=text)


@pytest.mark.parametrize(
    ("written", "file"),
    [
        mangled("9.942507299E+11614", "big.jpg", "photo_id that became a number with an exponent"),
        mangled("INF", "big.jpg", "photo_id that became infinite"),
        mangled("12345678901234", "zeros.jpg", "photo_id that lost its leading zeros"),
        mangled("1.23457E+13", "zeros.jpg", "photo_id without leading zeros, to six digits"),
        mangled("7.23457E+15", "long.jpg", "photo_id of digits, to six digits"),
        mangled('"7,23457E+15"', "long.jpg", "photo_id of digits, with a decimal comma"),
        mangled("7234567890123450", "long.jpg", "photo_id that lost its last digit"),
        mangled("123400000", "short.jpg", "photo_id whose exponent was worked out"),
        mangled("5.55555111111111E+15", "twin1.jpg", "photo_id that enough digits tell from another"),
        mangled("AB34567890123456", "other.jpg", "photo_id in capitals"),
        mangled("pab34567890123456", "other.jpg", "photo_id of a newer data set for an older one"),
    ],
)
def test_id_that_a_spreadsheet_changed_finds_its_photo(tmp_path, written, file):
    dataset = make_dataset(tmp_path, {name: photo_id for name, photo_id in NUMBERS.items()})
    write_batch(dataset, "1.csv", f"photo_id,latitude_deg,longitude_deg\n{written},31.2622,34.8027\n")
    assert set(moved(dataset)) == {file}


@condition(Area.TABLES, "photo_id that may be two photos after rounding", "one line with both", since="2026-11-26")
def test_id_that_may_be_two_photos_is_one_line_unless_the_file_decides(tmp_path):
    dataset = make_dataset(tmp_path, NUMBERS)
    write_batch(dataset, "1.csv", "photo_id,file,decision\n5.55555E+15,,exclude\n")
    with pytest.raises(DatasetError, match=r"line 2: 2 photos are named '5\.55555E\+15': twin1\.jpg, twin2\.jpg"):
        apply_corrections(dataset, strict=True)
    write_batch(dataset, "1.csv", "photo_id,file,decision\n5.55555E+15,twin2.jpg,exclude\n")
    assert apply_corrections(dataset).excluded == 1
    assert "twin2.jpg" not in set(load_labels_without_images(dataset)["file"])


def load_labels_without_images(dataset):
    labels = read_labels(dataset)
    return labels[labels["decision"] != "exclude"]


@condition(Area.TABLES, "photo_id that became an error, beside its file", "finds its photo", since="2026-11-26")
def test_file_decides_where_a_spreadsheet_left_nothing_of_the_id(tmp_path):
    dataset = make_dataset(tmp_path, NUMBERS)
    write_batch(dataset, "1.csv", "photo_id,file,decision\n#VALUE!,long.jpg,exclude\n")
    assert apply_corrections(dataset).excluded == 1
    write_batch(dataset, "1.csv", "photo_id,file,decision\nab34567890123457,long.jpg,exclude\n")
    with pytest.raises(DatasetError, match=r"line 2: no photo 'ab34567890123457'"):
        apply_corrections(dataset, strict=True)


def test_spreadsheet_error_in_an_id_is_no_photo(tmp_path):
    dataset = make_dataset(tmp_path, NUMBERS)
    for written in ("#NAME?", "1E+99999999999999999999", "9" * 500):
        write_batch(dataset, "1.csv", f"photo_id,decision\n{written},exclude\n")
        with pytest.raises(DatasetError, match=rf"line 2: no photo '{re.escape(written)}'"):
            apply_corrections(dataset, strict=True)
