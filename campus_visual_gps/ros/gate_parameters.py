"""The parameters of the gates, which NodeParameters inherits. Without ROS."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from campus_visual_gps.estimation.integrity import Gates
from campus_visual_gps.ros.parameter_spec import ParameterGroup, parameter

_GATES = ParameterGroup(
    "Gates; `.nan`: the bundle's threshold, negative: off",
    comment="Gates, which reject an image. .nan takes the bundle's threshold, a negative number switches the gate off.",
)


def _gate(description: str, unit: str = "", comment: str = "") -> float:
    return parameter(
        math.nan,
        description,
        unit=unit,
        allows_nan=True,
        constraint="0 or more; .nan takes the bundle's threshold, a negative number switches the gate off",
        group=_GATES,
        comment=comment,
    )


@dataclass(frozen=True)
class GateParameters:
    """A threshold for each gate, named as the fields of Gates."""

    site_margin_m: float = _gate("An estimate farther than this outside the training area is rejected.", "m")
    max_ensemble_spread_m: float = _gate(
        "An estimate is rejected if the root mean square distance of the members from their mean is larger.", "m"
    )
    max_sigma_m: float = _gate("An estimate is rejected if its standard deviation per axis is larger.", "m")
    max_mode_separation_m: float = _gate(
        "An estimate is rejected if the modes of its location grid are farther apart.", "m"
    )
    max_ood_score: float = _gate(
        "An image is rejected if its out-of-distribution score is higher.",
        comment="The score is the whitened distance of the image's features from those of the nearest reference photo; "
        "unrelated images are about 1.4 apart.",
    )
    min_brightness: float = _gate("An image is rejected if its mean grey level, 0 to 255, is lower.")
    max_brightness: float = _gate("An image is rejected if its mean grey level, 0 to 255, is higher.")
    min_sharpness: float = _gate("An image is rejected if the variance of its Laplacian is lower.")
    max_repeated_images: float = _gate(
        "An image is rejected if more than this number of images before it were identical to it.",
        comment="Off unless set, because the camera of a simulator has no noise.",
    )

    def gates(self, bundle_gates: Gates) -> Gates:
        """The bundle's gates, with thresholds replaced by the parameters of the same names that are not .nan."""
        return bundle_gates.overridden(**{field.name: getattr(self, field.name) for field in fields(Gates)})
