"""`evaluate` on what it cannot score: one clear error, or a whole report of what there is."""

import json

import numpy as np
import pytest
from helpers import make_bundle
from test_evaluate import N_TEST, N_TRAIN, write_dataset

from campus_visual_gps.errors import BundleError, ConfigError, DatasetError
from campus_visual_gps.estimation.integrity import Gates
from campus_visual_gps.geodesy import LocalFrame
from training.evaluate.predict import predict
from training.report import evaluation as evaluation_module
from training.report.evaluation import evaluate

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "campus")


@pytest.fixture(scope="module")
def quick_bundle(tmp_path_factory):
    """One small member, and no list of training photos: no search for neighbours."""
    return make_bundle(tmp_path_factory.mktemp("model") / "quick", seeds=(42,), training={})


def test_data_set_that_was_never_split_is_scored_whole(quick_bundle, tmp_path):
    other_day = write_dataset(tmp_path / "other-day", split=False, first=100, count=3)
    summary = evaluate(quick_bundle, other_day, "all", progress=False)
    assert summary.report["n_photos"] == 3
    assert summary.report["mean_error_m_low"] is None  # one minute of one walk is too short
    with pytest.raises(DatasetError, match="never split; run"):
        evaluate(quick_bundle, other_day, "test", progress=False)


@pytest.mark.parametrize(
    ("split", "error", "message"),
    [
        ("night_holdout", DatasetError, "no photos in night_holdout; it has test 24, train 6"),
        ("excluded", ConfigError, "none of train, val, test, night_holdout, all"),
    ],
)
def test_split_without_photos_is_one_clear_error(quick_bundle, dataset, split, error, message):
    with pytest.raises(error, match=message):
        evaluate(quick_bundle, dataset, split, progress=False)


def test_photos_of_another_site_are_an_error(quick_bundle, tmp_path):
    elsewhere = write_dataset(tmp_path / "elsewhere", split=False, origin=LocalFrame.at(48.0, 11.0), count=2)
    with pytest.raises(DatasetError, match="another site"):
        evaluate(quick_bundle, elsewhere, "all", tmp_path / "out", progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere"]


def test_missing_bundle_is_one_clear_error(dataset, tmp_path):
    with pytest.raises(BundleError, match="does not exist"):
        evaluate(tmp_path / "none", dataset, "test", progress=False)


def test_failed_run_leaves_the_old_report_alone(quick_bundle, dataset, tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    (out / "report.json").write_text("old")
    (out / "notes.txt").write_text("mine")

    def full_disk(*_):
        raise OSError(28, "No space left on device", str(out / "report.json"))

    with monkeypatch.context() as patch:
        patch.setattr(evaluation_module, "write_report", full_disk)
        with pytest.raises(DatasetError, match="No space left on device; make room"):
            evaluate(quick_bundle, dataset, "train", out, progress=False)
    assert (out / "report.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    evaluate(quick_bundle, dataset, "train", out, progress=False)
    assert json.loads((out / "report.json").read_text())["split"] == "train"
    assert (out / "notes.txt").read_text() == "mine"


def test_estimate_that_is_not_finite_leaves_the_report_whole(quick_bundle, dataset, tmp_path, monkeypatch):
    def some_not_finite(*arguments):
        predicted = predict(*arguments)
        table = predicted.table
        table.loc[:1, ["east_m", "north_m"]] = [[np.inf, 0.0], [np.nan, np.nan]]
        table.loc[:1, "error_m"] = [np.inf, np.nan]
        table.loc[:1, "rejection_reason"] = "not_finite"
        return predicted

    monkeypatch.setattr(evaluation_module, "predict", some_not_finite)
    report = evaluate(quick_bundle, dataset, "train", tmp_path / "out", progress=False).report
    assert report["n_without_position"] == report["rejected.not_finite.n_photos"] == 2
    assert report["n_photos"] == report["within_20m_count"] + report["beyond_20m_count"] == N_TRAIN
    assert np.isfinite(report["mean_error_m"])


def test_network_that_diverged_is_reported_like_any_other(dataset, tmp_path):
    wild = make_bundle(tmp_path / "wild", seeds=(42,), training={}, output_scale_m=1e10)
    report = evaluate(wild, dataset, "train", tmp_path / "out", progress=False).report
    assert report["rejected.not_finite.n_photos"] == report["beyond_20m_count"] == N_TRAIN
    assert report["mean_error_m"] > 1e6


def test_rejected_photos_count_in_the_headline_and_not_among_the_accepted(dataset, tmp_path):
    gates = Gates(site_margin_m=None, max_ensemble_spread_m=1e-9)
    strict = make_bundle(tmp_path / "strict", training={}, gates=gates)
    summary = evaluate(strict, dataset, "test", tmp_path / "out", progress=False)
    metrics, report = summary.metrics, summary.report
    (reason,) = metrics.by_rejection_reason
    assert "spread" in reason
    assert (report["n_photos"], report["accepted.n_photos"]) == (N_TEST, 0)
    assert report[f"rejected.{reason}.n_photos"] == N_TEST
    assert metrics.all.errors == metrics.rejected.errors == metrics.by_rejection_reason[reason]
    assert report["accepted.mean_error_m"] is None
    text = summary.report_path.read_text()
    assert f"({reason} 24)" in text
    section = text.split("## Accepted and rejected")[1]
    assert f"| rejected: {reason} | {N_TEST} |" in section and "0.0 %" in section.split("|")[0]
