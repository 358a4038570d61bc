"""Stamps that are minutes off the node's clock are warned of once, with what to do; over DDS and by themselves."""

import time

import pytest
from compatibility import Area, condition
from helpers import textured_rgb
from rcl_interfaces.msg import Log
from ros_helpers import RunningNode, image_message

from campus_visual_gps.ros.clock_hint import FIRST_IMAGES, OTHER_CLOCK_S, ClockCheck, clock_hint, duration
from campus_visual_gps.ros.drop_log import DropLog
from campus_visual_gps.ros.image_queue import DropRule
from campus_visual_gps.ros.stamps import NS_PER_S

NOW_S = 1_800_000_000
TODAY = "2026-11-26"


def warnings(offsets_s, simulated: bool = False) -> list[str]:
    check = ClockCheck(simulated)
    now_ns = NOW_S * NS_PER_S
    lines = [check.record(now_ns + round(offset_s * NS_PER_S), now_ns) for offset_s in offsets_s]
    return [line for line in lines if line]


def test_a_recorded_bag_is_warned_of_once_and_the_line_names_both_arguments():
    (line,) = warnings([-86_400.0 * 100 - 7.0] * 50)
    assert line.startswith("the images' stamps are 100 days behind the node's clock; ")
    assert "use_sim_time:=true" in line and "--clock" in line
    assert "\n" not in line


def test_images_of_a_slow_transport_and_stray_stamps_are_not_warned_of():
    assert warnings([-0.5 * OTHER_CLOCK_S] * 50) == []
    assert warnings([-0.1, -1e6] * 50) == []
    assert warnings([-1e6] * (FIRST_IMAGES - 1)) == []


def test_with_simulated_time_the_line_says_what_is_wrong_with_the_clock_topic():
    (line,) = warnings([-1e6] * FIRST_IMAGES, simulated=True)
    assert "/clock (use_sim_time:=true), which is ahead of the images" in line
    assert "let nothing else publish /clock" in line


@condition(
    Area.TRANSPORT,
    "use_sim_time without /clock, or /clock of something else",
    "dropped as from_future; the log names --clock and use_sim_time:=false",
    since=TODAY,
)
def test_images_ahead_of_simulated_time_are_dropped_with_both_remedies():
    line = DropLog(simulated=True).record(DropRule.FROM_FUTURE, 1.7e9).text
    assert "ros2 bag play BAG --clock" in line and "use_sim_time:=false" in line


def test_local_time_in_the_place_of_utc_is_recognised_also_in_images_that_are_used():
    (line,) = warnings([-5 * 3600.0] * FIRST_IMAGES)
    assert "5.0 h behind" in line and "local time of UTC-5 h" in line


@pytest.mark.parametrize("offset_s", [-1e9, -1e4, -70.0, -3.0, 3.0, 1e9])
@pytest.mark.parametrize("simulated", [False, True])
def test_every_hint_is_one_clause_with_a_remedy(offset_s, simulated):
    hint = clock_hint(offset_s, simulated)
    assert "\n" not in hint
    assert any(word in hint for word in ("check", "start", "set", "play"))


def test_durations_are_said_in_the_unit_that_people_use():
    texts = [duration(seconds) for seconds in (4.24, 119.0, 720.0, 4.5 * 3600.0, 400 * 86_400.0)]
    assert texts == ["4.2 s", "119.0 s", "12.0 min", "4.5 h", "400 days"]


@pytest.mark.ros
@condition(
    Area.TRANSPORT,
    "recorded bag without /clock",
    "used; the log names use_sim_time:=true and --clock once",
    since=TODAY,
)
def test_the_node_warns_of_recorded_images_and_uses_them(bundle_dir):
    with RunningNode(model_dir=str(bundle_dir)) as client:
        lines: list[Log] = []
        client.node.create_subscription(Log, "/rosout", lines.append, 100)
        client.wait_connected()
        stamps_s = iter(range(round(time.time()) - 10_000_000, 2**31))
        client.send_until_status(
            lambda: image_message(textured_rgb(48, 64), float(next(stamps_s))),
            lambda item: "fixes" in item.message,
            "fixes of recorded images",
        )

        def said() -> bool:
            client.publish(image_message(textured_rgb(48, 64), float(next(stamps_s))))
            return any("behind the node's clock" in line.msg for line in lines)

        client.wait(said, "warning")
        assert sum("use_sim_time:=true" in line.msg for line in lines) == 1
