"""What the node publishes for an image: fix and pose, and through the passthrough the topic `fix` for a filter."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import NavSatFix

from campus_visual_gps.ros import messages
from campus_visual_gps.ros.correlated_fixes import CorrelatedFixes
from campus_visual_gps.ros.diagnostics import DiagnosticReport
from campus_visual_gps.ros.filter_gate import FilterGate, complete
from campus_visual_gps.ros.parameters import NodeParameters
from campus_visual_gps.ros.qos import QosOverrides
from campus_visual_gps.ros.receiver_passthrough import ReceiverPassthrough
from campus_visual_gps.ros.tf_check import CAMERA
from campus_visual_gps.ros.tracked_publishers import TrackedPublishers
from campus_visual_gps.ros.transform_tree import tf_name

if TYPE_CHECKING:
    from campus_visual_gps.bundle import Altitude, Bundle
    from campus_visual_gps.localizer import PositionEstimate
    from campus_visual_gps.ros.live_tracking import TrackedEstimate

FIX_TOPIC, POSE_TOPIC = "visual_gps/fix", "visual_gps/pose"


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
        self.tracked = TrackedPublishers(node, settings)
        self._gate: FilterGate | None = None

    def open(self) -> None:
        """Look for the frame of the fixes in TF, and let them take part in the topic `fix`."""
        self._gate = self._passthrough.gate
        if self._gate is None:
            self._gate = FilterGate(self._node, self._fixes, self._settings, self._passthrough.log)
        if self._settings.frame_id:
            self._gate.watch(CAMERA, self._settings.frame_id)
        self._passthrough.begin_visual()

    def close(self) -> None:
        """Unsubscribe."""
        self._passthrough.end_visual()
        if self._gate is not None and self._gate is not self._passthrough.gate:
            self._gate.close()
        self._gate = None

    def destroy(self) -> None:
        """Unsubscribe and destroy the publishers."""
        self.close()
        for publisher in (self._fixes, self._poses):
            if publisher is not None:
                self._node.destroy_lifecycle_publisher(publisher)
        self.tracked.destroy()

    def publish(self, estimate: PositionEstimate, stamp: Time, frame_id: str, correlated: CorrelatedFixes) -> None:
        """Publish fix and pose. `frame_id` is the image's, `correlated` makes of the fix what a filter gets.

        Raises:
            EstimateError: The estimate would harm a filter; nothing is published.
        """
        fix = messages.to_navsatfix(estimate, stamp, self._frame_id(frame_id))
        pose = messages.to_pose(estimate, stamp, self._settings.map_frame)
        if self._passes(fix.header.frame_id) and (published := correlated.on_visual_fix(fix)) is not None:
            self._fixes.publish(published)
        if self._poses is not None:
            self._poses.publish(pose)
        self._passthrough.visual(fix, correlated.on_fix)

    def publish_tracked(
        self, tracked: TrackedEstimate, stamp: Time, frame_id: str, correlated: CorrelatedFixes
    ) -> None:
        """Publish the tracked fix and pose; `frame_id` is the image's. Raises EstimateError."""
        frame_id = self._frame_id(frame_id)
        self.tracked.publish(tracked, stamp, frame_id, correlated if self._passes(frame_id) else None)

    def _passes(self, frame_id: str) -> bool:
        """Whether fixes go to a filter now; with output fallback it takes the topic fix, and the others only show."""
        gate = self._gate
        return self._passthrough.gate is not None or gate is None or gate.passes(CAMERA, frame_id)

    def publish_rejected(self, bundle: Bundle, stamp: Time, frame_id: str) -> None:
        """Publish a fix with STATUS_NO_FIX for a rejected image, if the parameters ask for it."""
        if self._settings.publish_rejected:
            altitude_m = self._site_altitude_m(bundle.altitude)
            frame_id = self._frame_id(frame_id)
            self._fixes.publish(messages.to_rejected_fix(bundle.frame, altitude_m, stamp, frame_id))

    def watch_frame(self, image_frame_id: str, topic: str) -> None:
        """Images with this frame_id come on a topic: their frame is looked for in TF before the first fix."""
        if self._gate is not None:
            self._gate.watch(CAMERA, self._frame_id(image_frame_id), topic)

    def with_frame(self, report: DiagnosticReport) -> DiagnosticReport:
        """The node's diagnostic with the frame of the visual fixes, and whether TF connects it."""
        return report if self._gate is None else complete(report, self._gate, CAMERA)

    def on_time_jump(self) -> None:
        """ROS time jumped back."""
        if self._gate is not None:
            self._gate.restart()

    def on_stamp_jump(self) -> None:
        """The stamps of the images jumped back."""
        self._passthrough.on_stamp_jump()

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
