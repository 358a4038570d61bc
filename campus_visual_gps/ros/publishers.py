"""What the node publishes for an image: fix and pose, and through the passthrough the topic `fix` for a filter."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import NavSatFix

from campus_visual_gps.ros import messages
from campus_visual_gps.ros.parameters import NodeParameters
from campus_visual_gps.ros.qos import QosOverrides
from campus_visual_gps.ros.receiver_passthrough import ReceiverPassthrough
from campus_visual_gps.ros.tf_check import TfFrameMonitor

if TYPE_CHECKING:
    from campus_visual_gps.bundle import Altitude, Bundle
    from campus_visual_gps.localizer import PositionEstimate

FIX_TOPIC, POSE_TOPIC = "visual_gps/fix", "visual_gps/pose"
# For images without a frame_id: navsat_transform puts a fix without a frame at the robot's origin.
DEFAULT_FRAME_ID = "camera"


class FixPublishers:
    """The publishers of a configured node. Between `open` and `close` it also subscribes to TF."""

    def __init__(self, node: LifecycleNode, settings: NodeParameters, passthrough: ReceiverPassthrough):
        self._node = node
        self._settings = settings
        self._passthrough = passthrough
        qos = QosOverrides(node)
        self._fixes = node.create_lifecycle_publisher(NavSatFix, FIX_TOPIC, **qos.publisher(FIX_TOPIC, 10))
        self._poses = None
        if settings.publish_pose:
            self._poses = node.create_lifecycle_publisher(
                PoseWithCovarianceStamped, POSE_TOPIC, **qos.publisher(POSE_TOPIC, 10)
            )
        self._tf_monitor: TfFrameMonitor | None = None

    def open(self) -> None:
        """Look for the frame of the fixes in TF."""
        self._tf_monitor = TfFrameMonitor(self._node, self._warn, self._settings.frame_id)
        self._passthrough.begin_visual()

    def close(self) -> None:
        """Unsubscribe."""
        self._passthrough.end_visual()
        if self._tf_monitor is not None:
            self._tf_monitor.close()
        self._tf_monitor = None

    def destroy(self) -> None:
        """Unsubscribe and destroy the publishers."""
        self.close()
        for publisher in (self._fixes, self._poses):
            if publisher is not None:
                self._node.destroy_lifecycle_publisher(publisher)

    def publish(self, estimate: PositionEstimate, stamp: Time, frame_id: str) -> None:
        """Publish fix and pose. `frame_id` is the image's.

        Raises:
            EstimateError: The estimate would harm a filter; nothing is published.
        """
        fix = messages.to_navsatfix(estimate, stamp, self._frame_id(frame_id))
        pose = messages.to_pose(estimate, stamp, self._settings.map_frame)
        self._fixes.publish(fix)
        if self._poses is not None:
            self._poses.publish(pose)
        tf_monitor = self._tf_monitor
        if tf_monitor is not None:
            tf_monitor.published(fix.header.frame_id)
        self._passthrough.visual(fix)

    def publish_rejected(self, bundle: Bundle, stamp: Time, frame_id: str) -> None:
        """Publish a fix with STATUS_NO_FIX for a rejected image, if the parameters ask for it."""
        if self._settings.publish_rejected:
            altitude_m = self._site_altitude_m(bundle.altitude)
            frame_id = self._frame_id(frame_id)
            self._fixes.publish(messages.to_rejected_fix(bundle.frame, altitude_m, stamp, frame_id))

    def check_frame(self) -> dict[str, object]:
        """Key-value pairs for the diagnostics: the frame of the fixes and whether it is in TF."""
        return self._tf_monitor.check() if self._tf_monitor is not None else {}

    def on_stamp_jump(self) -> None:
        """The stamps of the images jumped back."""
        self._passthrough.on_stamp_jump()

    def _warn(self, text: str) -> None:
        self._node.get_logger().warning(text)

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
