"""Corrections and subsets survive every regeneration of a data set: moved folders, photos written anew, new runs."""

import shutil

import pytest
from photo_helpers import SITE, make_exif, write_photo

from training.photos.area_list import AREAS_BY_PHOTO_CSV
from training.photos.corrections import apply_corrections
from training.photos.ingest import ingest
from training.photos.manifest import read_labels, read_photos, read_splits
from training.photos.sessions import Folders, SessionsBy
from training.photos.splits import split
from training.photos.user_tables import read_user_rows

MOVED = (SITE[0] + 2e-4, SITE[1])


@pytest.fixture
def photos(tmp_path):
    for seed in range(6):
        exif = make_exif(taken=f"2025:12:{20 + seed // 2} 09:{10 + seed}:00")
        write_photo(tmp_path / "photos" / f"walk-{seed // 2}" / f"IMG_{seed}.jpg", seed, exif)
    return tmp_path / "photos"


def run(photos, dataset, **options):
    return ingest(photos, dataset, progress=False, workers=1, **options)


def correct(dataset):
    ids = read_photos(dataset).set_index("file")["photo_id"]
    text = f"photo_id,file,lat,lon\n,walk-0/IMG_0.jpg,{MOVED[0]},{MOVED[1]}\n"
    text += f",IMG_1,{MOVED[0]},{MOVED[1]}\n{ids['walk-1/IMG_2.jpg']},,{MOVED[0]},{MOVED[1]}\n"
    (dataset / "corrections").mkdir()
    (dataset / "corrections" / "1.csv").write_text(text)


def corrected(dataset):
    apply_corrections(dataset, strict=True)
    labels = read_labels(dataset)
    return sorted(file.rpartition("/")[2] for file in labels["file"][labels["moved_m"] > 1.0])


def test_corrections_and_subsets_survive_moved_folders_and_photos_written_anew(photos, tmp_path):
    dataset = tmp_path / "dataset"
    run(photos, dataset)
    correct(dataset)
    assert corrected(dataset) == ["IMG_0.jpg", "IMG_1.jpg", "IMG_2.jpg"]
    split(dataset, test_sessions=["walk-1"], val_sessions=["walk-2"])
    before = read_splits(dataset)["subset"].to_list()
    # folders are moved
    (photos / "2025").mkdir()
    (photos / "walk-0").rename(photos / "2025" / "monday")
    (photos / "walk-1").rename(photos / "tuesday")
    run(photos, dataset)
    assert corrected(dataset) == ["IMG_0.jpg", "IMG_1.jpg", "IMG_2.jpg"]
    split(dataset)
    assert sorted(read_splits(dataset)["subset"]) == sorted(before)
    assert read_splits(dataset).set_index("session").loc["tuesday", "subset"].to_list() == ["test", "test"]
    # a program writes photos anew: their content, and so their ids, are others
    for seed, path in enumerate(sorted(photos.rglob("*.jpg"))[:-1]):
        write_photo(path, 50 + seed, make_exif(taken="2025:12:20 09:10:00"))
    run(photos, dataset)
    assert corrected(dataset) == ["IMG_0.jpg", "IMG_1.jpg", "IMG_2.jpg"]
    split(dataset)
    assert read_splits(dataset).set_index("session").loc["tuesday", "subset"].to_list() == ["test", "test"]


def test_corrections_survive_a_new_data_set_of_the_same_photos(photos, tmp_path):
    run(photos, tmp_path / "first")
    correct(tmp_path / "first")
    run(photos, tmp_path / "second")
    shutil.copytree(tmp_path / "first" / "corrections", tmp_path / "second" / "corrections")
    assert corrected(tmp_path / "second") == ["IMG_0.jpg", "IMG_1.jpg", "IMG_2.jpg"]


def test_a_photo_in_a_folder_of_another_name_is_named_where_nothing_tells_that_it_is_the_same(photos, tmp_path):
    dataset = tmp_path / "dataset"
    (photos / "walk-0").rename(photos / "monday")
    run(photos, dataset)
    correct(dataset)
    (line,) = apply_corrections(dataset).not_applied
    assert "no photo 'walk-0/IMG_0.jpg' in the data set; is it monday/IMG_0.jpg?" in line


def areas(dataset):
    return {
        row.text("file").rpartition("/")[2]: row.text("area") for row in read_user_rows(dataset / AREAS_BY_PHOTO_CSV)
    }


def test_folders_may_be_areas_and_sessions_come_from_time(photos, tmp_path):
    dataset = tmp_path / "dataset"
    summary = run(photos, dataset, folders=Folders.AREA)
    assert summary.areas == {"walk-0": 2, "walk-1": 2, "walk-2": 2}
    assert set(summary.sessions) == {"2025-12-20T0910", "2025-12-21T0912", "2025-12-22T0914"}
    assert areas(dataset)["IMG_4.jpg"] == "walk-2"
    again = run(photos, dataset)
    assert (again.areas, again.sessions) == (summary.areas, summary.sessions), "what folders are is remembered"
    assert set(run(photos, dataset, folders=Folders.AREA, sessions_by=SessionsBy.DAY).sessions) == {
        "2025-12-20",
        "2025-12-21",
        "2025-12-22",
    }
    assert set(run(photos, dataset, folders=Folders.SESSION).sessions) == {"walk-0", "walk-1", "walk-2"}


def test_folders_may_be_ignored_and_a_column_may_be_the_area(photos, tmp_path):
    dataset = tmp_path / "dataset"
    untimed = photos / "walk-0" / "untimed.jpg"
    write_photo(untimed, 30, make_exif(taken=None, offset=None))
    summary = run(photos, dataset, folders=Folders.IGNORE)
    assert summary.areas == {} and summary.sessions["unknown-time"] == 1
    table = tmp_path / "labels.csv"
    table.write_text(f"file,lat,lon,area\nIMG_0.jpg,{SITE[0]},{SITE[1]},library\n")
    assert run(photos, dataset, labels_csv=table).areas == {"library": 1}
    assert areas(dataset) == {"IMG_0.jpg": "library"}
