"""The fallback along a recorded drive: it switches in and out once, within the configured time, as the node would."""

import json
from dataclasses import replace

import numpy as np
import pytest
from helpers import ROOT
from test_drive import FRAME, ODOMETRY, RECEIVER, drive_at, fixes_at, merged, metrics_of, predictions_at, stamps, way_m

from campus_visual_gps.geodesy import LocalFrame
from campus_visual_gps.gnss.monitor_settings import MonitorSettings
from campus_visual_gps.gnss.receiver_fix import ReceiverFix
from training.replay.bags import open_bag
from training.replay.drive_report import drive_lines
from training.replay.fixes import Fixes, read_fixes
from training.replay.flatten_drive import drive_to_flat_json
from training.replay.outages import find_outages, fused_m, positions_m
from training.replay.switch_metrics import SwitchMetrics, outage_switches
from training.replay.switch_report import switch_line, switch_table
from training.replay.switches import Arrival, read_arrivals, run_fallback

SAMPLE = ROOT / "sample" / "drive"
SAMPLE_FRAME = LocalFrame.at(39.5, -3.0)
VISUAL_DELAY_NS = 200_000_000


def arrivals_of(fixes: Fixes, delay_ns: int = 50_000_000) -> list[Arrival]:
    rows = zip(fixes.stamps_ns.tolist(), fixes.status, fixes.positions, fixes.covariances_enu_m2, strict=True)
    return [
        Arrival(stamp + delay_ns, stamp, ReceiverFix(stamp / 1e9, int(status), *position, covariance))
        for stamp, status, position, covariance in rows
    ]


def visual_at(seconds, offset_m=(3.0, 4.0)) -> tuple[Fixes, np.ndarray]:
    fixes = fixes_at(seconds, offset_m)
    return fixes, fixes.stamps_ns + VISUAL_DELAY_NS


def sources(run) -> list[tuple[str, str]]:
    return [(switch.before, switch.after) for switch in run.switches]


def run_on_sample(arrivals, truth: Fixes, sigma_m: float):
    """The fallback, with the truth as visual fixes that claim `sigma_m`."""
    visual = replace(truth, covariances_enu_m2=np.tile(sigma_m**2 * np.eye(3), (len(truth), 1, 1)))
    return run_fallback(arrivals, visual, visual.stamps_ns + VISUAL_DELAY_NS), visual


@pytest.fixture(scope="module")
def sample():
    """The sample drive's receiver, and the truth in the place of visual fixes, less certain than the receiver."""
    with open_bag(SAMPLE) as bag:
        receiver, truth = read_fixes(bag, "/gps/fix"), read_fixes(bag, "/ground_truth/fix")
        arrivals = read_arrivals(bag, "/gps/fix")
    run, visual = run_on_sample(arrivals, truth.where(np.arange(len(truth)) % 5 == 0), 10.0)
    return run, receiver, arrivals, visual


def test_on_the_sample_drive_it_switches_in_and_out_once_within_the_configured_time(sample):
    run, receiver, arrivals, visual = sample
    assert sources(run) == [("none", "receiver"), ("receiver", "visual"), ("visual", "receiver")]
    outages = find_outages(receiver, int(visual.stamps_ns[0]), int(visual.stamps_ns[-1]))
    received_ns = {arrival.stamp_ns: arrival.time_ns for arrival in arrivals}
    (own,) = outage_switches(run, outages, received_ns)
    assert (own.in_count, own.out_count) == (1, 1)
    # at 2 Hz: the third faulty fix, and good ones for three seconds
    assert own.in_s == pytest.approx(1.5, abs=0.05)
    assert own.out_s == pytest.approx(3.0, abs=0.05)
    switches = SwitchMetrics(run.switches, int(visual.stamps_ns[0]))
    assert switches.late_count == 0
    assert switches.events[1].reason.startswith("no_fix_status: 3 bad fixes")
    assert "each within the configured time" in switch_line(switches, [own])
    assert "| receiver -> visual |" in switch_table(switches)


