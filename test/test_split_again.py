"""`split` again: it repeats what splits.yaml says, every photo keeps its subset, and no hold-out is lost in silence."""

import pytest
from test_splits import make_photos, write_decisions
from typer.testing import CliRunner

from campus_visual_gps.errors import DatasetError
from training.cli import app
from training.photos.corrections import apply_corrections
from training.photos.manifest import read_labels, read_photos, read_splits
from training.photos.photo_history import keep_former_names
from training.photos.splits import split
from training.photos.tables import write_table

WALKS = {"mon": 40, "tue": 30, "wed": 20, "thu": 12, "night": 18}


@pytest.fixture
def dataset(tmp_path):
    return make_photos(tmp_path)


def subsets(dataset):
    return read_splits(dataset).set_index("photo_id")["subset"]


def change_photos(dataset, change):
    """Change photos.csv as another ingest does, with the names that photos had."""
    before = read_photos(dataset)
    after = change(before.copy())
    keep_former_names(dataset, before, after)
    write_table(dataset / "photos.csv", after)
    if (dataset / "labels.csv").exists():
        apply_corrections(dataset)


def add_photos(photos, sessions):
    """More photos, copies of the first ones with other ids."""
    new = photos.iloc[: len(sessions)].assign(session=sessions)
    new["photo_id"] = [f"pffff{i:012x}" for i in range(len(new))]
    new["file"] = [f"new-{i}.jpg" for i in range(len(new))]
    return type(photos)(list(photos.to_dict("records")) + new.to_dict("records")).astype(photos.dtypes.to_dict())


