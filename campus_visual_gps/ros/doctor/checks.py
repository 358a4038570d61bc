"""All checks, in the order of their lines. Without ROS."""

from __future__ import annotations

from collections.abc import Callable

from campus_visual_gps.ros.doctor.clock_checks import check_clock, check_stamps
from campus_visual_gps.ros.doctor.filter_checks import check_filters, check_log, check_navsat
from campus_visual_gps.ros.doctor.findings import Finding
from campus_visual_gps.ros.doctor.fix_checks import check_fixes
from campus_visual_gps.ros.doctor.localizer_checks import check_images, check_localizer
from campus_visual_gps.ros.doctor.snapshot import Snapshot
from campus_visual_gps.ros.doctor.tf_checks import check_frames
from campus_visual_gps.ros.doctor.tracking_checks import check_tracking

CHECKS: tuple[Callable[[Snapshot], list[Finding]], ...] = (
    check_localizer,
    check_clock,
    check_images,
    check_stamps,
    check_fixes,
    check_tracking,
    check_frames,
    check_navsat,
    check_filters,
    check_log,
)


def examine(snapshot: Snapshot) -> list[Finding]:
    """The findings of all checks; each line once."""
    return list(dict.fromkeys(finding for check in CHECKS for finding in check(snapshot)))
