"""Killed at a random moment and run again, a training and an experiment end as they would have without."""

import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from helpers import ROOT
from runner_helpers import InProcess, make_dataset, write_recipe, write_table
from safetensors.torch import load_file

from training.config import load_config
from training.evaluate.predict import read_predictions
from training.experiments.launchers import Processes
from training.experiments.runner import ExperimentOptions, run_experiments
from training.experiments.store import FAILED
from training.fit.callbacks import read_metrics
from training.fit.ensemble import train_ensemble

pytestmark = pytest.mark.slow

# Everything is drawn by seed, epoch and step: what is left is the order of sums in threads. Metres, and weights.
TOLERANCE_M, TOLERANCE = 1e-4, 1e-6
# augmentation, dropout, shuffling and a schedule with a memory; best epoch and learning rate depend on all epochs
RECIPE = {
    "model": {"backbone": "resnet18", "head": "mlp", "output_scale_m": 20.0},
    "scheduler": {"name": "plateau", "patience_epochs": 0},
    "trainer": {"max_epochs": 5, "batch_size": 2, "workers": 0, "accelerator": "cpu", "num_threads": 1},
}
ROWS = [
    {"name": "first", "overrides": {}, "seeds": [1]},
    {"name": "second", "overrides": {"model": {"head": "linear"}}, "seeds": [1]},
]
MAX_START_S = 900.0  # imports on a machine that does much else


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"))


def kill_during_training(arguments: list[str], directory, epochs: int) -> str:
    """Start a command, wait for its first complete epochs and a random time, and kill it; returns what was done."""
    delay_s = random.uniform(0.0, 0.5)
    command = [sys.executable, "-m", "training", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline_s = time.monotonic() + MAX_START_S
    try:
        while not any(len(read_metrics(path)) >= epochs for path in directory.glob("**/metrics.csv")):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline_s, "no epoch in time"
            time.sleep(0.1)
        time.sleep(delay_s)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    return f"killed {delay_s:.3f} s after epoch {epochs}"


def test_a_killed_training_ends_with_the_weights_of_an_undisturbed_one(dataset, tmp_path):
    recipe = write_recipe(tmp_path, **RECIPE, seeds=[1])
    out = tmp_path / "killed"
    what = kill_during_training(["train", str(recipe), "--dataset", str(dataset), "--out", str(out)], out, 1)
    for directory in (out, tmp_path / "undisturbed"):
        train_ensemble(load_config(recipe, dataset=str(dataset), out=str(directory)))
    runs = [tmp_path / name / "seed-1" for name in ("killed", "undisturbed")]
    killed, undisturbed = (load_file(run / "member.safetensors") for run in runs)
    for name, expected in undisturbed.items():
        np.testing.assert_allclose(killed[name], expected, rtol=0, atol=TOLERANCE, err_msg=f"{name}, {what}")
    rows = [read_metrics(run / "metrics.csv") for run in runs]
    columns = ["epoch", "train_loss", "val_loss", "lr"]
    np.testing.assert_allclose(rows[0][columns], rows[1][columns], rtol=1e-5, err_msg=what)


def test_a_killed_experiment_ends_with_the_table_of_an_undisturbed_one(dataset, tmp_path):
    write_recipe(tmp_path, **RECIPE)
    table = write_table(tmp_path, ROWS)
    out = tmp_path / "killed"
    what = kill_during_training(["experiment", str(table), "--dataset", str(dataset), "--out", str(out)], out, 1)
    for directory in (out, tmp_path / "undisturbed"):
        summary = run_experiments([table], dataset, directory, ExperimentOptions(), InProcess)
        assert summary.count("done") == len(ROWS), what
    for row in ROWS:
        killed, undisturbed = (
            read_predictions(tmp_path / name / "table" / row["name"] / "predictions.csv")
            for name in ("killed", "undisturbed")
        )
        assert killed["photo_id"].tolist() == undisturbed["photo_id"].tolist()
        for column in ("east_m", "north_m", "error_m", "cov_ee_m2"):
            np.testing.assert_allclose(
                killed[column], undisturbed[column], rtol=0, atol=TOLERANCE_M, err_msg=f"{row['name']}, {what}"
            )


def test_a_run_whose_process_is_killed_fails_and_the_next_one_gets_another_process(dataset, tmp_path):
    write_recipe(tmp_path)
    table = write_table(
        tmp_path, [{"name": "first", "overrides": {}}, {"name": "second", "overrides": {"size_px": 40}}]
    )
    started = []

    class Killing(Processes):
        def start(self, run):
            super().start(run)
            started.append(run.title)
            if len(started) == 1:
                self._workers[0].process.kill()

    summary = run_experiments([table], dataset, tmp_path / "out", ExperimentOptions(), Killing)
    assert summary.states == {("table", "first"): FAILED, ("table", "second"): "done"}
    assert "SIGKILL" in (tmp_path / "out" / "table" / "first" / "status.yaml").read_text()
