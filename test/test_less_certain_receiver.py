"""A receiver that claims clearly more than the visual fixes is not used while they come, and no better one is lost."""

import numpy as np
import pytest
from compatibility import Area, condition
from hypothesis import given, settings
from hypothesis import strategies as st
from receiver_drive import Drive
from receiver_scene import degrees

from campus_visual_gps.gnss.arbiter import NEITHER, RECEIVER, VISUAL
from campus_visual_gps.gnss.fix_pairs import VisualFix
from campus_visual_gps.gnss.health import GpsState
from campus_visual_gps.gnss.monitor_settings import MonitorSettings
from campus_visual_gps.gnss.receiver_fix import GnssFault
from campus_visual_gps.gnss.visual_accuracy import MAX_AGE_S, MIN_COUNT, VisualAccuracy

LESS_CERTAIN = GnssFault.LESS_CERTAIN_THAN_VISUAL
# hypothesis draws them for stretches of five seconds
STRETCH_S = 5.0


def sources(drive: Drive) -> list[str]:
    return [source for _, source in drive.changes]


@condition(
    Area.RECEIVER,
    "sigma beyond gps_max_sigma_ratio, visual fixes come",
    f"not used: {LESS_CERTAIN}",
    since="2026-11-26",
)
def test_a_receiver_that_becomes_less_certain_is_left_by_its_name_and_returns_when_it_claims_no_more_than_the_camera():
    drive = Drive()
    drive.run(1000.0, 1030.0, visual_sigma_m=5.0)
    # 1.2 times 5 m and no more
    drive.run(1030.0, 1040.0, visual_sigma_m=5.0, sigma_m=5.95)
    assert drive.arbiter.source == RECEIVER
    drive.run(1040.0, 1050.0, visual_sigma_m=5.0, sigma_m=6.05)
    assert drive.arbiter.source == VISUAL and drive.arbiter.monitor.state is GpsState.DEGRADED
    reason = drive.arbiter.monitor.reason
    assert reason.startswith("less_certain_than_visual: ") and reason.endswith("visual fixes claim 5.0 m")
    drive.run(1050.0, 1070.0, visual_sigma_m=5.0, sigma_m=5.05)
    assert drive.arbiter.source == VISUAL
    drive.run(1070.0, 1080.0, visual_sigma_m=5.0, sigma_m=4.95)
    assert sources(drive) == [RECEIVER, VISUAL, RECEIVER]
    left_s, back_s = (when for when, _ in drive.changes[1:])
    # three faulty fixes over half a second, good ones over three seconds
    assert left_s == pytest.approx(1040.6, abs=0.11) and back_s == pytest.approx(1073.0, abs=0.11)
    assert drive.arbiter.fault_counts[str(LESS_CERTAIN)] > 100


@pytest.mark.parametrize("case", ["no camera", "held back", "switched off", "few images"])
def test_it_is_used_where_there_is_nothing_better(case):
    drive = Drive(MonitorSettings(max_sigma_ratio=0.0) if case == "switched off" else None)
    if case == "few images":
        # less than ten, however certain
        for start_s in range(1000, 1045, 5):
            drive.run(start_s, start_s + 0.5, sigma_m=8.0, visual_sigma_m=3.0)
            drive.run(start_s + 0.5, start_s + 5, sigma_m=8.0, visual_m=None)
    else:
        camera = {"visual_m": None} if case == "no camera" else {"held": case == "held back"}
        drive.run(1000.0, 1045.0, sigma_m=8.0, visual_sigma_m=3.0, **camera)
    assert sources(drive) == [RECEIVER]
    assert drive.arbiter.fault_counts[str(LESS_CERTAIN)] == 0


def test_it_is_used_as_soon_as_the_visual_fixes_end_and_is_not_asked_for_a_recovery():
    drive = Drive()
    drive.run(1000.0, 1030.0, sigma_m=8.0, visual_sigma_m=4.0)
    assert sources(drive) == [RECEIVER, VISUAL]
    drive.run(1030.0, 1040.0, sigma_m=8.0, visual_m=None)
    assert sources(drive) == [RECEIVER, VISUAL, NEITHER, RECEIVER]
    (ended_s, _), (back_s, _) = drive.changes[2:]
    assert back_s - ended_s <= 0.31


def test_what_another_model_claimed_does_not_count():
    drive = Drive()
    drive.run(1000.0, 1020.0, sigma_m=1.5, visual_sigma_m=3.0)
    drive.arbiter.end_visual(1020.0)
    drive.run(1020.0, 1040.0, sigma_m=8.0, visual_sigma_m=9.0)
    assert sources(drive) == [RECEIVER]


def test_a_receiver_that_is_only_less_certain_is_compared_as_one_in_use_and_one_that_was_lost_is_not():
    drive = Drive(MonitorSettings(contradiction_sigmas=3.0))
    # 13 m are fewer than 3 standard deviations, and more than at a return is allowed
    drive.run(1000.0, 1030.0)
    drive.run(1030.0, 1050.0, receiver_m=13.0, sigma_m=7.5)
    assert drive.arbiter.source == VISUAL and not drive.check.contradicts
    drive.run(1050.0, 1060.0, receiver_m=13.0, sigma_m=3.0)
    assert drive.arbiter.source == RECEIVER
    drive.run(1060.0, 1070.0, status=-1)
    drive.run(1070.0, 1080.0, receiver_m=13.0, sigma_m=7.5)
    drive.run(1080.0, 1100.0, receiver_m=13.0, sigma_m=1.5)
    assert drive.arbiter.source == VISUAL and drive.check.contradicts


