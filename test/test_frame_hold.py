"""With output fallback a source whose frame TF does not connect is held back, and the other one is used meanwhile."""

import numpy as np
import pytest
from helpers import ROOT
from ros_helpers import to_stamp
from sensor_msgs.msg import NavSatFix

from campus_visual_gps.gnss.monitor_settings import MonitorSettings
from campus_visual_gps.ros import filter_gate
from campus_visual_gps.ros.diagnostics import OK, WARN, DiagnosticReport
from campus_visual_gps.ros.fallback import Fallback
from campus_visual_gps.ros.filter_gate import FilterGate, complete
from campus_visual_gps.ros.parameters import NodeParameters
from campus_visual_gps.ros.tf_check import CAMERA, RECEIVER


def message(stamp_s: float, frame_id: str) -> NavSatFix:
    fix = NavSatFix(latitude=31.262, longitude=34.802, altitude=300.0, position_covariance_type=2)
    fix.header.stamp, fix.header.frame_id = to_stamp(stamp_s), frame_id
    fix.position_covariance = (2.0 * np.eye(3)).ravel().tolist()
    fix.status.status = 0
    return fix


class Frames:
    """A gate whose state the test sets: frames that are connected, and frames that were waited for in vain."""

    def __init__(self):
        self.connected: set[tuple[str, str]] = set()
        self.missing: set[tuple[str, str]] = set()

    def passes(self, source: str, frame_id: str) -> bool:
        return (source, frame_id) in self.connected

    def is_missing(self, source: str, frame_id: str) -> bool:
        return (source, frame_id) in self.missing


class Stream:
    """A fallback behind such a gate: receiver at 5 Hz, visual fixes at 2 Hz."""

    def __init__(self, receiver_frame: str = "antenna"):
        self.receiver_frame = receiver_frame
        self.frames, self.out, self.log = Frames(), [], []
        self.fallback = Fallback(
            MonitorSettings(),
            280.0,
            self.out.append,
            lambda *line: self.log.append(line),
            gps_frame="roof",
            gate=self.frames,
        )

    def run(self, start_s: float, end_s: float) -> set[str]:
        """Frames of what is published meanwhile."""
        before = len(self.out)
        for step in range(round(start_s * 10), round(end_s * 10)):
            now_s = step / 10.0
            if step % 2 == 0:
                self.fallback.receiver(message(now_s, self.receiver_frame), now_s)
            if step % 5 == 0:
                self.fallback.visual(message(now_s - 0.3, "camera"), now_s)
            self.fallback.tick(now_s)
        return {fix.header.frame_id for fix in self.out[before:]}


def test_nothing_is_published_until_a_frame_is_connected_and_the_source_does_not_change():
    stream = Stream()
    assert stream.run(100.0, 104.0) == set()
    stream.frames.connected = {(RECEIVER, "antenna"), (CAMERA, "camera")}
    assert stream.run(104.0, 110.0) == {"antenna"}
    values = stream.fallback.report().values
    # what was held back is no fix that was published
    assert values["published.receiver"] == len(stream.out) and values["source_changes"] == 0
    assert [line for line, _ in stream.log] == ["source of fix: receiver; receiver healthy, first good fix"]


def test_the_camera_stands_in_for_a_receiver_whose_frame_stays_missing_until_it_is_connected():
    stream = Stream()
    stream.frames.connected = {(CAMERA, "camera")}
    stream.run(100.0, 105.0)
    stream.frames.missing = {(RECEIVER, "antenna")}
    assert stream.run(105.0, 115.0) == {"camera"}
    values = stream.fallback.report().values
    assert values["source"] == "visual" and values["fault"] == "frame_not_in_tf"
    assert any("source of fix: visual" in line and "frame_not_in_tf" in line for line, warning in stream.log if warning)
    stream.frames.missing, stream.frames.connected = set(), {(CAMERA, "camera"), (RECEIVER, "antenna")}
    stream.run(115.0, 120.0)
    assert stream.run(120.0, 125.0) == {"antenna"}


def test_a_camera_whose_frame_is_missing_is_no_source():
    stream = Stream()
    stream.frames.connected = {(RECEIVER, "antenna")}
    stream.frames.missing = {(CAMERA, "camera")}
    stream.run(100.0, 110.0)
    for step in range(1100, 1200):
        stream.fallback.visual(message(step / 10.0, "camera"), step / 10.0)
        stream.fallback.tick(step / 10.0)
    assert {fix.header.frame_id for fix in stream.out} == {"antenna"}
    assert stream.fallback.report().values["source"] != "visual"


@pytest.mark.parametrize(("sent", "published"), [("", "roof"), ("/antenna", "antenna"), ("antenna", "antenna")])
def test_the_receivers_frame_is_one_that_tf2_accepts(sent, published):
    stream = Stream(sent)
    stream.frames.connected = {(RECEIVER, published)}
    assert stream.run(100.0, 101.0) == {published}


class Subscriber:
    """What rclpy tells of a subscription."""

    def __init__(self, node_name: str, gid: int):
        self.node_name, self.endpoint_gid = node_name, [gid] * 16


