"""The bond with nav2's lifecycle manager: heartbeats while active, none where there is no manager or no package bond.

The package bond is not on PyPI. A stand-in has the fields of bond/msg/Status and no others, and what the node publishes
is taken from it before DDS. The manager's half of a bond is modelled after the state table of bond_core (BondSM.sm).
"""

import copy
import sys
import time
from types import ModuleType

import pytest
import yaml
from compatibility import Area, condition
from helpers import ROOT
from lifecycle_msgs.msg import Transition
from ros_helpers import Client, RunningNode
from std_msgs.msg import Header

from campus_visual_gps.ros import bond
from campus_visual_gps.ros.localizer_node import NODE_NAME, LocalizerNode

pytestmark = pytest.mark.ros
SINCE = "2026-11-26"


class Status:
    """bond/msg/Status; an attribute that the message does not have is an error, as it is in rclpy."""

    __slots__ = ("active", "header", "heartbeat_period", "heartbeat_timeout", "id", "instance_id")

    def __init__(self):
        self.header = Header()


class ManagerHalf:
    """The bond of a manager: waiting until it hears the node, then alive, dead at the end or after a silence."""

    def __init__(self, name: str, timeout_s: float = 4.0):
        self.state, self.reason = "waiting", ""
        self._name, self._timeout_s = name, timeout_s
        self._sister, self._heard_s = "", 0.0

    def on_status(self, status: Status, now_s: float) -> None:
        self.tick(now_s)
        if status.id != self._name or self.state == "dead":
            return
        self._sister = self._sister or status.instance_id
        assert status.instance_id == self._sister, "more than two halves of one bond"
        if status.active:
            self.state, self._heard_s = "alive", now_s
        else:
            self.state, self.reason = "dead", "sister died"

    def tick(self, now_s: float) -> None:
        if self.state == "alive" and now_s - self._heard_s > self._timeout_s:
            self.state, self.reason = "dead", "heartbeat timeout"


class Recorded:
    """A publisher that keeps what it is given, with the time."""

    def __init__(self, topic: str):
        self.topic = topic
        self.messages: list[tuple[Status, float]] = []

    def publish(self, status: Status) -> None:
        self.messages.append((copy.copy(status), time.monotonic()))

    def manager(self, since: int = 0, **options) -> ManagerHalf:
        """What a manager's half makes of the messages since one of them, until now."""
        half = ManagerHalf(NODE_NAME, **options)
        for status, now_s in self.messages[since:]:
            half.on_status(status, now_s)
        half.tick(time.monotonic())
        return half


@pytest.fixture
def published(monkeypatch) -> list[Recorded]:
    """The package bond is installed; the publishers of its messages."""
    package, messages = ModuleType("bond"), ModuleType("bond.msg")
    messages.Status = Status
    monkeypatch.setitem(sys.modules, "bond", package)
    monkeypatch.setitem(sys.modules, "bond.msg", messages)
    publishers: list[Recorded] = []
    create = LocalizerNode.create_publisher

    def create_publisher(self, kind, topic, *arguments, **options):
        if kind is not Status:
            return create(self, kind, topic, *arguments, **options)
        publishers.append(Recorded(self.resolve_topic_name(topic)))
        return publishers[-1]

    monkeypatch.setattr(LocalizerNode, "create_publisher", create_publisher)
    return publishers


def bring_up(client: Client) -> None:
    assert client.change_state(Transition.TRANSITION_CONFIGURE)
    assert client.change_state(Transition.TRANSITION_ACTIVATE)


@condition(Area.NODE, "nav2's lifecycle_manager, package bond installed", "a bond while active", since=SINCE)
def test_a_manager_has_a_bond_from_activation_to_deactivation(published, bundle_dir):
    with RunningNode(model_dir=str(bundle_dir), autostart=False) as client:
        assert client.change_state(Transition.TRANSITION_CONFIGURE)
        assert not published
        assert client.change_state(Transition.TRANSITION_ACTIVATE)
        (publisher,) = published
        assert publisher.topic == f"{client.node.get_namespace()}/bond"
        # nav2 waits for half of its bond_timeout, 2 s
        client.wait(lambda: len(publisher.messages) >= 8, "eight heartbeats")
        (first, first_s), (_, eighth_s) = publisher.messages[0], publisher.messages[7]
        assert eighth_s - first_s == pytest.approx(7 * bond.HEARTBEAT_PERIOD_S, rel=0.5)
        assert publisher.manager().state == "alive"
        assert (first.heartbeat_period, first.heartbeat_timeout) == (0.25, 4.0)
        assert first.header.stamp.sec > 0
        assert client.change_state(Transition.TRANSITION_DEACTIVATE)
        count = len(publisher.messages)
        assert (publisher.manager().state, publisher.manager().reason) == ("dead", "sister died")
        assert client.change_state(Transition.TRANSITION_ACTIVATE)
        client.wait(lambda: len(publisher.messages) >= count + 2, "heartbeats of a new bond")
        assert publisher.manager(since=count).state == "alive"
        assert publisher.messages[-1][0].instance_id != first.instance_id
        assert len(published) == 1


@condition(Area.NODE, "the node hangs under nav2's lifecycle_manager", "the bond breaks", since=SINCE)
def test_a_node_that_hangs_loses_its_bond(published, bundle_dir):
    running = RunningNode(model_dir=str(bundle_dir), autostart=False)
    with running as client:
        bring_up(client)
        hung = running.node.executor.create_task(lambda: time.sleep(2.0))
        client.wait(hung.done, "end of the hang")
        half = published[0].manager(timeout_s=1.0)
        assert (half.state, half.reason) == ("dead", "heartbeat timeout")


@condition(Area.NODE, "the node starts by itself (autostart)", "no bond, for there is no manager", since=SINCE)
def test_without_a_manager_there_is_no_bond(published, bundle_dir):
    with RunningNode(model_dir=str(bundle_dir)) as client:
        client.wait_connected()
        assert not published


@condition(Area.NODE, "nav2's lifecycle_manager, package bond missing", "works with bond_timeout: 0.0", since=SINCE)
def test_the_example_of_a_manager_brings_the_node_up_without_the_package(bundle_dir):
    text = (ROOT / "config" / "nav2_lifecycle_manager.yaml").read_text(encoding="utf-8")
    settings = yaml.safe_load(text)["lifecycle_manager"]["ros__parameters"]
    page = (ROOT / "docs" / "lifecycle.md").read_text(encoding="utf-8")
    assert yaml.safe_load(page.split("```yaml\n")[1].split("```")[0]) == yaml.safe_load(text)
    assert settings == {"autostart": True, "node_names": [NODE_NAME], "bond_timeout": 0.0}
    assert bond.status_type() is None
    with RunningNode(model_dir=str(bundle_dir), autostart=False) as client:
        # as nav2's manager: change_state, and get_state must then be the state that was asked for
        for transition, state in (("configure", "inactive"), ("activate", "active")):
            assert client.change_state(getattr(Transition, f"TRANSITION_{transition.upper()}"))
            assert client.state() == state
        client.wait_connected()
        assert f"{client.node.get_namespace()}/bond" not in dict(client.node.get_topic_names_and_types())
