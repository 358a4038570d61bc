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
from campus_visual_gps.ros.parameters import FALLBACK, NodeParameters
from campus_visual_gps.ros.qos import QosOverrides
from campus_visual_gps.ros.stamps import NS_PER_S
from campus_visual_gps.ros.tf_check import TfFrameMonitor

if TYPE_CHECKING:
    from campus_visual_gps.bundle import Altitude, Bundle
    from campus_visual_gps.localizer import PositionEstimate

FIX_TOPIC, POSE_TOPIC, FALLBACK_TOPIC = "visual_gps/fix", "visual_gps/pose", "fix"
# For images without a frame_id: navsat_transform puts a fix without a frame at the robot's origin.
DEFAULT_FRAME_ID = "camera"


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
        self._tf_monitor: TfFrameMonitor | None = None
        self._receiver: Subscription | None = None
        self._timer: Timer | None = None

    def open(self, steady_clock: Clock, bundle_altitude: Altitude) -> None:
        """Look for the frame of the fixes in TF and, with output fallback, subscribe to the receiver."""
        self._tf_monitor = TfFrameMonitor(self._node, lambda text: self._log(text, True), self._settings.frame_id)
        if self._stream is None:
            return
        site_altitude_m = self._site_altitude_m(bundle_altitude)
        self._fallback = Fallback(self._settings.monitor_settings(), site_altitude_m, self._stream.publish, self._log)
        # steady time, so that silence is detected also when a simulated clock stands still
        self._timer = self._node.create_timer(TICK_S, self._tick, clock=steady_clock)
        topic = self._settings.gps_topic
        qos = self._qos.subscription(topic, qos_profile_sensor_data)
        self._receiver = self._node.create_subscription(NavSatFix, topic, self._on_receiver, **qos)

    def close(self) -> None:
        """Unsubscribe."""
        if self._tf_monitor is not None:
            self._tf_monitor.close()
        if self._receiver is not None:
            self._node.destroy_subscription(self._receiver)
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
        self._receiver = self._timer = self._fallback = self._tf_monitor = None

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
        if (published := correlated.on_visual_fix(fix)) is not None:
            self._fixes.publish(published)
        if self._poses is not None:
            self._poses.publish(pose)
        fallback, tf_monitor = self._fallback, self._tf_monitor
        if tf_monitor is not None:
            tf_monitor.published(fix.header.frame_id)
        if fallback is not None:
            fallback.visual(fix, self._now_s(), correlated.on_fix)

    def publish_rejected(self, bundle: Bundle, stamp: Time, frame_id: str) -> None:
        """Publish a fix with STATUS_NO_FIX for a rejected image, if the parameters ask for it."""
        if self._settings.publish_rejected:
            altitude_m = self._site_altitude_m(bundle.altitude)
            frame_id = self._frame_id(frame_id)
            self._fixes.publish(messages.to_rejected_fix(bundle.frame, altitude_m, stamp, frame_id))

    def check_frame(self) -> dict[str, object]:
        """Key-value pairs for the diagnostics: the frame of the fixes and whether it is in TF."""
        return self._tf_monitor.check() if self._tf_monitor is not None else {}

    def fallback_report(self) -> DiagnosticReport | None:
        """Diagnostic of the fallback; None without output fallback."""
        return self._fallback.report() if self._fallback is not None else None

    def on_time_jump(self) -> None:
        """ROS time jumped back."""
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
        frame_id = self._settings.frame_id or image_frame_id
        if not frame_id:
            self._node.get_logger().warning(
                f"the images have no frame_id, and the fixes get {DEFAULT_FRAME_ID!r}: set the parameter frame_id",
                once=True,
            )
        return frame_id or DEFAULT_FRAME_ID
