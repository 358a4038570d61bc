"""What the node publishes for an image: fix and pose, and through the fallback the topic `fix` for a filter."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.clock import Clock
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import qos_profile_sensor_data
from rclpy.subscription import Subscription
from rclpy.timer import Timer
from sensor_msgs.msg import NavSatFix

from campus_visual_gps.gnss.arbiter import TICK_S
from campus_visual_gps.ros import messages
from campus_visual_gps.ros.correlated_fixes import CorrelatedFixes
from campus_visual_gps.ros.diagnostics import DiagnosticReport
from campus_visual_gps.ros.fallback import Fallback
from campus_visual_gps.ros.filter_gate import FilterGate, complete
from campus_visual_gps.ros.parameters import FALLBACK, NodeParameters
from campus_visual_gps.ros.qos import QosOverrides
from campus_visual_gps.ros.stamps import NS_PER_S
from campus_visual_gps.ros.tf_check import CAMERA, RECEIVER
from campus_visual_gps.ros.transform_tree import tf_name

if TYPE_CHECKING:
    from campus_visual_gps.bundle import Altitude, Bundle
    from campus_visual_gps.localizer import PositionEstimate

FIX_TOPIC, POSE_TOPIC, FALLBACK_TOPIC = "visual_gps/fix", "visual_gps/pose", "fix"


class FixPublishers:
    """The publishers of a configured node. Between `open` and `close` it also subscribes to the receiver and to TF."""

    def __init__(self, node: LifecycleNode, settings: NodeParameters):
        self._node = node
        self._settings = settings
        self._qos = qos = QosOverrides(node)
        self._fixes = node.create_lifecycle_publisher(NavSatFix, FIX_TOPIC, **qos.publisher(FIX_TOPIC, 10))
        self._poses = self._stream = None
        if settings.publish_pose:
            self._poses = node.create_lifecycle_publisher(
                PoseWithCovarianceStamped, POSE_TOPIC, **qos.publisher(POSE_TOPIC, 10)
            )
        if settings.output == FALLBACK:
            self._stream = node.create_lifecycle_publisher(
                NavSatFix, FALLBACK_TOPIC, **qos.publisher(FALLBACK_TOPIC, 10)
            )
        self._fallback: Fallback | None = None
        self._gate: FilterGate | None = None
        self._receiver: Subscription | None = None
        self._timer: Timer | None = None

    def open(self, steady_clock: Clock, bundle_altitude: Altitude) -> None:
        """Look for the frame of the fixes in TF and, with output fallback, subscribe to the receiver."""
        stream = self._stream if self._stream is not None else self._fixes
        self._gate = FilterGate(self._node, stream, self._settings, self._log)
        if self._settings.frame_id:
            self._gate.watch(CAMERA, self._settings.frame_id)
        if self._stream is None:
            return
        site_altitude_m = self._site_altitude_m(bundle_altitude)
        self._fallback = Fallback(
            self._settings.monitor_settings(),
            site_altitude_m,
            self._stream.publish,
            self._log,
            self._settings.gps_frame,
            self._gate,
        )
        # steady time, so that silence is detected also when a simulated clock stands still
        self._timer = self._node.create_timer(TICK_S, self._tick, clock=steady_clock)
        topic = self._settings.gps_topic
        qos = self._qos.subscription(topic, qos_profile_sensor_data)
        self._receiver = self._node.create_subscription(NavSatFix, topic, self._on_receiver, **qos)

    def close(self) -> None:
        """Unsubscribe."""
        if self._gate is not None:
            self._gate.close()
        if self._receiver is not None:
            self._node.destroy_subscription(self._receiver)
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
        self._receiver = self._timer = self._fallback = self._gate = None

    def destroy(self) -> None:
        """Unsubscribe and destroy the publishers."""
        self.close()
        for publisher in (self._fixes, self._poses, self._stream):
            if publisher is not None:
                self._node.destroy_lifecycle_publisher(publisher)

    def publish(self, estimate: PositionEstimate, stamp: Time, frame_id: str, correlated: CorrelatedFixes) -> None:
        """Publish fix and pose. `frame_id` is the image's, `correlated` makes of the fix what a filter gets.

        Raises:
            EstimateError: The estimate would harm a filter; nothing is published.
        """
        fix = messages.to_navsatfix(estimate, stamp, self._frame_id(frame_id))
        pose = messages.to_pose(estimate, stamp, self._settings.map_frame)
        fallback, gate = self._fallback, self._gate
        # with output fallback the filter takes the topic fix, and this one shows what the camera says
        passes = fallback is not None or gate is None or gate.passes(CAMERA, fix.header.frame_id)
        if passes and (published := correlated.on_visual_fix(fix)) is not None:
            self._fixes.publish(published)
        if self._poses is not None:
            self._poses.publish(pose)
        if fallback is not None:
            fallback.visual(fix, self._now_s(), correlated.on_fix)

    def publish_rejected(self, bundle: Bundle, stamp: Time, frame_id: str) -> None:
        """Publish a fix with STATUS_NO_FIX for a rejected image, if the parameters ask for it."""
        if self._settings.publish_rejected:
            altitude_m = self._site_altitude_m(bundle.altitude)
            frame_id = self._frame_id(frame_id)
            self._fixes.publish(messages.to_rejected_fix(bundle.frame, altitude_m, stamp, frame_id))

    def watch_frame(self, image_frame_id: str) -> None:
        """Images with this frame_id come: their frame is looked for in TF before the first fix."""
        if self._gate is not None:
            self._gate.watch(CAMERA, self._frame_id(image_frame_id))

    def with_frame(self, report: DiagnosticReport) -> DiagnosticReport:
        """The node's diagnostic with the frame of the visual fixes, and whether TF connects it."""
        return report if self._gate is None else complete(report, self._gate, CAMERA)

    def fallback_report(self) -> DiagnosticReport | None:
        """Diagnostic of the fallback; None without output fallback."""
        if self._fallback is None or self._gate is None:
            return None
        return complete(self._fallback.report(), self._gate, RECEIVER)

    def on_time_jump(self) -> None:
        """ROS time jumped back."""
        if self._gate is not None:
            self._gate.restart()
        if self._fallback is not None:
            self._fallback.restart()

    def on_stamp_jump(self) -> None:
        """The stamps of the images jumped back."""
        if self._fallback is not None:
            self._fallback.restart_stamps()

    def _on_receiver(self, message: NavSatFix) -> None:
        if self._fallback is not None:
            self._fallback.receiver(message, self._now_s())

    def _tick(self) -> None:
        if self._gate is not None:
            self._gate.look_for_filters()
        if self._fallback is not None:
            self._fallback.tick(self._now_s())

    def _now_s(self) -> float:
        return self._node.get_clock().now().nanoseconds / NS_PER_S

    def _log(self, text: str, warning: bool) -> None:
        # two calls, because rclpy ties the severity to the line of code that logs
        if warning:
            self._node.get_logger().warning(text)
        else:
            self._node.get_logger().info(text)

    def _site_altitude_m(self, bundle_altitude: Altitude) -> float:
        altitude_m = self._settings.altitude_m
        return bundle_altitude.altitude_m if math.isnan(altitude_m) else altitude_m

    def _frame_id(self, image_frame_id: str) -> str:
        """As tf2 accepts it: navsat_transform puts a fix without a frame, or with a leading slash, at the origin."""
        frame_id = tf_name(self._settings.frame_id) or tf_name(image_frame_id)
        default = tf_name(self._settings.camera_frame)
        if not frame_id:
            self._node.get_logger().warning(
                f"the images have no frame_id, and the fixes get {default!r}: set the parameter frame_id", once=True
            )
        return frame_id or default
