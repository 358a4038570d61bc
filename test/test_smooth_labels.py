"""Labels that a walk contradicts become proposals, never corrections."""

import csv

import numpy as np
import pytest
from sequence_helpers import predictions_of, site_grid, walk

from campus_visual_gps.errors import ConfigError, DatasetError
from campus_visual_gps.tracking.calibration import TrackingCalibration
from training.active.smooth_labels import UNDECIDED, propose_labels, write_proposals
from training.evaluate.posteriors import write_posteriors, write_tracking
from training.evaluate.predict import write_predictions
from training.photos.decisions import parse_decision


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    """A walk of 40 photos, of which five in a row have labels 70 m off."""
    directory, grid = tmp_path_factory.mktemp("evaluation"), site_grid()
    truth, probs = walk(grid, 40, 4)
    table, posteriors = predictions_of(grid, {"walk": (truth, probs)})
    off = slice(18, 22)
    table.loc[off, "true_east_m"] += 70.0
    table.loc[off, "true_longitude_deg"] += 70.0 / 86_000.0
    write_predictions(directory / "predictions.csv", table)
    write_posteriors(directory / "posteriors.npz", [posteriors])
    own = TrackingCalibration(measurement_power=0.7, correlation_time_s=1.0, outlier_share=0.05)
    write_tracking(directory / "tracking.json", [own])
    return directory, truth


def test_the_labels_that_are_off_are_proposed_first_and_near_the_truth(evaluation):
    directory, truth = evaluation
    proposals = propose_labels(directory, 25.0)
    assert proposals.photos == 40
    first = proposals.table.head(5)
    assert set(first["photo_id"]) == {f"walk-{row:04d}" for row in range(18, 23)}
    assert (np.diff(proposals.table["moved_m"]) <= 0.0).all()
    wrong_m = (first["longitude_deg"].to_numpy() + 3.0) * 86_000.0 - truth[first["photo_id"].str[-4:].astype(int), 0]
    assert np.abs(wrong_m).max() < 25.0


def test_a_proposal_is_no_decision_until_a_person_decides(evaluation, tmp_path):
    proposals = propose_labels(evaluation[0], 25.0)
    write_proposals(proposals, tmp_path / "proposals.csv")
    rows = list(csv.DictReader((tmp_path / "proposals.csv").open()))
    assert {row["decision"] for row in rows} == {UNDECIDED}
    with pytest.raises(ValueError, match="undecided"):
        parse_decision(UNDECIDED)


def test_proposals_are_not_written_among_the_corrections(evaluation, tmp_path):
    (tmp_path / "corrections").mkdir()
    with pytest.raises(ConfigError, match="not corrections yet"):
        write_proposals(propose_labels(evaluation[0], 25.0), tmp_path / "corrections" / "proposals.csv")


def test_an_evaluation_without_posteriors_is_one_line(evaluation, tmp_path):
    (tmp_path / "predictions.csv").write_bytes((evaluation[0] / "predictions.csv").read_bytes())
    with pytest.raises(DatasetError, match="--sequences"):
        propose_labels(tmp_path, 25.0)
    with pytest.raises(ConfigError, match="positive"):
        propose_labels(evaluation[0], 0.0)
