"""Experiments run for real on tiny networks: what is skipped, resumed, recorded and shared."""

import errno
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from runner_helpers import InProcess, make_dataset, write_recipe, write_table

from campus_visual_gps.errors import DatasetError
from training.evaluate.predict import read_predictions
from training.experiments import execute
from training.experiments.budget import Budget
from training.experiments.runner import ExperimentOptions, run_experiments

pytestmark = pytest.mark.slow

ROWS = [
    {"name": "plain", "overrides": {}, "seeds": [1], "paper": {"mean_error_m": 7.0}},
    {"name": "other", "overrides": {"model": {"backbone": "efficientnet_lite0", "head": "linear"}}, "seeds": [1]},
    {"name": "broken", "overrides": {"weights": "no-such-file.pth"}},
    {"name": "best", "best_of": ["plain", "other"]},
    {"name": "hybrid", "combine": ["plain", "other"]},
    {"name": "views", "of": "hybrid", "tta": "photometric"},
    {"name": "with_broken", "combine": ["plain", "broken"]},
    {"name": "large", "overrides": {"size_px": 4096}},
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    write_recipe(folder)
    return folder


@pytest.fixture(scope="module")
def finished(folder, dataset):
    """The directory of an experiment with rows of all kinds, and its summary."""
    table = write_table(folder, ROWS)
    summary = run_experiments([table], dataset, folder / "out", ExperimentOptions(command="typed"), InProcess)
    return folder / "out", summary


def status(out: Path, row: str, table: str = "table") -> dict:
    return yaml.safe_load((out / table / row / "status.yaml").read_text())


def trained_at(out: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in out.glob("runs/*/*/member.safetensors")}


def test_a_failure_is_recorded_and_the_other_rows_go_on(finished):
    out, summary = finished
    states = {row: state for (_, row), state in summary.states.items()}
    done = ["plain", "other", "best", "hybrid", "views"]
    assert states == dict.fromkeys(done, "done") | {
        "broken": "failed",
        "with_broken": "not_run",
        "large": "not_run",
    }
    assert "no-such-file.pth" in status(out, "broken")["reason"] and "\n" not in status(out, "broken")["reason"]
    assert "broken" in status(out, "with_broken")["reason"]
    assert "size_px 4096" in status(out, "large")["reason"]
    assert not (out / "table" / "broken" / "predictions.csv").exists()


def test_a_row_has_predictions_of_every_photo_and_what_was_measured(finished):
    out, _ = finished
    table = read_predictions(out / "table" / "plain" / "predictions.csv")
    assert len(table) == 4 and set(table["session"]) == {"session-1"} and np.isfinite(table["error_m"]).all()
    found = status(out, "plain")
    assert found["parameters"] == 11_176_512 + 512 * 2 + 2  # ResNet-18 without its classifier, and a linear layer
    assert found["epochs"] == 2 and found["train_seconds"] >= 0.0 and found["inference_seconds_per_photo"] > 0.0
    assert found["gap"] == pytest.approx(found["val_loss"] / found["train_loss"], rel=1e-2)


def test_the_hybrid_has_the_members_of_both_rows_and_the_best_is_the_one_of_smaller_validation_loss(finished):
    out, _ = finished
    hybrid = pd.read_csv(out / "table" / "hybrid" / "predictions.csv")
    assert len([name for name in hybrid if name.startswith("member_") and name.endswith("_east_m")]) == 2
    best = min(("plain", "other"), key=lambda row: status(out, row)["val_loss"])
    assert status(out, "best")["run"] == status(out, best)["run"]
    assert status(out, "hybrid")["parameters"] == sum(status(out, row)["parameters"] for row in ("plain", "other"))


def test_views_change_the_answer_and_leave_nothing_of_the_single_view(finished):
    out, _ = finished
    plain, views = (read_predictions(out / "table" / row / "predictions.csv") for row in ("hybrid", "views"))
    assert not np.allclose(plain["east_m"], views["east_m"], atol=1e-6)
    assert not [name for name in views if name.startswith(("member_", "radius"))]
    offset = views[["east_m", "north_m"]].to_numpy() - views[["true_east_m", "true_north_m"]].to_numpy()
    np.testing.assert_allclose(np.hypot(*offset.T), views["error_m"], atol=1e-6)


def test_the_table_says_how_it_was_made(finished):
    out, _ = finished
    content = yaml.safe_load((out / "table" / "experiment.yaml").read_text())
    assert content["paper_table"] == "6" and content["command"] == "typed" and content["budget"] == "the full recipe"
    assert content["validation_sessions"] == ["session-1"]
    assert [row["name"] for row in content["rows"]] == [row["name"] for row in ROWS]
    assert content["rows"][0]["baseline"] and content["rows"][0]["paper"] == {"mean_error_m": 7.0}
    for run in content["rows"][4]["runs"]:
        assert list((out / "runs" / run).glob("seed-*/config.yaml"))


def test_checkpoints_of_the_optimizer_are_gone_when_a_run_is_done(finished):
    out, _ = finished
    assert not list(out.glob("runs/*/*/checkpoints")) and list(out.glob("runs/*/bundle/bundle.yaml"))


def test_what_is_finished_is_not_trained_again_and_failures_only_if_asked(finished, folder, dataset, monkeypatch):
    out, before = finished
    trained = trained_at(out)
    started = []
    monkeypatch.setattr(execute, "train_ensemble", lambda config: started.append(config.weights))
    again = run_experiments([folder / "table.yaml"], dataset, out, ExperimentOptions(), InProcess)
    assert again.states == before.states and not started and trained_at(out) == trained
    run_experiments([folder / "table.yaml"], dataset, out, ExperimentOptions(retry_failed=True), InProcess)
    assert started == ["no-such-file.pth"]


def test_another_table_shares_the_runs_and_another_budget_does_not_mix(finished, folder, dataset):
    out, _ = finished
    trained = trained_at(out)
    shared = write_table(folder, ROWS[:1], "shared")
    run_experiments([shared], dataset, out, ExperimentOptions(), InProcess)
    assert trained_at(out) == trained
    assert status(out, "plain", "shared")["run"] == status(out, "plain")["run"]
    smaller = ExperimentOptions(budget=Budget(epochs=0.5))
    run_experiments([shared], dataset, out, smaller, InProcess)
    assert status(out, "plain", "shared")["run"] != status(out, "plain")["run"]
    assert status(out, "plain", "shared")["epochs"] == 1 and status(out, "plain")["epochs"] == 2
    assert len(trained_at(out)) == len(trained) + 1


def test_a_result_of_another_budget_is_gone_before_the_new_one_is_there(folder, dataset, tmp_path, monkeypatch):
    table = write_table(folder, ROWS[:1], "stale")
    row = tmp_path / "stale" / "plain"
    row.mkdir(parents=True)
    (row / "status.yaml").write_text("state: done\ncandidates: [other]\n")
    (row / "predictions.csv").write_text("of another budget\n")
    monkeypatch.setattr(execute, "train_ensemble", lambda config: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run_experiments([table], dataset, tmp_path, ExperimentOptions(), InProcess)
    assert not list(row.iterdir())


def test_a_full_disk_stops_and_is_no_failure_of_the_row(folder, dataset, tmp_path, monkeypatch):
    table = write_table(folder, ROWS[:2], "full")

    def fill(config):
        raise DatasetError("bundle: cannot be written") from OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(execute, "train_ensemble", fill)
    with pytest.raises(DatasetError, match="run the same command again to go on"):
        run_experiments([table], dataset, tmp_path, ExperimentOptions(), InProcess)
    assert not list(tmp_path.glob("runs/*/status.yaml"))


def test_a_bundle_that_was_deleted_is_made_again(finished, folder, dataset):
    out, _ = finished
    run = out / "runs" / status(out, "plain")["run"]
    shutil.rmtree(run / "bundle")
    run_experiments([write_table(folder, ROWS[:1], "again")], dataset, out, ExperimentOptions(), InProcess)
    assert (run / "bundle" / "bundle.yaml").is_file() and status(out, "plain", "again")["state"] == "done"
