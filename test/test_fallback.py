"""The topic `fix`: strictly increasing stamps, from the receiver while it is healthy, else the visual fixes."""

import math
from itertools import pairwise

import numpy as np
import pytest
from compatibility import Area, condition
from helpers import make_bundle, textured_rgb
from hypothesis import given
from hypothesis import strategies as st
from ros_helpers import RunningNode, image_message, to_seconds, to_stamp
from sensor_msgs.msg import NavSatFix

from campus_visual_gps.gnss.monitor_settings import MonitorSettings
from campus_visual_gps.ros.diagnostics import OK, WARN
from campus_visual_gps.ros.fallback import Fallback

VISUAL_FRAME, RECEIVER_FRAME = "camera", "antenna"
SITE_ALTITUDE_M = 280.0


def message(stamp_s: float, frame_id: str = RECEIVER_FRAME, **fields) -> NavSatFix:
    fix = NavSatFix(latitude=31.262, longitude=34.802, altitude=300.0, position_covariance_type=2)
    fix.header.stamp, fix.header.frame_id = to_stamp(stamp_s), frame_id
    fix.position_covariance = (2.0 * np.eye(3)).ravel().tolist()
    fix.status.status = 0
    for name, value in fields.items():
        setattr(fix, name, value)
    return fix


def no_fix(stamp_s: float) -> NavSatFix:
    fix = message(stamp_s)
    fix.status.status = -1
    return fix


class Stream:
    """A fallback and what it published and logged."""

    def __init__(self):
        self.out: list[NavSatFix] = []
        self.log: list[tuple[str, bool]] = []
        self.fallback = Fallback(
            MonitorSettings(), SITE_ALTITUDE_M, self.out.append, lambda *line: self.log.append(line)
        )

    def run(self, start_s: float, end_s: float, receiver) -> None:
        """Receiver at 5 Hz, visual fixes at 2 Hz that are 0.3 s old when they come, ticks at 10 Hz."""
        for step in range(round(start_s * 10), round(end_s * 10)):
            now_s = step / 10.0
            if step % 2 == 0 and receiver is not None:
                self.fallback.receiver(receiver(now_s), now_s)
            if step % 5 == 0:
                self.fallback.visual(message(now_s - 0.3, VISUAL_FRAME), now_s)
            self.fallback.tick(now_s)

    def sources(self, start_s: float, end_s: float) -> set[str]:
        return {fix.header.frame_id for fix in self.out if start_s <= to_seconds(fix.header.stamp) < end_s}

    def stamps_s(self) -> list[float]:
        return [to_seconds(fix.header.stamp) for fix in self.out]


@pytest.mark.parametrize("outage", [None, no_fix], ids=["silent", "no fix"])
def test_an_outage_is_bridged_and_each_switch_is_logged_once(outage):
    stream = Stream()
    stream.run(100.0, 120.0, message)
    stream.run(120.0, 150.0, outage)
    stream.run(150.0, 170.0, message)
    assert stream.sources(100.0, 119.9) == {RECEIVER_FRAME}
    assert stream.sources(122.5, 150.0) == {VISUAL_FRAME}
    assert stream.sources(153.2, 170.0) == {RECEIVER_FRAME}
    assert stream.stamps_s() == sorted(set(stream.stamps_s()))
    assert [line.split(";")[0] for line, _ in stream.log] == [f"source of fix: {name}" for name in SWITCHES]
    assert [warning for _, warning in stream.log] == [False, True, False]
    level, _, values = stream.fallback.report()
    assert (level, values["source_changes"], values["source"]) == (OK, 2, "receiver")


SWITCHES = ("receiver", "visual", "receiver")


def test_the_state_of_an_outage_is_a_warning_with_its_reason():
    stream = Stream()
    stream.run(100.0, 110.0, message)
    stream.run(110.0, 115.0, no_fix)
    level, text, values = stream.fallback.report()
    assert level == WARN
    assert "receiver lost, no_fix_status: " in text and "source of fix: visual" in text
    assert values["fault.no_fix_status"] == 25


def test_a_faulty_message_does_not_pass_although_the_receiver_still_counts_as_healthy():
    stream = Stream()
    stream.run(100.0, 110.0, message)
    count = len(stream.out)
    stream.fallback.receiver(message(110.0, latitude=math.nan), 110.0)
    stream.fallback.receiver(message(110.1, position_covariance=[math.nan] * 9), 110.1)
    stream.fallback.receiver(message(110.1), 110.15)
    assert len(stream.out) == count
    stream.fallback.receiver(message(110.2), 110.2)
    assert len(stream.out) == count + 1


