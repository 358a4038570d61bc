"""A drive's report compares what a filter makes of the receiver, the fallback and the camera alone."""

from dataclasses import replace

import numpy as np
import pytest
from test_correlation_time import errors
from test_drive import ODOMETRY, SPEED_M_S, drive_at, metrics_of, predictions_at, stamps
from test_switches import RECEIVER, arrivals_of

from campus_visual_gps.estimation.correlated_errors import DEFAULT_CORRELATION_TIME_S
from training.replay.drive_report import drive_lines
from training.replay.flatten_drive import drive_to_flat_json
from training.replay.fusion_report import fusion_block
from training.replay.planar_filter import Measurements

TIMES_S = np.arange(0.0, 120.0, 0.5)
TIME_S, SIGMA_M = 6.0, 3.0


def wheels() -> Measurements:
    """Along the circle of `way_m`."""
    times_s = np.arange(0.0, 120.0, 0.1)
    velocities = np.tile([SPEED_M_S, 0.0, SPEED_M_S / 80.0], (len(times_s), 1))
    covariances = np.tile(np.diag([0.04, 0.02, 0.012]) ** 2, (len(times_s), 1, 1))
    return Measurements(stamps(times_s), stamps(times_s), velocities, covariances)


MOVING = replace(ODOMETRY, velocities=wheels())


def comparison(drive, seed=0):
    return metrics_of(predictions_at(TIMES_S, errors(TIMES_S, TIME_S, SIGMA_M, seed)), drive)


@pytest.fixture(scope="module")
def compared():
    drive = drive_at(TIMES_S, odometry=MOVING, arrivals=arrivals_of(RECEIVER), correlation_time_s=TIME_S)
    return comparison(drive)


def inputs(metrics):
    return {(own.source, own.mode): own for own in metrics.fusion.inputs}


def test_all_inputs_are_there_and_each_has_scores_of_the_drive_and_of_the_outage(compared):
    own = inputs(compared)
    modes = ("ignore", "thin", "inflate")
    assert list(own) == [
        ("receiver", ""),
        *(("fallback", mode) for mode in modes),
        *(("visual", mode) for mode in modes),
    ]
    assert all(item.drive is not None and item.outage is not None for item in own.values())
    assert compared.fusion.is_measured and compared.fusion.correlation_time_s == TIME_S


def test_fixes_with_correlated_errors_are_consistent_after_the_filter_unless_that_is_ignored(compared):
    own = inputs(compared)
    ignored, inflated = own["visual", "ignore"].drive, own["visual", "inflate"].drive
    assert ignored.nees_mean > 4.0 > inflated.nees_mean > 0.1
    assert ignored.coverage_95_share < 0.8 < inflated.coverage_95_share
    assert inflated.mean_error_m < ignored.mean_error_m


def test_thinning_feeds_fewer_fixes_and_inflating_all_of_them(compared):
    own = inputs(compared)
    assert own["visual", "inflate"].n_fixes == len(TIMES_S)
    assert own["visual", "thin"].n_fixes == pytest.approx(120.0 / (2.0 * TIME_S), abs=1)
    assert own["fallback", "thin"].n_fixes < own["fallback", "inflate"].n_fixes


def test_the_report_names_the_correlation_time_and_where_it_is_from(compared):
    text = fusion_block(compared.fusion)
    assert "| `fix` (fallback) | inflate |" in text and "6.0 s (measured, in the bundle)" in text
    assert "A filter fed by the receiver only" in drive_lines(compared)
    flat = drive_to_flat_json(compared)
    assert flat["filter.visual.inflate.outage.nees_mean"] == inputs(compared)["visual", "inflate"].outage.nees_mean
    assert flat["filter.receiver.drive.mean_error_m"] >= 0.0
    default = comparison(drive_at(TIMES_S[:80], odometry=MOVING, receiver=None)).fusion
    assert default.correlation_time_s == DEFAULT_CORRELATION_TIME_S
    assert "the default: the bundle has none" in fusion_block(default)


def test_without_a_receiver_the_camera_is_compared_alone_and_has_no_outage():
    own = inputs(comparison(drive_at(TIMES_S, odometry=MOVING, receiver=None)))
    assert [source for source, _ in own] == ["visual"] * 3
    assert all(item.outage is None for item in own.values())


def test_recorded_fixes_are_fed_as_they_are():
    delays_s = {int(stamp): 0.2 for stamp in stamps(TIMES_S)}
    own = inputs(comparison(drive_at(TIMES_S, odometry=MOVING, receiver=None, fix_delays_s=delays_s)))
    assert list(own) == [("visual", "recorded")]


def test_without_velocities_or_odometry_nothing_is_compared():
    for odometry in (ODOMETRY, None):
        metrics = comparison(drive_at(TIMES_S, odometry=odometry, receiver=None))
        assert metrics.fusion is None
        assert not any(key.startswith("filter.") for key in drive_to_flat_json(metrics))
        assert "A filter fed by" not in drive_lines(metrics)


def test_without_any_accepted_fix_nothing_is_compared():
    table = predictions_at(TIMES_S, rejected=TIMES_S)
    assert metrics_of(table, drive_at(TIMES_S, odometry=MOVING, receiver=None)).fusion is None
