"""`split`: which photos train, validate, test and make the night hold-out."""

import pandas as pd
import pytest

from campus_visual_gps.errors import DatasetError
from training.photos.manifest import PHOTO_COLUMNS, read_splits
from training.photos.splits import split
from training.photos.tables import write_table

SESSIONS = {"mon": 40, "tue": 30, "wed": 20, "thu": 12, "night": 18}


def make_photos(dataset, sessions=None, shuffle_seed=None):
    """A manifest without images, which `split` does not look at; photos of session 'night' are night photos."""
    names = [name for name, count in (sessions or SESSIONS).items() for _ in range(count)]
    count = len(names)
    table = pd.DataFrame(
        {
            "photo_id": [f"{7919 * i:016x}" for i in range(count)],
            "file": [f"{i}.jpg" for i in range(count)],
            "session": names,
            "latitude_deg": [31.262 + 1e-6 * i for i in range(count)],
            "longitude_deg": 34.802,
            "night": pd.Series([name == "night" for name in names], dtype="boolean"),
            "width_px": 64,
            "height_px": 48,
            "label_source": "exif",
        }
    ).reindex(columns=list(PHOTO_COLUMNS))
    if shuffle_seed is not None:
        table = table.sample(frac=1.0, random_state=shuffle_seed)
    write_table(dataset / "photos.csv", table)
    return dataset


@pytest.fixture
def dataset(tmp_path):
    return make_photos(tmp_path)


def write_decisions(dataset, rows):
    from training.photos.corrections import apply_corrections

    (dataset / "corrections").mkdir()
    (dataset / "corrections" / "1.csv").write_text("file,decision\n" + rows)
    apply_corrections(dataset)


def test_sessions_are_assigned_whole_by_default(dataset):
    summary = split(dataset)
    table = read_splits(dataset)
    assert (table.groupby("session")["subset"].nunique() == 1).all()
    assert summary.photos["train"] + summary.photos["val"] == len(table) == 120
    assert summary.photos["val"] == pytest.approx(0.15 * 120, abs=12)
    assert summary.shared_sessions == ()


def test_same_seed_gives_the_same_split_whatever_the_order_of_the_photos(dataset, tmp_path):
    options = {"random": True, "allow_shared_sessions": True, "seed": 7}
    split(dataset, **options)
    first = read_splits(dataset).set_index("photo_id")["subset"]
    shuffled = make_photos(tmp_path / "shuffled", shuffle_seed=1)
    split(shuffled, **options)
    assert read_splits(shuffled).set_index("photo_id")["subset"].reindex(first.index).equals(first)
    split(dataset, **(options | {"seed": 8}))
    assert not read_splits(dataset).set_index("photo_id")["subset"].equals(first)


def test_named_sessions_go_where_they_are_named(dataset):
    summary = split(dataset, test_sessions=["tue"], val_sessions=["thu"], night_holdout_sessions=["night"])
    assert summary.sessions == {
        "train": ("mon", "wed"),
        "val": ("thu",),
        "test": ("tue",),
        "night_holdout": ("night",),
    }


def test_random_split_is_an_error_as_it_shares_sessions(dataset):
    with pytest.raises(DatasetError, match=r"sessions mon, night, .* would be in several subsets"):
        split(dataset, random=True)
    assert not (dataset / "splits.csv").exists()


def test_random_split_within_the_rest_is_85_to_15_when_allowed(dataset):
    summary = split(dataset, test_sessions=["mon"], random=True, allow_shared_sessions=True)
    assert summary.photos == {"train": 68, "val": 12, "test": 40, "night_holdout": 0, "excluded": 0}
    assert "mon" not in summary.shared_sessions


def test_night_photos_drawn_from_the_rest_share_their_session(dataset):
    with pytest.raises(DatasetError, match=r"sessions night would be in several subsets"):
        split(dataset, val_sessions=["thu"], night_holdout=5)
    summary = split(dataset, val_sessions=["thu"], night_holdout=5, allow_shared_sessions=True)
    assert summary.photos["night_holdout"] == 5
    assert summary.sessions["night_holdout"] == ("night",)


def test_more_night_photos_than_there_are_is_an_error(dataset):
    with pytest.raises(DatasetError, match=r"expected 19 or more night photos .* got 18"):
        split(dataset, night_holdout=19, allow_shared_sessions=True)


def test_excluded_photos_are_in_no_subset_and_photos_for_training_train(dataset):
    write_decisions(dataset, "0.jpg,exclude\n41.jpg,train\n")
    summary = split(dataset, test_sessions=["tue"])
    subsets = read_splits(dataset)["subset"]
    assert (subsets[0], subsets[41], subsets[42]) == ("excluded", "train", "test")
    assert (summary.photos["excluded"], summary.moved_to_train) == (1, 1)


def test_unknown_session_is_an_error_that_lists_the_known(dataset):
    with pytest.raises(DatasetError, match=r"unknown session 'sun'; the data set has mon, night, thu, tue, wed"):
        split(dataset, test_sessions=["sun"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test_sessions": ["mon"], "val_sessions": ["mon"]}, r"'mon' is named twice"),
        ({"random": True, "val_sessions": ["mon"]}, r"got both"),
        ({"val_fraction": 1.0}, r"less than 1, got 1"),
        ({"night_holdout": -1}, r"got -1"),
        ({"test_sessions": ["mon", "tue", "wed", "thu"]}, r"only session 'night' is left"),
        ({"test_sessions": ["mon", "tue", "wed"], "val_sessions": ["thu", "night"]}, r"no photo is left for .*'train'"),
    ],
)
def test_settings_that_cannot_work_are_errors(dataset, options, message):
    with pytest.raises(DatasetError, match=message):
        split(dataset, **options)


def test_single_session_is_not_split_silently(tmp_path):
    with pytest.raises(DatasetError, match=r"only session 'mon' is left"):
        split(make_photos(tmp_path, {"mon": 10}))


def test_fraction_of_nothing_leaves_no_validation(dataset):
    assert split(dataset, val_fraction=0.0).photos["val"] == 0


def test_photos_of_two_sites_are_errors(dataset):
    path = dataset / "photos.csv"
    path.write_text(path.read_text().replace("31.262119", "40.7"))
    with pytest.raises(DatasetError, match=r"1 of 120 photos, the first is 119.jpg, are more than 1 degree"):
        split(dataset)


def test_settings_of_a_split_are_kept(dataset):
    split(dataset, test_sessions=["tue"], seed=7)
    text = (dataset / "splits.yaml").read_text()
    assert "seed: 7" in text
    assert "- tue" in text
