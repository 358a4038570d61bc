"""The camera contradicts a receiver: a wrong one is found, and no visual outlier takes a good one away."""

import math
from dataclasses import replace

import numpy as np
import pytest
import receiver_faults as pack
from hypothesis import given, settings
from hypothesis import strategies as st
from receiver_faults import BAD_FROM_S, CASES, Scene, run

from campus_visual_gps.gnss.arbiter import RECEIVER, VISUAL, FixArbiter
from campus_visual_gps.gnss.fix_pairs import FixPair, FixPairing, VisualFix, offset_m
from campus_visual_gps.gnss.health import GpsState
from campus_visual_gps.gnss.monitor_settings import MonitorSettings
from campus_visual_gps.gnss.receiver_fix import GnssFault, ReceiverFix
from campus_visual_gps.gnss.visual_check import Comparison, VisualCheck, error_correlation, window_verdict

METRE_DEG = pack.METRE_DEG
CONTRADICTS = GnssFault.CONTRADICTS_VISUAL


class Drive:
    """A robot that drives north at `speed_mps`, or stands; both sources are exact but for what `run` is told."""

    def __init__(self, settings_: MonitorSettings | None = None, speed_mps: float = 1.4):
        self.arbiter = FixArbiter(settings_)
        self.speed_mps = speed_mps
        self.passed_s: list[float] = []
        self.changes: list[tuple[float, str]] = []

    def run(self, start_s, end_s, receiver_m=0.0, visual_m=lambda now_s: 0.0, status=0, clock_s=0.0) -> None:
        """Receiver at 5 Hz, visual fixes at 2 Hz, 0.3 s late; None as `visual_m` for no camera. Offsets are north."""
        for step in range(round(start_s * 10), round(end_s * 10)):
            now_s = step / 10.0
            if step % 2 == 0:
                fix = ReceiverFix(now_s + clock_s, status, *self.at(now_s, receiver_m), 300.0, 2.25 * np.eye(3))
                decision = self.arbiter.receiver(fix, round(fix.stamp_s * 1e9), now_s)
                if decision.passes:
                    self.passed_s.append(now_s)
                self.record(decision.change, now_s)
            if step % 5 == 3 and visual_m is not None:
                stamp_s = now_s - 0.3
                seen = VisualFix(stamp_s, *self.at(stamp_s, visual_m(stamp_s)), 30.0 * np.eye(2))
                self.record(self.arbiter.visual(seen, round(stamp_s * 1e9), now_s).change, now_s)
            self.record(self.arbiter.tick(now_s), now_s)

    def at(self, now_s: float, north_m: float) -> tuple[float, float]:
        return pack.degrees(np.array([0.0, self.speed_mps * (now_s - 1000.0) + north_m]))

    def record(self, change, now_s: float) -> None:
        if change is not None and change.changes_source:
            self.changes.append((now_s, change.after))

    @property
    def check(self) -> VisualCheck:
        return self.arbiter.monitor.visual_check


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
    found_s = [run(replace(case.scene, duration_s=50.0), case.make(), seed).found_s() for seed in range(8)]
    assert sum(found is not None and found <= 5.0 for found in found_s) >= 7


def test_visual_fixes_of_20_m_do_not_find_30_m():
    scene = replace(CASES["bias_40_1hz"].scene, visual_sigma_m=20.0, duration_s=60.0)
    assert run(scene, pack.bias(30.0), 1).first_fault() is not CONTRADICTS


# Never the other way


@pytest.mark.parametrize(("receiver_hz", "visual_hz", "hours"), [(1.0, 0.5, 0.5), (5.0, 2.0, 0.1), (10.0, 10.0, 0.02)])
def test_good_receivers_are_contradicted_less_than_once_in_an_hour(receiver_hz, visual_hz, hours):
    scene = Scene(duration_s=3600.0 * hours, receiver_hz=receiver_hz, visual_hz=visual_hz, receiver_sigma_m=3.0)
    assert pack.false_alarms(scene, seed=1) == 0


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
        check.receiver(now_s, *pack.degrees(np.array([0.0, 1.4 * step * 0.1])), 1.5, now_s, in_use=True)
        if step % round(spacing_s * 10) == 0:
            wrong = start_s <= now_s <= start_s + run_s
            off_m = pack.offset_by(size_m if wrong else 0.0, direction)
            seen = VisualFix(now_s, *pack.degrees(np.array([0.0, 1.4 * step * 0.1]) + off_m), 30.0 * np.eye(2))
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