def test_a_receiver_that_becomes_less_certain_than_the_camera_is_left_before_its_outage_and_the_report_says_so(sample):
    _, receiver, arrivals, truth = sample
    run, visual = run_on_sample(arrivals, truth, 5.0)
    (own,) = outage_switches(run, find_outages(receiver, int(visual.stamps_ns[0]), int(visual.stamps_ns[-1])), {})
    left = run.switches[1]
    assert left.reason.startswith("less_certain_than_visual: 3 bad fixes") and left.latency_s <= left.deadline_s
    assert -3.0 < own.in_s < 0.0
    words = switch_line(SwitchMetrics(run.switches, int(visual.stamps_ns[0])), [own])
    assert f"visual fix {-own.in_s:.1f} s before its begin" in words


def test_on_the_sample_drive_the_topic_fix_stays_near_the_truth_when_the_visual_fix_is_right(sample):
    run, _, _, visual = sample
    assert np.all(np.diff(run.fixes.stamps_ns) > 0)
    _, left, back = run.switches
    passed = run.fixes.where((run.arrivals_ns > left.time_ns) & (run.arrivals_ns < back.time_ns))
    truth = visual.interpolate(passed.stamps_ns)
    away_m = positions_m(passed, SAMPLE_FRAME) - SAMPLE_FRAME.to_local(truth[:, 0], truth[:, 1])
    assert len(passed) > 70 and np.linalg.norm(away_m, axis=1).max() < 0.01


def test_silence_is_left_within_the_greatest_age_and_the_receiver_returns_when_it_was_good_for_long_enough():
    run = run_fallback(arrivals_of(RECEIVER), *visual_at(np.arange(0, 120, 0.5)))
    assert sources(run) == [("none", "receiver"), ("receiver", "visual"), ("visual", "receiver")]
    left, back = run.switches[1:]
    assert left.reason.startswith("silent") and 2.0 < left.latency_s <= left.deadline_s == pytest.approx(2.1)
    # five fixes, one a second, and one interval to notice
    assert back.latency_s == pytest.approx(4.0) and back.deadline_s == pytest.approx(5.0)


def test_other_settings_give_other_times():
    settings = MonitorSettings(max_age_s=6.0, recovery_min_count=2, recovery_min_duration_s=8.0)
    left, back = run_fallback(arrivals_of(RECEIVER), *visual_at(np.arange(0, 120, 0.5)), settings).switches[1:]
    assert 6.0 < left.latency_s <= left.deadline_s == pytest.approx(6.1)
    assert 8.0 <= back.latency_s <= back.deadline_s == pytest.approx(9.0)


def test_an_outage_without_an_end_has_no_switch_back():
    receiver = fixes_at(range(61))
    run = run_fallback(arrivals_of(receiver), *visual_at(np.arange(0, 120, 0.5)))
    (own,) = outage_switches(run, find_outages(receiver, *stamps([0, 120])), {})
    assert (own.in_count, own.out_count, own.out_s) == (1, 0, None)
    assert "after its end" not in switch_line(SwitchMetrics(run.switches, int(stamps(0))), [own])


def test_a_receiver_that_never_says_anything_leaves_the_visual_fix():
    run = run_fallback([], *visual_at(np.arange(0, 20, 0.5)))
    assert sources(run) == [("none", "visual")]
    switches = SwitchMetrics(run.switches, int(stamps(0)))
    assert (switches.in_count, switches.late_count) == (0, 0)
    assert outage_switches(run, [], {}) == []


