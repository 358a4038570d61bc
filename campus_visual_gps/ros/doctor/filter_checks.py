"""robot_localization: inputs that nobody publishes, and output that is silent, at the origin or not finite. No ROS."""

from __future__ import annotations

import math

import numpy as np

from campus_visual_gps.gnss.receiver_fix import ReceiverFix
from campus_visual_gps.ros.doctor.findings import Finding, failure, passed, warning
from campus_visual_gps.ros.doctor.snapshot import (
    FIX_TYPE,
    IMU_TYPE,
    ODOMETRY_TYPE,
    NodeInfo,
    OdometryContent,
    Snapshot,
)
from campus_visual_gps.ros.doctor.tf_checks import CONSEQUENCE

FILTER, NAVSAT = "filter", "navsat"
INPUT_TYPES = (
    ODOMETRY_TYPE,
    IMU_TYPE,
    "geometry_msgs/msg/PoseWithCovarianceStamped",
    "geometry_msgs/msg/TwistWithCovarianceStamped",
)
# navsat_transform publishes exact zeros; a filter that fuses them and does not move stays there.
ORIGIN_M = 1e-6
# A robot that really is at the origin of the map, within some decimetres.
_AT_DATUM_DEG = 5e-6
# Part of the rate of its inputs, or of its parameter `frequency`, that a filter must reach.
MIN_RATE = 0.5
_RESTART = "restart the filter, or call its service reset, when the cause is gone"


def check_filters(snapshot: Snapshot) -> list[Finding]:
    """Each ekf_node or ukf_node."""
    findings = _missing(snapshot)
    for node in snapshot.filters:
        findings += [*_inputs(snapshot, node), *_output(snapshot, node)]
        if node.simulated and node.parameter("smooth_lagged_data", False):
            text = f"{node.name} has smooth_lagged_data in simulated time, which ends it on Kilted and Rolling"
            findings.append(warning(FILTER, text, "set smooth_lagged_data:=false (robot_localization 954 and 964)"))
    return findings


def check_navsat(snapshot: Snapshot) -> list[Finding]:
    """Each navsat_transform: its input, its datum and its output."""
    findings = []
    for node in snapshot.navsats:
        own = [*_navsat_input(snapshot, node), *_datum(node), *_navsat_output(snapshot, node)]
        findings += own or [passed(NAVSAT, f"{node.name} converts {', '.join(snapshot.fused_topics())}")]
    if snapshot.filters and not snapshot.navsats and any(_reads_gps(node) for node in snapshot.filters):
        text = "a filter expects odometry/gps, and no navsat_transform runs"
        findings.append(failure(NAVSAT, text, "start fusion.launch.py; it needs model_dir"))
    return findings


def check_log(snapshot: Snapshot) -> list[Finding]:
    """Errors in the logs of the filters and of the localizer; the last of each node."""
    last = {line.node: " ".join(line.text.split()).rstrip(".") for line in snapshot.log if line.is_error}
    return [warning("log", f"{node}: {text}", _explained(text)) for node, text in sorted(last.items())]


def _explained(text: str) -> str:
    if "Could not obtain" in text and "transform" in text:
        return f"{CONSEQUENCE} until it is there: publish the frame, see docs/fusion.md"
    if "Failed to meet update rate" in text:
        return "lower its frequency, or give it more of the processor"
    return "see its log"


def _missing(snapshot: Snapshot) -> list[Finding]:
    """Inputs without a publisher, each with the filters that read it."""
    readers: dict[tuple[str, str], list[str]] = {}
    for node in snapshot.filters:
        for name, kind in node.subscribed:
            if _is_input(name, kind) and not snapshot.topic(name).publishers:
                readers.setdefault((name, kind), []).append(node.name)
    findings = []
    for (name, kind), nodes in sorted(readers.items()):
        if kind == IMU_TYPE:
            text = f"nobody publishes {name}, an optional input of {', '.join(nodes)}"
            findings.append(warning(FILTER, text, "set imu_topic, or drive without an IMU: the heading needs a minute"))
        else:
            remedy = "start navsat_transform" if name.endswith("gps") else "start its driver, or set odom_topic"
            findings.append(failure(FILTER, f"nobody publishes {name}, an input of {', '.join(nodes)}", remedy))
    return findings


def _is_input(topic: str, kind: str) -> bool:
    return kind in INPUT_TYPES and not topic.endswith("/set_pose")


