"""Dropped images are said in the log: the reason, the number and what to do, and not with every image."""

import pytest
from compatibility import Area, condition

from campus_visual_gps.ros.drop_log import LOG_PERIOD_S, DropLog
from campus_visual_gps.ros.image_queue import DropRule

TODAY = "2026-11-26"


class FakeClock:
    now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


def row(rule: DropRule, offset_s: float, expected: str, text: str):
    mark = condition(Area.TRANSPORT, text, f"dropped as {rule.value}; the log says {expected!r}", since=TODAY)
    return pytest.param(rule, offset_s, expected, marks=mark)


@pytest.mark.parametrize(
    ("rule", "offset_s", "expected"),
    [
        row(DropRule.FROM_FUTURE, 37.0, "TAI in the place of UTC", "stamps in TAI, 37 s ahead (PTP)"),
        row(DropRule.FROM_FUTURE, 18.02, "GPS time in the place of UTC", "stamps in GPS time, 18 s ahead"),
        row(DropRule.FROM_FUTURE, 7200.5, "local time of UTC+2 h", "stamps in local time, east of Greenwich"),
        row(DropRule.FROM_FUTURE, 1.7e9, "check use_sim_time, that /clock runs", "simulated time without /clock"),
        row(DropRule.FROM_FUTURE, 4.2, "4.2 s ahead of the ROS time", "camera's computer with a fast clock"),
        row(DropRule.TOO_OLD, -37.1, "37.1 s old", "images older than max_age_s"),
        row(DropRule.TOO_OLD, -18000.0, "local time of UTC-5 h", "stamps in local time, west, with max_age_s"),
        row(DropRule.UNSTAMPED, -1.7e9, "let the camera's driver set header.stamp", "stamps of zero"),
        row(DropRule.STAMP_NOT_NEWER, -0.1, "check that only one camera publishes", "stamps that stand still"),
    ],
)
def test_the_line_names_the_rule_and_what_to_do(rule, offset_s, expected):
    line = DropLog(max_rate_hz=2.0, max_age_s=5.0).record(rule, offset_s)
    assert line.warning
    assert line.text.startswith(f"1 image was dropped, {rule.value}: ")
    assert expected in line.text
    assert "\n" not in line.text


def test_a_line_comes_once_in_a_period_with_the_number_since_the_last_one():
    clock = FakeClock()
    log = DropLog(clock=clock)
    lines = []
    for _ in range(100):
        lines.append(log.record(DropRule.FROM_FUTURE, 37.0))
        clock.now_s += LOG_PERIOD_S / 40.0
    said = [line.text for line in lines if line is not None]
    assert [text.split(" dropped")[0] for text in said] == ["1 image was", "40 images were", "40 images were"]
    assert f"in {LOG_PERIOD_S:.0f} s, from_future" in said[1]


def test_each_rule_is_said_by_itself():
    log = DropLog(clock=FakeClock())
    assert log.record(DropRule.FROM_FUTURE, 37.0) and log.record(DropRule.UNSTAMPED, 0.0)
    assert log.record(DropRule.FROM_FUTURE, 37.0) is None


@condition(Area.TRANSPORT, "camera faster than max_rate_hz", "thinned; said once, at level info", since=TODAY)
def test_the_rate_limit_is_said_once_and_is_no_warning():
    clock = FakeClock()
    log = DropLog(max_rate_hz=2.0, clock=clock)
    lines = []
    for _ in range(100):
        lines.append(log.record(DropRule.RATE_LIMIT, 0.0))
        clock.now_s += LOG_PERIOD_S
    assert [line is not None for line in lines] == [True] + [False] * 99
    assert not lines[0].warning
    assert "max_rate_hz (2 Hz)" in lines[0].text


@pytest.mark.parametrize("offset_s", [36.4, 37.6, 17.4, 900.0 + 60.0, 15.0 * 3600.0])
def test_other_offsets_are_not_explained_by_a_time_scale(offset_s):
    assert "in the place of UTC" not in DropLog().record(DropRule.FROM_FUTURE, offset_s).text
