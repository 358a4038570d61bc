"""The rule of whole sessions in reports: scores on sessions with photos that train are told apart."""

import io
from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from helpers import make_bundle
from rich.console import Console
from test_splits import make_photos, write_decisions

from training.evaluate.predict import read_predictions, write_predictions
from training.evaluate.report_metrics import RunInfo, SiteOutline, compute_metrics
from training.evaluate.whole_sessions import seen_in_training, session_columns
from training.fit.cross_validation import fold_sessions
from training.photos.manifest import read_splits, read_subsets
from training.photos.splits import split
from training.photos.tables import write_table
from training.report.evaluation import evaluate
from training.report.flatten import to_flat_json
from training.report.markdown import markdown
from training.report.summary import summary_table

SITE = SiteOutline(200.0 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]), np.zeros((1, 2)))
RUN = RunInfo("tiny", "", "", "test", "cpu", "fp32", "", ["42"], "a grid", 0)
PICTURES = defaultdict(lambda: "x.png")


@pytest.fixture
def dataset(tmp_path):
    """Test sessions tue and wed; two photos of tue are moved to training."""
    make_photos(tmp_path)
    split(tmp_path, test_sessions=["tue", "wed"], val_sessions=["thu"])
    write_decisions(tmp_path, "41.jpg,train\n42.jpg,train\n")
    split(tmp_path)
    return tmp_path


def bundle(photos):
    return SimpleNamespace(training={"photo_ids": photos["photo_id"].to_list()})


def predictions(photos, columns):
    """predictions.csv of photos that are 1 m off in session tue and 3 m off elsewhere."""
    table = photos[["photo_id", "session", "captured_at", "subset", "night"]].reset_index(drop=True)
    error_m = np.where(table["session"] == "tue", 1.0, 3.0)
    numbers = dict.fromkeys(("north_m", "member_42_north_m", "true_north_m", "true_east_m", "cov_en_m2"), 0.0)
    numbers |= dict.fromkeys(("cov_ee_m2", "cov_nn_m2", "transform_s", "ensemble_s"), 1.0)
    table = table.assign(**numbers, east_m=error_m, member_42_east_m=error_m, error_m=error_m, area="a")
    return table.assign(rejection_reason="", **columns)


def scored(dataset, trained, subsets=("test",)):
    photos = read_subsets(dataset)
    rows = photos[photos["subset"].isin(subsets)]
    return predictions(rows, session_columns(rows, dataset, bundle(trained(photos))))


def training(photos):
    return photos[photos["subset"] == "train"]


def before_the_move(photos):
    return photos[photos["session"].isin(["mon", "night"])]


@pytest.mark.parametrize(("trained", "seen"), [(training, 2), (before_the_move, 0)])
def test_sessions_with_moved_photos_are_told_apart_in_every_table(dataset, trained, seen, tmp_path):
    table = scored(dataset, trained)
    assert seen_in_training(table) == seen
    write_predictions(tmp_path / "predictions.csv", table)
    metrics = compute_metrics(read_predictions(tmp_path / "predictions.csv"), RUN, SITE)
    report = to_flat_json(metrics)
    assert (report["untouched_sessions.n_photos"], report["untouched_sessions.mean_error_m"]) == (20, 3.0)
    assert (report["sessions_with_moved_photos.n_photos"], report["sessions_with_moved_photos.mean_error_m"]) == (28, 1)
    assert (report["sessions_on_both_sides"], report["n_moved_to_training"]) == (["tue"], 2)
    text = markdown(metrics, PICTURES)
    sections = {part.split("\n", 1)[0]: part for part in text.split("## ")}
    for title in ("Overview", "Distance error", "Share of photos within a distance", "By session and area"):
        row = "tue (both sides)" if title.startswith("By") else "sessions with moved photos"
        assert f"| {row} |" in sections[title], title
    assert "session tue is on both sides: 2 of their photos train, 2 of them moved there by a decision" in text
    console = Console(width=100, file=io.StringIO())
    console.print(summary_table(metrics))
    shown = console.file.getvalue()
    assert "untouched sessions" in shown and "on both sides" in shown


def test_a_session_that_trained_without_a_decision_is_told_apart_too(dataset):
    table = scored(dataset, lambda photos: photos[photos["file"].isin(["41.jpg", "75.jpg", "0.jpg"])])
    metrics = compute_metrics(table.assign(session_moved_photos=0), RUN, SITE)
    assert metrics.on_both_sides.title == "sessions with training photos"
    assert metrics.on_both_sides.sessions == ("tue", "wed")
    assert metrics.untouched_sessions.errors.n_photos == 0


def test_where_nothing_is_on_both_sides_nothing_is_said(dataset):
    untouched = scored(dataset, training).query("session == 'wed'").reset_index(drop=True)
    for table in (untouched, untouched.drop(columns=["session_moved_photos"]), scored(dataset, training, ("train",))):
        metrics = compute_metrics(table, RUN, SITE)
        assert metrics.on_both_sides is None
        assert "both sides" not in markdown(metrics, PICTURES)
        assert not [key for key in to_flat_json(metrics) if key.startswith("untouched")]


def test_moved_photos_are_no_fold_of_their_own(dataset):
    assert fold_sessions(read_subsets(dataset)) == ["mon", "night", "thu"]
    write_table(dataset / "splits.csv", read_splits(dataset).assign(subset="train"))
    assert fold_sessions(read_subsets(dataset)) == ["mon", "night", "thu", "tue", "wed"]


@pytest.mark.slow
def test_evaluate_says_that_a_walk_is_on_both_sides(tmp_path):
    from test_evaluate import write_dataset

    data = write_dataset(tmp_path / "campus", count=14)
    write_decisions(data, "6.jpg,train\n")
    split(data)
    trained = read_subsets(data).query("subset == 'train'")["photo_id"].to_list()
    summary = evaluate(
        make_bundle(tmp_path / "b", seeds=(42,), training={"photo_ids": trained}), data, "test", progress=False
    )
    report = summary.report
    assert (report["n_photos"], report["n_seen_in_training"], report["n_moved_to_training"]) == (7, 1, 1)
    assert report["sessions_on_both_sides"] == ["walk-2"]
    assert report["untouched_sessions.n_photos"] + report["sessions_with_moved_photos.n_photos"] == 7
    table = pd.read_csv(summary.predictions_path)
    assert "walk-3" in set(table["session"][table["session_moved_photos"] == 0])
