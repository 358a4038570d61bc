"""The topics of the node's subscriptions and publishers, after remapping, and the check of their QoS overrides."""

from __future__ import annotations

from rclpy.node import Node

from campus_visual_gps.ros import bond
from campus_visual_gps.ros.image_subscription import image_topics
from campus_visual_gps.ros.parameters import FALLBACK, NodeParameters
from campus_visual_gps.ros.publishers import FIX_TOPIC, POSE_TOPIC
from campus_visual_gps.ros.qos import PUBLISHER, SUBSCRIPTION, QosOverrides
from campus_visual_gps.ros.receiver_passthrough import FALLBACK_TOPIC
from campus_visual_gps.ros.tf_check import TF_TOPICS
from campus_visual_gps.ros.tracked_publishers import tracked_topics
from campus_visual_gps.tracking.session import ODOMETRY

DIAGNOSTICS_TOPIC = "/diagnostics"


def node_topics(node: Node, settings: NodeParameters) -> list[tuple[str, str]]:
    """(entity, topic) of all that the node makes with these parameters; rclpy's own entities are not among them."""
    published = [DIAGNOSTICS_TOPIC, FIX_TOPIC, *tracked_topics(settings)]
    subscribed = [*image_topics(node, settings), *TF_TOPICS]
    if settings.tracking == ODOMETRY:
        subscribed.append(settings.odometry_topic)
    if settings.publish_pose:
        published.append(POSE_TOPIC)
    if settings.output == FALLBACK:
        published.append(FALLBACK_TOPIC)
        subscribed.append(settings.gps_topic)
    if not settings.autostart and bond.status_type() is not None:
        published.append(bond.BOND_TOPIC)
    return [
        (entity, node.resolve_topic_name(topic))
        for entity, topics in ((PUBLISHER, published), (SUBSCRIPTION, subscribed))
        for topic in topics
    ]


def check_qos(node: Node, settings: NodeParameters) -> None:
    """Warn of QoS overrides that have no effect. Raises ConfigError for a bad one."""
    overrides = QosOverrides(node)
    overrides.check()
    for line in overrides.without_effect(node_topics(node, settings)):
        node.get_logger().warning(line)
