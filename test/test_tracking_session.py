"""Images and odometry at their own stamps: what counts, in which order, and that no odometry breaks it."""

import math

import numpy as np
import pytest
from tracking_helpers import GRID, UNIFORM, error_m, seen_at

from campus_visual_gps.errors import ConfigError, EstimateError
from campus_visual_gps.estimation.integrity import RejectionReason
from campus_visual_gps.tracking.calibration import TrackingCalibration
from campus_visual_gps.tracking.odometry_buffer import MAX_SAMPLES, OdometryFault
from campus_visual_gps.tracking.session import ODOMETRY, RANDOM_WALK, TrackingSession, is_lost

CALIBRATION = TrackingCalibration(measurement_power=1.0, correlation_time_s=1.0)
START = np.array([20.0, 20.0])


def east_of_start(distance_m: float) -> np.ndarray:
    return np.array([START[0] + distance_m, START[1]])


def session(mode: str = ODOMETRY) -> TrackingSession:
    return TrackingSession(GRID, CALIBRATION, mode)


def drive(own: TrackingSession, seconds, speed_mps=2.0, frame="odom", origin=(0.0, 0.0)) -> None:
    """Odometry at 10 Hz to the east, along the axes of the grid."""
    for stamp_s in seconds:
        own.odometry(stamp_s, np.array([speed_mps * stamp_s, 0.0]) - origin, 0.0, None, frame)


def along(own: TrackingSession, seconds):
    """Clear images each second of a drive that is at START at 1 s."""
    return [own.image(stamp_s, seen_at(east_of_start(2.0 * (stamp_s - 1.0)))) for stamp_s in seconds]


def test_what_comes_after_the_stamp_of_an_image_waits_for_the_next_one():
    at_once, live = session(), session()
    drive(at_once, np.arange(1.0, 8.0, 0.1))
    expected = along(at_once, np.arange(1.0, 8.0))
    found = []
    for second in np.arange(1.0, 8.0):
        drive(live, np.arange(1.0, 8.0, 0.1)[round(10 * (second - 1.0)) :][:10])
        found += along(live, [second])  # 0.9 s of later odometry are there
    for one, other in zip(expected, found, strict=True):
        assert np.array_equal(one.grid_probs, other.grid_probs)


def test_odometry_aligns_itself_and_moves_the_belief_where_images_say_nothing():
    own = session()
    drive(own, np.arange(1.0, 44.0, 0.1))
    tracked = along(own, np.arange(1.0, 38.0, 3.0))[-1]
    assert own.motion == ODOMETRY and tracked.heading_offset_rad is not None
    assert abs(tracked.heading_offset_rad) < 0.5
    blind = own.image(43.0, UNIFORM)
    assert error_m(blind, east_of_start(84.0)) < 10.0


def test_without_odometry_it_walks_at_random_and_what_was_driven_meanwhile_is_no_displacement():
    own = session()
    drive(own, np.arange(1.0, 16.0, 0.1))
    along(own, [1.0, 8.0, 15.0])
    standing = [own.image(stamp_s, seen_at(east_of_start(28.0))) for stamp_s in (20.0, 30.0, 39.0)]
    assert own.motion == RANDOM_WALK
    drive(own, np.arange(39.0, 41.0, 0.1))  # 46 m on
    back = own.image(40.9, UNIFORM)
    assert own.motion == ODOMETRY
    assert error_m(back, standing[-1].mean_enu_m) < 8.0


def test_an_odometry_that_begins_anew_in_other_axes_is_aligned_again():
    own = session()
    drive(own, np.arange(1.0, 16.0, 0.1))
    before = along(own, [1.0, 8.0, 15.0])[-1]
    own.odometry(16.0, np.zeros(2), 1.5, None, "odom_after_restart")
    after = own.image(16.0, UNIFORM)
    assert own.odometry_faults == {"other_frame": 1}
    assert after.heading_offset_rad is None
    assert error_m(after, before.mean_enu_m) < 8.0


@pytest.mark.parametrize(
    ("sample", "fault"),
    [
        ((2.0, [math.nan, 0.0]), OdometryFault.NOT_FINITE),
        ((2.0, [math.inf, 0.0]), OdometryFault.NOT_FINITE),
        ((math.nan, [0.0, 0.0]), OdometryFault.NOT_FINITE),
        ((0.0, [0.0, 0.0]), OdometryFault.UNSTAMPED),
        ((1.0, [0.0, 0.0]), OdometryFault.STAMP_NOT_NEWER),
        ((2.0, [1e300, -1e300]), OdometryFault.JUMP),
        ((2.0, [2.0, 0.0], math.nan), None),
        ((2.0, [2.0, 0.0], 0.0, np.full((2, 2), np.nan)), None),
    ],
)
def test_odometry_that_is_none_has_a_name_and_harms_nothing(sample, fault):
    own = session()
    drive(own, [0.9, 1.0])
    own.image(1.0, seen_at(START))
    assert own.odometry(*sample) == fault
    drive(own, np.arange(2.1, 5.0, 0.1))
    tracked = own.image(5.0, seen_at(START))
    assert np.isfinite(tracked.grid_probs).all() and error_m(tracked, START) < 6.0
    assert sum(own.odometry_faults.values()) >= (fault is not None)


def test_images_that_show_nothing_let_time_pass_and_those_off_the_site_end_in_lost():
    own = session(RANDOM_WALK)
    certain = [own.image(float(stamp_s), seen_at(START)) for stamp_s in range(1, 8)][-1]
    dark = own.image(10.0, seen_at([100.0, 40.0]), rejection=RejectionReason.TOO_DARK)
    assert error_m(dark, START) < 6.0 and np.trace(dark.cov_enu_m2) > np.trace(certain.cov_enu_m2)
    wide = own.image(12.0, seen_at(START), rejection=RejectionReason.SIGMA)
    assert np.trace(wide.cov_enu_m2) < np.trace(dark.cov_enu_m2)
    off = [
        own.image(float(stamp_s), None, rejection=RejectionReason.OUT_OF_DISTRIBUTION) for stamp_s in range(14, 60, 2)
    ]
    assert not is_lost(off[0]) and is_lost(off[-1])


def test_stamps_that_jump_back_begin_anew_and_images_a_little_older_count_now():
    own = session(RANDOM_WALK)
    assert [own.image(stamp_s, seen_at(START)).stamp_s for stamp_s in (100.0, 101.0, 100.5)] == [100.0, 101.0, 101.0]
    assert own.image_count == 3
    assert own.image(50.0, UNIFORM).stamp_s == 50.0
    assert own.image_count == 1


def test_the_memory_is_bounded_when_no_images_come():
    own = session()
    for number in range(MAX_SAMPLES + 100):
        own.odometry(1.0 + 0.02 * number, np.array([0.01 * number, 0.0]))
    assert len(own._buffer._samples) == MAX_SAMPLES
    assert np.isfinite(own.image(50.0, UNIFORM).mean_enu_m).all()


def test_an_unknown_mode_and_a_posterior_of_another_grid_are_errors():
    with pytest.raises(ConfigError, match="tracking 'odom' is none of random_walk, odometry"):
        session("odom")
    with pytest.raises(EstimateError, match="cells"):
        session().image(1.0, np.ones(3) / 3)
