"""photo_id: never a number, and data sets and bundles with ids of the older form stay in use."""

import hashlib

import numpy as np
import pytest
from compatibility import Area, condition
from photo_helpers import write_photo

from campus_visual_gps.errors import DatasetError
from training.evaluate.retrieval_baselines import own_rows
from training.photos.corrections import apply_corrections
from training.photos.ingest import ingest
from training.photos.manifest import image_path, load_dataset, read_photos
from training.photos.photo_id import find_image, photo_id_of, photo_key


def test_no_id_is_a_number_whatever_the_content(tmp_path):
    for seed in range(300):
        photo_id = photo_id_of(str(seed).encode(), tmp_path)
        with pytest.raises(ValueError, match="could not convert"):
            float(photo_id)
        assert photo_id == "p" + hashlib.sha256(str(seed).encode()).hexdigest()[:16]


@pytest.fixture
def older(tmp_path):
    """A data set whose ids have no letter, as ingest wrote them before, and its photos."""
    for seed in range(3):
        write_photo(tmp_path / "photos" / f"{seed}.jpg", seed)
    ingest(tmp_path / "photos", tmp_path / "dataset", progress=False, workers=1)
    table = tmp_path / "dataset" / "photos.csv"
    for photo_id in read_photos(tmp_path / "dataset")["photo_id"]:
        image_path(tmp_path / "dataset", photo_id).rename(image_path(tmp_path / "dataset", photo_key(photo_id)))
        table.write_text(table.read_text(encoding="utf-8").replace(photo_id, photo_key(photo_id)), encoding="utf-8")
    return tmp_path / "dataset"


@condition(
    Area.TABLES, "data set with ids of the older form", "keeps its ids; new photos get new ones", since="2026-11-26"
)
def test_older_data_set_keeps_its_ids_and_is_not_decoded_again(older, tmp_path):
    before = read_photos(older)
    write_photo(tmp_path / "photos" / "new.jpg", 9)
    summary = ingest(tmp_path / "photos", older, progress=False, workers=1)
    after = read_photos(older)
    assert (summary.photos, summary.decoded, summary.removed) == (4, 1, 0)
    assert after["photo_id"][:3].to_list() == before["photo_id"].to_list()
    assert after["photo_id"][3].startswith("p")
    assert len(load_dataset(older)) == 4


def test_corrections_of_the_older_ids_hold_in_a_data_set_that_is_made_anew(older, tmp_path):
    photo_id = read_photos(older)["photo_id"][0]
    (tmp_path / "new" / "corrections").mkdir(parents=True)
    ingest(tmp_path / "photos", tmp_path / "new", progress=False, workers=1)
    assert read_photos(tmp_path / "new")["photo_id"][0] == "p" + photo_id
    text = f"photo_id,decision\n{photo_id},exclude\n"
    (tmp_path / "new" / "corrections" / "1.csv").write_text(text, encoding="utf-8")
    assert apply_corrections(tmp_path / "new").excluded == 1


def test_photos_of_an_older_bundle_are_known_under_either_form(older, tmp_path):
    old_id = read_photos(older)["photo_id"][0]
    ingest(tmp_path / "photos", tmp_path / "new", progress=False, workers=1)
    assert np.array_equal(own_rows(["p" + old_id, "pother"], ["x", old_id]), [1, -1])
    assert find_image(tmp_path / "new", old_id) == image_path(tmp_path / "new", "p" + old_id)
    assert find_image(older, "p" + old_id) == image_path(older, old_id)
    assert find_image(older, "p0") is None


def test_damaged_photos_csv_says_how_to_go_on_and_ids_stay(older, tmp_path):
    before = read_photos(older)["photo_id"].to_list()
    path = older / "photos.csv"
    path.write_bytes(path.read_bytes().replace(b"Acme Phone 1", b"Acme\rPhone 1", 1))  # as written before
    with pytest.raises(DatasetError, match=r"photos\.csv, line \d: .* move the file away, and `ingest` writes it anew"):
        ingest(tmp_path / "photos", older, progress=False, workers=1)
    path.unlink()
    ingest(tmp_path / "photos", older, progress=False, workers=1)
    assert read_photos(older)["photo_id"].to_list() == before