class Graph:
    """A node and a publisher in one, as far as a gate asks them; all frames have been connected for long."""

    topic_name = "/fix"

    def __init__(self):
        self.subscribers: list[Subscriber] = []
        self.connected_s: float | None = -1e9
        self.missing = ""

    def get_subscription_count(self) -> int:
        return len(self.subscribers)

    def get_subscriptions_info_by_topic(self, topic: str) -> list[Subscriber]:
        assert topic == self.topic_name
        return self.subscribers

    def watch(self, source: str, frame_id: str) -> None:
        pass

    def connected_since_s(self, source: str, frame_id: str) -> float | None:
        return self.connected_s

    def is_missing(self, source: str, frame_id: str) -> bool:
        return bool(self.missing)

    def check(self, source: str) -> dict[str, object]:
        return {"frame_id": "gps"}

    def problem(self, source: str) -> str:
        return self.missing


@pytest.fixture
def graph():
    return Graph()


@pytest.fixture
def make_gate(graph, monkeypatch):
    def make() -> FilterGate:
        monkeypatch.setattr(filter_gate, "TfFrameMonitor", lambda *_: graph)
        clock = [1000.0]
        monkeypatch.setattr(filter_gate, "monotonic", lambda: clock[0])
        made = FilterGate(graph, graph, NodeParameters(model_dir="x", base_frame="base_link"), lambda *_: None)
        made.clock = clock
        return made

    return make


@pytest.fixture
def gate(make_gate):
    return make_gate()


@pytest.mark.parametrize("name", ["navsat_transform", "navsat_transform_node", "_NODE_NAME_UNKNOWN_"])
def test_the_gate_closes_for_a_filter_that_has_just_subscribed(gate, graph, name):
    assert gate.passes(RECEIVER, "gps")
    graph.subscribers.append(Subscriber(name, 1))
    assert not gate.passes(RECEIVER, "gps")
    gate.clock[0] += filter_gate.SETTLE_S - 0.1
    assert not gate.passes(RECEIVER, "gps")
    gate.clock[0] += 0.2
    assert gate.passes(RECEIVER, "gps")
    # also for one that was started again, and took the place of another
    graph.subscribers[0] = Subscriber("navsat_transform", 2)
    graph.subscribers.append(Subscriber("logger", 3))
    assert not gate.passes(RECEIVER, "gps")
    assert gate.values(RECEIVER) == {"frame_id": "gps", "held_back": 3}


def test_a_listener_that_needs_no_tf_closes_nothing(gate, graph):
    for gid, name in enumerate(("_ros2cli_77", "foxglove_bridge", "rosbag2_recorder")):
        graph.subscribers.append(Subscriber(name, gid))
        assert gate.passes(RECEIVER, "gps")


def test_a_frame_that_has_just_been_connected_waits_until_the_filter_has_heard_of_it(gate, graph):
    graph.connected_s = None
    assert not gate.passes(RECEIVER, "gps")
    graph.connected_s = gate.clock[0]
    assert not gate.passes(RECEIVER, "gps")
    gate.clock[0] += filter_gate.SETTLE_S
    assert gate.passes(RECEIVER, "gps")


@pytest.mark.parametrize(("started", "passes"), [("900.0", True), ("999.0", False), ("", False), ("nan", False)])
def test_a_node_that_is_started_again_does_not_wait_for_what_the_filters_know(
    graph, make_gate, monkeypatch, started, passes
):
    monkeypatch.setenv(filter_gate.FILTERS_SINCE, started)
    gate = make_gate()
    graph.connected_s = gate.clock[0]
    graph.subscribers.append(Subscriber("navsat_transform", 1))
    assert gate.passes(RECEIVER, "gps") == passes
    gate.clock[0] += filter_gate.SETTLE_S
    assert gate.passes(RECEIVER, "gps")
    # a filter that comes later has heard nothing yet
    graph.subscribers[0] = Subscriber("navsat_transform", 2)
    graph.subscribers.append(Subscriber("logger", 3))
    assert not gate.passes(RECEIVER, "gps")


def test_the_launch_file_says_it_under_the_name_that_the_gate_reads():
    assert filter_gate.FILTERS_SINCE in (ROOT / "launch" / "localize.launch.py").read_text(encoding="utf-8")


def test_the_diagnostics_say_what_is_missing_and_keep_what_is_worse(gate, graph):
    good, bad = DiagnosticReport(OK, "good", {"a": 1}), DiagnosticReport(WARN, "lost", {})
    assert complete(good, gate, RECEIVER) == (OK, "good", {"a": 1, "frame_id": "gps", "held_back": 0})
    graph.missing = "no frame"
    assert complete(good, gate, RECEIVER)[:2] == (WARN, "no frame")
    assert complete(bad, gate, RECEIVER)[:2] == (WARN, "lost; no frame")


@pytest.mark.parametrize("parameters", [{}, {"base_frame": "base_link", "hold_until_connected": False}])
def test_without_a_base_frame_or_with_the_hold_off_everything_passes(graph, monkeypatch, parameters):
    monkeypatch.setattr(filter_gate, "TfFrameMonitor", lambda *_: graph)
    graph.connected_s, graph.missing = None, "no frame"
    made = FilterGate(graph, graph, NodeParameters(model_dir="x", **parameters), lambda *_: None)
    assert made.passes(RECEIVER, "gps") and not made.is_missing(RECEIVER, "gps") and made.problem(RECEIVER) == ""