def _inputs(snapshot: Snapshot, node: NodeInfo) -> list[Finding]:
    findings = []
    for name, kind in node.subscribed:
        topic = snapshot.topic(name)
        if not _is_input(name, kind) or not topic.publishers:
            continue
        findings += [failure(FILTER, line, "change the QoS of one of them") for line in topic.mismatches]
        contents = topic.contents(OdometryContent)
        if kind in (ODOMETRY_TYPE, IMU_TYPE) and not topic.samples and not _is_gps(snapshot, name):
            text = f"nothing on {name}, an input of {node.name}, in {snapshot.seconds:.1f} s"
            findings.append(failure(FILTER, text, f"check {topic.publishers[0]}"))
        elif contents and not any(contents[-1].twist_variances) and not _is_gps(snapshot, name):
            text = f"{name} has a twist covariance of zeros, which {node.name} takes for certainty"
            findings.append(warning(FILTER, text, "set the twist covariance of the wheels' driver"))
    return findings


def _output(snapshot: Snapshot, node: NodeInfo) -> list[Finding]:
    findings = []
    for name in node.publishes(ODOMETRY_TYPE):
        topic = snapshot.topic(name)
        states: list[OdometryContent] = topic.contents(OdometryContent)
        if len(topic.publishers) > 1:
            text = f"{len(topic.publishers)} publishers on {name}: {', '.join(topic.publishers)}"
            findings.append(failure(FILTER, text, "start the filters once"))
        elif not states:
            text = f"{node.name} publishes nothing on {name}"
            remedy = "check its inputs and its clock; after a jump back of time call its service reset"
            findings.append(failure(FILTER, text, remedy))
        elif not states[-1].is_finite:
            text = f"the state of {node.name} is NaN for good, from a NaN in an input or a covariance"
            findings.append(failure(FILTER, text, _RESTART))
        elif _is_in_map(node) and all(map(_is_origin, states)) and not _is_at_datum(snapshot):
            text = f"{node.name} stays at the origin of the map"
            findings.append(failure(FILTER, text, f"see the findings on tf and fixes; {_RESTART}"))
        else:
            findings += _slow(snapshot, node, name) or _elsewhere(snapshot, node, states[-1], name)
    return findings


def _slow(snapshot: Snapshot, node: NodeInfo, topic: str) -> list[Finding]:
    """A filter publishes when it has fused something new, at most at its frequency."""
    inputs_hz = [snapshot.topic(name).rate_hz() for name, kind in node.subscribed if _is_input(name, kind)]
    wanted_hz, rate_hz = (
        min(node.parameter("frequency", 0.0), max(inputs_hz, default=0.0)),
        snapshot.topic(topic).rate_hz(),
    )
    if not rate_hz or rate_hz >= MIN_RATE * wanted_hz:
        return []
    text = f"{node.name} reaches {rate_hz:.1f} of {wanted_hz:.1f} Hz on {topic}"
    return [warning(FILTER, text, "lower its frequency, or give it more of the processor")]


def _elsewhere(snapshot: Snapshot, node: NodeInfo, state: OdometryContent, name: str) -> list[Finding]:
    """The state in the map against the last measurement of position, in their joint covariance."""
    found = passed(FILTER, f"{node.name}: {name} at {snapshot.topic(name).rate_hz():.1f} Hz")
    gps = [topic for node_ in snapshot.navsats for topic in node_.publishes(ODOMETRY_TYPE)]
    measured = [content for topic in gps for content in snapshot.topic(topic).contents(OdometryContent)]
    measured = [content for content in measured if content.is_finite and not _is_origin(content)]
    if not _is_in_map(node) or len(measured) < 2:
        return [found]
    misses = [(item, math.hypot(item.x_m - state.x_m, item.y_m - state.y_m)) for item in measured]
    allowed = [4.0 * math.sqrt(max(item.variances_m2) + max(state.variances_m2)) + 5.0 for item, _ in misses]
    if not all(miss_m > limit_m for (_, miss_m), limit_m in zip(misses, allowed, strict=True)):
        return [found]
    text = f"{node.name} is {float(np.median([miss for _, miss in misses])):.0f} m from the fixes, and rejects them"
    return [failure(FILTER, text, f"it started at a wrong place, as the origin: {_RESTART}")]


