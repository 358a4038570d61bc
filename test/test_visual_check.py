"""The camera contradicts a receiver: a wrong one is found, and no visual outlier takes a good one away."""

import math
from dataclasses import replace

import numpy as np
import pytest
import receiver_faults as pack
from hypothesis import given, settings
from hypothesis import strategies as st
from receiver_drive import Drive
from receiver_faults import CASES
from receiver_runs import BAD_FROM_S, false_alarms, run
from receiver_scene import Scene, degrees

from campus_visual_gps.gnss.arbiter import RECEIVER, VISUAL
from campus_visual_gps.gnss.fix_pairs import VisualFix
from campus_visual_gps.gnss.health import GpsState
from campus_visual_gps.gnss.monitor_settings import MonitorSettings
from campus_visual_gps.gnss.receiver_fix import GnssFault
from campus_visual_gps.gnss.visual_check import Comparison, VisualCheck

CONTRADICTS = GnssFault.CONTRADICTS_VISUAL


# The fault pack


@pytest.mark.parametrize("seed", range(2))
def test_the_cluster_at_the_end_of_a_blackout_never_passes_and_the_receiver_does_once_it_is_right(seed):
    case = CASES["cluster"]
    result = run(case.scene, case.make(), seed)
    in_cluster = [stamp for stamp in result.passed_s if case.bad_from_s <= stamp < case.bad_from_s + 24.0]
    assert in_cluster == []
    assert max(result.errors_m) < 20.0
    assert result.passed_after(case.bad_from_s + 24.0) > 0


@pytest.mark.parametrize("seed", range(2))
def test_a_receiver_that_returns_30_m_off_is_not_used(seed):
    result = run(replace(CASES["return_30"].scene, duration_s=80.0), CASES["return_30"].make(), seed)
    assert result.passed_after(BAD_FROM_S) == 0
    assert CONTRADICTS in {fault for _, fault in result.faults}


@pytest.mark.parametrize(
    ("name", "within_s", "reason"),
    [
        ("bias_30", 0.5, GnssFault.JUMP),
        ("creep", 60.0, CONTRADICTS),
        ("frozen", 30.0, CONTRADICTS),
        ("repeated", 2.5, None),
    ],
)
def test_what_is_found_is_found_in_its_time(name, within_s, reason):
    case = CASES[name]
    result = run(replace(case.scene, duration_s=BAD_FROM_S + within_s + 10.0), case.make(), 0)
    assert result.found_s(case.bad_from_s) <= within_s
    if reason is not None:
        assert result.first_fault(case.bad_from_s) is reason
    # and stays found
    assert result.passed_after(case.bad_from_s + within_s) == 0


def test_a_bias_that_no_jump_shows_is_found_within_5_s_of_comparable_fixes():
    case = CASES["bias_40_1hz"]
    case = replace(case, scene=replace(case.scene, settings=MonitorSettings(max_sigma_ratio=0.0)))
    found_s = [run(replace(case.scene, duration_s=50.0), case.make(), seed).found_s() for seed in range(8)]
    assert sum(found is not None and found <= 5.0 for found in found_s) >= 7


def test_visual_fixes_of_20_m_do_not_find_30_m():
    scene = replace(CASES["bias_40_1hz"].scene, visual_sigma_m=20.0, duration_s=60.0)
    assert run(scene, pack.bias(30.0), 1).first_fault() is not CONTRADICTS


# Never the other way


@pytest.mark.parametrize(("receiver_hz", "visual_hz", "hours"), [(1.0, 0.5, 0.5), (5.0, 2.0, 0.1), (10.0, 10.0, 0.02)])
def test_good_receivers_are_contradicted_less_than_once_in_an_hour(receiver_hz, visual_hz, hours):
    scene = Scene(duration_s=3600.0 * hours, receiver_hz=receiver_hz, visual_hz=visual_hz, receiver_sigma_m=3.0)
    assert false_alarms(scene, seed=1) == 0


@settings(max_examples=10, deadline=None)
@given(
    st.floats(0.0, 2.4),
    st.floats(5.0, 1e5),
    st.floats(0.0, 2.0 * math.pi),
    st.integers(0, 50),
    st.sampled_from([0.1, 0.5, 1.0, 2.0]),
)
def test_no_run_of_visual_outliers_shorter_than_the_window_demands_takes_a_good_receiver_away(
    run_s, size_m, direction, first, spacing_s
):
    check = VisualCheck(MonitorSettings().contradiction_sigmas, MonitorSettings().contradiction_min_duration_s)
    start_s = 1010.0 + first * 0.1
    for step in range(250):
        now_s = 1000.0 + step * 0.1
        check.receiver(now_s, *degrees(np.array([0.0, 1.4 * step * 0.1])), 1.5, now_s, in_use=True)
        if step % round(spacing_s * 10) == 0:
            wrong = start_s <= now_s <= start_s + run_s
            off_m = pack.offset_by(size_m if wrong else 0.0, direction)
            seen = VisualFix(now_s, *degrees(np.array([0.0, 1.4 * step * 0.1]) + off_m), 30.0 * np.eye(2))
            check.visual(seen, now_s, in_use=True)
        assert not check.contradicts


