"""`round-table`: table 14, before and after each round, on each stage's own test set and on the photos of all."""

import logging
import shutil

import pandas as pd
import pytest
import yaml
from active_helpers import N_PROBE, N_TRAIN, N_VAL, copy_dataset, decide, photo, write_dataset, write_evaluation

from campus_visual_gps.errors import DatasetError
from training.active.round import run_round
from training.active.round_table import write_round_table

# Easting of the labels is 5 m times the number of the photo, so that the label of photo 9 is right 31 m farther east.
FIXED_9 = (31.262, 34.802 + 76 / (111320 * 0.8547))


@pytest.fixture(scope="module")
def after_two_rounds(tmp_path_factory):
    """A site with two rounds: photo 9 corrected, 10 and then 11 moved to training; beside it, the evaluations."""
    tmp_path = tmp_path_factory.mktemp("active")
    site = write_dataset(tmp_path / "site")
    before = write_evaluation(tmp_path / "before", site, {9: 31.0, 10: 80.0, 11: 60.0})
    rows = (f"{photo(9)},fix_label,{FIXED_9[0]},{FIXED_9[1]}", f"{photo(10)},move_to_training,,")
    run_round(site, decide(tmp_path / "1.csv", *rows), evaluation_path=before)
    first = write_evaluation(tmp_path / "first", site, {9: 1.0, 11: 52.0})
    run_round(site, decide(tmp_path / "2.csv", f"{photo(11)},move_to_training,,"), evaluation_path=first)
    return tmp_path


@pytest.fixture
def dataset(tmp_path, after_two_rounds):
    """A copy of that site; the first two evaluations are in `before` and `first` beside it."""
    for name in ("before", "first"):
        shutil.copytree(after_two_rounds / name, tmp_path / name)
    return copy_dataset(after_two_rounds / "site", tmp_path / "site")


def rows_of(path, source="ours", scored_on="own_test_set"):
    table = pd.read_csv(path)
    return table[(table["source"] == source) & (table["scored_on"] == scored_on)].set_index("stage")


def test_table_has_sizes_mean_and_count_over_50_m_of_every_stage(dataset, tmp_path):
    second = write_evaluation(tmp_path / "second", dataset, {})
    found = write_round_table(dataset, {"round-2": second})
    own = rows_of(found.csv_path)
    trained = N_TRAIN + N_VAL
    assert own["train_size"].to_dict() == {"before": trained, "round-1": trained + 1, "round-2": trained + 2}
    assert own["test_size"].to_dict() == {"before": N_PROBE, "round-1": N_PROBE - 1, "round-2": N_PROBE - 2}
    assert own["mean_error_m"].to_list() == pytest.approx([(31 + 80 + 60 + 7 * 3) / 10, (1 + 52 + 7 * 3) / 9, 3.0])
    assert own["over_50m_count"].to_list() == [2, 1, 0]
    assert own["over_50m_share"].to_list() == pytest.approx([0.2, 1 / 9, 0.0])
    assert own["test_set"].nunique() == 3
    assert (own["mean_error_m_low"] <= own["mean_error_m"]).all()
    assert (own["mean_error_m_high"] >= own["mean_error_m"]).all()


def test_common_photos_are_those_of_all_stages_scored_with_the_labels_of_today(dataset, tmp_path):
    found = write_round_table(dataset, {"round-2": write_evaluation(tmp_path / "second", dataset, {})})
    common = rows_of(found.csv_path, scored_on="common_photos")
    assert common["test_size"].to_list() == [N_PROBE - 2] * 3
    assert (found.common, found.relabelled) == (N_PROBE - 2, 1)
    # photo 9 was 31 m off its old label, which is about where its new label is
    assert common["mean_error_m"].to_list() == pytest.approx([21 / 8, (1 + 21) / 8, 3.0], abs=0.3)
    assert common["over_50m_count"].to_list() == [0, 0, 0]
    differences = common["difference_m"]
    assert pd.isna(differences.iloc[0])
    assert differences.iloc[2] == pytest.approx(common["mean_error_m"].iloc[2] - common["mean_error_m"].iloc[0])


def test_papers_rows_stand_beside_marked_as_theirs(dataset):
    found = write_round_table(dataset)
    papers = rows_of(found.csv_path, source="paper")
    assert papers["train_size"].to_list() == [1950, 2117, 2248]
    assert papers["test_size"].to_list() == [1321, 1154, 1023]
    assert papers["mean_error_m"].to_list() == [17.48, 11.54, 8.17]
    assert papers["over_50m_count"].to_list() == [40, 3, 1]
    header = next(line for line in found.markdown.splitlines() if line.startswith("| stage"))
    assert header.count("paper:") == 4
    assert "17.48" in found.markdown and "40 (3.0 %)" in found.markdown


def test_note_says_that_the_later_test_sets_lost_their_hardest_photos(dataset):
    markdown = write_round_table(dataset).markdown
    assert "its hardest photos were moved to training" in markdown
    assert "favours the model that made the prediction" in markdown
    assert "9 photos, set" in markdown and "the subset test of this stage" in markdown


def test_stage_without_an_evaluation_is_not_run(dataset):
    found = write_round_table(dataset)
    last = next(line for line in found.markdown.splitlines() if line.startswith("| round-2"))
    assert "not run" in last
    assert pd.isna(rows_of(found.csv_path).loc["round-2", "mean_error_m"])


def test_evaluation_is_kept_so_that_the_table_can_be_drawn_without_it(dataset, tmp_path):
    second = write_evaluation(tmp_path / "second", dataset, {})
    first_time = write_round_table(dataset, {"round-2": second}).markdown
    for name in ("before", "first", "second"):
        (tmp_path / name / "predictions.csv").unlink()
    assert write_round_table(dataset).markdown == first_time


def test_photo_that_was_moved_to_training_is_never_scored_as_test(dataset, tmp_path):
    with pytest.raises(DatasetError, match="scores 2 photos that had been moved to training by stage round-2"):
        write_round_table(dataset, {"round-2": tmp_path / "before"})
    assert not (dataset / "rounds" / "round-2.csv").exists()


def test_bundle_that_was_trained_before_the_round_is_a_warning(dataset, tmp_path, caplog):
    second = write_evaluation(tmp_path / "second", dataset, {})
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    report = (second / "report.json").read_text().replace('"bundle": ""', f'"bundle": "{bundle}"')
    (second / "report.json").write_text(report)
    for trained, expected in (([photo(0), photo(10)], 1), ([photo(10), photo(11)], 0)):
        (bundle / "bundle.yaml").write_text(yaml.safe_dump({"training": {"photo_ids": trained}}))
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            write_round_table(dataset, {"round-2": second})
        assert sum("was it trained before the round?" in record.getMessage() for record in caplog.records) == expected


def test_unknown_stage_and_data_set_without_rounds_are_one_line(dataset, tmp_path):
    with pytest.raises(DatasetError, match="no such stage; expected one of before, round-1, round-2"):
        write_round_table(dataset, {"round-3": tmp_path / "before"})
    with pytest.raises(DatasetError, match="no round was done yet"):
        write_round_table(write_dataset(tmp_path / "fresh"))