def _navsat_input(snapshot: Snapshot, node: NodeInfo) -> list[Finding]:
    findings = []
    for name in node.subscribes(FIX_TYPE):
        if not snapshot.topic(name).publishers:
            remedy = "set fix_topic of fusion.launch.py: visual_gps/fix, or fix with output:=fallback"
            findings.append(failure(NAVSAT, f"nobody publishes {name}, the fixes of {node.name}", remedy))
        own = snapshot.fix_topics()
        if snapshot.receiver_topics() and name in own and name.endswith("visual_gps/fix"):
            text = f"{node.name} reads {name}, although the localizer has output fallback"
            findings.append(warning(NAVSAT, text, "set fix_topic:=fix to fuse the receiver too"))
        if name in snapshot.receiver_topics():
            text = f"{node.name} reads the receiver {name} itself, without the visual fixes"
            findings.append(warning(NAVSAT, text, "set fix_topic:=fix"))
    for name in node.subscribes(ODOMETRY_TYPE):
        if not snapshot.topic(name).publishers:
            remedy = "remap odometry/filtered to the output of the map filter (odometry/global)"
            findings.append(failure(NAVSAT, f"nobody publishes {name}, which {node.name} waits for", remedy))
    return findings


def _datum(node: NodeInfo) -> list[Finding]:
    if node.parameters is None:
        return [warning(NAVSAT, f"{node.name} does not tell its parameters", "see its log")]
    findings = []
    datum = node.parameter("datum", ())
    if not node.parameter("wait_for_datum", False):
        text = f"{node.name} takes its first fix as the origin of the map, whatever its error"
        findings.append(warning(NAVSAT, text, "set wait_for_datum and datum, as fusion.launch.py does"))
    elif len(datum) != 3 or not any(datum[:2]):
        text = f"{node.name} has wait_for_datum and no datum: {list(datum)}"
        findings.append(failure(NAVSAT, text, "set datum: [latitude, longitude, 0.0] of the bundle"))
    if node.parameter("use_local_cartesian", False):
        text = f"{node.name} has use_local_cartesian, which moves the datum but not the fixes"
        findings.append(failure(NAVSAT, text, "set it to false (robot_localization 832)"))
    return findings


def _navsat_output(snapshot: Snapshot, node: NodeInfo) -> list[Finding]:
    fixes_come = any(snapshot.topic(name).samples for name in node.subscribes(FIX_TYPE))
    for name in node.publishes(ODOMETRY_TYPE):
        positions: list[OdometryContent] = snapshot.topic(name).contents(OdometryContent)
        if not positions and fixes_come:
            text = f"{node.name} gets fixes and publishes nothing on {name}"
            remedy = "it waits for the map filter's output, or drops the fixes: status -1, altitude NaN"
            return [failure(NAVSAT, text, remedy)]
        at_origin = sum(_is_origin(position) for position in positions)
        if at_origin and not _is_at_datum(snapshot):
            text = f"{at_origin} of {len(positions)} messages on {name} are (0, 0, 0)"
            return [failure(NAVSAT, text, "the frame of the fixes is not connected to the map: see the findings on tf")]
    return []


def _is_gps(snapshot: Snapshot, topic: str) -> bool:
    return any(topic in node.publishes(ODOMETRY_TYPE) for node in snapshot.navsats)


def _reads_gps(node: NodeInfo) -> bool:
    return any(name.endswith("odometry/gps") for name in node.subscribes(ODOMETRY_TYPE))


def _is_in_map(node: NodeInfo) -> bool:
    world = node.parameter("world_frame", "")
    return bool(world) and world == node.parameter("map_frame", "map")


def _is_origin(state: OdometryContent) -> bool:
    return abs(state.x_m) < ORIGIN_M and abs(state.y_m) < ORIGIN_M


def _is_at_datum(snapshot: Snapshot) -> bool:
    """Whether the last fix that is fused is at the origin of the map itself."""
    for node in snapshot.navsats:
        datum = node.parameter("datum", ())
        for topic in node.subscribes(FIX_TYPE):
            fixes: list[ReceiverFix] = snapshot.topic(topic).contents(ReceiverFix)
            if fixes and len(datum) == 3:
                miss_deg = max(abs(fixes[-1].latitude_deg - datum[0]), abs(fixes[-1].longitude_deg - datum[1]))
                return miss_deg < _AT_DATUM_DEG
    return False
