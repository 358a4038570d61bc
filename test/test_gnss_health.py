"""When a receiver counts as healthy, and how long a fault or a recovery must last to change that."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.gnss.health import GpsMonitor, GpsState, Transition
from campus_visual_gps.gnss.monitor_settings import MonitorSettings
from campus_visual_gps.gnss.receiver_fix import GnssFault, ReceiverFix, complete, distance_m

HEALTHY, DEGRADED, LOST, WAITING = GpsState.HEALTHY, GpsState.DEGRADED, GpsState.LOST, GpsState.WAITING
METRE_DEG = 1.0 / 111_195.0  # along a meridian
SETTINGS = MonitorSettings()


def fix(stamp_s: float, north_m: float = 0.0, sigma_m: float = 1.5, **overrides) -> ReceiverFix:
    good = ReceiverFix(stamp_s, 0, 31.262 + north_m * METRE_DEG, 34.802, 300.0, sigma_m**2 * np.eye(3))
    return good._replace(**overrides)


def run(monitor: GpsMonitor, fixes, now=lambda item: item.stamp_s) -> list[Transition]:
    """Transitions while fixes arrive, each at its own stamp."""
    found = [monitor.fix(item, now(item)) for item in fixes]
    return [transition for transition in found if transition is not None]


def stream(start_s: float, end_s: float, rate_hz: float = 5.0, **overrides) -> list[ReceiverFix]:
    count = round((end_s - start_s) * rate_hz)
    return [fix(start_s + index / rate_hz, **overrides) for index in range(count)]


def healthy_monitor() -> GpsMonitor:
    monitor = GpsMonitor()
    run(monitor, stream(100.0, 110.0))
    assert monitor.state is HEALTHY
    return monitor


NAN_COV = np.full((3, 3), np.nan)
FAULTS = {
    "no_fix_status": ({"status": -1}, LOST),
    "not_finite": ({"latitude_deg": math.nan}, LOST),
    "off_the_globe": ({"longitude_deg": 181.0}, LOST),
    "null_island": ({"latitude_deg": 0.0, "longitude_deg": 0.0}, LOST),
    "covariance_not_finite": ({"cov_enu_m2": NAN_COV}, DEGRADED),
    "uncertain": ({"cov_enu_m2": 400.0 * np.eye(3)}, DEGRADED),
}


def test_the_first_good_fix_makes_the_receiver_healthy():
    monitor = GpsMonitor()
    assert monitor.state is WAITING
    assert monitor.fix(fix(1.0), 1.0) == Transition(WAITING, HEALTHY, "first good fix")


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_named_leaves_within_its_time_and_returns_within_its_time(name):
    overrides, state = FAULTS[name]
    monitor = healthy_monitor()
    transitions = run(monitor, stream(110.0, 120.0, **overrides))
    assert [(item.before, item.after) for item in transitions] == [(HEALTHY, state)]
    assert transitions[0].reason.startswith(f"{name}: ")
    returned = run(monitor, stream(120.0, 130.0))
    assert [(item.before, item.after) for item in returned] == [(state, HEALTHY)]


def test_the_switch_takes_the_configured_time():
    monitor = healthy_monitor()
    left = next(item for item in stream(110.0, 120.0, status=-1) if monitor.fix(item, item.stamp_s))
    # three fixes at 5 Hz have come at 110.4, half a second has passed at 110.6
    assert left.stamp_s == pytest.approx(110.6)
    back = next(item for item in stream(120.0, 130.0) if monitor.fix(item, item.stamp_s))
    assert back.stamp_s == pytest.approx(123.0)


def test_one_bad_fix_in_between_changes_nothing():
    monitor = healthy_monitor()
    fixes = [
        fix(110.0 + index / 5, **({"status": -1} if index % 5 in (0, 1) else {}))  # two of five, count 3 is never met
        for index in range(50)
    ]
    assert run(monitor, fixes) == []


def test_faults_in_turns_leave_all_the_same():
    monitor = healthy_monitor()
    kinds = [{"status": -1}, {"cov_enu_m2": NAN_COV}]
    transitions = run(monitor, [fix(110.0 + index / 5, **kinds[index % 2]) for index in range(50)])
    assert len(transitions) == 1
    assert transitions[0].before is HEALTHY


def test_good_fixes_with_a_bad_one_now_and_then_do_not_return():
    monitor = healthy_monitor()
    run(monitor, stream(110.0, 112.0, status=-1))
    fixes = [fix(112.0 + index / 5, **({"status": -1} if index % 10 == 0 else {})) for index in range(200)]
    assert run(monitor, fixes) == []


def test_silence_is_lost_after_its_time_and_says_so():
    monitor = healthy_monitor()
    last_s = 109.8
    assert monitor.tick(last_s + SETTINGS.max_age_s) is None
    transition = monitor.tick(last_s + SETTINGS.max_age_s + 0.1)
    assert (transition.after, transition.reason) == (LOST, "silent: no new fix for 2.1 s")
    assert monitor.tick(200.0) is None


def test_silence_is_lost_also_when_nothing_ever_came():
    monitor = GpsMonitor()
    assert monitor.tick(50.0) is None
    assert monitor.tick(53.0) is None
    assert monitor.tick(53.1).after is LOST


@pytest.mark.parametrize("faulty", [{"status": -1}, {"cov_enu_m2": 400.0 * np.eye(3)}], ids=["no fix", "uncertain"])
def test_a_receiver_that_is_starting_is_waited_for_and_healthy_with_its_first_good_fix(faulty):
    monitor = GpsMonitor()
    assert monitor.tick(98.0) is None
    assert run(monitor, stream(99.0, 100.6, **faulty)) == []
    assert monitor.fix(fix(100.8), 100.8) == Transition(WAITING, HEALTHY, "first good fix")


def test_a_receiver_that_is_faulty_from_the_start_on_is_lost_when_the_grace_ends():
    monitor = GpsMonitor()
    left = next(item for item in stream(50.0, 60.0, status=-1) if monitor.fix(item, item.stamp_s))
    assert left.stamp_s == pytest.approx(53.2)


def test_time_that_jumps_back_starts_a_grace_of_its_own():
    monitor = GpsMonitor()
    monitor.tick(500.0)
    for now_s in (20.0, 22.9):
        assert monitor.tick(now_s) is None
    assert monitor.tick(23.1).after is LOST


def test_a_receiver_that_repeats_itself_is_silent():
    monitor = healthy_monitor()
    same = fix(109.8)
    transitions = [monitor.fix(same, 109.8 + index / 5) for index in range(1, 30)]
    assert [item.after for item in transitions if item] == [LOST]


def test_a_jump_is_degraded_until_the_robot_could_have_driven_there():
    monitor = healthy_monitor()
    assert monitor.fix(fix(110.0, north_m=200.0), 110.0) is None
    assert monitor.fault is GnssFault.JUMP
    transitions = run(monitor, stream(110.2, 140.0, north_m=200.0))
    assert [item.after for item in transitions] == [DEGRADED, HEALTHY]
    assert transitions[0].reason.startswith("jump")


def test_the_jump_over_an_outage_that_a_drive_explains_is_none():
    monitor = healthy_monitor()
    run(monitor, stream(110.0, 140.0, status=-1))
    assert [item.after for item in run(monitor, stream(140.0, 150.0, north_m=300.0))] == [HEALTHY]


def test_a_delayed_fix_is_a_fault_where_a_delay_is_set():
    late = lambda item: item.stamp_s + 1.5  # noqa: E731
    assert run(GpsMonitor(), stream(0.0, 10.0), late)[-1].after is HEALTHY
    transitions = run(GpsMonitor(MonitorSettings(max_delay_s=1.0)), stream(0.0, 10.0), late)
    assert [item.after for item in transitions] == [DEGRADED]
    assert transitions[0].reason.startswith("delayed")


def test_time_that_jumps_back_starts_over():
    for jump in (lambda monitor: monitor.fix(fix(5.0), 110.0), lambda monitor: monitor.fix(fix(5.0), 5.0)):
        monitor = healthy_monitor()
        assert jump(monitor) == Transition(WAITING, HEALTHY, "first good fix")
    monitor = healthy_monitor()
    monitor.tick(3.0)
    assert monitor.state is WAITING


def test_an_all_zero_covariance_is_replaced_by_the_assumed_one():
    monitor = GpsMonitor()
    monitor.fix(fix(1.0, cov_enu_m2=np.zeros((3, 3))), 1.0)
    assert monitor.state is HEALTHY
    assert monitor.sigma_m(fix(1.0, cov_enu_m2=np.zeros((3, 3)))) == SETTINGS.assumed_sigma_m


@pytest.mark.parametrize(
    "bad",
    [
        {"max_age_s": 0.0},
        {"max_sigma_m": math.nan},
        {"max_sigma_ratio": -0.1},
        {"fault_min_duration_s": -1.0},
        {"recovery_min_count": 0},
        {"max_delay_s": -1.0},
        {"startup_grace_s": math.inf},
    ],
)
def test_settings_out_of_their_range_are_errors(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        MonitorSettings(**bad)


number = st.floats(allow_nan=True, allow_infinity=True)
element = st.one_of(number, st.sampled_from([math.nan, -1.0, 0.0]), st.floats(0.0, 50.0))
wild_fixes = st.builds(
    lambda step_s, status, lat, lon, alt, cov, kind: (step_s, status, lat, lon, alt, np.reshape(cov, (3, 3)), kind),
    st.floats(0.0, 5.0),
    st.integers(-2, 2),
    st.one_of(number, st.floats(31.0, 31.001)),
    st.one_of(number, st.floats(34.0, 34.001)),
    st.one_of(number, st.just(300.0)),
    st.one_of(st.lists(element, min_size=9, max_size=9), st.just([1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0])),
    st.integers(0, 4),
)


@given(st.lists(wild_fixes, max_size=40))
def test_whatever_comes_transitions_chain_and_only_sound_fixes_are_good(rows):
    monitor, now_s, state = GpsMonitor(), 100.0, WAITING
    for step_s, *rest in rows:
        now_s += step_s
        item = ReceiverFix(now_s, *rest)
        with np.errstate(all="ignore"):
            transition = monitor.fix(item, now_s)
        if transition is not None:
            # a silence noticed by the same call lies between
            assert transition.before in (state, LOST)
            assert transition.after is monitor.state and transition.reason
        state = monitor.state
        if monitor.fault is None:
            assert item.status >= 0
            assert abs(item.latitude_deg) <= 90.0 and abs(item.longitude_deg) <= 180.0
            assert monitor.sigma_m(item) <= SETTINGS.max_sigma_m
            completed, _ = complete(item, SETTINGS.assumed_sigma_m, 300.0)
            assert math.isfinite(completed.altitude_m)
            np.linalg.cholesky(completed.cov_enu_m2)


@given(st.one_of(number, st.floats(-500.0, 9000.0)), st.lists(element, min_size=9, max_size=9), st.integers(0, 4))
def test_whatever_altitude_and_covariance_come_a_fix_without_fault_is_harmless_once_completed(altitude_m, values, kind):
    given_fix = fix(1.0, altitude_m=altitude_m, cov_enu_m2=np.reshape(values, (3, 3)), covariance_type=kind)
    monitor = GpsMonitor()
    with np.errstate(all="ignore"):
        monitor.fix(given_fix, 1.0)
    if monitor.fault is None:
        completed, replaced = complete(given_fix, SETTINGS.assumed_sigma_m, 300.0)
        assert -1000.0 <= completed.altitude_m <= 10_000.0
        assert np.linalg.eigvalsh(completed.cov_enu_m2)[0] > 0.0 or completed.cov_enu_m2.diagonal().min() < 1e-6
        assert completed.cov_enu_m2.diagonal().min() > 0.0 and np.abs(completed.cov_enu_m2).max() <= 1e4
        assert bool(replaced) is (completed is not given_fix)
    else:
        assert monitor.fault in (*(item for item in GnssFault if item.startswith("covariance")), GnssFault.UNCERTAIN)


@given(st.lists(st.booleans(), min_size=1, max_size=200))
def test_the_state_never_changes_faster_than_the_hysteresis_allows(goods):
    monitor, changed_s = GpsMonitor(), None
    for index, good in enumerate(goods):
        now_s = 10.0 + index / 10.0
        if monitor.fix(fix(now_s, status=0 if good else -1), now_s) is None:
            continue
        if changed_s is not None:
            least_s = SETTINGS.recovery_min_duration_s if monitor.state is HEALTHY else SETTINGS.fault_min_duration_s
            assert now_s - changed_s >= least_s - 1e-9
        changed_s = now_s


def test_distance_is_in_metres():
    assert distance_m(fix(0.0), fix(0.0, north_m=100.0)) == pytest.approx(100.0, rel=1e-3)
