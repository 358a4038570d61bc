"""Tracking: its odometry, and filters that are fed with what is not independent. Without ROS."""

from __future__ import annotations

from campus_visual_gps.ros.doctor.findings import Finding, passed, warning
from campus_visual_gps.ros.doctor.snapshot import ODOMETRY_TYPE, OdometryContent, Snapshot

TRACKING = "tracking"
_TRACKED_FIX = "visual_gps/tracked_fix"


def check_tracking(snapshot: Snapshot) -> list[Finding]:
    """Where the localizer tracks: the odometry that it asks for, and who reads the tracked fixes."""
    node = snapshot.localizer
    if node is None or not snapshot.is_active or node.parameter("tracking", "off") == "off":
        return []
    findings = [_odometry(snapshot, topic) for topic in node.subscribes(ODOMETRY_TYPE)]
    fused = [topic for topic in snapshot.fused_topics() if topic.endswith(_TRACKED_FIX)]
    if fused and node.parameter("correlated_errors", "inflate") == "ignore":
        text = f"navsat_transform reads {fused[0]} with correlated_errors: ignore"
        remedy = "a filter counts the same images again and again: set correlated_errors to inflate"
        findings.append(warning(TRACKING, text, remedy))
    return findings or [passed(TRACKING, str(node.parameter("tracking")))]


def _odometry(snapshot: Snapshot, name: str) -> Finding:
    topic = snapshot.topic(name)
    if not topic.samples:
        text = (
            f"nobody publishes {name}" if not topic.publishers else f"no message on {name} in {snapshot.seconds:.1f} s"
        )
        return warning(TRACKING, f"{text}: it walks at random meanwhile", "set odometry_topic, or start the odometry")
    bad = sum(not content.is_finite for content in topic.contents(OdometryContent))
    if bad:
        text = f"{bad} of {len(topic.samples)} messages on {name} are not finite"
        return warning(TRACKING, f"{text} and are left out", "look into the odometry's driver")
    return passed(TRACKING, f"odometry on {name}, {topic.rate_hz():.1f} Hz")
