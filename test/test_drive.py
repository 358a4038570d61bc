"""Outages, dead reckoning, availability, trajectory error and latency of a drive with known answers."""

import json

import numpy as np
import pandas as pd
import pytest

from campus_visual_gps.geodesy import LocalFrame
from training.evaluate.report_metrics import SiteOutline
from training.replay.availability import fresh_share
from training.replay.drive import Drive
from training.replay.drive_errors import compute_drive_errors
from training.replay.drive_metrics import DriveMetrics, compute_drive_metrics
from training.replay.drive_report import drive_addition
from training.replay.fixes import Fixes
from training.replay.flatten_drive import drive_to_flat_json
from training.replay.outages import dead_reckoned_m, find_outages, fit_rigid, hold_last_fix_m
from training.replay.tracks import Track
from training.replay.trajectory_error import TrajectoryMetrics, trajectory_metrics

FRAME = LocalFrame.at(31.262, 34.802)
T0 = 1_760_000_000_000_000_000
SPEED_M_S = 1.5


def stamps(seconds) -> np.ndarray:
    return T0 + np.round(np.asarray(seconds) * 1e9).astype(np.int64)


def way_m(seconds) -> np.ndarray:
    """Along a wide circle."""
    angle = np.asarray(seconds) * SPEED_M_S / 80.0
    return 80.0 * np.stack([np.sin(angle), 1.0 - np.cos(angle)], axis=-1)


def fixes_at(seconds, offset_m=(0.0, 0.0), status=0) -> Fixes:
    seconds = np.asarray(seconds, dtype=np.float64)
    latitude, longitude = FRAME.to_geodetic(way_m(seconds) + np.asarray(offset_m))
    positions = np.stack([latitude, longitude, np.full(len(seconds), 300.0)], axis=1)
    covariances = np.tile(np.eye(3) * 4.0, (len(seconds), 1, 1))
    return Fixes(stamps(seconds), positions, covariances, np.full(len(seconds), status))


def merged(*fixes: Fixes) -> Fixes:
    """By stamp."""
    columns = ("stamps_ns", "positions", "covariances_enu_m2", "status")
    both = [np.concatenate([getattr(item, name) for item in fixes]) for name in columns]
    order = np.argsort(both[0])
    return Fixes(*(column[order] for column in both))


def odometry_at(seconds) -> Track:
    """The way in a frame of its own: turned by 70 degrees, from another origin."""
    c, s = np.cos(1.2), np.sin(1.2)
    return Track(stamps(seconds), way_m(seconds) @ np.array([[c, s], [-s, c]]) + np.array([300.0, -40.0]))


RECEIVER = fixes_at([*range(61), *range(100, 121)])
ODOMETRY = odometry_at(np.arange(0, 120, 0.1))


def predictions_at(seconds, offset_m=(0.0, 0.0), rejected=()) -> pd.DataFrame:
    seconds = np.asarray(seconds, dtype=np.float64)
    truth, fix = way_m(seconds), way_m(seconds) + np.asarray(offset_m)
    latitude_deg, longitude_deg = FRAME.to_geodetic(fix)
    return pd.DataFrame(
        {
            "photo_id": [f"drive-{stamp}" for stamp in stamps(seconds)],
            "stamp_ns": stamps(seconds),
            "session": "drive",
            "true_east_m": truth[:, 0],
            "true_north_m": truth[:, 1],
            "east_m": fix[:, 0],
            "north_m": fix[:, 1],
            "latitude_deg": latitude_deg,
            "longitude_deg": longitude_deg,
            "cov_ee_m2": 9.0,
            "cov_en_m2": 0.0,
            "cov_nn_m2": 9.0,
            "transform_s": 0.01,
            "ensemble_s": 0.09,
            "error_m": np.hypot(*(fix - truth).T),
            "rejection_reason": np.where(np.isin(seconds, rejected), "too_blurred", ""),
        }
    )


def drive_at(seconds, **overrides) -> Drive:
    truth = fixes_at(np.arange(-1, 125, 0.1))
    return Drive(FRAME, stamps(seconds), truth, **({"receiver": RECEIVER, "odometry": ODOMETRY} | overrides))


def metrics_of(table: pd.DataFrame, drive: Drive) -> DriveMetrics:
    return compute_drive_metrics(table, drive, compute_drive_errors(table, drive))


