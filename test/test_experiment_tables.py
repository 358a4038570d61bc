"""`tables`: what a directory of experiments has reached, in Markdown and CSV, whatever state its rows are in."""

import csv
import re

import numpy as np
import pytest
import yaml
from experiment_helpers import make_predictions, write_experiment
from typer.testing import CliRunner

from campus_visual_gps.errors import DatasetError
from training.cli import app
from training.report.tables.write import write_experiment_tables

N = 120
BASE_M = 5.0 + 10.0 * np.abs(np.sin(np.arange(N)))
HEADER = {
    "title": "Loss functions",
    "paper_table": "6",
    "budget": "0.1 of the epochs",
    "command": "python -m training experiment config/training/experiments/losses.yaml DATASET --out OUT",
    "validation_sessions": ["2025-12-23-morning"],
    "data_fingerprint": "5f7b2adf",
}


@pytest.fixture
def losses(tmp_path):
    """A baseline, a better row, one that failed and one that never ran."""
    rows = {
        "mse": {
            "label": "MSE",
            "baseline": True,
            "predictions": make_predictions(BASE_M),
            "status": {"state": "done", "parameters": 5_300_000, "train_loss": 10.0, "val_loss": 15.0}
            | {"train_seconds": 100.0, "inference_seconds_per_photo": 0.02},
            "paper": {"mean_error_m": 13.45},
        },
        "huber": {
            "label": "Huber | delta 1",
            "predictions": make_predictions(BASE_M - 2.0),
            "status": {"state": "done", "gap": 1.25, "train_seconds": 130.0},
            "paper": {"mean_error_m": 11.63, "median_error_m": 8.85},
        },
        "weighted": {"label": "Weighted", "status": {"state": "failed", "reason": "loss 4000 | use warm-up"}},
        "zscore": {"paper": {"mean_error_m": 32.23}},
    }
    return write_experiment(tmp_path / "exp" / "losses", rows, **HEADER).parent