def test_what_passes_is_what_the_nodes_own_fallback_publishes():
    pytest.importorskip("rclpy", reason="rclpy is not installed")
    from ros_helpers import to_seconds
    from test_fallback import message, no_fix

    from campus_visual_gps.ros.fallback import Fallback

    told = fixes_at([*range(61, 70)], status=-1)
    receiver = sorted(arrivals_of(RECEIVER) + arrivals_of(told))
    visual, visual_arrivals_ns = visual_at(np.arange(0, 120, 0.5))
    run = run_fallback(receiver, visual, visual_arrivals_ns)
    out = []
    fallback = Fallback(MonitorSettings(), 300.0, out.append, lambda *line: None)
    events = [(arrival.time_ns, 0, arrival.stamp_ns, arrival.fix.status) for arrival in receiver]
    rows = zip(visual_arrivals_ns.tolist(), visual.stamps_ns.tolist(), strict=True)
    events += [(time_ns, 1, stamp, 0) for time_ns, stamp in rows]
    start_ns = min(events)[0]
    events += [(start_ns + tick * 100_000_000, 2, 0, 0) for tick in range(1250)]
    for time_ns, kind, stamp_ns, status in sorted(events):
        fix = (no_fix if status else message)(0.0)
        fix.header.stamp.sec, fix.header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
        if kind == 2:
            fallback.tick(time_ns / 1e9)
        else:
            (fallback.visual if kind else fallback.receiver)(fix, time_ns / 1e9)
    assert [to_seconds(fix.header.stamp) for fix in out] == pytest.approx(run.fixes.stamps_ns / 1e9)


def test_the_report_tells_the_fallback_against_the_receiver_alone():
    times_s = np.arange(0, 120.5, 0.5)
    table = predictions_at(times_s, offset_m=(3.0, 4.0))
    drive = drive_at(times_s, arrivals=arrivals_of(RECEIVER))
    metrics = metrics_of(table, drive)
    flat, receiver = drive_to_flat_json(metrics), metrics.receiver
    json.dumps(flat, allow_nan=False)
    # two of forty seconds pass until silence is noticed
    assert 4.0 < receiver.outages.fallback.mean_error_m.value <= 5.1
    assert receiver.fallback.mean_error_m.value < receiver.receiver_hold_last_fix.mean_error_m.value
    assert receiver.outages.each[0].switches.in_s == pytest.approx(2.1, abs=0.11)
    assert (flat["switch.count"], flat["outage.1.switch_in_count"]) == (3, 1)
    assert flat["switch.2.latency_s"] <= flat["switch.2.deadline_s"]
    assert "Fallback: 1 switch(es) to the visual fix and 1 back" in drive_lines(metrics)


def test_fused_is_right_with_right_fixes_and_knows_nothing_of_the_future():
    times_s = np.arange(30, 110, 0.5)
    fixes, arrivals_ns = visual_at(np.arange(0, 120, 0.5), offset_m=(0.0, 0.0))
    fused = fused_m(fixes, arrivals_ns, ODOMETRY, FRAME, stamps(times_s))
    np.testing.assert_allclose(fused, way_m(times_s), atol=0.05)
    wrong = Fixes(fixes.stamps_ns, fixes.positions.copy(), fixes.covariances_enu_m2, fixes.status)
    wrong.positions[arrivals_ns > stamps(70.0)] += 0.001
    changed = np.linalg.norm(fused_m(wrong, arrivals_ns, ODOMETRY, FRAME, stamps(times_s)) - fused, axis=1) > 1e-6
    assert not changed[times_s <= 70.0].any() and changed[times_s > 70.5].all()


def test_fused_follows_the_certain_fixes():
    certain, uncertain = fixes_at(np.arange(0, 60, 1.0)), fixes_at(np.arange(0.5, 60, 1.0), offset_m=(50.0, 0.0))
    uncertain.covariances_enu_m2[:] = np.eye(3) * 1e6
    fixes = merged(certain, uncertain)
    fused = fused_m(fixes, fixes.stamps_ns, ODOMETRY, FRAME, stamps([60.0]))
    np.testing.assert_allclose(fused, way_m([60.0]), atol=0.1)