# The statistic


def pairs(count: int, spacing_s: float, offset: float, speed_mps: float = 1.4, sigma_m: float = 6.0) -> np.ndarray:
    spread = (sigma_m**2, 0.0, sigma_m**2, 2.25)
    ways_m = [speed_mps * row * spacing_s for row in range(count)]
    rows = [FixPair(row * spacing_s, offset, 0.0, way, 0.0, way, 0.0, *spread) for row, way in enumerate(ways_m)]
    return np.array(rows)


def test_a_window_of_a_robot_at_rest_counts_one_error_once_however_many_images_it_has():
    expected = 20.0 / math.hypot(6.0, 1.5)
    for count, spacing_s in ((3, 2.0), (11, 0.5), (26, 0.2)):
        verdict = window_verdict(pairs(count, spacing_s, 20.0, speed_mps=0.0), 4.0)
        assert verdict.sigmas == pytest.approx(expected)
        assert not verdict.moved and verdict.consistent


def test_the_correlation_is_the_mean_over_all_pairs_and_has_a_floor():
    stamps_s = np.cumsum(np.random.default_rng(0).uniform(0.2, 0.8, 12))
    expected = np.exp(-np.abs(stamps_s[:, None] - stamps_s) / 4.0).mean()
    assert error_correlation(stamps_s, 100.0, 4.0) == pytest.approx(expected)
    assert error_correlation(stamps_s, 1.0, 4.0) == 1.0
    assert error_correlation(np.arange(100.0), 1000.0, 0.1) == pytest.approx(1.0 / 3.0)


def test_more_images_a_second_do_not_make_a_window_more_certain():
    few, many = (window_verdict(pairs(count, 5.0 / (count - 1), 20.0), 4.0).sigmas for count in (6, 26))
    assert many == pytest.approx(few, rel=0.05)


# Pairs


def test_the_receivers_position_is_interpolated_at_the_stamp_of_the_image():
    pairing = FixPairing()
    assert pairing.visual(VisualFix(100.5, 39.5, -3.0, np.eye(2)), 100.6) == []
    assert pairing.receiver(100.0, 39.5, -3.0, 1.0, 100.0) == []
    (pair,) = pairing.receiver(101.0, 39.5 + 4.0 * METRE_DEG, -3.0, 1.0, 101.0)
    assert pair.offset_north_m == pytest.approx(2.0) and pair.offset_east_m == pytest.approx(0.0)
    # no image is better than 2 m, and a quarter of a second at 4 m/s is 1 m
    assert (pair.visual_ee_m2, pair.receiver_var_m2) == (4.0, pytest.approx(2.0))


def test_images_beside_a_gap_of_the_receiver_or_too_near_each_other_make_no_pair():
    pairing = FixPairing()
    pairing.receiver(100.0, 39.5, -3.0, 1.0, 100.0)
    pairing.receiver(103.0, 39.5, -3.0, 1.0, 103.0)
    assert pairing.visual(VisualFix(101.5, 39.5, -3.0, np.eye(2)), 103.0) == []
    stamps_s = [103.0 + row / 10 for row in range(11)]
    for stamp_s in stamps_s:
        pairing.receiver(stamp_s + 0.05, 39.5, -3.0, 1.0, stamp_s + 0.05)
    made = [pair for stamp_s in stamps_s for pair in pairing.visual(VisualFix(stamp_s, 39.5, -3.0, np.eye(2)), 104.1)]
    assert [pair.stamp_s for pair in made] == pytest.approx(stamps_s[::2])


@pytest.mark.parametrize("covariance", [np.full((2, 2), np.nan), np.zeros((2, 2)), np.array([[1.0, 2.0], [2.0, 1.0]])])
def test_visual_fixes_without_a_covariance_are_not_compared(covariance):
    check = VisualCheck(4.5, 3.0)
    for row in range(20):
        check.receiver(100.0 + row, 39.5, -3.0, 1.5, 100.0 + row, in_use=False)
        check.visual(VisualFix(100.0 + row, 40.0, -3.0, covariance), 100.0 + row, in_use=False)
    assert check.result is Comparison.NOTHING and not check.contradicts


def test_offsets_cross_the_antimeridian():
    east_m, north_m = offset_m(0.0, -179.999, 0.0, 179.999)
    assert east_m == pytest.approx(0.002 / METRE_DEG) and north_m == 0.0
