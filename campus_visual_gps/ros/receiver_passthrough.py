"""The topic `fix` of output `fallback`, from the node's start until its shutdown, whatever becomes of the model.

The subscription to the receiver and the publisher of `fix` belong to the node and not to its active state, so that a
healthy receiver reaches the filter also while the model loads, cannot be loaded, or is unloaded. They need only the
parameters; visual fixes and the site's altitude join when there are some.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from rclpy.clock import Clock
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import qos_profile_sensor_data
from rclpy.subscription import Subscription
from rclpy.timer import Timer
from sensor_msgs.msg import NavSatFix

from campus_visual_gps.errors import VisualGpsError
from campus_visual_gps.gnss.arbiter import TICK_S
from campus_visual_gps.ros.diagnostics import ERROR, DiagnosticReport
from campus_visual_gps.ros.fallback import UNKNOWN_SITE_ALTITUDE_M, Fallback
from campus_visual_gps.ros.filter_gate import FilterGate, complete
from campus_visual_gps.ros.parameters import FALLBACK, NodeParameters, is_of_fallback
from campus_visual_gps.ros.qos import QosOverrides
from campus_visual_gps.ros.stamps import NS_PER_S
from campus_visual_gps.ros.tf_check import RECEIVER

if TYPE_CHECKING:
    from campus_visual_gps.bundle import Bundle
    from campus_visual_gps.ros.declared_parameters import DeclaredParameters

FALLBACK_TOPIC = "fix"


class _Wiring(NamedTuple):
    """What exists while `fix` is published."""

    settings: NodeParameters
    fallback: Fallback
    gate: FilterGate
    publisher: Publisher
    receiver: Subscription
    timer: Timer


class ReceiverPassthrough:
    """Receiver's messages and visual fixes in, topic `fix` out. Without output `fallback` it does nothing.

    All but `visual` is called on the executor's thread.

    Args:
        node: Owns publisher, subscription, clock and logger.
        steady_clock: Detects silence, also while a simulated clock stands still.
        why_no_visual: Says, in one line, why there are no visual fixes.
    """

    def __init__(self, node: Node, steady_clock: Clock, why_no_visual: Callable[[], str]):
        self._node, self._steady_clock, self._why_no_visual = node, steady_clock, why_no_visual
        self._wiring: _Wiring | None = None
        self._takes_visual = False
        self._bundle_altitude_m = math.nan
        self._correlation_time_s: float | None = None
        self.error = ""

    @property
    def gate(self) -> FilterGate | None:
        """Holds fixes back from `fix`; None where that is not published."""
        return self._wiring.gate if self._wiring is not None else None

    @property
    def gps_topic(self) -> str:
        """The receiver's topic; empty where nothing is published."""
        return self._wiring.settings.gps_topic if self._wiring is not None else ""

    def open(self, declared: DeclaredParameters) -> None:
        """Publish `fix` by the parameters; where they are bad, `error` says so, and what was there before goes on."""
        try:
            settings = declared.read_for_fallback()
        except VisualGpsError as error:
            self.error = str(error) if self._wiring is not None else f"nothing is published on fix: {error}"
            return
        self.error = ""
        wiring = self._wiring
        if wiring is not None and _relevant(wiring.settings) == _relevant(settings):
            self._wiring = wiring._replace(settings=settings)  # the receiver's state is kept
            wiring.fallback.set_site_altitude(self._site_altitude_m(settings))
            return
        self.close()
        if settings.output == FALLBACK:
            self._wiring = self._wired(settings)

    def close(self) -> None:
        """End the publisher and the subscription."""
        wiring, self._wiring = self._wiring, None
        if wiring is not None:
            self._node.destroy_timer(wiring.timer)
            self._node.destroy_subscription(wiring.receiver)
            self._node.destroy_publisher(wiring.publisher)
            wiring.gate.close()

    def set_bundle(self, bundle: Bundle) -> None:
        """The bundle was read: its altitude and its correlation time hold from now on."""
        self._bundle_altitude_m = bundle.altitude.altitude_m
        self._correlation_time_s = bundle.calibration.correlation_time_s
        if self._wiring is not None:
            self._wiring.fallback.set_site_altitude(self._site_altitude_m(self._wiring.settings))
            self._wiring.fallback.set_correlation_time(self._correlation_time_s)

    def begin_visual(self) -> None:
        """The node is active: `visual` takes fixes from now on."""
        self._takes_visual = True

    def end_visual(self) -> None:
        """The node is no longer active: what its worker may still deliver is ignored."""
        self._takes_visual = False
        if self._wiring is not None:
            self._wiring.fallback.end_visual(self._now_s())

    def visual(self, fix: NavSatFix, for_filter: Callable[[NavSatFix], NavSatFix | None]) -> None:
        """There is a visual fix; see `Fallback.visual`. Any thread may call this."""
        wiring = self._wiring
        if wiring is not None and self._takes_visual:
            wiring.fallback.visual(fix, self._now_s(), for_filter)

    def report(self) -> DiagnosticReport | None:
        """Diagnostic of the fallback; None without output fallback."""
        if self.error:
            return DiagnosticReport(ERROR, self.error, {"source": "none"})
        if self._wiring is None:
            return None
        return complete(self._wiring.fallback.report(), self._wiring.gate, RECEIVER)

    def on_time_jump(self) -> None:
        """ROS time jumped back."""
        if self._wiring is not None:
            self._wiring.gate.restart()
            self._wiring.fallback.restart()

    def on_stamp_jump(self) -> None:
        """The stamps of the images jumped back."""
        if self._wiring is not None:
            self._wiring.fallback.restart_stamps()

    def _wired(self, settings: NodeParameters) -> _Wiring:
        node, overrides, topic = self._node, QosOverrides(self._node), settings.gps_topic
        publisher = node.create_publisher(NavSatFix, FALLBACK_TOPIC, **overrides.publisher(FALLBACK_TOPIC, 10))
        gate = FilterGate(node, publisher, settings, self.log)
        fallback = Fallback(
            settings.monitor_settings(),
            self._site_altitude_m(settings),
            publisher.publish,
            self.log,
            settings.gps_frame,
            gate,
            self._why_no_visual,
        )
        fallback.set_correlation_time(self._correlation_time_s)
        timer = node.create_timer(TICK_S, self._tick, clock=self._steady_clock)
        qos = overrides.subscription(topic, qos_profile_sensor_data)
        receiver = node.create_subscription(NavSatFix, topic, self._on_receiver, **qos)
        node.get_logger().info(
            f"receiver {node.resolve_topic_name(topic)} -> {node.resolve_topic_name(FALLBACK_TOPIC)}"
        )
        return _Wiring(settings, fallback, gate, publisher, receiver, timer)

    def _site_altitude_m(self, settings: NodeParameters) -> float:
        known = (
            altitude_m for altitude_m in (settings.altitude_m, self._bundle_altitude_m) if math.isfinite(altitude_m)
        )
        return next(known, UNKNOWN_SITE_ALTITUDE_M)

    def _on_receiver(self, message: NavSatFix) -> None:
        if self._wiring is not None:
            self._wiring.fallback.receiver(message, self._now_s())

    def _tick(self) -> None:
        if self._wiring is None:
            return
        self._wiring.gate.look_for_filters()
        # simulated time that has not begun is 0: what happens until then says nothing about a receiver's silence
        if (now_s := self._now_s()) > 0.0:
            self._wiring.fallback.tick(now_s)

    def _now_s(self) -> float:
        return self._node.get_clock().now().nanoseconds / NS_PER_S

    def log(self, text: str, warning: bool) -> None:
        """One line, and whether it is a warning."""
        # two calls, because rclpy ties the severity to the line of code that logs
        if warning:
            self._node.get_logger().warning(text)
        else:
            self._node.get_logger().info(text)


def _relevant(settings: NodeParameters) -> tuple[object, ...]:
    """What a running fallback cannot change."""
    return tuple(value for name, value in vars(settings).items() if is_of_fallback(name))