def test_an_outage_lasts_from_the_last_good_fix_to_the_next_good_one():
    told = fixes_at(range(61, 80), status=-1)  # the receiver says that it has none, then nothing
    (outage,) = find_outages(merged(RECEIVER, told), *stamps([0, 120]))
    assert (outage.start_ns, outage.end_ns) == tuple(stamps([60, 100]))
    assert outage.duration_s == 40.0
    assert outage.contains(stamps([60, 60.5, 99.9, 100])).tolist() == [False, True, True, False]


def test_a_receiver_that_never_had_a_fix_is_one_outage():
    nothing = fixes_at(range(120), status=-1)
    assert [item.duration_s for item in find_outages(nothing, *stamps([0, 120]))] == [120.0]
    assert np.isnan(hold_last_fix_m(nothing, FRAME, stamps([5]))).all()


def test_dead_reckoning_finds_the_odometrys_heading_and_origin():
    (outage,) = find_outages(RECEIVER, *stamps([0, 120]))
    times_s = np.arange(61, 100, 0.5)
    track = dead_reckoned_m(outage, RECEIVER, ODOMETRY, FRAME, stamps(times_s))
    np.testing.assert_allclose(track, way_m(times_s), atol=0.05)


def test_odometry_of_a_robot_that_stood_still_gives_no_heading():
    (outage,) = find_outages(RECEIVER, *stamps([0, 120]))
    standing = Track(ODOMETRY.stamps_ns, np.zeros((len(ODOMETRY.stamps_ns), 2)))
    assert dead_reckoned_m(outage, RECEIVER, standing, FRAME, stamps([70])) is None


def test_a_receiver_that_says_0_0_has_no_fix():
    wild = Fixes(RECEIVER.stamps_ns, RECEIVER.positions.copy(), RECEIVER.covariances_enu_m2, RECEIVER.status)
    wild.positions[60] = 0.0
    np.testing.assert_allclose(hold_last_fix_m(wild, FRAME, stamps([60.5])), way_m([59.0]), atol=0.05)
    (outage,) = find_outages(wild, *stamps([0, 120]))
    assert outage.start_ns == stamps([59.0])[0]
    track = dead_reckoned_m(outage, wild, ODOMETRY, FRAME, stamps([80]))
    np.testing.assert_allclose(track, way_m([80]), atol=0.05)


def test_a_rigid_fit_never_mirrors_and_follows_the_weights():
    source = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 5.0], [3.0, 4.0]])
    mirrored = source * [1.0, -1.0]
    rotation, _ = fit_rigid(source, mirrored, np.ones(4))
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    target = source + 5.0
    target[3] = [500.0, 500.0]
    rotation, offset = fit_rigid(source, target, np.array([1.0, 1.0, 1.0, 1e-9]))
    np.testing.assert_allclose(source[:3] @ rotation.T + offset, target[:3], atol=1e-3)


def test_an_outage_is_measured_with_and_without_the_visual_fix():
    times_s = np.arange(0, 120.5, 0.5)
    table = predictions_at(times_s, offset_m=(3.0, 4.0), rejected=(70.0, 70.5))
    receiver = metrics_of(table, drive_at(times_s)).receiver
    outages = receiver.outages
    assert (len(outages.each), outages.total_s, outages.n_images) == (1, 40.0, 79)
    assert outages.visual.mean_error_m.value == pytest.approx(5.0)
    assert (outages.visual.n_photos, outages.visual.n_without_position) == (79, 2)
    assert outages.dead_reckoning.mean_error_m.value < 0.05
    expected = np.hypot(*(way_m(times_s[121:200]) - way_m(60.0)).T).mean()
    assert outages.hold_last_fix.mean_error_m.value == pytest.approx(expected, abs=0.01)
    assert outages.hold_last_fix_ratio.value == pytest.approx(5.0 / expected, rel=0.05)
    assert receiver.outside_receiver.mean_error_m.value < 0.01
    assert outages.each[0].visual_mean_error_m == pytest.approx(5.0)
    # in the outage of one walk of 40 s there are too few blocks for an interval
    assert outages.visual.mean_error_m.low is None


def test_a_bag_without_receiver_and_odometry_still_has_its_other_metrics():
    times_s = np.arange(0, 30, 0.5)
    metrics = metrics_of(predictions_at(times_s), drive_at(times_s, receiver=None, odometry=None))
    assert metrics.availability.share == 1.0
    assert metrics.trajectory.ate_rmse_m == pytest.approx(0.0, abs=1e-6)
    assert metrics.receiver is None and metrics.latency is None
    assert not any(key.startswith(("outage.", "outside.", "latency.")) for key in drive_to_flat_json(metrics))


