"""`blind-spots`: photos over a limit, the worst first, as a table that a person fills."""

import numpy as np
import pandas as pd
import pytest
from active_helpers import N_PROBE, PROBE, photo, write_dataset, write_evaluation

from campus_visual_gps.errors import DatasetError
from training.active.blind_spots import DECISION_COLUMNS, find_blind_spots, list_blind_spots
from training.active.evaluation_files import read_evaluation
from training.photos.tables import read_rows


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("active") / "site")


@pytest.fixture
def evaluation(tmp_path, dataset):
    return write_evaluation(tmp_path / "evaluation", dataset, {9: 31.0, 10: 80.0, 12: 29.9, 14: np.nan})


def test_photos_over_the_limit_come_worst_first_and_one_without_a_position_before_all(evaluation):
    found = list_blind_spots(evaluation, 30.0)
    assert found.table["photo_id"].tolist() == [photo(14), photo(10), photo(9)]
    assert (found.photos, found.night) == (N_PROBE, 2)
    assert list_blind_spots(evaluation, 20.0).table["photo_id"].tolist()[-1] == photo(12)


def test_limit_itself_is_not_over_the_limit(tmp_path, dataset):
    directory = write_evaluation(tmp_path / "e", dataset, {9: 30.0})
    assert list_blind_spots(directory, 30.0).table.empty


def test_row_says_where_label_and_prediction_are_and_how_far_the_training_is(evaluation):
    row = list_blind_spots(evaluation).table.iloc[1]
    assert (row["session"], row["area"], row["subset"]) == (PROBE, "north", "test")
    assert (row["error_m"], row["member_42_error_m"], row["member_123_error_m"]) == (80.0, 80.5, 79.5)
    assert row["predicted_longitude_deg"] > row["label_longitude_deg"]
    # sigma of the longer axis 10 m, and 80 m along it
    assert (row["sigma_m"], row["mahalanobis_distance"]) == (10.0, 8.0)
    # photo 10 is at (50, 2), the last training photo at (25, 4)
    assert row["nearest_training_m"] == pytest.approx(np.hypot(25, 2), abs=0.1)


def test_members_that_agree_with_each_other_far_from_the_label_are_marked(tmp_path, dataset):
    directory = write_evaluation(tmp_path / "e", dataset, {9: 40.0, 10: 40.0})
    evaluation = read_evaluation(directory)
    apart = evaluation.predictions["member_42_east_m"].copy()
    apart[0] += 30.0
    evaluation.predictions["member_42_east_m"] = apart
    table = find_blind_spots(evaluation).table.set_index("photo_id")
    assert table["members_agree_against_label"].to_dict() == {photo(9): 0, photo(10): 1}


def test_photo_that_one_member_locates_is_not_missed_by_all(tmp_path, dataset):
    directory = write_evaluation(tmp_path / "e", dataset, {9: 40.0, 10: 40.0})
    evaluation = read_evaluation(directory)
    near = evaluation.predictions["member_42_east_m"].copy()
    near[0] -= 39.0
    evaluation.predictions["member_42_east_m"] = near
    assert find_blind_spots(evaluation).missed_by_all == 1


def test_single_member_gives_no_agreement(tmp_path, dataset):
    directory = write_evaluation(tmp_path / "e", dataset, {9: 40.0})
    table = pd.read_csv(directory / "predictions.csv").drop(columns=["member_123_east_m", "member_123_north_m"])
    table.to_csv(directory / "predictions.csv", index=False)
    assert list_blind_spots(directory).table["members_agree_against_label"].isna().all()


def test_columns_of_the_decision_are_empty_and_those_of_a_file_of_corrections(evaluation, tmp_path):
    list_blind_spots(evaluation).write(tmp_path / "list.csv")
    rows = read_rows(tmp_path / "list.csv", required=("photo_id", "file", *DECISION_COLUMNS))
    assert {row.text(name) for row in rows for name in DECISION_COLUMNS} == {""}


def test_predictions_without_report_json_are_listed_without_the_distance_to_the_training(evaluation):
    (evaluation / "report.json").unlink()
    table = list_blind_spots(evaluation / "predictions.csv").table
    assert len(table) == 3 and table["nearest_training_m"].isna().all()


def test_list_is_written_again_as_long_as_nobody_has_filled_it(evaluation, tmp_path):
    path = tmp_path / "list.csv"
    list_blind_spots(evaluation, 20.0).write(path)
    list_blind_spots(evaluation, 30.0).write(path)
    assert len(read_rows(path)) == 3


@pytest.mark.parametrize("column", DECISION_COLUMNS)
def test_list_with_anything_a_person_wrote_is_never_replaced(evaluation, tmp_path, column):
    path = tmp_path / "list.csv"
    found = list_blind_spots(evaluation)
    found.write(path)
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[1, column] = "x"
    table.to_csv(path, index=False)
    filled = path.read_bytes()
    with pytest.raises(DatasetError, match=r"line 3.*another file"):
        found.write(path)
    assert path.read_bytes() == filled


@pytest.mark.parametrize("content", ["", "my notes\n", "photo_id;decision\np1;exclude\n", "photo_id,decision\n\x00"])
def test_file_that_is_no_list_is_never_replaced(evaluation, tmp_path, content):
    path = tmp_path / "list.csv"
    path.write_text(content)
    with pytest.raises(DatasetError, match="another file"):
        list_blind_spots(evaluation).write(path)
    assert path.read_text() == content


def test_missing_and_damaged_predictions_are_one_line(tmp_path, dataset):
    with pytest.raises(DatasetError, match="no such file"):
        list_blind_spots(tmp_path)
    path = tmp_path / "predictions.csv"
    path.write_text("photo_id,session,rejection_reason,true_east_m,true_north_m,error_m\np1,a,,0,0,1\n")
    with pytest.raises(DatasetError, match="missing column file"):
        list_blind_spots(path)
    with pytest.raises(DatasetError, match="expected 0 m or more"):
        list_blind_spots(write_evaluation(tmp_path / "e", dataset, {}), -1.0)
