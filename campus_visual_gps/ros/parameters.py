"""The node's parameters: declared with descriptors and ranges, read once, when the node is configured."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, ParameterDescriptor
from rclpy.exceptions import ParameterException

from campus_visual_gps.errors import ConfigError

TRANSPORTS = ("raw", "compressed")
RATE_RANGE_HZ = (0.0, 1000.0)
ALTITUDE_RANGE_M = (-1000.0, 10000.0)
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
    frame_id: str = ""
    altitude_m: float = math.nan
    publish_refused: bool = False
    publish_pose: bool = True
    map_frame: str = "map"
    autostart: bool = True

    def __post_init__(self):
        for field in fields(self):
            object.__setattr__(self, field.name, _typed(field.name, getattr(self, field.name), field.default))
        if not self.model_dir:
            raise ConfigError("parameter model_dir is empty: set it to a model bundle's directory")
        if self.image_transport not in TRANSPORTS:
            raise ConfigError(f"parameter image_transport {self.image_transport!r} is none of {', '.join(TRANSPORTS)}")
        if not self.map_frame:
            raise ConfigError("parameter map_frame is empty")
        _check_range("max_rate_hz", self.max_rate_hz, RATE_RANGE_HZ)
        if not math.isnan(self.altitude_m):
            _check_range("altitude_m", self.altitude_m, ALTITUDE_RANGE_M)


def _descriptors() -> dict[str, ParameterDescriptor]:
    rate_range = FloatingPointRange(from_value=RATE_RANGE_HZ[0], to_value=RATE_RANGE_HZ[1])
    # Dynamic typing lets `max_rate_hz:=5` through, which ROS reads as an integer; `_typed` checks instead.
    number = {"dynamic_typing": True}
    altitude_range = f"{ALTITUDE_RANGE_M[0]:g} to {ALTITUDE_RANGE_M[1]:g}, or .nan"  # a range would refuse NaN
    texts = {
        "model_dir": ("Directory of the model bundle (bundle.yaml and the members).", {}),
        "device": ("Where the ensemble runs: auto, cpu, cuda or cuda:N.", {}),
        "precision": ("Arithmetic of the networks: auto, fp32, bf16 or fp16.", {}),
        "image_transport": ("raw subscribes image, compressed subscribes image/compressed.", {}),
        "max_rate_hz": (
            "At most so many fixes a second, by the images' stamps; 0 for every frame that the computer manages. "
            "Errors of consecutive frames are alike: more fixes do not tell a filter more, but make it too certain.",
            {**number, "floating_point_range": [rate_range]},
        ),
        "frame_id": ("frame_id of the fixes; empty takes the image's.", {}),
        "altitude_m": (
            "Altitude over the ellipsoid for the fixes, metres; .nan takes the bundle's.",
            {**number, "additional_constraints": altitude_range},
        ),
        "publish_refused": ("Publish refused frames too, with STATUS_NO_FIX and an UNKNOWN covariance.", {}),
        "publish_pose": ("Publish visual_gps/pose.", {}),
        "map_frame": ("frame_id of the poses: x east, y north, origin at the bundle's reference point.", {}),
        "autostart": ("Configure and activate at start; false leaves that to a lifecycle manager.", {}),
    }
    return {name: ParameterDescriptor(description=text, **more) for name, (text, more) in texts.items()}


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
