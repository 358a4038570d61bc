"""The photo or session that a cell means: paths and names as cameras, people and operating systems write them."""

import pytest
from compatibility import Area, condition

from training.photos.photo_names import PhotoNames, same_names

FILES = ["IMG_1.HEIC", "100APPLE/IMG_2.HEIC", "101APPLE/IMG_2.HEIC", "Cafe\u0301/x.jpg", "a\\b.png", "A.jpg", "a.jpg"]
NAMES = PhotoNames((file, file) for file in FILES)


@pytest.mark.parametrize(
    ("written", "files"),
    [
        ("IMG_1.HEIC", {"IMG_1.HEIC"}),
        ("img_1.heic", {"IMG_1.HEIC"}),
        ("IMG_1", {"IMG_1.HEIC"}),
        (" IMG_1.HEIC ", {"IMG_1.HEIC"}),
        ("./IMG_1.HEIC", {"IMG_1.HEIC"}),
        ("C:\\DCIM\\100APPLE\\IMG_2.HEIC", {"100APPLE/IMG_2.HEIC"}),
        ("/home/me/101apple/img_2.heic", {"101APPLE/IMG_2.HEIC"}),
        ("IMG_2.HEIC", {"100APPLE/IMG_2.HEIC", "101APPLE/IMG_2.HEIC"}),
        ("102APPLE/IMG_2.HEIC", set()),
        ("Caf\u00e9\\X.JPG", {"Cafe\u0301/x.jpg"}),
        ("a\\b.png", {"a\\b.png"}),
        ("a.jpg", {"a.jpg"}),
        ("A.jpg", {"A.jpg"}),
        ("A.JPG", {"A.jpg", "a.jpg"}),
        ("IMG_1.jpg", {"IMG_1.HEIC"}),
        ("DCIM/img_1.jpg", {"IMG_1.HEIC"}),
        ("IMG_2.png", {"100APPLE/IMG_2.HEIC", "101APPLE/IMG_2.HEIC"}),
        ("101APPLE_IMG_2.HEIC", {"101APPLE/IMG_2.HEIC"}),
        ("101apple_img_2", {"101APPLE/IMG_2.HEIC"}),
        ("101apple_img_2.jpeg", {"101APPLE/IMG_2.HEIC"}),
        ("IMG_2.v1", set()),
        ("", set()),
    ],
)
def test_file_is_found_as_well_as_it_can_be_told(written, files):
    assert NAMES.find_file(written) == files


def test_photo_is_found_by_names_that_it_had():
    former = [("p1", "old/a.jpg"), ("p0", "walk/b.jpg"), ("p9", "gone.jpg")]
    names = PhotoNames([("p1", "new/a.jpg"), ("p2", "walk/b.jpg")], former)
    assert names.find_file("Old/A.jpg") == {"p1"}
    assert names.find_id("p0") == {"p2"}, "the file was written anew and has another id"
    assert names.find_id("p9") == names.find_file("gone.jpg") == set()


@condition(Area.TABLES, "session named in another letter case or Unicode form", "finds the session", since="2026-11-26")
def test_session_is_found_in_any_letter_case_and_unicode_form():
    known = ["Cafe\u0301", "Walk-1", "walk-1", "Ride"]
    assert same_names(["Caf\u00e9", "walk-1", "ride", "x"], known) == ["Cafe\u0301", "walk-1", "Ride", "x"]
