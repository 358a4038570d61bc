"""Looks at the running graph for some seconds and makes a Snapshot of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSCompatibility, QoSProfile, ReliabilityPolicy, qos_check_compatible

from campus_visual_gps.ros.doctor.graph import GraphReader, endpoint, is_filter, is_navsat
from campus_visual_gps.ros.doctor.observer import Observer, log_name
from campus_visual_gps.ros.doctor.snapshot import IMAGE_TYPES, ODOMETRY_TYPE, NodeInfo, Snapshot, Topic
from campus_visual_gps.ros.transport_state import (
    BEST_EFFORT,
    BY_PARAMETER,
    BY_PUBLISHERS,
    COMPRESSED_TYPE,
    RAW_TYPE,
    RELIABLE,
    SUFFIX,
    Offer,
    TransportState,
)

NODE_NAME = "visual_gps_doctor"
DEFAULT_SECONDS = 6.0
# Nodes of the same computer are found within a second, those of others within some.
DISCOVERY_S = 3.0
# The graph is read again this often: a localizer may become active, a camera may start.
_LOOK_S = 0.5
DEFAULT_BASE_FRAME = "base_link"
# The first answer of a node may be lost, while its end of the service does not know this end yet.
MAX_QUESTIONS = 2


@dataclass(frozen=True)
class Options:
    """What to look at.

    Args:
        seconds: How long messages are observed.
        node: Name of the localizer.
        namespace: Its namespace; None to look in all.
        base_frame: Of the robot; empty: as the localizer or the filters say.
        image_topic: For a localizer that is not active; empty: as it subscribes.
    """

    seconds: float = DEFAULT_SECONDS
    node: str = "visual_gps"
    namespace: str | None = None
    base_frame: str = ""
    image_topic: str = ""

    def is_wanted(self, name: str) -> bool:
        """Whether a full name is that of the localizer."""
        space, _, base = name.rpartition("/")
        return base == self.node and (self.namespace is None or space == f"/{self.namespace.strip('/')}".rstrip("/"))


def collect(options: Options, context: Context, cli_args: list[str] | None = None) -> Snapshot:
    """Observe the graph for `options.seconds`, after the nodes have been found."""
    node = Node(NODE_NAME, context=context, cli_args=cli_args, enable_rosout=False, start_parameter_services=False)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        return _Collector(options, node, executor).run()
    finally:
        executor.shutdown(timeout_sec=0)
        node.destroy_node()


class _Collector:
    def __init__(self, options: Options, node: Node, executor: Any):
        self._options, self._node, self._executor = options, node, executor
        self._graph = GraphReader(node, self._spin)
        self._observer = Observer(node)
        self._snapshot = Snapshot(options.seconds, options.node)
        self._asked: Counter[str] = Counter()

    def run(self) -> Snapshot:
        self._discover()
        self._read_nodes()
        # from here on: nodes that do not answer have taken seconds, in which no topic was subscribed to
        end_s = monotonic() + self._options.seconds
        while True:
            self._follow()
            if self._read_fusion():  # nodes in C++ are often found seconds after those in Python
                self._follow()
                end_s = monotonic() + self._options.seconds
            remaining_s = end_s - monotonic()
            if remaining_s <= 0.0:
                break
            self._spin_for(min(_LOOK_S, remaining_s))
        self._complete()
        return self._snapshot

    def _spin(self, seconds: float) -> None:
        self._executor.spin_once(timeout_sec=seconds)

    def _spin_for(self, seconds: float) -> None:
        end_s = monotonic() + seconds
        while (remaining_s := end_s - monotonic()) > 0.0:
            self._spin(min(remaining_s, 0.1))

    def _discover(self) -> None:
        """Until the localizer is there, or DISCOVERY_S."""
        end_s = monotonic() + DISCOVERY_S
        while monotonic() < end_s and not any(map(self._options.is_wanted, self._graph.names())):
            self._spin(0.05)
        # the other nodes, topics and services are announced in the same moments, on a loaded computer in some seconds
        end_s, before = monotonic() + DISCOVERY_S, -1
        while monotonic() < end_s and before != (before := self._graph.size()):
            self._spin_for(_LOOK_S)

    def _read_nodes(self) -> None:
        snapshot, names = self._snapshot, self._graph.names()
        # two nodes of one name are one entry each: the list has both
        snapshot.localizers = tuple(name for name in names if self._options.is_wanted(name))
        if len(snapshot.localizers) == 1:
            snapshot.localizer = self._graph.describe(snapshot.localizers[0])
        self._read_fusion()

    def _read_fusion(self) -> bool:
        """Whether a node of robot_localization was found among those that are new, or have not answered yet."""
        snapshot, names = self._snapshot, self._graph.names()
        snapshot.node_count, before = len(names), len(snapshot.filters) + len(snapshot.navsats)
        known = {*snapshot.localizers, *(node.name for node in (*snapshot.filters, *snapshot.navsats))}
        asked = [name for name in self._nearest(names) if name not in known and self._asked[name] < MAX_QUESTIONS]
        for name in asked:
            info = self._graph.fusion_node(name)
            if info is None:
                continue
            self._asked[name] += 1
            if is_filter(info):
                snapshot.filters += (info,)
            elif is_navsat(info):
                snapshot.navsats += (info,)
            elif info.parameters is not None:
                self._asked[name] = MAX_QUESTIONS  # something else
        return len(snapshot.filters) + len(snapshot.navsats) > before

    def _nearest(self, names: list[str]) -> list[str]:
        """The nodes of the localizer's namespace or of the one that is asked for; all, without either."""
        if self._snapshot.localizer is not None:
            space = self._snapshot.localizer.name.rpartition("/")[0]
        elif self._options.namespace is not None:
            space = f"/{self._options.namespace.strip('/')}".rstrip("/")
        else:
            return names
        return [name for name in names if name.rpartition("/")[0] == space]

    def _follow(self) -> None:
        """Read the topics of the nodes again, and subscribe to those that are new."""
        snapshot = self._snapshot
        if snapshot.localizer is not None:
            subscribed, published = self._graph.topics(snapshot.localizer.name)
            snapshot.localizer = replace(snapshot.localizer, subscribed=subscribed, published=published)
            self._find_images(snapshot.localizer)
        for topic, kind in self._topics().items():
            self._observer.observe(topic, kind)
        nodes = [*([snapshot.localizer] if snapshot.localizer else []), *snapshot.filters, *snapshot.navsats]
        # of a node in C++ only the publisher of /tf is seen: tf2's listener is a node of its own
        prefixes = {
            topic.rpartition("/")[0]
            for node in nodes
            for topic, _ in (*node.subscribed, *node.published)
            if topic.rpartition("/")[2] in ("tf", "tf_static")
        }
        self._observer.observe_tf(f"{prefix}/{name}" for prefix in prefixes or {""} for name in ("tf", "tf_static"))

    def _topics(self) -> dict[str, str]:
        """Topics to observe, with their types."""
        snapshot = self._snapshot
        topics: dict[str, str] = {}
        topics.update({transport.topic: transport.type for transport in snapshot.transports})
        names = (*snapshot.fix_topics(), *snapshot.receiver_topics(), *snapshot.fused_topics())
        topics.update({name: "sensor_msgs/msg/NavSatFix" for name in names})
        if snapshot.localizer is not None:
            topics.update(dict.fromkeys(snapshot.localizer.subscribes(ODOMETRY_TYPE), ODOMETRY_TYPE))
        for node in (*snapshot.filters, *snapshot.navsats):
            topics.update({topic: kind for topic, kind in (*node.subscribed, *node.published) if "/msg/" in kind})
        return topics

    def _find_images(self, localizer: NodeInfo) -> None:
        """The topics of the images, from the localizer's subscriptions or the options, and their transport."""
        topics = localizer.subscribes(*IMAGE_TYPES)
        asked, compressed = self._options.image_topic, localizer.parameter("image_transport") == "compressed"
        if not topics and asked:
            topics = (asked + SUFFIX if compressed and not asked.endswith(SUFFIX) else asked,)
        kinds, default = dict(localizer.subscribed), COMPRESSED_TYPE if compressed else RAW_TYPE
        self._snapshot.transports = tuple(
            self._transport(localizer, self._node.resolve_topic_name(topic), kinds.get(topic, default))
            for topic in topics
        )

    def _transport(self, localizer: NodeInfo, topic: str, kind: str) -> TransportState:
        readers = self._node.get_subscriptions_info_by_topic(topic)
        asked = next((info.qos_profile for info in readers if endpoint(info) == localizer.name), None)
        asked = asked or QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        offers = tuple(_offer(info, asked) for info in self._node.get_publishers_info_by_topic(topic))
        others = tuple(
            (name, found)
            for name, kinds in self._node.get_topic_names_and_types()
            for found in kinds
            if name != topic and found in IMAGE_TYPES and self._graph.publishers(name, found)
        )
        images = self._observer.samples.get(topic, [])
        last = str(getattr(images[-1].content, "description", "")) if images else ""
        fixed = localizer.parameter("image_reliability", "auto") != "auto"
        decided = BY_PARAMETER if fixed else BY_PUBLISHERS
        return TransportState(topic, kind, _reliability(asked), decided, offers, others, last)

    def _complete(self) -> None:
        snapshot, observer = self._snapshot, self._observer
        if snapshot.localizer is not None:
            state = self._graph.state(snapshot.localizer.name) if snapshot.localizer.state else ""
            snapshot.localizer = replace(snapshot.localizer, state=state or snapshot.localizer.state)
        for topic, kind in self._topics().items():
            snapshot.topics[topic] = Topic(
                topic,
                kind,
                self._graph.publishers(topic, kind),
                observer.samples.get(topic, []),
                self._graph.mismatches(topic),
            )
        snapshot.clock_s = observer.clock_s
        snapshot.clock_publishers = self._graph.publishers(self._node.resolve_topic_name("/clock"))
        snapshot.diagnostics = observer.diagnostics
        names = [*snapshot.localizers, *(node.name for node in (*snapshot.filters, *snapshot.navsats))]
        loggers = {log_name(name) for name in names}
        snapshot.log = [line for line in observer.log if line.node in loggers]
        snapshot.tree, snapshot.parents = observer.tree, observer.parents
        snapshot.base_frame = self._base_frame()

    def _base_frame(self) -> str:
        snapshot = self._snapshot
        if self._options.base_frame:
            return self._options.base_frame
        given = snapshot.localizer.parameter("base_frame", "") if snapshot.localizer else ""
        given = given or next((str(node.parameter("base_link_frame", "")) for node in snapshot.filters), "")
        if not given and snapshot.tree is not None and snapshot.tree.has(DEFAULT_BASE_FRAME):
            return DEFAULT_BASE_FRAME
        return str(given)


def _offer(info: Any, asked: QoSProfile) -> Offer:
    compatibility, reason = qos_check_compatible(info.qos_profile, asked)
    problem = " ".join(reason.split()) if compatibility == QoSCompatibility.ERROR else ""
    return Offer(endpoint(info), info.topic_type, _reliability(info.qos_profile), problem)


def _reliability(profile: QoSProfile) -> str:
    return BEST_EFFORT if profile.reliability == ReliabilityPolicy.BEST_EFFORT else RELIABLE
