"""The node's diagnostics: a status of the localizer, and one of the receiver where the fallback is on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from campus_visual_gps.ros import image_conversion
from campus_visual_gps.ros.status import ERROR, WARN, Health, Status

if TYPE_CHECKING:
    from campus_visual_gps.localizer import Localizer

UNCONFIGURED, INACTIVE, ACTIVE = "unconfigured", "inactive", "active"


def localizer_health(state: str, problem: str, status: Status, localizer: Localizer | None, enabled: bool) -> Health:
    """Health of the node: a problem is an ERROR, a node that is not meant to publish a WARN, else what it did."""
    if problem:
        return Health(ERROR, problem, {"state": state})
    if state != ACTIVE:
        return Health(WARN, f"{state}: no fixes are published", {"state": state})
    level, message, values = status.health()
    if not enabled:
        level, message = WARN, "disabled by ~/enable: no fixes are published"
    model = {
        "state": state,
        "enabled": enabled,
        "model_id": localizer.bundle.model_id,
        "device": localizer.ensemble.device,
        "precision": localizer.ensemble.precision,
        "image_bridge": image_conversion.bridge().name,
    }
    return Health(level, message, {**model, **values})
