"""Coordinate frames: do camera, receiver, base and map hang together, by the rules of tf2? Without ROS."""

from __future__ import annotations

from campus_visual_gps.ros.doctor.findings import Finding, failure, passed, warning
from campus_visual_gps.ros.doctor.snapshot import Snapshot

TF = "tf"
# What navsat_transform of robot_localization logs then.
CONSEQUENCE = "navsat_transform puts the robot at the origin"


def check_frames(snapshot: Snapshot) -> list[Finding]:
    """The frames of the fixes against the robot's base, and the base against the map where filters run."""
    frames = _frames(snapshot)
    if snapshot.tree is None:
        if not frames:
            return []
        text = f"could not check {', '.join(frames)}: tf2_msgs is not installed"
        return [warning(TF, text, "install it (ros-DISTRO-tf2-msgs), or look at ros2 run tf2_tools view_frames")]
    findings = [
        failure(TF, f"{child!r} has several parents: {', '.join(sorted(parents))}", "let one node publish it")
        for child, parents in sorted(snapshot.parents.items())
        if len(parents) > 1
    ]
    base, bad = snapshot.base_frame, failure if snapshot.has_fusion else warning
    for frame, source in frames.items():
        if gap := snapshot.tree.gap(frame, base) if base else _unknown(snapshot, frame):
            remedy = "publish its transform (camera_frame and camera_xyz, gps_frame and gps_xyz of localize.launch.py)"
            between = f"no transform {base} -> {frame}" if base else f"frame {frame!r} is not in TF"
            findings.append(bad(TF, f"{between}, the frame of {source}: {gap}; {CONSEQUENCE}", remedy))
    findings += _chains(snapshot)
    if not findings and (frames or snapshot.filters):
        findings.append(passed(TF, f"{', '.join(frames) or 'the map'} and {base or 'the robot'} are connected"))
    return findings


def _frames(snapshot: Snapshot) -> dict[str, str]:
    """The frames that must lead to the base, each with the topic that has it."""
    frames: dict[str, str] = {}
    images = snapshot.image_topics()
    names = (*snapshot.fix_topics(), *snapshot.receiver_topics(), *snapshot.fused_topics(), *images)
    given = snapshot.localizer.parameter("frame_id", "") if snapshot.localizer else ""
    for name in dict.fromkeys(names):
        for sample in snapshot.topic(name).samples:
            # the fixes of images may have a frame of their own
            if sample.frame_id and not (name in images and given):
                frames.setdefault(sample.frame_id, name)
    if given:
        frames.setdefault(str(given), "the parameter frame_id")
    return frames


def _unknown(snapshot: Snapshot, frame: str) -> str:
    return "" if snapshot.tree is None or snapshot.tree.has(frame) else "no transform names it"


def _chains(snapshot: Snapshot) -> list[Finding]:
    """Each filter's own chain: odom -> base, map -> odom."""
    findings = []
    for node in snapshot.filters:
        world, base = node.parameter("world_frame", ""), node.parameter("base_link_frame", "base_link")
        if snapshot.tree is None or not world or not node.parameter("publish_tf", True):
            continue
        if gap := snapshot.tree.gap(str(base), str(world)):
            remedy = f"check the input of {node.name} and publish_tf of the filters"
            findings.append(failure(TF, f"no transform {world} -> {base}, of {node.name}: {gap}", remedy))
    return findings
