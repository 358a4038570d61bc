"""The parameters of the tracking, which NodeParameters inherits. Without ROS."""

from __future__ import annotations

from dataclasses import dataclass

from campus_visual_gps.ros.parameter_spec import ParameterGroup, parameter
from campus_visual_gps.tracking.session import MODES, OFF

_TRACKING = ParameterGroup(
    "[Tracking](docs/tracking.md), `~/relocalize`, grids",
    comment="Tracking: a Bayes filter over the bundle's location grid, which joins images and odometry "
    "(docs/tracking.md).",
)


@dataclass(frozen=True)
class TrackingParameters:
    """How the images are joined over time, and what is published of it."""

    tracking: str = parameter(
        OFF,
        "Joins images over time: off, random_walk (walking speed, any direction) or odometry.",
        choices=MODES,
        group=_TRACKING,
        comment="With tracking, visual_gps/tracked_fix and tracked_pose are published, and single images that "
        "contradict the past give no fix. It needs a bundle with a location grid.",
    )
    odometry_topic: str = parameter(
        "odom",
        "Topic of the nav_msgs/Odometry for tracking odometry.",
        required=True,
        group=_TRACKING,
        comment="Only displacements count, so its origin and heading may be anything. While it is silent, tracking is "
        "a random walk.",
    )
    relocalize_timeout_s: float = parameter(
        60.0,
        "The service relocalize gives up after this time.",
        unit="s",
        limits=(0.1, 3600.0),
        group=_TRACKING,
    )
    relocalize_max_sigma_m: float = parameter(
        20.0,
        "The service relocalize answers once the standard deviation in the worst direction is lower.",
        unit="m",
        limits=(0.1, 1000.0),
        group=_TRACKING,
    )
    publish_initial_pose: bool = parameter(
        False,
        "Publish the position that relocalize finds on initialpose, with unknown yaw.",
        group=_TRACKING,
        comment="For amcl, slam_toolbox or rtabmap. Their map must have its axes east and north, and its origin at the "
        "bundle's reference point.",
    )
    publish_grids: bool = parameter(
        False,
        "Publish the probabilities as nav_msgs/OccupancyGrid: visual_gps/posterior_grid and visual_gps/tracked_grid.",
        group=_TRACKING,
        comment="0 to 100, where 100 is the most probable cell. Latched, for RViz and Foxglove.",
    )
    grid_rate_hz: float = parameter(
        1.0,
        "Maximum rate of the grids, by the images' stamps; 0: no limit.",
        unit="Hz",
        limits=(0.0, 1000.0),
        group=_TRACKING,
    )
