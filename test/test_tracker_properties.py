"""Whatever comes, the belief is a probability; a robot that is carried, lost or without a heading is found again.

CAMPUS_VISUAL_GPS_TRACKER_STEPS=100000 makes the first test as long as docs/tracking.md says.
"""

import math
import os

import numpy as np
import pytest
from tracking_helpers import CENTRES, GRID, UNIFORM, error_m, seen_at

from campus_visual_gps.estimation.grid import LocationGrid
from campus_visual_gps.tracking.calibration import TrackingCalibration
from campus_visual_gps.tracking.session import weighed_posterior
from campus_visual_gps.tracking.smoother import smooth
from campus_visual_gps.tracking.tracker import Tracker

STEPS = int(os.environ.get("CAMPUS_VISUAL_GPS_TRACKER_STEPS", "300"))
SMALL = LocationGrid(np.stack(np.meshgrid(np.arange(4), np.arange(3)), axis=-1).reshape(-1, 2) * 5.0, 5.0)
RATE_S = 0.3


def new_tracker(**overrides):
    return Tracker(GRID, TrackingCalibration(**overrides))


def is_a_probability(position):
    probs, lost = position.grid_probs, position.lost_probability
    assert abs(probs.sum() - 1.0) < 1e-9
    assert probs.min() >= 0.0
    assert 0.0 <= lost <= 1.0
    assert np.isfinite(position.mean_enu_m).all()
    assert np.linalg.eigvalsh(position.cov_enu_m2).min() > 0.0


@pytest.mark.parametrize("odometry", [False, True])
@pytest.mark.parametrize("kind", ["noise", "identical", "silence"])
def test_the_belief_stays_a_probability_however_long_it_runs(kind, odometry):
    rng = np.random.default_rng(0)
    tracker = Tracker(SMALL, TrackingCalibration())
    images = rng.dirichlet(np.full(len(SMALL), 0.1), 500)
    position = tracker.update(0.0, images[0])
    for step in range(1, STEPS + 1):
        if odometry:
            tracker.move(step * RATE_S, rng.normal(0.0, 3.0, 2))
        if kind == "silence":
            position = tracker.estimate(step * RATE_S)
        else:
            position = tracker.update(step * RATE_S, images[step % 500 if kind == "noise" else 0])
    is_a_probability(position)


def drive(tracker, track, seconds, start_s=0.0, yaw_rad=0.0, images=seen_at, absolute=False):
    """Odometry at 10 Hz with a displacement in axes turned by -yaw, and images; the last position."""
    cos, sin = math.cos(yaw_rad), math.sin(yaw_rad)
    to_odom = np.array([[cos, sin], [-sin, cos]])
    position = None
    for tick in range(int(seconds * 10)):
        stamp = start_s + tick / 10.0
        tracker.move(
            stamp,
            to_odom @ (track(stamp) - track(start_s)),
            np.zeros((2, 2)),
            yaw_enu_rad=yaw_rad if absolute else None,
            yaw_odom_rad=0.0,
        )
        if tick % 3 == 2 and images is not None:
            position = tracker.update(stamp, images(track(stamp)))
    return position or tracker.estimate(start_s + seconds)


def loop(stamp_s):
    angle = 2.0 * math.pi * stamp_s / 120.0
    return np.array([57.0 + 40.0 * math.cos(angle), 28.0 + 20.0 * math.sin(2.0 * angle)])


def test_perfect_odometry_keeps_the_error_of_one_clear_image_over_a_long_way():
    tracker = new_tracker()
    tracker.move(0.0, np.zeros(2), np.zeros((2, 2)), yaw_enu_rad=1.0, yaw_odom_rad=0.0)
    first = tracker.update(0.0, seen_at(loop(0.0) + 3.0, sigma_m=4.0, flat_share=0.0))
    last = drive(tracker, loop, 240.0, yaw_rad=1.0, images=None, absolute=True)
    assert error_m(last, loop(240.0 - 0.1)) == pytest.approx(error_m(first, loop(0.0)), abs=1.5)


def test_an_unknown_heading_is_found_by_driving():
    tracker = new_tracker(correlation_time_s=2.0, measurement_power=1.0)
    last = drive(tracker, loop, 60.0, yaw_rad=2.0)
    assert last.heading_offset_rad == pytest.approx(2.0, abs=0.15)
    assert error_m(last, loop(59.9)) < 5.0


def test_images_that_jump_about_end_in_lost():
    rng = np.random.default_rng(1)
    tracker = new_tracker()
    for step in range(100):
        last = tracker.update(step * 1.0, seen_at(rng.uniform((0.0, 0.0), (115.0, 55.0)), sigma_m=4.0))
    assert last.lost_probability > 0.5


