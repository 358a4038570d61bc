"""The node's subscription to the camera's images, whose reliability follows that of the publishers.

Fast DDS loses images of more than about 0.5 MB on the way to a best-effort subscription of another process, because
their fragments do not fit into its shared memory segment and are not sent again (rmw_fastrtps issue 739). A reliable
subscription gets them all, but nothing at all from a best-effort publisher. So the subscription asks for what the
publishers offer. Without a publisher it is reliable: what a reliable publisher sends at once arrives, and a best-effort
publisher is noticed within CHECK_PERIOD_S.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSCompatibility, QoSProfile, ReliabilityPolicy, qos_check_compatible
from rclpy.subscription import Subscription
from rclpy.timer import Timer
from sensor_msgs.msg import CompressedImage, Image

from campus_visual_gps.ros.diagnostics import NO_IMAGE_S, OK, STALE, WARN, DiagnosticReport
from campus_visual_gps.ros.image_parameters import AUTO, COMPRESSED
from campus_visual_gps.ros.parameters import NodeParameters
from campus_visual_gps.ros.qos import SUBSCRIPTION, QosOverrides
from campus_visual_gps.ros.transport_state import (
    BEST_EFFORT,
    BY_OVERRIDE,
    BY_PARAMETER,
    BY_PUBLISHERS,
    COMPRESSED_TYPE,
    RAW_TYPE,
    RELIABLE,
    SUFFIX,
    Offer,
    TransportState,
)

try:
    from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks, UnsupportedEventTypeError

# The graph is looked at this often; that takes about 0.1 ms.
CHECK_PERIOD_S = 0.5
# Bridges a short stall of the executor. The callback only passes the image on, so the queue is empty otherwise, and
# reliability never adds to it: the oldest image is overwritten, not waited for.
QUEUE_DEPTH = 5
# The same line is logged again after this time at the earliest.
LOG_AGAIN_S = 60.0
# Losses are judged over this many diagnostics, one a second.
LOSS_REPORTS = 10


def image_topics(node: Node, settings: NodeParameters) -> tuple[str, ...]:
    """The images' topics after remapping, named as by image_transport: remapping `image` moves both transports."""
    bases = [node.resolve_topic_name(topic) for topic in settings.image_topics]
    if settings.image_transport == COMPRESSED:
        bases = [node.resolve_topic_name(base + SUFFIX) for base in bases]
    return tuple(dict.fromkeys(bases))


