"""The node's diagnostics: a status of the localizer, and one of the receiver where the fallback is on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from campus_visual_gps.ros import image_conversion
from campus_visual_gps.ros.diagnostics import ERROR, OK, STALE, WARN, DiagnosticReport, NodeStatistics

if TYPE_CHECKING:
    from campus_visual_gps.localizer import Localizer

UNCONFIGURED, INACTIVE, ACTIVE = "unconfigured", "inactive", "active"


def localizer_health(
    state: str, problem: str, warning: str, status: NodeStatistics, localizer: Localizer | None
) -> DiagnosticReport:
    """Health of the node: a problem is an ERROR, a node that is not active a WARN, else what it did.

    `warning` stands in for an OK or a STALE, and leaves what is worse.
    """
    if problem:
        return DiagnosticReport(ERROR, problem, {"state": state})
    if state != ACTIVE:
        return DiagnosticReport(WARN, f"{state}: no fixes are published", {"state": state})
    level, message, values = status.health()
    if warning and level in (OK, STALE):
        level, message = WARN, warning
    model = {
        "state": state,
        "model_id": localizer.bundle.model_id,
        "device": localizer.ensemble.device,
        "precision": localizer.ensemble.precision,
        "image_bridge": image_conversion.bridge().name,
    }
    return DiagnosticReport(level, message, {**model, **values})
