"""Declares the node's parameters in ROS, with descriptors from their metadata, and reads their values."""

from __future__ import annotations

from dataclasses import Field, fields

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.node import Node

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.ros.parameter_spec import spec_of
from campus_visual_gps.ros.parameters import NodeParameters, is_of_fallback

# Parameters of rcl, and those that a launch file or a file for many nodes may set on any node.
FOREIGN_PARAMETERS = ("use_sim_time", "start_type_description_service", "qos_overrides.", "rosout.")


class DeclaredParameters:
    """The parameters of a node. A bad override is kept as an error, which `read` raises.

    A node with a bad value therefore stays up and reports it; the value can be set, and the node configured, later.
    """

    names = tuple(declared.name for declared in fields(NodeParameters))

    def __init__(self, node: Node):
        self._node = node
        self._errors: dict[str, str] = {}
        for declared in fields(NodeParameters):
            self._declare(declared)

    def clear_errors(self, names: list[str]) -> None:
        """These parameters are being set to new values."""
        for name in names:
            self._errors.pop(name, None)

    def read(self) -> NodeParameters:
        """The current values.

        Raises:
            ConfigError: A value is not accepted.
        """
        if self._errors:
            raise ConfigError("; ".join(self._errors.values()))
        return NodeParameters(**{name: self._node.get_parameter(name).value for name in self.names})

    def read_for_fallback(self) -> NodeParameters:
        """The current values of what the topic `fix` depends on; every other one that is not accepted is its default.

        Raises:
            ConfigError: A value of the fallback is not accepted.
        """
        wrong = [error for name, error in self._errors.items() if is_of_fallback(name)]
        if wrong:
            raise ConfigError("; ".join(wrong))
        values = {name: self._node.get_parameter(name).value for name in self.names}
        return NodeParameters.of_fallback(values)

    def autostart(self) -> bool:
        """Whether to configure at start; True also for a bad value, so that `read` reports it."""
        return self._node.get_parameter("autostart").value is not False

    def unknown(self) -> list[str]:
        """Names of overrides that the node does not declare, most likely misspelt."""
        given = getattr(self._node, "_parameter_overrides", {})  # rclpy has no public way to list them
        return sorted(name for name in given if name not in self.names and not name.startswith(FOREIGN_PARAMETERS))

    def _declare(self, declared: Field) -> None:
        name, described = declared.name, descriptor(declared)
        default = list(declared.default) if isinstance(declared.default, tuple) else declared.default
        try:
            self._node.declare_parameter(name, default, described)
        except ParameterException as error:
            self._errors[name] = f"parameter {name}: {error}"
            self._node.declare_parameter(name, default, described, ignore_override=True)


def descriptor(declared: Field) -> ParameterDescriptor:
    """Descriptor of a field of NodeParameters."""
    spec = spec_of(declared)
    described = ParameterDescriptor(description=spec.full_description, additional_constraints=spec.constraints)
    # lets `max_rate_hz:=5` through, which ROS reads as an integer; NodeParameters checks the type
    described.dynamic_typing = isinstance(declared.default, float) or spec.may_be_false
    if spec.limits is not None and not spec.allows_nan:
        low, high = spec.limits
        if isinstance(declared.default, int):
            described.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
        else:
            described.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high))]
    return described
