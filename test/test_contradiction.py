"""What the topic `fix`, the log, the diagnostics and a replay say of a receiver that contradicts the visual fixes."""

import numpy as np
import pytest
from test_drive import fixes_at
from test_switches import arrivals_of, visual_at

from campus_visual_gps.gnss.health import GpsMonitor
from campus_visual_gps.gnss.monitor_settings import MonitorSettings
from campus_visual_gps.gnss.visual_check import Comparison, Verdict
from campus_visual_gps.ros.contradiction import ContradictionLog, contradiction_text
from training.replay.switches import run_fallback


@pytest.mark.parametrize(
    ("check", "consequence"),
    [(True, "it is not used until it agrees"), (False, "with gps_check_against_visual it would not be used")],
)
def test_the_warning_comes_once_also_when_the_check_is_off(check, consequence):
    lines = []
    log = ContradictionLog(lambda *line: lines.append(line))
    monitor = GpsMonitor(MonitorSettings(check_against_visual=check))
    monitor.visual_check.result = Comparison.CONTRADICTS
    monitor.visual_check.verdict = Verdict(32.0, 6.1, 4.5, True, True)
    log.log(monitor)
    log.log(monitor)
    ((text, warning),) = lines
    assert warning and "32 m (6.1 sigmas) off for 4.5 s" in text and consequence in text
    assert text == contradiction_text(monitor)
    monitor.visual_check.result = Comparison.AGREES
    log.log(monitor)
    assert lines[1] == ("the receiver no longer contradicts the visual fixes: agrees", False)


@pytest.mark.parametrize("check", [True, False])
def test_a_replay_has_the_switch_with_its_reason_and_none_with_the_check_off(check):
    receiver = fixes_at(np.arange(0.0, 60.0, 0.5))
    visual, visual_arrivals_ns = visual_at(np.arange(0.0, 60.0, 0.5), offset_m=(60.0, 80.0))
    run = run_fallback(arrivals_of(receiver), visual, visual_arrivals_ns, MonitorSettings(check_against_visual=check))
    reasons = [switch.reason for switch in run.switches if switch.after == "visual"]
    assert [reason.split(":")[0] for reason in reasons] == (["contradicts_visual"] if check else [])


def test_the_node_warns_and_counts_and_uses_the_camera():
    pytest.importorskip("rclpy", reason="rclpy is not installed")
    from test_fallback import VISUAL_FRAME, Stream, message

    stream = Stream()
    stream.run(100.0, 110.0, message)
    # 0.3 m in a message of every 0.2 s: too slow for a jump
    stream.run(110.0, 150.0, lambda now_s: message(now_s, latitude=31.262 + (now_s - 110.0) * 1.5 / 111_195.0))
    values = stream.fallback.report().values
    assert values["fault.contradicts_visual"] > 0 and values["visual_check"] == "contradicts"
    assert values["source"] == "visual" and stream.out[-1].header.frame_id == VISUAL_FRAME
    assert any(warning and "contradicts the visual fixes" in line for line, warning in stream.log)