def records(directory, name="losses"):
    with (directory / "tables" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return {row["row"]: row for row in csv.DictReader(file)}


def markdown_rows(text):
    """Cells of the only table of a text, by heading and label."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    split = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    assert len({len(cells) for cells in split}) == 1
    return {cells[0]: dict(zip(split[0], cells, strict=True)) for cells in split[2:]}


def test_numbers_are_those_of_the_predictions_with_paired_differences(losses):
    write_experiment_tables(losses)
    rows = records(losses)
    assert float(rows["mse"]["mean_error_m"]) == pytest.approx(BASE_M.mean())
    assert float(rows["huber"]["median_error_m"]) == pytest.approx(np.median(BASE_M - 2.0))
    assert float(rows["huber"]["max_error_m"]) == pytest.approx(BASE_M.max() - 2.0)
    assert float(rows["huber"]["within_10m_share"]) == pytest.approx((BASE_M - 2.0 <= 10.0).mean())
    for bound in ("", "_low", "_high"):  # every photo is 2 m better, so every draw is
        assert float(rows["huber"][f"minus_baseline_m{bound}"]) == pytest.approx(-2.0)
    assert float(rows["huber"]["over_baseline"]) == pytest.approx(1.0 - 2.0 / BASE_M.mean())
    low, mean, high = (float(rows["mse"][f"mean_error_m{bound}"]) for bound in ("_low", "", "_high"))
    assert low < mean < high
    assert rows["mse"]["minus_baseline_m"] == "" and rows["mse"]["n_photos"] == str(N)
    assert (float(rows["mse"]["gap"]), float(rows["huber"]["gap"])) == (1.5, 1.25)
    assert float(rows["huber"]["train_time_ratio"]) == pytest.approx(1.3)
    assert rows["huber"]["paper_mean_error_m"] == "11.63"


def test_several_seeds_are_an_ensemble_with_its_members_beside_it(losses):
    write_experiment_tables(losses)
    row = records(losses)["mse"]  # members err by 2 m less, as much and 2 m more than the ensemble
    assert row["seeds"] == "42 123 456"
    assert float(row["best_member_mean_error_m"]) == pytest.approx(BASE_M.mean() - 2.0)
    assert float(row["worst_member_mean_error_m"]) == pytest.approx(BASE_M.mean() + 2.0)
    assert float(row["one_member_mean_error_m"]) == pytest.approx(BASE_M.mean())
    text = (losses / "tables" / "losses.md").read_text()
    assert "A row of several members (one for each seed) is their ensemble" in text


def test_markdown_states_how_the_table_was_made_and_marks_the_papers_numbers(losses):
    written = write_experiment_tables(losses)
    text = (losses / "tables" / "losses.md").read_text()
    for fact in ("0.1 of the epochs", HEADER["command"], "2025-12-23-morning", "42, 123, 456", "paper, table 6"):
        assert fact in text
    rows = markdown_rows(text)
    assert rows["MSE (baseline)"]["the paper's own"] == "paper: 13.45 m"
    assert rows["Huber \\| delta 1"]["the paper's own"] == "paper: 11.63 m, median 8.85 m"
    assert rows["MSE (baseline)"]["parameters"] == "5.3 M" and rows["MSE (baseline)"]["train/val gap"] == "1.50×"
    assert rows["Huber \\| delta 1"]["minus baseline, m"] == "-2.00 [-2.00, -2.00]"
    assert text in written.page.read_text()
    assert (written.rows, written.with_numbers) == ({"losses": 4}, {"losses": 2})


def test_rows_without_numbers_say_so_with_the_reason(losses):
    write_experiment_tables(losses)
    rows, text = records(losses), (losses / "tables" / "losses.md").read_text()
    assert (rows["weighted"]["state"], rows["weighted"]["reason"]) == ("failed", "loss 4000 | use warm-up")
    assert rows["zscore"]["state"] == "not_run" and rows["zscore"]["mean_error_m"] == ""
    table = markdown_rows(text)
    assert table["Weighted"]["mean, m"] == "failed" and table["zscore"]["mean, m"] == "not run"
    assert "- Weighted: failed: loss 4000 | use warm-up" in text and "- zscore: not run: not started yet" in text
    assert table["zscore"]["the paper's own"] == "paper: 32.23 m"


def test_a_baseline_that_did_not_run_leaves_the_others_their_numbers(losses):
    (losses / "losses" / "mse" / "predictions.csv").unlink()
    write_experiment_tables(losses)
    rows = records(losses)
    assert rows["mse"]["state"] == "failed" and "no such file" in rows["mse"]["reason"]
    assert float(rows["huber"]["mean_error_m"]) == pytest.approx((BASE_M - 2.0).mean())
    assert rows["huber"]["minus_baseline_m"] == ""


def test_rows_on_other_photos_are_compared_on_those_that_both_have(tmp_path):
    base, other = make_predictions(BASE_M), make_predictions(BASE_M - 1.0).iloc[40:].reset_index(drop=True)
    other["photo_id"] = other["photo_id"].str.removeprefix("p")  # as data sets of older versions name them
    rows = {"a": {"predictions": base}, "b": {"predictions": other}}
    exp = write_experiment(tmp_path / "t", rows)
    write_experiment_tables(exp)
    row = records(exp, "t")["b"]
    assert row["compared_photos"] == "80" and float(row["minus_baseline_m"]) == pytest.approx(-1.0)


def test_a_row_that_is_another_row_once_more_says_so_instead_of_a_difference_of_nothing(tmp_path):
    """As a weighted loss on photos without an accuracy: its +0.00 would read as a finding."""
    base = make_predictions(BASE_M)
    rows = {
        "mse": {"label": "MSE", "predictions": base, "status": {"state": "done", "run": "a1"}},
        "best": {"label": "Best seed", "predictions": base, "status": {"state": "done", "run": "a1"}},
        "weighted": {"label": "Weighted", "predictions": base.iloc[::-1].reset_index(drop=True)},
        "close": {"label": "Close", "predictions": base.assign(east_m=base["east_m"] + 1e-9)},
        "nowhere": {"label": "Nowhere", "predictions": base.assign(east_m=np.nan, north_m=np.nan, error_m=np.nan)},
    }
    exp = write_experiment(tmp_path / "t", rows)
    write_experiment_tables(exp)
    assert [row["same_answers_as"] for row in records(exp, "t").values()] == ["", "MSE", "MSE", "", ""]
    text = (exp / "tables" / "t.md").read_text()
    assert "Weighted (same answers as MSE)" in markdown_rows(text)
    assert "has no effect on these data" in text and text.count("photo by photo") == 1


def test_night_columns_are_those_of_table_11_and_say_where_there_is_no_night(tmp_path):
    errors = BASE_M.copy()
    errors[:100:4] += 100.0  # 25 night photos are the worst
    rows = {
        "with": {"predictions": make_predictions(errors)},
        "day": {"predictions": make_predictions(errors + 1.0, night=False)},
        "unknown": {"predictions": make_predictions(errors + 2.0).drop(columns="night")},
    }
    exp = write_experiment(tmp_path / "night", rows, paper_table=11)
    write_experiment_tables(exp)
    table = markdown_rows((exp / "tables" / "night.md").read_text())
    assert table["with (baseline)"]["night in worst 25"] == "25 of 25 (100 %)"
    assert table["with (baseline)"]["night mean, m"].endswith("30 photos")
    assert table["day"]["night mean, m"] == "no night photos" and table["day"]["night in worst 25"] == "–"
    assert table["unknown"]["night mean, m"] == "light unknown"
    row = records(exp, "night")
    assert float(row["with"]["night.mean_error_m"]) == pytest.approx(errors[::4].mean())
    assert (row["day"]["night.n_photos"], row["unknown"]["night.n_photos"]) == ("0", "")


@pytest.mark.parametrize(
    "damage",
    [
        lambda t: t.assign(error_m=np.nan, east_m=np.nan, member_42_east_m=np.nan),
        lambda t: t[["photo_id", "session", "rejection_reason", "true_east_m", "true_north_m", "error_m"]],
        lambda t: t.assign(captured_at=""),
        lambda t: t.assign(captured_at="yesterday"),
        lambda t: t.iloc[:1],
        lambda t: t.iloc[:0],
        lambda t: t.assign(error_m=0.0),
        lambda t: t.assign(photo_id="p0"),
        lambda t: t.assign(session="a|b\\|c"),
    ],
    ids=["no position", "few columns", "untimed", "bad time", "one photo", "empty", "all zero", "one id", "bars"],
)
def test_no_table_of_predictions_stops_the_others(tmp_path, damage):
    rows = {"a": {"predictions": make_predictions(BASE_M)}, "b": {"predictions": damage(make_predictions(BASE_M))}}
    exp = write_experiment(tmp_path / "t", rows)
    write_experiment_tables(exp)
    assert float(records(exp, "t")["a"]["mean_error_m"]) == pytest.approx(BASE_M.mean())
    assert len(markdown_rows((exp / "tables" / "t.md").read_text())) == 2
    rows["a"], rows["b"] = rows["b"], rows["a"]  # and as the baseline
    write_experiment_tables(write_experiment(tmp_path / "u", rows))


def test_settings_that_differ_have_columns_and_common_ones_stand_above(tmp_path):
    rows = {name: {"runs": [name], "predictions": make_predictions(BASE_M, seeds=(42,))} for name in ("aa", "bb")}
    exp = write_experiment(tmp_path / "exp" / "sizes", rows).parent
    for name, size_px in (("aa", 96), ("bb", 128)):
        config = {"model": {"backbone": "resnet18"}, "size_px": size_px, "trainer": {"max_epochs": 3}}
        (exp / "runs" / name / "seed-42").mkdir(parents=True)
        (exp / "runs" / name / "seed-42" / "config.yaml").write_text(yaml.safe_dump(config))
    write_experiment_tables(exp)
    text = (exp / "tables" / "sizes.md").read_text()
    assert "- Trained with: backbone resnet18, epochs 3\n" in text
    assert [row["size, px"] for row in markdown_rows(text).values()] == ["96", "128"]


def test_command_prints_the_state_of_each_table_and_writes_elsewhere(losses, tmp_path):
    done = CliRunner().invoke(app, ["tables", str(losses), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0 and "losses: 2 of 4 rows have numbers" in done.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["losses.csv", "losses.md", "tables.md"]
    assert not (losses / "tables").exists()


@pytest.mark.parametrize("content", ["rows: []", "rows: 3", "- a", "rows: [1]", "a: [", "rows: [{name: a}, {name: a}]"])
def test_a_damaged_table_is_one_line_that_names_the_file(tmp_path, content):
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "experiment.yaml").write_text(content)
    with pytest.raises(DatasetError, match=r"experiment\.yaml"):
        write_experiment_tables(tmp_path)


def test_a_directory_without_tables_and_a_table_of_the_user_are_told(losses, tmp_path):
    with pytest.raises(DatasetError, match="no table in it"):
        write_experiment_tables(tmp_path / "nothing")
    (losses / "tables").mkdir()
    (losses / "tables" / "losses.csv").write_text("name,age\na,3\n")
    with pytest.raises(DatasetError, match="move it elsewhere"):
        write_experiment_tables(losses)
    assert (losses / "tables" / "losses.csv").read_text() == "name,age\na,3\n"