SETTINGS = {
    "named sessions": {"test_sessions": ["tue"], "val_sessions": ["thu"], "night_holdout_sessions": ["night"]},
    "drawn validation sessions": {"test_sessions": ["tue"], "val_fraction": 0.3, "seed": 7},
    "drawn photos": {"test_sessions": ["mon"], "random": True, "allow_shared_sessions": True, "night_holdout": 5},
    "no validation": {"test_sessions": ["tue"], "val_fraction": 0.0},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_without_options_everything_is_repeated(dataset, settings):
    first = split(dataset, **settings)
    before, content = subsets(dataset), (dataset / "splits.yaml").read_text()
    again = split(dataset)
    assert subsets(dataset).equals(before)
    assert (dataset / "splits.yaml").read_text() == content
    assert (again.photos, again.options, again.repeated, again.changes) == (first.photos, first.options, True, ())


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_new_photos_and_decisions_change_no_other_photo(dataset, settings):
    split(dataset, **settings)
    before = subsets(dataset)
    write_decisions(dataset, "0.jpg,exclude\n41.jpg,train\n42.jpg,train\n45.jpg,ambiguous\n")
    change_photos(dataset, lambda photos: add_photos(photos, ["tue", "sun", "sun", "mon"]))
    summary = split(dataset)
    now = subsets(dataset)
    decided = [read_photos(dataset)["photo_id"][i] for i in (0, 41, 42)]
    assert now[before.index.drop(decided)].equals(before.drop(decided))
    assert list(now[decided]) == ["excluded", "train", "train"]
    if "tue" in settings["test_sessions"]:
        assert now["pffff000000000000"] == "test", "a new photo of a test session"
        assert summary.moved_to_train == 2 and summary.moved_sessions == ("tue",)
        assert any("2 photos are moved to training by a decision (tue)" in line for line in summary.changes)
    assert any("new photos are in training (" in line and "sun" in line for line in summary.changes)


def test_a_moved_photo_stays_in_training_when_its_decision_is_gone(dataset):
    split(dataset, test_sessions=["tue"], val_sessions=["thu"])
    write_decisions(dataset, "41.jpg,train\n")
    split(dataset)
    (dataset / "corrections" / "1.csv").write_text("file,decision\n0.jpg,keep\n")
    apply_corrections(dataset)
    for options in ({}, {"test_sessions": ["tue"]}, {"test_sessions": ["tue", "wed"]}):
        summary = split(dataset, **options)
        assert read_splits(dataset)["subset"][41] == "train"
        assert (summary.moved_to_train, summary.moved_sessions) == (1, ("tue",))
    assert split(dataset, reset=True, test_sessions=["tue"]).moved_to_train == 0
    assert read_splits(dataset)["subset"][41] == "test"


def test_one_option_changes_one_setting_and_says_what_is_given_up(dataset):
    split(dataset, test_sessions=["tue"], val_sessions=["thu"], night_holdout=5, allow_shared_sessions=True)
    night = set(subsets(dataset).index[subsets(dataset) == "night_holdout"])
    summary = split(dataset, test_sessions=["wed"])
    assert summary.sessions["test"] == ("wed",) and summary.sessions["val"] == ("thu",)
    assert set(subsets(dataset).index[subsets(dataset) == "night_holdout"]) == night
    assert "given up: 30 photos of the test set are in training now (tue)" in summary.changes
    assert any("20 photos of training are in the test set now (wed)" in line for line in summary.changes)
    summary = split(dataset, val_fraction=0.2)
    assert summary.sessions["test"] == ("wed",) and summary.sessions["val"] != ("thu",)
    assert any("12 photos of validation are in training now (thu)" in line for line in summary.changes)


def test_a_session_that_is_named_leaves_its_other_subset(dataset):
    split(dataset, test_sessions=["tue"], val_sessions=["thu"])
    summary = split(dataset, test_sessions=["thu"], val_fraction=0.0)
    assert summary.sessions["test"] == ("thu",) and "val" not in summary.sessions


def test_reset_starts_anew_and_says_what_is_given_up(dataset):
    split(dataset, test_sessions=["tue"])
    summary = split(dataset, reset=True)
    assert "test" not in summary.sessions and not summary.repeated
    assert summary.changes[0].startswith("given up: 30 photos of the test set are in ")


def test_test_photos_stay_test_when_their_session_has_another_name(dataset):
    split(dataset, test_sessions=["tue", "thu"], val_sessions=["wed"])
    before = subsets(dataset)
    change_photos(dataset, lambda photos: photos.assign(session=photos["session"].replace("tue", "tuesday")))
    summary = split(dataset)
    assert subsets(dataset).equals(before)
    assert "session tue of the test set is tuesday now" in summary.changes
    assert "- tuesday" in (dataset / "splits.yaml").read_text()


def test_sessions_that_are_joined_across_subsets_are_one_clear_error(dataset):
    split(dataset, test_sessions=["tue"], val_sessions=["wed"])
    before = (dataset / "splits.csv").read_bytes()
    change_photos(dataset, lambda photos: photos.assign(session=photos["session"].replace(["tue", "mon"], "week")))
    with pytest.raises(DatasetError, match=r"sessions week would be in several subsets.*name these with --test"):
        split(dataset)
    assert (dataset / "splits.csv").read_bytes() == before
    assert split(dataset, test_sessions=["week"]).photos["test"] == 70


def test_a_test_session_without_photos_is_kept_until_they_are_back(dataset):
    split(dataset, test_sessions=["tue"], val_sessions=["wed"])
    photos = read_photos(dataset)
    change_photos(dataset, lambda table: table[table["session"] != "tue"])
    summary = split(dataset)
    assert "session tue of the test set has no photos; splits.yaml keeps its name" in summary.changes
    change_photos(dataset, lambda table: photos)
    assert split(dataset).photos["test"] == 30


def test_photos_that_were_written_anew_keep_their_subset(dataset):
    split(dataset, test_sessions=["mon"], random=True, allow_shared_sessions=True, night_holdout=5)
    before = subsets(dataset).to_list()
    change_photos(dataset, lambda photos: photos.assign(photo_id="pabcd" + photos["photo_id"].str[4:]))
    split(dataset)
    assert subsets(dataset).to_list() == before


def test_a_split_without_its_settings_is_repeated_from_the_table(dataset):
    split(dataset, test_sessions=["tue"], val_sessions=["wed"])
    before = subsets(dataset)
    (dataset / "splits.yaml").unlink()
    assert split(dataset).options == "--test tue --val wed"
    assert subsets(dataset).equals(before)


@pytest.mark.parametrize("content", ["seed: [", "- a list\n", "test_sessions: tue\n", "seed: x\n"])
def test_damaged_settings_are_one_clear_line_and_reset_goes_on(dataset, content):
    split(dataset, test_sessions=["tue"])
    (dataset / "splits.yaml").write_text(content)
    with pytest.raises(DatasetError, match=r"splits\.yaml: damaged .*--reset"):
        split(dataset)
    assert split(dataset, reset=True, test_sessions=["tue"]).photos["test"] == 30


def test_the_advice_to_split_again_keeps_the_test_set(dataset):
    """The defect: a row `train` in a batch, then the printed advice, put the whole test set into training."""
    split(dataset, test_sessions=["tue"], val_sessions=["thu"])
    write_decisions(dataset, "41.jpg,train\n")
    done = CliRunner().invoke(app, ["split", str(dataset)])
    assert done.exit_code == 0, done.output
    assert "keeps the split of before: --test tue --val thu" in done.output
    assert "1 photos of held-out sessions are moved to training (tue)" in done.output
    table = read_splits(dataset).merge(read_labels(dataset)[["photo_id", "decision"]], on="photo_id")
    assert (table["subset"][table["session"] == "tue"] == "test").sum() == 29
