"""Images in time order: sequences, delays, and the table of single-image, tracked and smoothed positions."""

from dataclasses import replace

import numpy as np
import pytest
from sequence_helpers import predictions_of, site_grid, walk

from campus_visual_gps.errors import DatasetError
from campus_visual_gps.tracking.calibration import TrackingCalibration
from training.evaluate.posteriors import (
    posteriors_of,
    read_posteriors,
    read_tracking,
    write_posteriors,
    write_tracking,
)
from training.evaluate.sequence_metrics import sequence_metrics
from training.evaluate.sequence_table import TrackedBundle, run_sequences
from training.fit.image_sequences import Pose, image_sequences, spread_times_s
from training.metrics.sequences import delay_metrics, first_found, split_sequences
from training.report.sequence_section import sequence_section, sequences_to_flat_json, worse_lines

CALIBRATION = TrackingCalibration(measurement_power=0.7, correlation_time_s=1.0, outlier_share=0.05)


@pytest.fixture(scope="module")
def grid():
    return site_grid()


@pytest.fixture(scope="module")
def run(grid):
    table, posteriors = predictions_of(grid, {"a-day": walk(grid, 70, 1), "b-night": walk(grid, 60, 2)})
    return run_sequences(table, [TrackedBundle(posteriors, CALIBRATION)])


def test_a_long_pause_begins_a_sequence_and_an_image_without_a_time_is_in_none():
    numbers = split_sequences(["a"] * 5 + ["b"], np.array([10.0, 0.0, np.nan, 500.0, 520.0, 0.0]), pause_s=180.0)
    assert numbers.tolist() == [0, 0, -1, 1, 1, 0]


def test_images_of_one_second_are_spread_over_it_in_their_order():
    assert spread_times_s(np.array([5.0, 5.0, 6.0, 9.0])).tolist() == [5.0, 5.5, 6.0, 9.0]


def test_one_image_alone_is_no_sequence(grid):
    times = np.array([0.0, 1000.0, 1002.0])
    probs = np.full((3, len(grid)), 1.0 / len(grid))
    found = image_sequences(["a"] * 3, times, probs, np.zeros((3, 2)))
    assert [own.rows.tolist() for own in found] == [[1, 2]]


def test_a_place_is_found_at_the_first_of_three_near_images_in_a_row():
    assert first_found(np.array([90.0, 5.0, 60.0, 5.0, 6.0, 7.0])) == 3
    assert first_found(np.array([5.0, 5.0])) is None
    assert first_found(np.array([90.0, np.nan, 5.0, 5.0])) is None


def test_a_trial_that_never_finds_the_place_counts_as_the_longest():
    metrics = delay_metrics([1.0, 2.0, np.inf, np.inf], [1, 1, np.inf, np.inf])
    assert (metrics.found_share, metrics.median_s, metrics.p90_s) == (0.5, None, None)
    assert delay_metrics([], []).n_trials == 0


def test_posteriors_come_back_as_a_tracker_takes_them(grid, tmp_path):
    table, own = predictions_of(grid, {"a": walk(grid, 6, 3)})
    table.loc[0, "rejection_reason"], table.loc[1, "rejection_reason"] = "too_dark", "ambiguous"
    table["match_score"] = [10.0, 20.0, 20.0, 5.0, 40.0, np.nan]
    written = posteriors_of(table, own.grid_probs, grid, 20.0)
    write_posteriors(tmp_path / "posteriors.npz", [written])
    (read,) = read_posteriors(tmp_path / "posteriors.npz")
    probs = read.rows([*table["photo_id"], "another"])
    assert np.isnan(probs[[0, 6]]).all()
    np.testing.assert_allclose(probs[[1, 4, 5]], own.grid_probs[[1, 4, 5]], rtol=0.02)
    np.testing.assert_allclose(probs[3], 0.25 * own.grid_probs[3] + 0.75 / len(grid), rtol=0.02)


def test_a_damaged_file_of_posteriors_is_one_line(tmp_path):
    (tmp_path / "posteriors.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(DatasetError, match="--sequences"):
        read_posteriors(tmp_path / "posteriors.npz")


def test_tracking_calibrations_come_back_as_they_were(tmp_path):
    write_tracking(tmp_path / "tracking.json", [CALIBRATION, TrackingCalibration()])
    assert read_tracking(tmp_path / "tracking.json") == [CALIBRATION, TrackingCalibration()]
    (tmp_path / "tracking.json").write_text('[{"speed": 1}]')
    with pytest.raises(DatasetError, match="evaluate the bundle again"):
        read_tracking(tmp_path / "tracking.json")


def test_tracking_resolves_what_one_image_cannot(run):
    metrics = sequence_metrics(run, len(run.table))
    for group in (metrics.all, *metrics.by_light.values(), *metrics.by_session.values()):
        assert group.methods["tracked"].ratio.value < 0.5
        assert group.methods["smoothed"].ratio.value < 0.5
    assert metrics.worse("tracked") == []
    assert metrics.all.convergence.found_share == 1.0
    assert metrics.all.recovery.n_trials > 0


def test_every_session_and_area_is_in_the_report_and_no_number_is_missing(run):
    metrics = sequence_metrics(run, len(run.table) + 3)
    text = sequence_section(metrics, {"sequences": "sequences.png"}, "Calibrated.")
    for words in ("a-day", "b-night", "| west |", "3 photos", "Calibrated.", "sequences.png"):
        assert words in text
    flat = sequences_to_flat_json(metrics)
    for key in ("", "night.", "session.a-day."):
        assert flat[f"sequences.{key}tracked.mean_error_m"] < flat[f"sequences.{key}single.mean_error_m"]
        assert flat[f"sequences.{key}tracked.coverage_95_share"] is not None


def test_a_session_that_tracking_makes_worse_is_named(run):
    table = run.table.copy()
    rows = table["session"] == "b-night"
    table.loc[rows, "tracked_east_m"] = table.loc[rows, "true_east_m"] + 90.0
    table.loc[rows, "tracked_error_m"] = 90.0
    metrics = sequence_metrics(replace(run, table=table), len(table))
    assert metrics.worse("tracked") == ["b-night"]
    assert [line for line in worse_lines(metrics) if "Session b-night is worse tracked: mean error 90.00 m" in line]
    assert worse_lines(sequence_metrics(run, len(table)))[0].startswith("No session")


def test_odometry_is_tracked_beside_the_random_walk(grid):
    truth, probs = walk(grid, 50, 7)
    table, posteriors = predictions_of(grid, {"drive": (truth, probs)})
    times_s = 1000.0 + 3.0 * np.arange(50)
    poses = [Pose(float(time), truth[row] - truth[0], None, None, "odom") for row, time in enumerate(times_s)]
    run = run_sequences(table, [TrackedBundle(posteriors, CALIBRATION)], times_s, poses)
    assert run.methods == ("single", "tracked", "tracked_odometry", "smoothed")
    errors = run.table[["single_error_m", "tracked_odometry_error_m"]].mean()
    assert errors["tracked_odometry_error_m"] < 0.5 * errors["single_error_m"]
