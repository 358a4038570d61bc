"""Holds fixes back from a filter that would put them at the origin.

navsat_transform needs the transforms from the fix's frame to the base frame and from there to the map in its own buffer
when it processes a fix. Here it is only known what this node has heard. So the gate stays closed for SETTLE_S after
all is connected, and for as long after a navsat_transform has subscribed, which by then has heard no transform yet.

A node that is started again finds all of that anew, but the filters have had it for long: a gate that is made a while
after the launch file started the filters does not wait for what it finds at first.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from rclpy.node import Node
from rclpy.publisher import Publisher

from campus_visual_gps.ros.diagnostics import OK, WARN, DiagnosticReport
from campus_visual_gps.ros.parameters import NodeParameters
from campus_visual_gps.ros.tf_check import TfFrameMonitor

# Discovery among running nodes takes tenths of a second, and a filter publishes transforms 30 times a second. But on a
# loaded computer a node may miss the first announcements of another one, and Fast DDS repeats them after 3 s only.
SETTLE_S = 4.0
# When localize.launch.py started the filters together with the node, seconds of the computer's monotonic clock. So much
# later they have heard all transforms.
FILTERS_SINCE, FILTERS_SETTLED_S = "CAMPUS_VISUAL_GPS_FILTERS_SINCE_S", 15.0
# In the names of the nodes that need TF, and rcl's name for a node that it does not know yet.
_FILTER_NAME, _UNKNOWN_NAME = "navsat", "_NODE_NAME_UNKNOWN_"


class Gate(Protocol):
    """Decides which fixes go to the filter. Sources are CAMERA and RECEIVER of tf_check."""

    def passes(self, source: str, frame_id: str) -> bool:
        """Whether a fix in this frame may go to the filter now."""

    def is_missing(self, source: str, frame_id: str) -> bool:
        """Whether fixes in this frame are held back for longer than a start takes."""


class OpenGate:
    """Holds nothing back."""

    def passes(self, source: str, frame_id: str) -> bool:
        """Always."""
        return True

    def is_missing(self, source: str, frame_id: str) -> bool:
        """Never."""
        return False


class FilterGate:
    """Opens for a frame when TF connects it with the base frame. Any thread may ask it.

    Without the parameter base_frame, with hold_until_connected false and without tf2_msgs it is always open; a frame
    that is missing in TF is then only reported.

    Args:
        node: Subscribes to TF.
        publisher: Publishes what the filter takes.
        settings: The node's parameters.
        log: Called with one line, and whether it is a warning.
    """

    def __init__(
        self, node: Node, publisher: Publisher, settings: NodeParameters, log: Callable[[str, bool], None]
    ) -> None:
        self._node, self._publisher, self._log = node, publisher, log
        self._holds = bool(settings.base_frame) and settings.hold_until_connected
        self._monitor = TfFrameMonitor(node, log, settings.base_frame, settings.world_frame, self._holds)
        self._held_counts: Counter[str] = Counter()
        self._closed_for: set[tuple[str, str]] = set()
        self._subscriber_count = 0
        self._unclear = False
        self._filter_gids: set[bytes] = set()
        self._subscribed_s = -math.inf
        # until then everything that is found was there before
        self._known_until_s = monotonic() + SETTLE_S if _are_filters_settled() else -math.inf

    def watch(self, source: str, frame_id: str, topic: str = "") -> None:
        """Look for a frame before its first fix."""
        self._monitor.watch(source, frame_id, topic)

    def passes(self, source: str, frame_id: str) -> bool:
        """Whether a fix in this frame may go to the filter now; logs when that begins and ends."""
        self._monitor.watch(source, frame_id)
        if not self._holds:
            return True
        self.look_for_filters()
        since_s = self._monitor.connected_since_s(source, frame_id)
        is_open = since_s is not None and self._is_settled(max(since_s, self._subscribed_s))
        key = (source, frame_id)
        if not is_open:
            self._held_counts[source] += 1
            if since_s is None and key not in self._closed_for:
                self._closed_for.add(key)
                self._log(f"the {source}'s fixes are held back until TF connects their frame {frame_id!r}", False)
        elif key in self._closed_for:
            self._closed_for.discard(key)
            self._log(f"TF connects the frame {frame_id!r}: the {source}'s fixes are passed on", False)
        return is_open

    def _is_settled(self, changed_s: float) -> bool:
        return changed_s < self._known_until_s or monotonic() - changed_s >= SETTLE_S

    def is_missing(self, source: str, frame_id: str) -> bool:
        """Whether the frame has been waited for in vain."""
        return self._holds and self._monitor.is_missing(source, frame_id)

    def values(self, source: str) -> dict[str, object]:
        """Key-value pairs for the diagnostics of a source; call it about once a second, on the executor's thread."""
        values = self._monitor.check(source)
        return {**values, "held_back": self._held_counts[source]} if values and self._holds else values

    def problem(self, source: str) -> str:
        """Why the fixes of a source have been held back for longer than a start takes, in one line; empty: no."""
        return self._monitor.problem(source) if self._holds else ""

    def look_for_filters(self) -> None:
        """Note when a navsat_transform subscribes. Other subscribers, as `ros2 topic echo`, close nothing."""
        count = self._publisher.get_subscription_count()
        if count == self._subscriber_count and not self._unclear:
            return
        subscribers = self._node.get_subscriptions_info_by_topic(self._publisher.topic_name)
        gids = {
            bytes(item.endpoint_gid)
            for item in subscribers
            if _FILTER_NAME in item.node_name or item.node_name == _UNKNOWN_NAME
        }
        # a subscriber may be known by its connection before it is known by its name
        if gids - self._filter_gids or (count > self._subscriber_count and count > len(subscribers)):
            self._subscribed_s = monotonic()
        self._unclear = count != len(subscribers) or any(item.node_name == _UNKNOWN_NAME for item in subscribers)
        self._subscriber_count, self._filter_gids = count, gids

    def restart(self) -> None:
        """Time jumped back: filters have forgotten all moving transforms."""
        self._monitor.restart()

    def close(self) -> None:
        """Unsubscribe from TF."""
        self._monitor.close()


def _are_filters_settled() -> bool:
    """Whether the launch file started the filters so long ago that this is a node that was started again."""
    try:
        return monotonic() - float(os.environ[FILTERS_SINCE]) >= FILTERS_SETTLED_S
    except (KeyError, ValueError):
        return False


def complete(report: DiagnosticReport, gate: FilterGate, source: str) -> DiagnosticReport:
    """The diagnostic with the frame of a source; WARN instead of OK while its fixes are held back for too long."""
    values = {**report.values, **gate.values(source)}
    problem = gate.problem(source)
    if not problem:
        return DiagnosticReport(report.level, report.message, values)
    level = WARN if report.level == OK else report.level
    return DiagnosticReport(level, problem if report.level == OK else f"{report.message}; {problem}", values)
