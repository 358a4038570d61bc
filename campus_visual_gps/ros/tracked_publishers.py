"""What the node publishes of the tracking: fix, pose, the grids, and the initial pose for other localizers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import NavSatFix

from campus_visual_gps.ros import messages
from campus_visual_gps.ros.correlated_fixes import CorrelatedFixes
from campus_visual_gps.ros.grid_publisher import POSTERIOR_GRID_TOPIC, TRACKED_GRID_TOPIC, GridPublisher
from campus_visual_gps.ros.live_tracking import TrackedEstimate
from campus_visual_gps.ros.parameters import NodeParameters
from campus_visual_gps.ros.qos import QosOverrides
from campus_visual_gps.tracking.session import OFF, is_lost

if TYPE_CHECKING:
    from campus_visual_gps.localizer import Localizer, PositionEstimate

TRACKED_FIX_TOPIC, TRACKED_POSE_TOPIC, INITIAL_POSE_TOPIC = (
    "visual_gps/tracked_fix",
    "visual_gps/tracked_pose",
    "initialpose",
)


def tracked_topics(settings: NodeParameters) -> list[str]:
    """The topics that the parameters ask for."""
    tracks = settings.tracking != OFF
    wanted = {
        TRACKED_FIX_TOPIC: tracks,
        TRACKED_POSE_TOPIC: tracks,
        INITIAL_POSE_TOPIC: tracks and settings.publish_initial_pose,
        POSTERIOR_GRID_TOPIC: settings.publish_grids,
        TRACKED_GRID_TOPIC: tracks and settings.publish_grids,
    }
    return [topic for topic, is_wanted in wanted.items() if is_wanted]


class TrackedPublishers:
    """The publishers of a configured node for the topics of `tracked_topics`."""

    def __init__(self, node: LifecycleNode, settings: NodeParameters):
        self._node, self._settings = node, settings
        qos, wanted = QosOverrides(node), tracked_topics(settings)
        kinds = {
            TRACKED_FIX_TOPIC: NavSatFix,
            TRACKED_POSE_TOPIC: PoseWithCovarianceStamped,
            INITIAL_POSE_TOPIC: PoseWithCovarianceStamped,
        }
        self._publishers = {
            topic: node.create_lifecycle_publisher(kind, topic, **qos.publisher(topic, 10))
            for topic, kind in kinds.items()
            if topic in wanted
        }
        self._grids = {
            topic: GridPublisher(node, settings, topic)
            for topic in (POSTERIOR_GRID_TOPIC, TRACKED_GRID_TOPIC)
            if topic in wanted
        }

    def destroy(self) -> None:
        """Destroy the publishers."""
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)
        for grid in self._grids.values():
            grid.destroy()

    def publish(self, tracked: TrackedEstimate, stamp: Time, frame_id: str, correlated: CorrelatedFixes | None) -> None:
        """Publish fix and pose; nothing while the robot is lost.

        Args:
            tracked: The position.
            stamp: Of the image.
            frame_id: Of the fix.
            correlated: Makes of the fix what a filter gets; None where fixes are held back from filters.

        Raises:
            EstimateError: The position would harm a filter; nothing is published.
        """
        if is_lost(tracked.tracked):
            return
        fix = messages.to_navsatfix(tracked, stamp, frame_id)
        pose = messages.to_pose(tracked, stamp, self._settings.map_frame)
        if correlated is not None and (published := correlated.on_tracked_fix(fix)) is not None:
            self._publishers[TRACKED_FIX_TOPIC].publish(published)
        self._publishers[TRACKED_POSE_TOPIC].publish(pose)

    def publish_posterior_grid(self, localizer: Localizer, estimate: PositionEstimate, stamp: Time) -> None:
        """Publish the posterior of a single image, if the parameters ask for it."""
        self._publish_grid(POSTERIOR_GRID_TOPIC, localizer, estimate.grid_probs, stamp)

    def publish_tracked_grid(self, localizer: Localizer, tracked: TrackedEstimate, stamp: Time) -> None:
        """Publish the belief, if the parameters ask for it."""
        self._publish_grid(TRACKED_GRID_TOPIC, localizer, tracked.tracked.grid_probs, stamp)

    def publish_initial_pose(self, tracked: TrackedEstimate) -> bool:
        """Publish where the robot is for another localizer, if the parameters ask for it; whether they do.

        The yaw is unknown, as is the whole orientation: its variance is pi^2.

        Raises:
            EstimateError: The position would harm it.
        """
        publisher = self._publishers.get(INITIAL_POSE_TOPIC)
        if publisher is not None:
            publisher.publish(messages.to_pose(tracked, messages.to_stamp(tracked.stamp_ns), self._settings.map_frame))
        return publisher is not None

    def _publish_grid(self, topic: str, localizer: Localizer, grid_probs, stamp: Time) -> None:
        if topic in self._grids and localizer.grid is not None and grid_probs is not None:
            self._grids[topic].publish(localizer.grid, grid_probs, stamp)
