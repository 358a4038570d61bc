"""Probabilities over the site as people look at them: nav_msgs/OccupancyGrid for RViz and Foxglove."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Time
from nav_msgs.msg import OccupancyGrid
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile

from campus_visual_gps.estimation.grid import LocationGrid
from campus_visual_gps.ros.parameters import NodeParameters
from campus_visual_gps.ros.qos import QosOverrides
from campus_visual_gps.ros.stamps import NS_PER_S, stamp_to_ns

POSTERIOR_GRID_TOPIC, TRACKED_GRID_TOPIC = "visual_gps/posterior_grid", "visual_gps/tracked_grid"
# Latched: a viewer that starts later gets the last one.
GRID_QOS = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# A smaller step back is a camera that delivers out of order.
_TIME_JUMP_NS = NS_PER_S


class GridPublisher:
    """One topic of grids, at a limited rate.

    Args:
        node: Owns the publisher.
        settings: The node's parameters.
        topic: One of the two above.
    """

    def __init__(self, node: LifecycleNode, settings: NodeParameters, topic: str):
        self._node, self._map_frame = node, settings.map_frame
        self._period_ns = round(NS_PER_S / settings.grid_rate_hz) if settings.grid_rate_hz > 0.0 else 0
        self._last_ns: int | None = None
        self._publisher = node.create_lifecycle_publisher(
            OccupancyGrid, topic, **QosOverrides(node).publisher(topic, GRID_QOS)
        )

    def destroy(self) -> None:
        """End the publisher."""
        self._node.destroy_lifecycle_publisher(self._publisher)

    def publish(self, grid: LocationGrid, grid_probs: np.ndarray, stamp: Time) -> None:
        """Publish probabilities (K,), unless the last ones have nearly the same stamp."""
        stamp_ns, last_ns = stamp_to_ns(stamp), self._last_ns
        if last_ns is not None and -_TIME_JUMP_NS < stamp_ns - last_ns < self._period_ns:
            return
        if np.all(np.isfinite(grid_probs)):
            self._last_ns = stamp_ns
            self._publisher.publish(to_occupancy_grid(grid, grid_probs, stamp, self._map_frame))


def to_occupancy_grid(grid: LocationGrid, grid_probs: np.ndarray, stamp: Time, map_frame: str) -> OccupancyGrid:
    """Probabilities (K,) as 0 to 100, where 100 is the most probable cell; 0 also where the site has no cell.

    The origin is the lower left corner in `map_frame`, x east, y north; rows go from south to north.
    """
    height, width = grid.raster_shape
    values = np.zeros((height, width))
    values[grid.rows, grid.columns] = grid_probs
    message = OccupancyGrid()
    message.header.stamp, message.header.frame_id = stamp, map_frame
    info = message.info
    info.map_load_time, info.resolution = stamp, float(grid.cell_m)
    info.width, info.height = int(width), int(height)
    corner_m = grid.centres_enu_m.min(axis=0) - grid.cell_m / 2.0
    info.origin.position.x, info.origin.position.y = (float(value) for value in corner_m)
    info.origin.orientation.w = 1.0
    peak = values.max()
    percent = np.round(100.0 * values / peak) if peak > 0.0 else values
    message.data = percent.astype(np.int8).ravel().tolist()
    return message
