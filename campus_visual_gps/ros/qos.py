"""QoS overrides: the parameters `qos_overrides.TOPIC.subscription.POLICY` and `qos_overrides.TOPIC.publisher.POLICY`.

Every subscription and publisher that the node makes itself takes the keyword arguments of `QosOverrides.subscription`
or `.publisher`, so that each policy can be set. TOPIC is the name after remapping, POLICY one of POLICIES. rclpy
declares the parameters; only those that are given are declared, because a default that was declared would come back
from `ros2 param dump` as an override, and would pin what the node chooses by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from typing import Any, NamedTuple

from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    LivelinessPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.qos_overriding_options import QoSOverridingOptions

from campus_visual_gps.errors import ConfigError

PREFIX = "qos_overrides."
PUBLISHER, SUBSCRIPTION = "publisher", "subscription"
ENTITIES = (PUBLISHER, SUBSCRIPTION)
# Topics of rclpy's own entities, which take no overrides.
RCLPY_TOPICS = ("/clock", "/parameter_events", "/rosout", "/transition_event")
_ENUMS: dict[str, Any] = {
    "history": HistoryPolicy,
    "reliability": ReliabilityPolicy,
    "durability": DurabilityPolicy,
    "liveliness": LivelinessPolicy,
}
_NANOSECONDS = ("deadline", "lifespan", "liveliness_lease_duration")
POLICIES = ("depth", *_ENUMS, *_NANOSECONDS, "avoid_ros_namespace_conventions")


class Override(NamedTuple):
    """One given override."""

    name: str
    topic: str
    entity: str
    policy: str
    value: Any


class QosOverrides:
    """The QoS overrides that a node was given, by its command line or a parameter file."""

    def __init__(self, node: Node):
        self._node = node
        # rclpy has no public way to list overrides that are not declared yet
        given: Mapping[str, Parameter] = getattr(node, "_parameter_overrides", {})
        names = sorted(name for name in given if name.startswith(PREFIX))
        self._overrides = [_parsed(name, given[name].value) for name in names]

    def check(self) -> None:
        """Raises ConfigError, in one line, if a value is not accepted; each is named with what was expected."""
        errors = [error for override in self._overrides if (error := _error_of(override))]
        if errors:
            raise ConfigError("; ".join(errors))

    def without_effect(self, topics: Iterable[tuple[str, str]]) -> list[str]:
        """One line for each override that names no policy, or none of the node's `topics` (entity, topic)."""
        known = sorted(set(topics))
        return [line for override in self._overrides if (line := _no_effect(override, known))]

    def subscription(self, topic: str, profile: QoSProfile) -> dict[str, Any]:
        """Arguments `qos_profile` and `qos_overriding_options` of `create_subscription`."""
        return self._arguments(SUBSCRIPTION, topic, profile)

    def publisher(self, topic: str, profile: QoSProfile | int) -> dict[str, Any]:
        """Arguments `qos_profile` and `qos_overriding_options` of `create_publisher`."""
        return self._arguments(
            PUBLISHER, topic, profile if isinstance(profile, QoSProfile) else QoSProfile(depth=profile)
        )

    def given(self, entity: str, topic: str, policy: str) -> bool:
        """Whether this policy of the node's entity has a valid override."""
        return policy in self._policies(entity, self._node.resolve_topic_name(topic))

    def _arguments(self, entity: str, topic: str, profile: QoSProfile) -> dict[str, Any]:
        kinds = [
            QoSPolicyKind[policy.upper()] for policy in self._policies(entity, self._node.resolve_topic_name(topic))
        ]
        # a copy, because rclpy writes the overrides into the profile, and rclpy's own profiles are shared
        return {"qos_profile": copy(profile), "qos_overriding_options": QoSOverridingOptions(kinds)}

    def _policies(self, entity: str, topic: str) -> list[str]:
        """Overridden policies of one entity. A bad value is left out: `check` tells it."""
        return [
            override.policy
            for override in self._overrides
            if (override.entity, override.topic) == (entity, topic)
            and not _misnamed(override)
            and not _error_of(override)
        ]


def _parsed(name: str, value: Any) -> Override:
    """A topic has no dots, so the name has three parts after the prefix."""
    topic, entity, policy = (["", "", *name.removeprefix(PREFIX).rsplit(".", 2)])[-3:]
    return Override(name, topic, entity, policy, value)


def _misnamed(override: Override) -> bool:
    lifespan = (override.entity, override.policy) == (SUBSCRIPTION, "lifespan")
    return override.entity not in ENTITIES or override.policy not in POLICIES or lifespan


def _no_effect(override: Override, known: list[tuple[str, str]]) -> str:
    """Why the override has no effect, or an empty string."""
    if _misnamed(override):
        policies = ", ".join(POLICIES)
        return (
            f"parameter {override.name!r} has no effect: expected {PREFIX}TOPIC.subscription.POLICY or "
            f"{PREFIX}TOPIC.publisher.POLICY, where POLICY is one of {policies} (lifespan only of a publisher)"
        )
    if (override.entity, override.topic) in known:
        return ""
    if override.topic.endswith(RCLPY_TOPICS):
        return (
            f"parameter {override.name!r} has no effect: rclpy makes the {override.entity} of {override.topic} itself"
        )
    topics = ", ".join(topic for entity, topic in known if entity == override.entity)
    return (
        f"parameter {override.name!r} has no effect: the node has no {override.entity} of {override.topic!r}, only of "
        f"{topics} (names after remapping)"
    )


def _error_of(override: Override) -> str:
    """Why the value is not accepted, or an empty string; nothing is said of an override without effect."""
    policy, value = override.policy, override.value
    if _misnamed(override):
        return ""
    if policy in _ENUMS:
        choices = [name.lower() for name in _ENUMS[policy].__members__ if name != "UNKNOWN" and name.isupper()]
        expected = f"one of {', '.join(choices)}"
        good = isinstance(value, str) and value.lower() in choices
    elif policy == "avoid_ros_namespace_conventions":
        expected, good = "true or false", isinstance(value, bool)
    else:
        low = 1 if policy == "depth" else 0
        high = (1 << 31) - 1 if policy == "depth" else (1 << 63) - 1
        expected = f"an integer of {low} or more" + ("" if policy == "depth" else " (nanoseconds)")
        good = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    return "" if good else f"parameter {override.name}: expected {expected}, got {value!r}"
