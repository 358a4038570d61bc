"""What the node publishes of a frame: fix and pose, and through the fallback the one stream for a filter."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import NavSatFix

from campus_visual_gps.gnss.arbiter import TICK_S
from campus_visual_gps.ros import messages
from campus_visual_gps.ros.fallback import Fallback
from campus_visual_gps.ros.image_queue import NANOSECONDS
from campus_visual_gps.ros.parameters import FALLBACK, NodeParameters
from campus_visual_gps.ros.tf_check import TfFrameMonitor

if TYPE_CHECKING:
    from campus_visual_gps.bundle import Bundle
    from campus_visual_gps.localizer import PositionEstimate

FIX_TOPIC, POSE_TOPIC, FALLBACK_TOPIC = "visual_gps/fix", "visual_gps/pose", "fix"
# navsat_transform puts a fix without a frame at the robot's origin; a camera driver that leaves it empty gets this.
FALLBACK_FRAME_ID = "camera"


class FixPublishers:
    """Publishers of one configuration of the node; the receiver is listened to between `open` and `close`."""

    def __init__(self, node: LifecycleNode, settings: NodeParameters):
        self._node = node
        self._settings = settings
        self._fixes = node.create_lifecycle_publisher(NavSatFix, FIX_TOPIC, 10)
        self._poses = self._stream = self._receiver = self._timer = None
        self.fallback: Fallback | None = None
        self._frames: TfFrameMonitor | None = None
        if settings.publish_pose:
            self._poses = node.create_lifecycle_publisher(PoseWithCovarianceStamped, POSE_TOPIC, 10)
        if settings.output == FALLBACK:
            self._stream = node.create_lifecycle_publisher(NavSatFix, FALLBACK_TOPIC, 10)

    def open(self, steady_clock) -> None:
        """Look for the fixes' frame in TF, and listen to the receiver where the fallback is asked for."""
        self._frames = TfFrameMonitor(self._node, lambda text: self._log(text, True), self._settings.frame_id)
        if self._stream is None:
            return
        self.fallback = Fallback(self._settings.monitor_settings(), self._stream.publish, self._log)
        # steady time: silence is noticed however the simulated clock runs
        self._timer = self._node.create_timer(TICK_S, self._tick, clock=steady_clock)
        self._receiver = self._node.create_subscription(
            NavSatFix, self._settings.gps_topic, self._on_receiver, qos_profile_sensor_data
        )

    def close(self) -> None:
        """Stop listening."""
        if self._frames is not None:
            self._frames.close()
        if self._receiver is not None:
            self._node.destroy_subscription(self._receiver)
            self._node.destroy_timer(self._timer)
        self._receiver = self._timer = self.fallback = self._frames = None

    def destroy(self) -> None:
        """Take the publishers away."""
        self.close()
        for publisher in (self._fixes, self._poses, self._stream):
            if publisher is not None:
                self._node.destroy_lifecycle_publisher(publisher)

    def publish(self, estimate: PositionEstimate, stamp: Time, frame_id: str) -> None:
        """Publish fix and pose. Raises EstimateError, with nothing published, for what no filter must see."""
        fix = messages.to_navsatfix(estimate, stamp, self._frame_id(frame_id))
        pose = messages.to_pose(estimate, stamp, self._settings.map_frame)
        self._fixes.publish(fix)
        if self._poses is not None:
            self._poses.publish(pose)
        fallback, frames = self.fallback, self._frames
        if frames is not None:
            frames.published(fix.header.frame_id)
        if fallback is not None:
            fallback.visual(fix, self._now_s())

    def publish_rejected(self, bundle: Bundle, stamp: Time, frame_id: str) -> None:
        """Publish STATUS_NO_FIX for a refused frame, where that is asked for."""
        if self._settings.publish_rejected:
            altitude_m = self._settings.altitude_m
            altitude_m = bundle.altitude.altitude_m if math.isnan(altitude_m) else altitude_m
            frame_id = self._frame_id(frame_id)
            self._fixes.publish(messages.to_rejected_fix(bundle.frame, altitude_m, stamp, frame_id))

    def check_frame(self) -> dict[str, object]:
        """Values for the diagnostics: the fixes' frame and whether TF has it."""
        return self._frames.check() if self._frames is not None else {}

    def time_jumped(self) -> None:
        """ROS time jumped back."""
        if self.fallback is not None:
            self.fallback.restart()

    def stamps_jumped(self) -> None:
        """The images' stamps jumped back."""
        if self.fallback is not None:
            self.fallback.restart_stamps()

    def _on_receiver(self, message: NavSatFix) -> None:
        if self.fallback is not None:
            self.fallback.receiver(message, self._now_s())

    def _tick(self) -> None:
        if self.fallback is not None:
            self.fallback.tick(self._now_s())

    def _now_s(self) -> float:
        return self._node.get_clock().now().nanoseconds / NANOSECONDS

    def _log(self, text: str, warning: bool) -> None:
        # two calls: rclpy ties a severity to the line of code that logs
        if warning:
            self._node.get_logger().warning(text)
        else:
            self._node.get_logger().info(text)

    def _frame_id(self, images: str) -> str:
        frame_id = self._settings.frame_id or images
        if not frame_id:
            self._node.get_logger().warning(
                f"images have no frame_id; fixes get {FALLBACK_FRAME_ID!r}: set parameter frame_id", once=True
            )
        return frame_id or FALLBACK_FRAME_ID
