"""The node's parameters: declared with descriptors and ranges, read once, when the node is configured."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import ParameterException

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.estimation.integrity import Gates
from campus_visual_gps.gnss.health import MonitorSettings

VISUAL, FALLBACK = "visual", "fallback"
CPU, INACTIVE = "cpu", "inactive"
CHOICES = {
    "image_transport": ("raw", "compressed"),
    "output": (VISUAL, FALLBACK),
    "on_out_of_memory": (CPU, INACTIVE),
}
ALTITUDE_RANGE_M = (-1000.0, 10000.0)
RANGES = {
    "max_rate_hz": (0.0, 1000.0),
    "max_age_s": (0.0, 3600.0),
    "gps_max_age_s": (0.1, 3600.0),
    "gps_max_delay_s": (0.0, 3600.0),
    "gps_max_sigma_m": (0.1, 1000.0),
    "gps_max_speed_mps": (0.1, 1000.0),
    "gps_assumed_sigma_m": (0.1, 1000.0),
    "gps_fault_min_count": (1, 1000),
    "gps_fault_min_duration_s": (0.0, 3600.0),
    "gps_recovery_min_count": (1, 1000),
    "gps_recovery_min_duration_s": (0.0, 3600.0),
}
GATES = tuple(field.name for field in fields(Gates))
_GPS = MonitorSettings()
_GATE = " .nan takes the bundle's, negative is off."
# rcl's own, and those that a launch file or a file for many nodes sets on any node
FOREIGN_PARAMETERS = ("use_sim_time", "start_type_description_service", "qos_overrides.", "rosout.")


@dataclass(frozen=True)
class NodeParameters:
    """The parameters of `visual_gps`. Raises ConfigError that names the parameter and what it takes.

    `altitude_m` NaN stands for the bundle's altitude, an empty `frame_id` for the image's own.
    """

    model_dir: str = ""
    device: str = "auto"
    precision: str = "auto"
    image_transport: str = "raw"
    max_rate_hz: float = 2.0
    max_age_s: float = 0.0
    frame_id: str = ""
    altitude_m: float = math.nan
    publish_rejected: bool = False
    publish_pose: bool = True
    map_frame: str = "map"
    on_out_of_memory: str = CPU
    output: str = VISUAL
    gps_topic: str = "gps/fix"
    gps_max_age_s: float = _GPS.max_age_s
    gps_max_delay_s: float = _GPS.max_delay_s
    gps_max_sigma_m: float = _GPS.max_sigma_m
    gps_max_speed_mps: float = _GPS.max_speed_mps
    gps_assumed_sigma_m: float = _GPS.assumed_sigma_m
    gps_fault_min_count: int = _GPS.fault_min_count
    gps_fault_min_duration_s: float = _GPS.fault_min_duration_s
    gps_recovery_min_count: int = _GPS.recovery_min_count
    gps_recovery_min_duration_s: float = _GPS.recovery_min_duration_s
    site_margin_m: float = math.nan
    max_ensemble_spread_m: float = math.nan
    max_sigma_m: float = math.nan
    max_mode_separation_m: float = math.nan
    max_ood_score: float = math.nan
    min_brightness: float = math.nan
    max_brightness: float = math.nan
    min_sharpness: float = math.nan
    max_repeated_images: float = math.nan
    autostart: bool = True

    def __post_init__(self):
        for field in fields(self):
            object.__setattr__(self, field.name, _typed(field.name, getattr(self, field.name), field.default))
        if not self.model_dir:
            raise ConfigError("parameter model_dir is empty: set it to a model bundle's directory")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ConfigError(f"parameter {name} {getattr(self, name)!r} is none of {', '.join(choices)}")
        for name in ("map_frame", "gps_topic"):
            if not getattr(self, name):
                raise ConfigError(f"parameter {name} is empty")
        for name, limits in RANGES.items():
            _check_range(name, getattr(self, name), limits)
        if not math.isnan(self.altitude_m):
            _check_range("altitude_m", self.altitude_m, ALTITUDE_RANGE_M)
        self.gates(Gates())

    def monitor_settings(self) -> MonitorSettings:
        """The parameters gps_* as the monitor takes them."""
        return MonitorSettings(**{field.name: getattr(self, f"gps_{field.name}") for field in fields(MonitorSettings)})

    def gates(self, bundles: Gates) -> Gates:
        """The bundle's gates with the parameters of the same names in their place."""
        return bundles.overridden(**{name: getattr(self, name) for name in GATES})