def test_a_receiver_that_does_not_know_its_covariance_claims_nothing_and_no_camera_is_better_than_2_m():
    drive = Drive(MonitorSettings(assumed_sigma_m=9.0))
    drive.run(1000.0, 1030.0, visual_sigma_m=3.0, kind=0)
    drive.run(1030.0, 1060.0, visual_sigma_m=0.1, sigma_m=2.35)
    assert sources(drive) == [RECEIVER]
    drive.run(1060.0, 1090.0, visual_sigma_m=0.1, sigma_m=2.45)
    assert sources(drive) == [RECEIVER, VISUAL]


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.floats(1.0, 9.0), st.floats(0.0, 1.0)), min_size=4, max_size=8))
def test_no_receiver_that_claims_no_more_than_each_visual_fix_is_ever_lost_by_it(stretches):
    drive = Drive()
    floor_m = min(visual_m for visual_m, _ in stretches)
    for index, (visual_sigma_m, share) in enumerate(stretches):
        start_s = 1000.0 + index * STRETCH_S
        drive.run(start_s, start_s + STRETCH_S, sigma_m=max(share * floor_m, 0.1), visual_sigma_m=visual_sigma_m)
    assert sources(drive) == [RECEIVER]
    assert drive.arbiter.fault_counts[str(LESS_CERTAIN)] == 0


@settings(max_examples=6, deadline=None)
@given(st.floats(0.5, 9.9), st.floats(2.0, 12.0), st.integers(0, 1000))
def test_claims_that_vary_by_less_than_the_hysteresis_never_make_the_source_come_and_go(sigma_m, visual_m, seed):
    drive, random = Drive(), np.random.default_rng(seed)
    for start_s in np.arange(1000.0, 1060.0, 1.0):
        own_m = sigma_m * random.uniform(0.96, 1.04)
        drive.run(start_s, start_s + 1.0, sigma_m=own_m, visual_sigma_m=visual_m * random.uniform(0.96, 1.04))
    assert len(drive.changes) <= 2
    if sigma_m < visual_m:
        assert sources(drive) == [RECEIVER]
    if sigma_m > 1.35 * visual_m:
        assert sources(drive) == [RECEIVER, VISUAL]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 40), st.floats(0.01, 1.0), st.floats(4.0, 5.9))
def test_no_single_visual_fix_takes_a_receiver_away_however_certain_it_says_it_is(row, tiny_m, sigma_m):
    drive = Drive()
    for index in range(41):
        start_s = 1000.0 + index / 2
        drive.run(start_s, start_s + 0.5, sigma_m=sigma_m, visual_sigma_m=tiny_m if index == row else 5.0)
    assert sources(drive) == [RECEIVER]


# The usual standard deviation


def seen(step: int, sigma_m: float, north_m: float | None = None) -> VisualFix:
    way_m = 1.0 * step if north_m is None else north_m
    return VisualFix(100.0 + step / 2, *degrees(np.array([0.0, way_m])), sigma_m**2 * np.eye(2))


def test_it_is_the_median_per_axis_of_the_images_and_none_from_too_few():
    accuracy = VisualAccuracy()
    for step in range(MIN_COUNT):
        assert accuracy.sigma_m is None
        accuracy.add(seen(step, 3.0 + step % 3))
    assert accuracy.sigma_m == pytest.approx(4.0)
    accuracy.restart()
    assert accuracy.sigma_m is None
    for step in range(MIN_COUNT):
        accuracy.add(seen(step, 1.0)._replace(cov_enu_m2=np.diag([49.0, 1.0])))
    assert accuracy.sigma_m == pytest.approx(5.0)


def test_the_view_of_a_robot_at_rest_counts_once():
    accuracy = VisualAccuracy()
    for step in range(500):
        accuracy.add(seen(step, 2.0, north_m=0.2 * (step % 2)))
    assert accuracy.sigma_m is None


def test_a_second_of_images_is_not_the_last_minute_at_any_rate():
    accuracy = VisualAccuracy()
    for step in range(100):
        for quick in range(5):
            accuracy.add(
                seen(step, 5.0, north_m=float(step + 7 * quick))._replace(stamp_s=100.0 + step / 2 + quick / 10)
            )
    for quick in range(30):
        fix = seen(0, 1.0, north_m=float(7 * quick))
        accuracy.add(fix._replace(stamp_s=150.0 + quick / 30))
    assert accuracy.sigma_m == pytest.approx(5.0)


def test_what_is_old_repeated_or_without_a_sound_covariance_does_not_count():
    accuracy = VisualAccuracy()
    for step in range(MIN_COUNT):
        accuracy.add(seen(step, 9.0))
        accuracy.add(seen(step, 1.0, north_m=50.0))
        accuracy.add(seen(step, 1.0, north_m=50.0)._replace(cov_enu_m2=np.full((2, 2), np.nan)))
    assert accuracy.sigma_m == pytest.approx(9.0)
    for step in range(MIN_COUNT):
        accuracy.add(seen(step + round(2 * MAX_AGE_S) + MIN_COUNT, 4.0))
    assert accuracy.sigma_m == pytest.approx(4.0)
