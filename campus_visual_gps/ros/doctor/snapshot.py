"""What the doctor has collected of a running graph; what the checks get. Without ROS."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any

from campus_visual_gps.gnss.receiver_fix import ReceiverFix
from campus_visual_gps.ros.transform_tree import TransformTree
from campus_visual_gps.ros.transport_state import TransportState

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
FIX_TYPE, ODOMETRY_TYPE, IMU_TYPE = "sensor_msgs/msg/NavSatFix", "nav_msgs/msg/Odometry", "sensor_msgs/msg/Imu"


@dataclass(frozen=True)
class ImageContent:
    """What of an image the checks need. `description` is its size and encoding."""

    size_bytes: int
    description: str


@dataclass(frozen=True)
class OdometryContent:
    """What of a nav_msgs/Odometry the checks need: metres, variances in square metres."""

    x_m: float
    y_m: float
    variances_m2: tuple[float, float] = (1.0, 1.0)
    twist_variances: tuple[float, ...] = (1.0, 1.0, 1.0)
    child_frame_id: str = "base_link"
    is_finite: bool = True


@dataclass(frozen=True)
class Sample:
    """One message: its stamp, and both clocks at its arrival, in seconds. `simulated_s` is NaN without /clock."""

    stamp_s: float
    system_s: float
    simulated_s: float = math.nan
    frame_id: str = ""
    content: ReceiverFix | ImageContent | OdometryContent | None = None

    def offset_s(self, simulated: bool) -> float:
        """Stamp less the time of the node's clock; NaN if that is not known."""
        return self.stamp_s - (self.simulated_s if simulated else self.system_s)


@dataclass
class Topic:
    """A topic: who publishes it, what came, and which pairs of its publishers and readers do not match.

    `publishers` are names of nodes; `mismatches` are one line each.
    """

    name: str
    type: str
    publishers: tuple[str, ...] = ()
    samples: list[Sample] = field(default_factory=list)
    mismatches: tuple[str, ...] = ()

    def contents(self, kind: Any) -> list[Any]:
        """The contents of that kind, in the order of their arrival."""
        return [sample.content for sample in self.samples if isinstance(sample.content, kind)]

    def rate_hz(self) -> float:
        """Messages a second, by their arrival; 0 for fewer than two."""
        arrivals_s = [sample.system_s for sample in self.samples]
        periods_s = [after - before for before, after in pairwise(arrivals_s)]
        return len(periods_s) / sum(periods_s) if sum(periods_s) > 0.0 else 0.0

    def offset_s(self, simulated: bool) -> float:
        """The median of the stamps less the node's clock; NaN without messages."""
        offsets = [sample.offset_s(simulated) for sample in self.samples if sample.stamp_s > 0.0]
        offsets = [offset for offset in offsets if math.isfinite(offset)]
        return median(offsets) if offsets else math.nan


@dataclass(frozen=True)
class NodeInfo:
    """A node of the graph: full name, parameters, and topics by type of message, after remapping.

    Attributes:
        name: With the namespace: /robot/visual_gps.
        parameters: None if the node did not answer.
        state: Of the lifecycle; empty if the node did not answer or has none.
        subscribed: (topic, type) of its subscriptions, without those of rclpy.
        published: (topic, type) of its publishers.
    """

    name: str
    parameters: Mapping[str, Any] | None = None
    state: str = ""
    subscribed: tuple[tuple[str, str], ...] = ()
    published: tuple[tuple[str, str], ...] = ()

    def parameter(self, name: str, default: Any = None) -> Any:
        """A parameter's value; the default where the node did not answer or has none of this name."""
        value = (self.parameters or {}).get(name)
        return default if value is None else value

    @property
    def simulated(self) -> bool:
        """Whether the node takes its time from /clock."""
        return bool(self.parameter("use_sim_time", False))

    def subscribes(self, *types: str) -> tuple[str, ...]:
        """Its subscriptions of these types."""
        return tuple(topic for topic, kind in self.subscribed if kind in types)

    def publishes(self, *types: str) -> tuple[str, ...]:
        """Its publishers of these types."""
        return tuple(topic for topic, kind in self.published if kind in types)


@dataclass(frozen=True)
class Diagnostic:
    """The last diagnostic of a name; level 0 OK, 1 WARN, 2 ERROR, 3 STALE."""

    name: str
    level: int
    message: str


@dataclass(frozen=True)
class LogLine:
    """A warning or an error in a node's log."""

    node: str
    text: str
    is_error: bool = True


@dataclass
class Snapshot:
    """The graph as it was seen for some seconds.

    Attributes:
        seconds: How long it was observed.
        wanted: Name of the localizer that was looked for.
        localizers: Full names of the nodes of this name.
        node_count: Nodes in the graph.
        localizer: None if there is none, or several.
        filters: ekf_node and ukf_node of robot_localization.
        navsats: navsat_transform_node of robot_localization.
        topics: By name.
        transports: Of the images of each camera, as the localizer asks for it; empty if their topics are not known.
        clock_s: Times on /clock, with their arrivals.
        clock_publishers: Nodes that publish /clock.
        tree: None if tf2_msgs is not installed.
        parents: The parents of each frame in TF; more than one is an error.
        base_frame: Of the robot.
    """

    seconds: float = 0.0
    wanted: str = "visual_gps"
    localizers: tuple[str, ...] = ()
    node_count: int = 0
    localizer: NodeInfo | None = None
    filters: tuple[NodeInfo, ...] = ()
    navsats: tuple[NodeInfo, ...] = ()
    topics: dict[str, Topic] = field(default_factory=dict)
    transports: tuple[TransportState, ...] = ()
    clock_s: list[tuple[float, float]] = field(default_factory=list)
    clock_publishers: tuple[str, ...] = ()
    diagnostics: dict[str, Diagnostic] = field(default_factory=dict)
    log: list[LogLine] = field(default_factory=list)
    tree: TransformTree | None = None
    parents: dict[str, set[str]] = field(default_factory=dict)
    base_frame: str = ""

    def topic(self, name: str) -> Topic:
        """A topic of this name; an empty one if nothing is known of it."""
        return self.topics.get(name) or Topic(name, "")

    @property
    def is_active(self) -> bool:
        """Whether the localizer is there and active."""
        return self.localizer is not None and self.localizer.state == "active"

    @property
    def simulated(self) -> bool:
        """Whether the localizer, or without one the first filter, takes its time from /clock."""
        nodes = (*((self.localizer,) if self.localizer else ()), *self.navsats, *self.filters)
        return nodes[0].simulated if nodes else False

    @property
    def has_fusion(self) -> bool:
        """Whether nodes of robot_localization run."""
        return bool(self.filters or self.navsats)

    def image_topics(self) -> tuple[str, ...]:
        """Topics of images that the localizer reads, one for each camera."""
        return tuple(transport.topic for transport in self.transports)

    def fix_topics(self) -> tuple[str, ...]:
        """Topics of fixes that the localizer publishes."""
        return self.localizer.publishes(FIX_TYPE) if self.localizer else ()

    def receiver_topics(self) -> tuple[str, ...]:
        """Topics of the receiver that the localizer reads."""
        return self.localizer.subscribes(FIX_TYPE) if self.localizer else ()

    def fused_topics(self) -> tuple[str, ...]:
        """Topics of fixes that navsat_transform reads."""
        return tuple(dict.fromkeys(topic for node in self.navsats for topic in node.subscribes(FIX_TYPE)))
