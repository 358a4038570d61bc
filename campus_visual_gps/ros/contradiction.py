"""What the log and the diagnostics say of the comparison of the receiver with the visual fixes. Without ROS."""

from __future__ import annotations

from collections.abc import Callable

from campus_visual_gps.gnss.health import GpsMonitor
from campus_visual_gps.gnss.visual_check import VisualCheck


class ContradictionLog:
    """One warning when a receiver begins to contradict the visual fixes, one line when it no longer does.

    Args:
        log: Called with one line, and whether it is a warning.
    """

    def __init__(self, log: Callable[[str, bool], None]):
        self._log = log
        self._contradicts = False

    def log(self, monitor: GpsMonitor) -> None:
        """Log a change since the last call."""
        before, self._contradicts = self._contradicts, monitor.visual_check.contradicts
        if self._contradicts and not before:
            self._log(contradiction_text(monitor), True)
        elif before and not self._contradicts:
            self._log(f"the receiver no longer contradicts the visual fixes: {monitor.visual_check.result}", False)


def contradiction_text(monitor: GpsMonitor) -> str:
    """One line for a receiver that contradicts the visual fixes: by how much, and what follows."""
    text = f"the receiver contradicts the visual fixes: {monitor.visual_check.verdict}"
    if monitor.settings.check_against_visual:
        return f"{text}; it is not used until it agrees with them"
    return f"{text}; with gps_check_against_visual it would not be used"


def comparison_values(check: VisualCheck) -> dict[str, object]:
    """Key-value pairs for the diagnostics: the last comparison."""
    values: dict[str, object] = {
        "visual_check": str(check.result),
        "visual_check.correlation_time_s": check.correlation_time_s,
    }
    if check.verdict is not None:
        values["visual_check.distance_m"] = check.verdict.distance_m
        values["visual_check.sigmas"] = check.verdict.sigmas
    return values
