"""A receiver whose own track jumps must agree with the camera; no visual error makes it jump."""

import math
from dataclasses import replace

import numpy as np
import pytest
import receiver_faults as pack
from hypothesis import given, settings
from hypothesis import strategies as st
from receiver_drive import Drive
from receiver_faults import CASES, Visual, mode_switches
from receiver_runs import run
from receiver_scene import Scene, degrees
from test_track_jump import driven

from campus_visual_gps.gnss.arbiter import RECEIVER, VISUAL
from campus_visual_gps.gnss.fix_pairs import VisualFix
from campus_visual_gps.gnss.monitor_settings import MonitorSettings
from campus_visual_gps.gnss.receiver_fix import GnssFault
from campus_visual_gps.gnss.visual_check import VisualCheck


@pytest.mark.parametrize(("sigma_m", "found_of_10"), [(5.5, 9), (8.0, 7)])
def test_a_bias_of_30_m_at_1_hz_is_found_within_5_s(sigma_m, found_of_10):
    case = CASES["bias_30_1hz"]
    scene = Visual(sigma_m, 6.5, 6.5).of(replace(case.scene, duration_s=50.0))
    found_s = [run(scene, case.make(), seed).found_s() for seed in range(10)]
    assert sum(found is not None and found <= 5.0 for found in found_s) >= found_of_10


@settings(max_examples=10, deadline=None)
@given(
    st.integers(0, 10_000),
    st.floats(4.0, 20.0),
    st.floats(10.0, 1e4),
    st.floats(0.0, 2.0 * math.pi),
    st.floats(10.0, 30.0),
    st.sampled_from([1.0, 5.0]),
    st.sampled_from([1.5, 5.0, 15.0]),
)
def test_no_wrong_visual_fixes_are_ascribed_to_a_jump_of_the_receiver_however_the_robot_drives(
    seed, wrong_s, size_m, direction, start_s, receiver_hz, max_speed_mps
):
    check = VisualCheck(MonitorSettings().contradiction_sigmas, MonitorSettings().contradiction_min_duration_s)
    stamps_s = np.arange(0.0, 60.0, 0.1)
    for step, place in enumerate(driven(stamps_s, seed, max_speed_mps, acceleration_mps2=3.0)):
        now_s = 1000.0 + step * 0.1
        if step % round(10.0 / receiver_hz) == 0:
            check.receiver(now_s, *degrees(place), 1.5, now_s, in_use=True)
        if step % 5 == 0:
            wrong = start_s <= step * 0.1 <= start_s + wrong_s
            seen_m = place + pack.offset_by(size_m if wrong else 0.0, direction)
            check.visual(VisualFix(now_s, *degrees(seen_m), 30.0 * np.eye(2)), now_s, in_use=True)
        assert check.verdict is None or check.verdict.jump_m == 0.0


@pytest.mark.parametrize("receiver_hz", [1.0, 5.0])
def test_switches_of_the_visual_fixes_to_a_wrong_place_are_no_jump_of_a_good_receiver(receiver_hz):
    scene = Scene(200.0, receiver_hz=receiver_hz, receiver_sigma_m=3.0)
    assert run(scene, None, 1, mode_switches(scene, 1)).jump_alarms == 0


@settings(max_examples=10, deadline=None)
@given(st.floats(0.0, 2.4), st.floats(5.0, 1e5), st.floats(0.0, 2.0 * math.pi), st.integers(0, 60))
def test_wrong_visual_fixes_for_less_than_the_duration_take_no_receiver_away_that_jumped_by_little(
    run_s, size_m, direction, first
):
    check = VisualCheck(MonitorSettings().contradiction_sigmas, MonitorSettings().contradiction_min_duration_s)
    for step in range(200):
        now_s, true_m = step * 0.1, np.array([0.0, 1.4 * step * 0.1])
        jumped_m = pack.offset_by(9.0 if now_s >= 12.0 else 0.0)  # beyond its claim, within the errors of both
        check.receiver(1000.0 + now_s, *degrees(true_m + jumped_m), 1.0, 1000.0 + now_s, in_use=True)
        if step % 5 == 0:
            wrong = 8.0 + first * 0.1 <= now_s <= 8.0 + first * 0.1 + run_s
            seen_m = true_m + pack.offset_by(size_m if wrong else 0.0, direction)
            check.visual(VisualFix(1000.0 + now_s, *degrees(seen_m), 30.0 * np.eye(2)), 1000.0 + now_s, in_use=True)
        assert not check.contradicts


def drive_with_jump(jump_m: float, visual_m) -> Drive:
    drive = Drive(MonitorSettings(max_speed_mps=200.0))  # so that no fix is held back for its speed
    drive.run(1000.0, 1030.0)
    drive.run(1030.0, 1040.0, receiver_m=jump_m, visual_m=visual_m)
    return drive


def test_a_receiver_that_jumps_is_left_3_s_later_and_the_reason_names_the_jump():
    drive = drive_with_jump(20.0, lambda stamp_s: 0.0)
    assert drive.changes[-1] == (pytest.approx(1033.8, abs=0.5), VISUAL)
    assert drive.arbiter.monitor.fault is GnssFault.CONTRADICTS_VISUAL
    assert "since its own track jumped by 20 m" in drive.arbiter.monitor.reason
    # and is used again once it is right
    drive.run(1040.0, 1060.0)
    assert drive.arbiter.source == RECEIVER


def test_the_same_offset_without_a_jump_is_within_the_limit():
    drive = Drive()
    drive.run(1000.0, 1030.0)
    for step in range(50):
        drive.run(1030.0 + step / 5, 1030.2 + step / 5, receiver_m=20.0 * step / 50)
    drive.run(1040.0, 1044.0, receiver_m=20.0)
    assert drive.arbiter.source == RECEIVER


def test_a_jump_that_the_camera_sees_too_is_the_robots():
    assert drive_with_jump(20.0, lambda stamp_s: 20.0).arbiter.source == RECEIVER


def test_a_jump_that_is_not_most_of_the_offset_does_not_count():
    # 9 m of 20 m: under the limit in use, over that of one that jumped
    drive = drive_with_jump(9.0, lambda stamp_s: -11.0)
    assert drive.check.verdict.jump_m == 0.0 and drive.arbiter.source == RECEIVER