class ImageSubscription:
    """Subscribes to the images, replaces the subscription when the publishers change, and says why nothing arrives.

    Args:
        node: The node. All its callbacks run on the executor's thread.
        settings: Its parameters.
        topic: The topic's name after remapping.
        on_image: Called with every image. It must not hold the model, since rclpy may hold it after `close`.

    Attributes:
        topic: The topic's name after remapping.
        received: Number of images that arrived.
    """

    def __init__(
        self,
        node: Node,
        settings: NodeParameters,
        topic: str,
        on_image: Callable[[Image | CompressedImage], None],
    ):
        self.topic = topic
        self._node, self._on_image = node, on_image
        compressed = settings.image_transport == COMPRESSED
        self._message, self._type = (CompressedImage, COMPRESSED_TYPE) if compressed else (Image, RAW_TYPE)
        self._overrides = QosOverrides(node)
        self._fixed, self._decided_by = settings.image_reliability, BY_PARAMETER
        if self._overrides.given(SUBSCRIPTION, self.topic, "reliability"):
            self._decided_by = BY_OVERRIDE
        elif settings.image_reliability == AUTO:
            self._fixed, self._decided_by = "", BY_PUBLISHERS
        self.received = self._lost = 0
        self._last_s, self._last_image = monotonic(), ""
        self._logged: dict[str, float] = {}
        self._recent: deque[tuple[int, int]] = deque([(0, 0)], maxlen=LOSS_REPORTS + 1)
        self._profile = QoSProfile(depth=QUEUE_DEPTH)
        self._subscription: Subscription | None = None
        self._subscribe(self._wanted())
        # steady time, so that publishers are noticed also while a simulated clock stands still
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer: Timer | None = node.create_timer(CHECK_PERIOD_S, self.check, clock=steady)

    @property
    def silence_s(self) -> float:
        """Seconds since the last image, or since subscribing."""
        return monotonic() - self._last_s

    def close(self) -> None:
        """Unsubscribe."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
        self._timer = self._subscription = None

    def check(self) -> None:
        """Follow the publishers' reliability, and log why nothing arrives; on the executor's thread."""
        if self._subscription is None:
            return
        wanted = self._wanted()
        if self._decided_by == BY_PUBLISHERS and wanted != self._reliability():
            self._node.get_logger().info(f"subscribing to {self.topic} as {wanted}, as its publishers offer")
            self._subscribe(wanted)
        if self.silence_s > NO_IMAGE_S:
            self._warn(self.state().silence_cause())

    def complete(self, report: DiagnosticReport) -> DiagnosticReport:
        """The node's diagnostic with the cause of silence or of losses, and with key-value pairs of the transport."""
        level, message, values = report
        state = self.state()
        received, lost = self._recent_counts()
        if level == STALE:
            message = f"{message}: {state.silence_cause()}"
        elif level == OK and lost > received:
            remedy = state.loss_remedy()
            level, message = WARN, f"images are lost in the transport, {lost} of {lost + received}: {remedy}"
            self._warn(f"most images on {self.topic} are lost in the transport; {remedy}")
        offers = [offer.reliability for offer in state.offers if offer.type == self._type]
        transport: dict[str, object] = {
            "image_publishers": len(offers),
            **{f"image_publishers.{name}": offers.count(name) for name in sorted(set(offers))},
            "image_reliability": state.reliability,
            "image_reliability_from": state.decided_by,
            "images_received": self.received,
            "images_lost": self._lost,
            "last_image": self._last_image,
        }
        return DiagnosticReport(level, message, {**values, **transport})

    def state(self) -> TransportState:
        """What is known of the transport now."""
        infos = self._node.get_publishers_info_by_topic(self.topic)
        offers = tuple(_offer(info, self._profile) for info in infos)
        base = self.topic.removesuffix(SUFFIX)
        topics = tuple(
            (name, kind)
            for name, kinds in self._node.get_topic_names_and_types()
            for kind in kinds
            if name != self.topic and (kind in (RAW_TYPE, COMPRESSED_TYPE) or name.startswith(f"{base}/"))
            if self._node.count_publishers(name)
        )
        return TransportState(
            self.topic, self._type, self._reliability(), self._decided_by, offers, topics, self._last_image
        )

    def _wanted(self) -> str:
        if self._fixed:
            return self._fixed if self._fixed != AUTO else RELIABLE
        infos = self._node.get_publishers_info_by_topic(self.topic)
        offered = [_reliability(info.qos_profile) for info in infos if info.topic_type == self._type]
        return BEST_EFFORT if BEST_EFFORT in offered else RELIABLE

    def _reliability(self) -> str:
        return _reliability(self._profile)

    def _subscribe(self, reliability: str) -> None:
        """Replace the subscription. The new one is made first: in between no image is lost."""
        previous = self._subscription
        policy = ReliabilityPolicy.BEST_EFFORT if reliability == BEST_EFFORT else ReliabilityPolicy.RELIABLE
        profile = QoSProfile(depth=QUEUE_DEPTH, reliability=policy)
        arguments = self._overrides.subscription(self.topic, profile)
        self._profile = arguments["qos_profile"]  # rclpy writes the overrides into it
        self._subscription = self._create(arguments)
        if previous is not None:
            self._node.destroy_subscription(previous)

    def _create(self, arguments: dict[str, Any]) -> Subscription:
        """A subscription with all the event callbacks that the middleware supports."""
        wanted: dict[str, Callable[[Any], None]] = {
            "message_lost": self._on_lost,
            "incompatible_qos": lambda event: self.check(),
        }
        while True:
            # rclpy's own callback would log "no messages will be received" of a publisher that `check` then follows
            events = SubscriptionEventCallbacks(use_default_callbacks=False, **wanted)
            try:
                return self._node.create_subscription(
                    self._message, self.topic, self._on_message, event_callbacks=events, **arguments
                )
            except UnsupportedEventTypeError:
                if not wanted:
                    raise
                del wanted[next(iter(wanted))]

    def _on_message(self, message: Image | CompressedImage) -> None:
        self.received += 1
        self._last_s = monotonic()
        if isinstance(message, Image):
            self._last_image = f"{message.width} x {message.height}, {message.encoding}"
        else:
            self._last_image = f"{len(message.data)} bytes, {message.format}"
        self._on_image(message)

    def _on_lost(self, event: Any) -> None:
        self._lost += event.total_count_change

    def _recent_counts(self) -> tuple[int, int]:
        """Received and lost images of the last LOSS_REPORTS diagnostics."""
        self._recent.append((self.received, self._lost))
        (old_received, old_lost), (received, lost) = self._recent[0], self._recent[-1]
        return received - old_received, lost - old_lost

    def _warn(self, text: str) -> None:
        now_s = monotonic()
        if now_s - self._logged.get(text, -LOG_AGAIN_S) >= LOG_AGAIN_S:
            self._logged[text] = now_s
            self._node.get_logger().warning(text)


def _reliability(profile: QoSProfile) -> str:
    # system_default is the middleware's, which is reliable for a publisher of Fast DDS and Cyclone DDS
    return BEST_EFFORT if profile.reliability == ReliabilityPolicy.BEST_EFFORT else RELIABLE


def _offer(info: Any, asked: QoSProfile) -> Offer:
    compatibility, reason = qos_check_compatible(info.qos_profile, asked)
    problem = reason if compatibility == QoSCompatibility.ERROR else ""
    name = f"{info.node_namespace.rstrip('/')}/{info.node_name}"
    return Offer(name, info.topic_type, _reliability(info.qos_profile), " ".join(problem.split()))
