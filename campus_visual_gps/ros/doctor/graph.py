"""Nodes, topics, parameters and lifecycle states of the graph, by rclpy's graph functions and the nodes' services."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

from lifecycle_msgs.srv import GetState
from rcl_interfaces.srv import GetParameters, ListParameters
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import QoSCompatibility, qos_check_compatible

from campus_visual_gps.ros.doctor.snapshot import FIX_TYPE, ODOMETRY_TYPE, NodeInfo

# A node whose executor is busy may take a second or two; one that hangs must not hold up the doctor.
SERVICE_TIMEOUT_S = 3.0
# Parameters that only the nodes of robot_localization have; their message types need not be installed here.
_FILTER_PARAMETERS = frozenset({"world_frame", "two_d_mode"})
_NAVSAT_PARAMETERS = frozenset({"wait_for_datum", "zero_altitude"})
# Parameters that are read of a node, where it has them.
WANTED_PARAMETERS = frozenset(
    {
        *("use_sim_time", "model_dir", "image_transport", "image_reliability", "output", "gps_topic", "frame_id"),
        *("base_frame", "map_frame", "odom_frame", "world_frame", "base_link_frame", "publish_tf", "frequency"),
        *("smooth_lagged_data", "wait_for_datum", "datum", "use_local_cartesian", "zero_altitude", "two_d_mode"),
    }
)


class GraphReader:
    """Reads the graph through a node; waiting for answers, it calls `spin`, so that messages arrive meanwhile."""

    def __init__(self, node: Node, spin: Callable[[float], None]):
        self._node, self._spin = node, spin

    def names(self) -> list[str]:
        """Full names of all other nodes."""
        own = self._node.get_fully_qualified_name()
        found = [full_name(name, space) for name, space in self._node.get_node_names_and_namespaces()]
        return sorted(name for name in found if name != own and not name.rpartition("/")[2].startswith("_"))

    def size(self) -> int:
        """How many nodes, and ends of topics and services, are known."""
        node = self._node
        topics, services = node.get_topic_names_and_types(), node.get_service_names_and_types()
        ends = sum(node.count_publishers(topic) + node.count_subscribers(topic) for topic, _ in topics)
        return len(node.get_node_names()) + ends + len(services)

    def describe(self, name: str) -> NodeInfo:
        """A node with its topics, parameters and state. What it does not answer stays unknown."""
        subscribed, published = self.topics(name)
        services = self._services(name)
        parameters = self._parameters(name) if "rcl_interfaces/srv/GetParameters" in services else None
        state = self.state(name) if "lifecycle_msgs/srv/GetState" in services else ""
        return NodeInfo(name, parameters, state, subscribed, published)

    def state(self, name: str) -> str:
        """State of a lifecycle node; empty if it does not answer."""
        answer = self._ask(GetState, f"{name}/get_state", GetState.Request())
        return str(answer.current_state.label) if answer is not None else ""

    def topics(self, name: str) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
        """(topic, type) of a node's subscriptions and of its publishers."""
        base, space = _split(name)
        found: list[tuple[tuple[str, str], ...]] = []
        node = self._node
        for ask in (node.get_subscriber_names_and_types_by_node, node.get_publisher_names_and_types_by_node):
            pairs: list[tuple[str, str]] = []
            with suppress(RuntimeError):  # the node has just ended
                pairs = [(topic, kind) for topic, kinds in ask(base, space) for kind in kinds]
            found.append(tuple(sorted(pairs)))
        return found[0], found[1]

    def fusion_node(self, name: str) -> NodeInfo | None:
        """A node whose topics may be those of a filter or of navsat_transform; None for others."""
        subscribed, published = self.topics(name)
        types = {kind for _, kind in subscribed}
        if {FIX_TYPE, ODOMETRY_TYPE} & types or any(kind == ODOMETRY_TYPE for _, kind in published):
            return self.describe(name)
        return None

    def publishers(self, topic: str, kind: str = "") -> tuple[str, ...]:
        """Full names of the nodes that publish on a topic, each publisher once; of one type, if it is given."""
        infos = self._node.get_publishers_info_by_topic(topic)
        return tuple(sorted(endpoint(info) for info in infos if not kind or info.topic_type == kind))

    def mismatches(self, topic: str) -> tuple[str, ...]:
        """One line for each publisher and reader whose QoS do not match."""
        own = self._node.get_fully_qualified_name()
        lines = []
        readers = self._node.get_subscriptions_info_by_topic(topic)
        for offer in self._node.get_publishers_info_by_topic(topic):
            for reader in readers:
                if endpoint(reader) == own or reader.topic_type != offer.topic_type:
                    continue
                compatibility, reason = qos_check_compatible(offer.qos_profile, reader.qos_profile)
                if compatibility == QoSCompatibility.ERROR:
                    names = f"{endpoint(reader)} does not hear {endpoint(offer)}"
                    lines.append(f"{names} on {topic}: {' '.join(reason.split())}")
        return tuple(dict.fromkeys(lines))

    def _services(self, name: str) -> set[str]:
        base, space = _split(name)
        with suppress(RuntimeError):
            return {kind for _, kinds in self._node.get_service_names_and_types_by_node(base, space) for kind in kinds}
        return set()

    def _parameters(self, name: str) -> dict[str, Any] | None:
        listed = self._ask(ListParameters, f"{name}/list_parameters", ListParameters.Request())
        if listed is None:
            return None
        wanted = sorted(WANTED_PARAMETERS & set(listed.result.names))
        answer = self._ask(GetParameters, f"{name}/get_parameters", GetParameters.Request(names=wanted))
        if answer is None:
            return None
        values = [parameter_value_to_python(value) for value in answer.values]
        return dict(zip(wanted, values, strict=False))

    def _ask(self, kind: Any, service: str, request: Any) -> Any:
        """The answer of a service; None after SERVICE_TIMEOUT_S."""
        client: Any = self._node.create_client(kind, service)
        try:
            end_s = monotonic() + SERVICE_TIMEOUT_S
            while not client.service_is_ready():
                if monotonic() > end_s:
                    return None
                self._spin(0.02)
            future = client.call_async(request)
            while not future.done():
                if monotonic() > end_s:
                    return None
                self._spin(0.02)
            return future.result()
        finally:
            self._node.destroy_client(client)


def is_filter(info: NodeInfo) -> bool:
    """Whether a node is an ekf_node or ukf_node."""
    return set(info.parameters or ()) >= _FILTER_PARAMETERS


def is_navsat(info: NodeInfo) -> bool:
    """Whether a node is a navsat_transform_node."""
    return set(info.parameters or ()) >= _NAVSAT_PARAMETERS


def endpoint(info: Any) -> str:
    """Full name of the node of a publisher or a subscription."""
    return full_name(info.node_name, info.node_namespace)


def full_name(name: str, namespace: str) -> str:
    """/robot/visual_gps."""
    return f"{namespace.rstrip('/')}/{name}"


def _split(name: str) -> tuple[str, str]:
    space, _, base = name.rpartition("/")
    return base, space or "/"