@pytest.mark.slow
@pytest.mark.parametrize("reject_all", [False, True])
@pytest.mark.parametrize("receiver", [None, fixes_at(range(31)), RECEIVER])
def test_the_section_and_the_pictures_exist_whatever_is_missing(tmp_path, receiver, reject_all):
    times_s = np.arange(0, 30 if receiver is not RECEIVER else 120, 0.5)
    table = predictions_at(times_s, (3.0, 4.0), rejected=times_s if reject_all else ())
    site = SiteOutline(100.0 * np.array([[-1, -1], [1, -1], [1, 2], [-1, 2]]), np.zeros((1, 2)))
    added = drive_addition(drive_at(times_s, receiver=receiver), table, site, tmp_path)
    json.dumps(added.flat, allow_nan=False)
    assert "## Along the drive" in added.section and "nan" not in added.section.lower()
    assert all((tmp_path / file).is_file() for file in added.pictures.values())
    assert "m with the visual fix" in added.terminal or receiver is not RECEIVER
    expected = "Too few accepted fixes" if reject_all else "A filter that takes every fix needs its covariance times"
    assert expected in added.section and expected in added.terminal


def test_the_keys_of_the_report_are_the_values_of_the_metrics():
    times_s = np.arange(0, 120.5, 0.5)
    metrics = metrics_of(predictions_at(times_s, (3.0, 4.0), rejected=(70.0,)), drive_at(times_s))
    flat, outages = drive_to_flat_json(metrics), metrics.receiver.outages
    assert flat["n_frames"] == metrics.availability.n_images == len(times_s)
    assert flat["accepted_frames_share"] == metrics.availability.accepted_images_share.value
    assert flat["ate_rmse_m"] == metrics.trajectory.ate_rmse_m
    assert (flat["outage.count"], flat["outage.1.start_s"]) == (1, 60.0)
    assert flat["outage.held.mean_error_m"] == outages.hold_last_fix.mean_error_m.value
    assert flat["outage.1.held_mean_error_m"] == outages.each[0].hold_last_fix_mean_error_m
    assert flat["drive.receiver_held.p90_error_m"] == metrics.receiver.receiver_hold_last_fix.p90_error_m.value
    assert flat["autocorrelation.inflation"] == metrics.autocorrelation.inflation


def test_availability_counts_time_and_a_fix_serves_two_seconds():
    assert fresh_share(np.array([0.0, 1.0, 2.0, 3.0]), 4.0) == 1.0
    assert fresh_share(np.array([0.0, 1.0]), 10.0) == pytest.approx(0.3)
    assert fresh_share(np.empty(0), 10.0) == 0.0
    assert fresh_share(np.array([0.0]), 0.0) is None


def test_trajectory_error_is_absolute_and_the_aligned_one_is_without_rotation_and_shift():
    times_s = np.arange(0, 60, 1.0)
    metrics = trajectory_metrics(stamps(times_s), way_m(times_s) + np.array([3.0, 4.0]), way_m(times_s))
    assert metrics.ate_rmse_m == pytest.approx(5.0)
    assert metrics.ate_aligned_rmse_m == pytest.approx(0.0, abs=1e-6)
    nothing = trajectory_metrics(np.empty(0, np.int64), np.empty((0, 2)), np.empty((0, 2)))
    assert nothing == TrajectoryMetrics(None, None, None, None)
    standing = np.zeros((5, 2))
    assert trajectory_metrics(stamps(range(5)), standing + 1.0, standing).ate_aligned_rmse_m is None


def test_latency_counts_from_the_stamp_and_from_the_images_arrival():
    times_s = np.arange(0, 10, 0.5)
    images = {int(stamp): 0.05 for stamp in stamps(times_s)}
    fixes = {stamp: 0.25 for stamp in list(images)[::2]}
    drive = drive_at(times_s, image_delays_s=images, fix_delays_s=fixes)
    latency = metrics_of(predictions_at(times_s), drive).latency
    assert latency.n_fixes == 10
    assert latency.fix_median_s == pytest.approx(0.25)
    assert latency.node_median_s == pytest.approx(0.2)
