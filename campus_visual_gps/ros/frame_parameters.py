"""The parameters of coordinate frames, which NodeParameters inherits. Without ROS."""

from __future__ import annotations

from dataclasses import dataclass

from campus_visual_gps.ros.parameter_spec import ParameterGroup, parameter

_FRAMES = ParameterGroup(
    "Frames; fixes wait for their connection",
    comment="Coordinate frames. robot_localization puts a fix at the origin while its frame has no way to the robot.",
)


@dataclass(frozen=True)
class FrameParameters:
    """The frames of the fixes, and the frames that TF must connect them with; see filter_gate.py."""

    frame_id: str = parameter("", "frame_id of the visual fixes; empty: the image's.", group=_FRAMES)
    camera_frame: str = parameter(
        "camera",
        "frame_id of the visual fixes where neither the image nor the parameter frame_id has one.",
        required=True,
        group=_FRAMES,
        in_file=False,
    )
    gps_frame: str = parameter(
        "gps",
        "frame_id on the topic fix for a receiver that sends none.",
        required=True,
        group=_FRAMES,
        in_file=False,
    )
    base_frame: str = parameter(
        "",
        "The robot's base frame; empty: it is not watched whether TF connects the fixes' frames with it.",
        group=_FRAMES,
        comment="The launch file sets it with use_fusion, camera_xyz or gps_xyz.",
    )
    world_frame: str = parameter(
        "",
        "The filter's world frame, with which TF must connect base_frame; empty: not needed.",
        group=_FRAMES,
        comment="The launch file sets it with use_fusion. Leave it empty for a filter that publishes map -> odom only "
        "after its first fix.",
    )
    hold_until_connected: bool = parameter(
        True,
        "Fixes go to the filter only once TF connects their frame with base_frame, if that is set.",
        group=_FRAMES,
        comment="It holds back fix with output fallback, else visual_gps/fix; visual_gps/pose always comes.",
    )