@settings(max_examples=2, deadline=None)
@given(st.integers(0, 1000), st.integers(60, 100), st.floats(20.0, 1e6))
def test_one_outlier_among_honest_visual_fixes_changes_nothing(seed, row, size_m):
    scene = Scene(duration_s=60.0, visual_sigma_m=4.0)
    with_outlier = run(scene, None, seed, {row: pack.offset_by(size_m)})
    assert with_outlier.passed_s == run(scene, None, seed).passed_s


def test_visual_fixes_that_disagree_with_each_other_condemn_no_receiver():
    drive = Drive()
    both_sides = lambda stamp_s: 60.0 if round(stamp_s * 2) % 2 else -60.0  # noqa: E731
    drive.run(1000.0, 1030.0, visual_m=both_sides)
    assert drive.check.result is Comparison.INCONSISTENT
    drive.run(1030.0, 1040.0, status=-1, visual_m=both_sides)
    drive.run(1040.0, 1060.0, visual_m=both_sides)
    # as without them: three seconds of good fixes
    assert [source for _, source in drive.changes] == [RECEIVER, VISUAL, RECEIVER]
    assert drive.changes[-1][0] == pytest.approx(1043.0, abs=0.11)


def test_one_wrong_view_of_a_robot_at_rest_takes_no_receiver_away_and_many_of_a_moving_one_do():
    for speed_mps, used in ((0.0, True), (1.4, False)):
        drive = Drive(speed_mps=speed_mps)
        drive.run(1000.0, 1030.0)
        drive.run(1030.0, 1040.0, visual_m=lambda stamp_s: 50.0)
        assert (drive.arbiter.source == RECEIVER) is used


def test_without_visual_fixes_nothing_changes():
    decided = []
    for on in (True, False):
        drive = Drive(MonitorSettings(check_against_visual=on))
        drive.run(1000.0, 1010.0, visual_m=None)
        drive.run(1010.0, 1030.0, status=-1, visual_m=None)
        drive.run(1030.0, 1050.0, receiver_m=100.0, visual_m=None)
        decided.append((drive.passed_s, drive.changes))
    assert decided[0] == decided[1]
    assert decided[0][1][-1] == (pytest.approx(1033.0), RECEIVER)


def test_a_receiver_whose_clock_is_behind_is_not_compared():
    drive = Drive(speed_mps=10.0)
    drive.run(1000.0, 1040.0, clock_s=-18.0)
    assert drive.check.result is Comparison.NOTHING
    assert drive.arbiter.source == RECEIVER


# Hysteresis and the return


def test_a_receiver_that_is_right_again_is_used_again_and_the_source_changes_once_each_way():
    drive = Drive()
    drive.run(1000.0, 1030.0)
    for step in range(100):  # too slow for a jump
        drive.run(1030.0 + step / 5, 1030.2 + step / 5, receiver_m=step / 2)
    assert drive.arbiter.monitor.state is GpsState.DEGRADED
    assert drive.arbiter.monitor.reason.startswith("contradicts_visual: ")
    drive.run(1050.0, 1090.0)
    assert [source for _, source in drive.changes] == [RECEIVER, VISUAL, RECEIVER]
    assert drive.changes[-1][0] < 1070.0
    assert drive.arbiter.fault_counts["contradicts_visual"] > 0


def test_a_good_receiver_returns_as_soon_as_without_the_check():
    drive = Drive()
    drive.run(1000.0, 1030.0)
    drive.run(1030.0, 1060.0, status=-1)
    drive.run(1060.0, 1070.0)
    assert drive.changes[-1] == (pytest.approx(1063.0, abs=0.11), RECEIVER)


def test_a_return_waits_for_the_first_comparison_but_not_for_ever():
    drive = Drive()
    drive.run(1000.0, 1030.0, visual_m=None)
    drive.run(1030.0, 1060.0, status=-1)
    # images come, and are too few to compare
    for start_s in range(1060, 1072, 4):
        drive.run(start_s, start_s + 0.4)
        drive.run(start_s + 0.4, start_s + 4.0, visual_m=None)
    assert 1063.1 < drive.changes[-1][0] < 1069.0


def test_the_last_visual_fixes_bound_the_jump_over_a_long_outage():
    for on, first_s in ((True, None), (False, 1213.0)):
        drive = Drive(MonitorSettings(check_against_visual=on))
        drive.run(1000.0, 1010.0)
        drive.run(1010.0, 1200.0, status=-1)
        drive.run(1200.0, 1210.0, status=-1, visual_m=None)
        drive.run(1210.0, 1235.0, receiver_m=720.0, visual_m=None)
        passed_s = [when for when in drive.passed_s if when > 1100.0]
        assert passed_s == [] if first_s is None else passed_s[0] == pytest.approx(first_s, abs=0.11)


def test_a_contradiction_is_forgotten_when_nothing_can_be_compared_any_more():
    drive = Drive()
    drive.run(1000.0, 1010.0)
    drive.run(1010.0, 1020.0, receiver_m=60.0)
    assert drive.check.contradicts
    drive.run(1020.0, 1050.0, receiver_m=60.0, visual_m=None)
    assert not drive.check.contradicts and drive.arbiter.source == RECEIVER
