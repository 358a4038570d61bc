"""Publishes serialised messages over DDS at their recorded times, and records what other nodes publish.

It does not read bags: a message is a tuple (topic, type, time in nanoseconds, CDR bytes).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable

import rclpy
from rclpy.context import Context
from rclpy.exceptions import InvalidTopicNameException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.ros.stamps import NS_PER_S

# Played messages are offered reliably; a best-effort subscriber gets them too.
_PLAYED = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
_LATCHED = QoSProfile(depth=50, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_RECORDED = QoSProfile(depth=1000, reliability=ReliabilityPolicy.BEST_EFFORT)
# How long after the last message answers are still recorded.
_SETTLE_S = 2.0


class BagPlayer:
    """A node with a context of its own that plays and records.

    Args:
        topics: Topic to type of the messages to play, such as "sensor_msgs/msg/Image". A topic whose type is not
            installed is not played, as with `ros2 bag`, nor is one whose name ROS 2 does not allow; `unplayed` maps
            them to the reason.
        record: Topic to type of the messages to record.
        rate: Speed of playing; 2 is twice as fast as recorded.
        clock: Whether to publish /clock.
        latched: Topics whose messages late subscribers get too.

    Raises:
        ConfigError: A type in `record` is not installed.
    """

    def __init__(
        self,
        topics: dict[str, str],
        record: dict[str, str],
        rate: float = 1.0,
        clock: bool = False,
        latched: Collection[str] = (),
    ):
        self.rate = rate
        self.recorded: list[tuple[str, str, int, bytes]] = []
        self.running = True
        self._start_ns: int | None = None
        self._started_s = 0.0
        self._context = Context()
        rclpy.init(context=self._context)
        self.node = Node("bag_player", context=self._context, start_parameter_services=False)
        self._publishers: dict[str, Publisher] = {}
        self.unplayed: dict[str, str] = {}
        for topic, kind in topics.items():
            self._offer(topic, kind, latched=topic in latched or topic.endswith("tf_static"))
        for topic, kind in record.items():
            self.node.create_subscription(message_class(kind), topic, self._recorder(topic, kind), _RECORDED, raw=True)
        self._clock = self._clock_publisher() if clock else None
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._spinner = threading.Thread(target=self._spin, daemon=True)
        self._spinner.start()

    def wait_for_subscribers(self, topics: Iterable[str], timeout_s: float = 60.0) -> None:
        """Wait until every topic has a subscriber.

        Raises:
            ConfigError: That takes longer than the timeout.
        """
        deadline = time.monotonic() + timeout_s
        for topic in topics:
            while self._publishers[topic].get_subscription_count() == 0:
                if time.monotonic() > deadline:
                    raise ConfigError(
                        f"no subscriber of {topic} within {timeout_s:.0f} s; check that the node is active"
                    )
                time.sleep(0.05)

    def publish(self, messages: Iterable[tuple[str, str, int, bytes]]) -> int:
        """Publish the messages at their times, counted from the first one; return how many were published."""
        count = 0
        self._start_ns = None
        for topic, _, time_ns, data in messages:
            if topic not in self._publishers:
                continue
            if self._start_ns is None:
                self._start_ns, self._started_s = time_ns, time.monotonic()
            self._sleep((time_ns - self._start_ns) / NS_PER_S / self.rate)
            if not self._context.ok():
                self.running = False
                break
            self._tick(time_ns)
            self._publishers[topic].publish(data)
            count += 1
        return count

    def finish(self) -> list[tuple[str, str, int, bytes]]:
        """Wait for the last answers; return all recorded messages, each with the bag's time of its arrival."""
        if self.recorded or self.node.subscriptions:
            time.sleep(_SETTLE_S)
        return list(self.recorded)

    def close(self) -> None:
        """Destroy the node and its context."""
        self._executor.shutdown()
        self._spinner.join(timeout=5.0)
        self.node.destroy_node()
        self._context.try_shutdown()

    def _offer(self, topic: str, kind: str, latched: bool) -> None:
        try:
            message = message_class(kind)
            self._publishers[topic] = self.node.create_publisher(message, topic, _LATCHED if latched else _PLAYED)
        except (ConfigError, InvalidTopicNameException) as error:
            self.unplayed[topic] = " ".join(str(error).split())

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            self.running = False

    def _recorder(self, topic: str, kind: str):
        def on_message(data: bytes) -> None:
            self.recorded.append((topic, kind, self._bag_time_ns(), bytes(data)))

        return on_message

    def _bag_time_ns(self) -> int:
        if self._start_ns is None:
            return 0
        return self._start_ns + int((time.monotonic() - self._started_s) * self.rate * NS_PER_S)

    def _sleep(self, until_s: float) -> None:
        """Sleep until this many seconds after the first message."""
        time.sleep(max(0.0, self._started_s + until_s - time.monotonic()))

    def _clock_publisher(self):
        from rosgraph_msgs.msg import Clock

        return self.node.create_publisher(Clock, "/clock", 10)

    def _tick(self, time_ns: int) -> None:
        if self._clock is not None:
            message = self._clock.msg_type()
            message.clock.sec, message.clock.nanosec = divmod(time_ns, NS_PER_S)
            self._clock.publish(message)


def message_class(type_name: str) -> type:
    """The message class of "package/msg/Name".

    Raises:
        ConfigError: The package is not installed or has no such message.
    """
    from importlib import import_module

    package = type_name.partition("/")[0]
    try:
        _, _, name = type_name.split("/")
        return getattr(import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError, ValueError) as error:
        # rclpy publishes only types with compiled support: the definition in a bag is not enough
        advice = "; a ROS distribution has it, and without it filters get no transforms of the bag"
        lost = advice if package == "tf2_msgs" else ""
        raise ConfigError(f"message type {type_name} is not installed: {error}{lost}") from error