def test_images_that_look_like_no_photo_of_the_site_end_in_lost():
    tracker = new_tracker()
    for step in range(60):
        last = tracker.update(step * 1.0, UNIFORM, off_site_ratio=5.0)
    assert last.lost_probability > 0.9


def test_a_carried_robot_is_found_within_ten_seconds_of_images():
    tracker = new_tracker()
    drive(tracker, loop, 40.0, yaw_rad=0.5)
    last = drive(tracker, lambda stamp: loop(stamp + 60.0), 10.0, start_s=40.0, yaw_rad=0.5)
    assert error_m(last, loop(109.9)) < 12.0
    assert last.lost_probability < 0.5


@pytest.mark.parametrize("outlier_share", [0.01, 0.2])
@pytest.mark.parametrize("informative_share", [1.0, 0.5])
def test_an_image_from_elsewhere_is_contradicted_and_one_that_says_nothing_is_not(outlier_share, informative_share):
    tracker = new_tracker(outlier_share=outlier_share)
    for step in range(20):
        tracker.update(step * 1.0, weighed_posterior(seen_at((20.0, 20.0)), informative_share))
    elsewhere = weighed_posterior(seen_at((110.0, 50.0)), informative_share)
    assert tracker.update(20.0, elsewhere).contradicted
    assert not tracker.update(21.0, UNIFORM).contradicted


def test_a_robot_that_stands_learns_nothing_new_from_the_same_view_but_does_by_turning():
    def sigma_after(turn_rad):
        tracker = new_tracker()
        for step in range(30):
            tracker.move(float(step), np.zeros(2), None, yaw_odom_rad=turn_rad * step)
            last = tracker.update(float(step), seen_at((50.0, 30.0), sigma_m=20.0))
        return math.sqrt(np.trace(last.cov_enu_m2) / 2.0)

    once = new_tracker().update(0.0, seen_at((50.0, 30.0), sigma_m=20.0))
    assert sigma_after(0.0) == pytest.approx(math.sqrt(np.trace(once.cov_enu_m2) / 2.0), rel=0.02)
    assert sigma_after(0.3) < 0.8 * sigma_after(0.0)


def test_a_second_camera_at_the_same_time_adds_by_its_power():
    def sigma(power):
        tracker = new_tracker(simultaneous_power=power)
        tracker.update(0.0, seen_at((50.0, 30.0), sigma_m=20.0), camera="front")
        last = tracker.update(0.0, seen_at((50.0, 30.0), sigma_m=20.0), camera="rear")
        return np.trace(last.cov_enu_m2)

    assert sigma(1.0) < sigma(0.5) < sigma(0.0)


def test_odometry_that_cannot_be_true_breaks_nothing():
    rng = np.random.default_rng(2)
    tracker = new_tracker()
    junk = [np.nan, np.inf, 1e9, -1e300, 0.0]
    for step in range(400):
        stamp = step * 0.1 + rng.choice([0.0, 0.0, -0.5, 0.05])
        position = rng.choice(junk, 2) if step % 3 == 0 else np.array([step * 0.1, 0.0])
        cov = [None, np.full((2, 2), np.nan), np.eye(2) * 1e9, -np.eye(2), np.zeros(3)][step % 5]
        tracker.move(stamp, position, cov, yaw_odom_rad=rng.choice([0.0, np.nan, 1e6]))
        tracker.move(np.nan, position)
        last = tracker.update(step * 0.1, seen_at((10.0 + step * 0.1, 30.0)))
        is_a_probability(last)
    assert error_m(last, (49.9, 30.0)) < 15.0


def test_smoothing_resolves_what_comes_before_the_clear_image():
    stamps = np.arange(0.0, 30.0, 3.0)
    truth = np.stack([20.0 + stamps, np.full(10, 30.0)], axis=1)
    images = np.array([seen_at(point, (120.0 - point[0], 10.0)) for point in truth[:-1]] + [seen_at(truth[-1])])
    walked = smooth(GRID, TrackingCalibration(), stamps, images)
    driven = smooth(GRID, TrackingCalibration(), stamps, images, np.diff(truth, axis=0))
    for positions, limit_m in ((walked, 12.0), (driven, 4.0)):
        assert max(error_m(own, point) for own, point in zip(positions, truth, strict=True)) < limit_m
        for own in positions:
            is_a_probability(own)


def test_walls_reflect_a_random_walk_and_keep_a_uniform_belief():
    reachable = np.abs(CENTRES[:, 0] - 60.0) > 6.0
    reachable |= CENTRES[:, 1] < 10.0
    tracker = Tracker(GRID, TrackingCalibration(), reachable)
    before = tracker.estimate(0.0).grid_probs
    assert np.allclose(tracker.estimate(30.0).grid_probs, before)