def test_a_message_without_covariance_or_frame_gets_them_and_is_not_changed_itself():
    stream = Stream()
    given_message = message(100.0, frame_id="", position_covariance=[0.0] * 9, position_covariance_type=0)
    stream.fallback.receiver(given_message, 100.0)
    assert stream.out[0].position_covariance.tolist() == (25.0 * np.eye(3)).ravel().tolist()
    assert stream.out[0].position_covariance_type == NavSatFix.COVARIANCE_TYPE_APPROXIMATED
    assert stream.out[0].header.frame_id == "gps"
    assert given_message.position_covariance.tolist() == [0.0] * 9


def test_a_healthy_message_passes_as_it_is():
    stream = Stream()
    given_message = message(100.0)
    stream.fallback.receiver(given_message, 100.0)
    assert stream.out[0] is given_message


def test_time_that_jumps_back_starts_over():
    stream = Stream()
    stream.run(100.0, 110.0, message)
    stream.fallback.restart()
    stream.run(5.0, 10.0, message)
    assert stream.stamps_s()[-1] == 9.8
    # a looping bag without /clock
    stream.fallback.receiver(message(1.0), 500.0)
    assert stream.stamps_s()[-1] == 1.0


events = st.lists(
    st.tuples(st.booleans(), st.floats(-0.9, 2.0), st.sampled_from([0, 0, 0, -1]), st.floats(0.0, 1.0)), max_size=80
)


@given(events)
def test_stamps_only_ever_increase(rows):
    stream, now_s = Stream(), 100.0
    for is_visual, late_s, status, step_s in rows:
        now_s += step_s
        fix = message(now_s - max(late_s, 0.0))
        fix.status.status = status
        if is_visual:
            stream.fallback.visual(fix, now_s)
        else:
            # a receiver that is late by less than a second: more counts as time that jumped
            fix.header.stamp = to_stamp(now_s - max(late_s, 0.0) / 4.0)
            stream.fallback.receiver(fix, now_s)
    stamps_s = stream.stamps_s()
    assert all(earlier < later for earlier, later in pairwise(stamps_s))


@pytest.mark.ros
def test_over_dds_the_receiver_passes_and_its_silence_brings_the_visual_fix(tmp_path):
    bundle_dir = make_bundle(tmp_path / "bundle")
    with RunningNode(model_dir=str(bundle_dir), output="fallback", gps_max_age_s=1.0, max_rate_hz=0.0) as client:
        found: list[NavSatFix] = []
        client.node.create_subscription(NavSatFix, "fix", found.append, 10)
        receiver = client.node.create_publisher(NavSatFix, "gps/fix", 10)
        client.wait_connected()
        client.wait(lambda: receiver.get_subscription_count() == 1, "subscription to the receiver")
        client.wait(lambda: client.node.count_publishers(f"{client.node.get_namespace()}/fix") == 1, "publisher of fix")

        def pass_on() -> bool:
            fix = message(0.0)
            fix.header.stamp = client.node.get_clock().now().to_msg()
            receiver.publish(fix)
            return any(fix.header.frame_id == RECEIVER_FRAME for fix in found)

        client.wait(pass_on, "fix of the receiver")

        def stand_in() -> bool:
            client.publish(image_message(textured_rgb(48, 64)))
            return found[-1].header.frame_id == "front_camera"

        client.wait(stand_in, "visual fix on the topic fix")
        stamps_s = [to_seconds(fix.header.stamp) for fix in found]
        assert stamps_s == sorted(set(stamps_s))


@pytest.mark.ros
@condition(Area.RECEIVER, "altitude NaN, parameter altitude_m set", "fix has that altitude", since="2026-11-26")
@pytest.mark.parametrize(
    ("parameter", "expected_m"), [({}, 300.0), ({"altitude_m": 12.5}, 12.5)], ids=["bundle", "set"]
)
def test_over_dds_a_missing_altitude_is_the_bundles_or_the_parameters(parameter, expected_m, bundle_dir):
    with RunningNode(model_dir=str(bundle_dir), output="fallback", **parameter) as client:
        found: list[NavSatFix] = []
        client.node.create_subscription(NavSatFix, "fix", found.append, 10)
        receiver = client.node.create_publisher(NavSatFix, "gps/fix", 10)
        client.wait_connected()

        def passed() -> bool:
            fix = message(0.0, altitude=math.nan, position_covariance=[math.nan] * 9, position_covariance_type=0)
            fix.header.stamp = client.node.get_clock().now().to_msg()
            receiver.publish(fix)
            return bool(found)

        client.wait(passed, "fix of the receiver")
        assert found[0].altitude == expected_m
        assert found[0].position_covariance.tolist() == [25.0, 0.0, 0.0, 0.0, 25.0, 0.0, 0.0, 0.0, 1e4]
