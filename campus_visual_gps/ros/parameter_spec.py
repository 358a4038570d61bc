"""Description of one node parameter as metadata of a dataclass field, and the checks that follow from it. Without ROS.

ROS descriptors (declared_parameters.py), config/localizer.yaml and the README's table (tools/parameter_docs.py) are all
derived from this metadata.
"""

from __future__ import annotations

import math
from dataclasses import Field, dataclass, field
from typing import Any

from campus_visual_gps.errors import ConfigError

_KEY = "parameter_spec"
# A word that YAML, and so a parameter file or a command line of ROS, reads as false where it is not quoted.
YAML_OFF = "off"


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share one row of the README's table.

    Attributes:
        description: The meaning column of that row.
        comment: Printed in the parameter file before the first parameter of the group.
    """

    description: str
    comment: str = ""


@dataclass(frozen=True)
class ParameterSpec:
    """What is known of a parameter, apart from its name, type and default.

    Attributes:
        description: One sentence, complete by itself, in at most 20 words.
        unit: Unit of the value, empty for none.
        limits: Lowest and highest value.
        choices: All values, for a string.
        allows_nan: Whether .nan stands for a value from elsewhere, which the description names.
        required: Whether an empty string is an error.
        constraint: Text of the descriptor's additional constraints, if limits and choices do not say it.
        group: Shares the README's row with the other parameters of the group.
        comment: More text for the parameter file.
        in_file: Whether the parameter file lists it; those that the launch file always sets are left out.
    """

    description: str
    unit: str = ""
    limits: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()
    allows_nan: bool = False
    required: bool = False
    constraint: str = ""
    group: ParameterGroup | None = None
    comment: str = ""
    in_file: bool = True

    @property
    def may_be_false(self) -> bool:
        """Whether a choice may arrive as the boolean false; `checked` gives the choice."""
        return YAML_OFF in self.choices

    @property
    def full_description(self) -> str:
        """The description with the unit."""
        return f"{self.description} Unit: {self.unit}." if self.unit else self.description

    @property
    def constraints(self) -> str:
        """The constraints that a range of ROS cannot express, in words; a range would reject .nan."""
        if self.constraint:
            return self.constraint
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.allows_nan and self.limits is not None:
            return f"{self.limits[0]:g} to {self.limits[1]:g}, or .nan"
        return "not empty" if self.required else ""


def parameter(default: Any, description: str, **spec: Any) -> Any:
    """A dataclass field for a parameter; the keyword arguments are those of ParameterSpec."""
    return field(default=default, metadata={_KEY: ParameterSpec(description, **spec)})


def spec_of(declared: Field) -> ParameterSpec:
    """The description of a field that `parameter` made."""
    return declared.metadata[_KEY]


def checked(declared: Field, value: Any) -> Any:
    """`value` in the type of the field's default, within its limits; an integer is accepted for a float.

    Raises:
        ConfigError: The value has another type, is out of its limits, is none of its choices, or is empty.
    """
    name, spec = declared.name, spec_of(declared)
    expected: type = type(declared.default)
    if value is False and spec.may_be_false:
        value = YAML_OFF
    if expected is tuple:
        return _checked_names(name, spec, value)
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        raise ConfigError(f"parameter {name}: expected a {expected.__name__}, got {value!r}")
    if spec.required and not value:
        raise ConfigError(f"parameter {name}: expected a value, got an empty string")
    if spec.choices and value not in spec.choices:
        raise ConfigError(f"parameter {name}: expected one of {', '.join(spec.choices)}, got {value!r}")
    if spec.limits is not None:
        _check_limits(name, spec.limits, spec.allows_nan, value)
    return value


def _checked_names(name: str, spec: ParameterSpec, value: Any) -> tuple[str, ...]:
    """A list of different names that are not empty; empty names stand for none, because ROS has no empty list."""
    if spec.required and value == "":
        raise ConfigError(f"parameter {name}: expected a value, got an empty string")
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise ConfigError(f"parameter {name}: expected a list of strings, got {value!r}")
    names = tuple(item for item in value if item)
    if spec.required and not names:
        raise ConfigError(f"parameter {name}: expected a value, got an empty list")
    if len(set(names)) != len(names):
        raise ConfigError(f"parameter {name}: expected different names, got {', '.join(names)}")
    return names


def _check_limits(name: str, limits: tuple[float, float], allows_nan: bool, value: Any) -> None:
    low, high = limits
    if not (low <= value <= high or (allows_nan and math.isnan(value))):
        raise ConfigError(f"parameter {name}: expected {low:g} to {high:g}, got {value:g}")