def _descriptors() -> dict[str, ParameterDescriptor]:
    # Dynamic typing lets `max_rate_hz:=5` through, which ROS reads as an integer; `_typed` checks instead.
    number = {"dynamic_typing": True}
    gate = {**number, "additional_constraints": "0 or more, .nan, or negative"}  # a range would refuse NaN
    altitude_range = f"{ALTITUDE_RANGE_M[0]:g} to {ALTITUDE_RANGE_M[1]:g}, or .nan"  # a range would refuse NaN
    texts = {
        "model_dir": ("Directory of the model bundle (bundle.yaml and the members).", {}),
        "device": ("Where the ensemble runs: auto, cpu, cuda or cuda:N.", {}),
        "precision": ("Arithmetic of the networks: auto, fp32, bf16 or fp16.", {}),
        "image_transport": ("raw subscribes image, compressed subscribes image/compressed.", {}),
        "max_rate_hz": (
            "At most so many fixes a second, by the images' stamps; 0 for every frame that the computer manages. "
            "Errors of consecutive frames are alike: more fixes do not tell a filter more, but make it too certain.",
            number,
        ),
        "max_age_s": (
            "Images older than that on arrival, in ROS time, are dropped; 0 for no limit. Off by default: a bag that "
            "is played without /clock is years old.",
            number,
        ),
        "frame_id": ("frame_id of the fixes; empty takes the image's.", {}),
        "altitude_m": (
            "Altitude over the ellipsoid for the fixes, metres; .nan takes the bundle's.",
            {**number, "additional_constraints": altitude_range},
        ),
        "publish_rejected": ("Publish refused frames too, with STATUS_NO_FIX and an UNKNOWN covariance.", {}),
        "publish_pose": ("Publish visual_gps/pose.", {}),
        "map_frame": ("frame_id of the poses: x east, y north, origin at the bundle's reference point.", {}),
        "on_out_of_memory": ("What a GPU without memory leads to: cpu moves the model there, inactive stops.", {}),
        "output": (
            "visual, or fallback: `fix` carries the receiver's fixes while healthy, else visual ones.",
            {},
        ),
        "gps_topic": ("The receiver's NavSatFix, for output fallback.", {}),
        "gps_max_age_s": ("Without a new fix for so long the receiver is lost, seconds.", number),
        "gps_max_delay_s": (
            "A fix that comes so long after its stamp is faulty, seconds of ROS time; 0: off.",
            number,
        ),
        "gps_max_sigma_m": ("A fix less certain than that is faulty, metres (worst horizontal direction).", number),
        "gps_max_speed_mps": ("Faster than the robot ever drives: fixes that imply more are jumps, m/s.", number),
        "gps_assumed_sigma_m": ("Stands in for a covariance that the receiver leaves all zero, metres.", number),
        "gps_fault_min_count": ("So many faulty fixes in a row, and", {}),
        "gps_fault_min_duration_s": ("faults for so long, end the trust in the receiver, seconds.", number),
        "gps_recovery_min_count": ("So many good fixes in a row, and", {}),
        "gps_recovery_min_duration_s": ("good fixes for so long, restore it, seconds.", number),
        "site_margin_m": ("So far outside the training area a fix is refused, metres." + _GATE, gate),
        "max_ensemble_spread_m": (
            "Members that lie apart by more are refused, metres (root mean square)." + _GATE,
            gate,
        ),
        "max_sigma_m": ("A fix less certain than that is refused: sigma per axis, metres." + _GATE, gate),
        "max_mode_separation_m": ("A map with modes farther apart is refused, metres." + _GATE, gate),
        "max_ood_score": (
            "An image less like any reference photo is refused: distance of the features, their length being 1."
            + _GATE,
            gate,
        ),
        "min_brightness": ("A darker image is refused: mean grey level, 0 to 255." + _GATE, gate),
        "max_brightness": ("A brighter image is refused: mean grey level, 0 to 255." + _GATE, gate),
        "min_sharpness": ("A more blurred image is refused: variance of its Laplacian." + _GATE, gate),
        "max_repeated_images": ("An image that repeats itself more often is refused." + _GATE, gate),
        "autostart": ("Configure and activate at start; false leaves that to a lifecycle manager.", {}),
    }
    return {name: ParameterDescriptor(description=text, **more, **_range(name)) for name, (text, more) in texts.items()}


def _range(name: str) -> dict[str, list]:
    if name not in RANGES:
        return {}
    low, high = RANGES[name]
    if isinstance(low, int):
        return {"integer_range": [IntegerRange(from_value=low, to_value=high)]}
    return {"floating_point_range": [FloatingPointRange(from_value=low, to_value=high)]}


class ParameterTable:
    """Declares the parameters on a node and reads them. A bad value is kept as a problem and not raised.

    So a node with a wrong value stays up, says so, and can be set right and configured.
    """

    def __init__(self, node):
        self._node = node
        self._problems: dict[str, str] = {}
        self.names = tuple(field.name for field in fields(NodeParameters))
        descriptors = _descriptors()
        for field in fields(NodeParameters):
            self._declare(field.name, field.default, descriptors[field.name])

    def _declare(self, name: str, default: Any, descriptor: ParameterDescriptor) -> None:
        try:
            self._node.declare_parameter(name, default, descriptor)
        except ParameterException as error:
            self._problems[name] = f"parameter {name}: {error}"
            self._node.declare_parameter(name, default, descriptor, ignore_override=True)

    def forget_problems(self, names: list[str]) -> None:
        """These parameters are being set anew."""
        for name in names:
            self._problems.pop(name, None)

    def read(self) -> NodeParameters:
        """The values as they are now. Raises ConfigError."""
        if self._problems:
            raise ConfigError("; ".join(self._problems.values()))
        return NodeParameters(**{name: self._node.get_parameter(name).value for name in self.names})

    def autostart(self) -> bool:
        """Whether to configure and activate by itself; true also where the value is bad, so that this is reported."""
        return self._node.get_parameter("autostart").value is not False

    def unknown(self) -> list[str]:
        """Names that were given to the node and that it does not have: most likely misspelt."""
        given = getattr(self._node, "_parameter_overrides", {})  # rclpy has no public way to list them
        return sorted(name for name in given if name not in self.names and not name.startswith(FOREIGN_PARAMETERS))


def _typed(name: str, value: Any, default: Any) -> Any:
    """`value` in the type of `default`; an integer does for a float. Raises ConfigError."""
    kind = type(default)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind):
        raise ConfigError(f"parameter {name} takes a {kind.__name__}, not {value!r}")
    return value


def _check_range(name: str, value: float, limits: tuple[float, float]) -> None:
    if not limits[0] <= value <= limits[1]:
        raise ConfigError(f"parameter {name} {value:g} is outside {limits[0]:g}..{limits[1]:g}")
