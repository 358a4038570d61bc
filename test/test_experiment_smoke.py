"""Every row of every table of the paper runs: one epoch of one or two steps, without pretrained weights."""

import pytest
from helpers import ROOT
from runner_helpers import InProcess, make_dataset

from training.experiments.budget import Budget
from training.experiments.runner import ExperimentOptions, run_experiments
from training.fit import member

pytestmark = pytest.mark.slow

TABLES = sorted((ROOT / "config" / "training" / "experiments").glob("*.yaml"))
# those run with their own backbones; tables that hold it constant, with a small one
CONSTANT_BACKBONE = {path.stem for path in TABLES} - {"backbones", "ensembling_lite", "journey"}
SETTINGS = (
    "weights=none",
    "trainer.batch_size=2",
    "trainer.keep=last",
    "trainer.accelerator=cpu",
    "trainer.workers=0",
    "scheduler.name=cosine",
    "descriptor.centroids=2",
    "descriptor.dim=8",
    "descriptor.local_dim=4",
)
NOT_HERE = {("active_learning", "round_1"), ("active_learning", "round_2")}  # the data set has had no rounds


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """One store for all tables, so that a training that several of them have is done once."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def no_pictures(monkeypatch):
    """No picture of the training curves, an eighth of the time: test_training has them."""
    monkeypatch.setattr(member, "plot_curves", lambda *_: None)


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_every_row_of_the_table_runs(path, dataset, out):
    settings = (*SETTINGS, *(["model.backbone=resnet18"] if path.stem in CONSTANT_BACKBONE else []))
    options = ExperimentOptions(budget=Budget(epochs=0.01, size=0.2), settings=settings)
    summary = run_experiments([path], dataset, out, options, InProcess)
    expected = {key: "not_run" if key in NOT_HERE else "done" for key in summary.states}
    assert summary.states == expected
