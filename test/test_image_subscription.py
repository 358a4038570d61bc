"""Images arrive over DDS whatever their size, and whichever reliability their publishers offer."""

import pytest
import rclpy
from compatibility import Area, condition
from diagnostic_msgs.msg import DiagnosticStatus
from helpers import textured_rgb
from rclpy.context import Context
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from ros_helpers import Client, RunningNode, image_message, to_seconds, values
from sensor_msgs.msg import CompressedImage, Image, PointCloud2
from test_image_queue_node import Hold, start_inference

from campus_visual_gps.ros import diagnostics, image_subscription
from campus_visual_gps.ros.parameters import NodeParameters
from campus_visual_gps.ros.tools import image_transport

pytestmark = pytest.mark.ros

TODAY = "2026-11-26"
RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)


def picture():
    return image_message(textured_rgb(48, 64))


def asks(reliability: str, publishers: int):
    """Whether a status says that the subscription has this reliability, and that so many publishers are known."""
    expected = {"image_reliability": reliability, "image_publishers": str(publishers)}
    return lambda status: expected.items() <= values(status).items()


@condition(Area.TRANSPORT, "raw 1920 x 1080 at 5 Hz, reliable, from another process", "all arrive", since=TODAY)
@pytest.mark.slow
def test_all_large_images_from_another_process_arrive_by_default(bundle_dir):
    result = image_transport.measure(bundle_dir, count=10, busy=1)
    assert result.received == result.sent == 10, result.diagnostics
    assert result.fixes > 0
    assert result.diagnostics["image_reliability"] == "reliable"
    assert result.diagnostics["image_reliability_from"] == "publishers"
    assert result.diagnostics["last_image"] == "1920 x 1080, rgb8"


@pytest.mark.slow
def test_large_images_that_a_best_effort_subscription_loses_are_counted_and_the_remedy_is_said(bundle_dir, capfd):
    result = image_transport.measure(bundle_dir, count=8, image_reliability="best_effort")
    if result.received == result.sent:
        pytest.skip("this middleware loses no large images")
    assert result.diagnostics["image_reliability_from"] == "image_reliability"
    assert int(result.diagnostics["images_lost"]) > 0
    assert "set image_reliability to auto or reliable" in result.diagnostics["message"]
    assert "set image_reliability to auto or reliable" in capfd.readouterr().err


@condition(Area.TRANSPORT, "camera that restarts with another reliability", "followed within a second", since=TODAY)
@condition(Area.TRANSPORT, "reliable and best-effort publishers on one topic", "both are heard", since=TODAY)
def test_the_subscription_follows_its_publishers_and_keeps_the_nodes_state(bundle_dir):
    running = RunningNode(model_dir=str(bundle_dir), image_qos=RELIABLE)
    with running as client:
        client.wait_connected()
        client.fix_of(picture())
        client.wait_status(asks("reliable", 1), "a reliable subscription")
        session = running.node._active

        client.node.destroy_publisher(client._images)
        client._images = client.node.create_publisher(Image, "image", BEST_EFFORT)
        client.wait_status(asks("best_effort", 1), "a best-effort subscription")
        client.fix_of(picture())

        first, client._images = client._images, client.node.create_publisher(Image, "image", RELIABLE)
        client.wait_status(asks("best_effort", 2), "a best-effort subscription to both")
        client.fix_of(picture())

        client.node.destroy_publisher(first)
        status = client.wait_status(asks("reliable", 1), "a reliable subscription again")
        client.fix_of(picture())
        assert running.node._active is session
        assert int(values(status)["fixes"]) >= 3

        client.node.destroy_publisher(client._images)
        status = client.wait_status(lambda item: item.level == DiagnosticStatus.STALE, "silence")
        assert "no publisher of sensor_msgs/msg/Image" in status.message
        assert values(status)["image_reliability"] == "reliable"


@condition(Area.TRANSPORT, "slow model, reliable camera", "the newest image is processed next, no queue", since=TODAY)
def test_behind_a_slow_model_the_newest_image_of_a_reliable_camera_is_next(bundle_dir):
    running = RunningNode(model_dir=str(bundle_dir), image_qos=RELIABLE)
    with running as client:
        client.wait_connected()
        hold = Hold(running)
        start_inference(client, hold)
        images = running.node._active._cameras._subscriptions[0]
        for _ in range(12):
            last, before = picture(), images.received
            client.publish(last)
            client.wait(lambda before=before: images.received > before, "the image")
        hold.go_on.set()
        client.wait(lambda: len(client.fixes) >= 2, "two fixes")
        assert to_seconds(client.fixes[1].header.stamp) == to_seconds(last.header.stamp)


@pytest.fixture
def impatient_node(monkeypatch):
    """The node calls the camera silent after half a second."""
    for module in (diagnostics, image_subscription):
        monkeypatch.setattr(module, "NO_IMAGE_S", 0.5)


def silent_status(client: Client) -> DiagnosticStatus:
    return client.wait_status(lambda item: item.level == DiagnosticStatus.STALE, "silence")


@pytest.mark.usefixtures("impatient_node")
def test_a_best_effort_camera_of_a_reliable_subscription_is_named_once(bundle_dir, capfd):
    with RunningNode(model_dir=str(bundle_dir), image_reliability="reliable", image_qos=BEST_EFFORT) as client:
        status = silent_status(client)
        assert "/client on" in status.message and "set image_reliability to auto" in status.message
        client.wait_status(lambda item: True, "another report")
    lines = [line for line in capfd.readouterr().err.splitlines() if "visual_gps]" in line and "incompatible" in line]
    assert len(lines) == 1
    assert "set image_reliability to auto" in lines[0]


@pytest.mark.usefixtures("impatient_node")
@pytest.mark.parametrize(
    ("transport", "kind", "topic", "remedy"),
    [
        ("raw", CompressedImage, "image/compressed", "set image_transport to compressed"),
        ("compressed", Image, "image", "set image_transport to raw"),
        ("raw", PointCloud2, "image", "sends sensor_msgs/msg/PointCloud2"),
    ],
)
def test_a_publisher_of_another_type_or_transport_is_named(transport, kind, topic, remedy, bundle_dir):
    given = {"image_transport": transport, "image_type": kind, "image_topic": topic}
    with RunningNode(model_dir=str(bundle_dir), **given) as client:
        assert remedy in silent_status(client).message


@condition(
    Area.TRANSPORT, "transient-local reliable camera", "heard; the last image comes when the node starts", since=TODAY
)
def test_a_latched_image_is_heard_if_the_override_asks_for_it(bundle_dir):
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    remapped = ["--ros-args", "-r", "image:=/latched/image"]
    given = {"qos_overrides./latched/image.subscription.durability": "transient_local"}
    running = RunningNode(
        model_dir=str(bundle_dir),
        image_topic="/latched/image",
        image_qos=latched,
        cli_args=remapped,
        autostart=False,
        **given,
    )
    with running as client:
        client.publish(picture())
        assert client.change_state(1) and client.change_state(3)
        client.wait(lambda: bool(client.fixes), "fix of the image that was published before")


def test_dropped_images_are_in_the_log(bundle_dir, capfd):
    with RunningNode(model_dir=str(bundle_dir), max_rate_hz=1.0) as client:
        client.wait_connected()
        client.fix_of(picture())

        def ahead():
            now = client.node.get_clock().now().nanoseconds * 1e-9
            return image_message(textured_rgb(48, 64), now + 37.0)

        client.send_until_status(ahead, lambda item: "dropped.from_future" in values(item), "dropped images")
        client.send_until_status(picture, lambda item: "dropped.rate_limit" in values(item), "thinned images")
    errors = capfd.readouterr().err
    assert "that is TAI in the place of UTC" in errors
    assert errors.count("images come faster than max_rate_hz (1 Hz)") == 1


@pytest.mark.parametrize("unsupported", [("message_lost",), ("message_lost", "incompatible_qos")])
def test_a_middleware_without_these_events_is_subscribed_to_all_the_same(unsupported, monkeypatch):
    class Callbacks(image_subscription.SubscriptionEventCallbacks):
        def create_event_handlers(self, *arguments):
            if any(getattr(self, name) for name in unsupported):
                raise image_subscription.UnsupportedEventTypeError("not supported")
            return super().create_event_handlers(*arguments)

    monkeypatch.setattr(image_subscription, "SubscriptionEventCallbacks", Callbacks)
    context = Context()
    rclpy.init(context=context)
    node = rclpy.create_node("plain", context=context)
    subscription = image_subscription.ImageSubscription(
        node, NodeParameters(model_dir="x"), "/image", lambda message: None
    )
    assert [entity.topic_name for entity in node.subscriptions if entity.topic_name == "/image"] == ["/image"]
    subscription.close()
    assert not [entity for entity in node.subscriptions if entity.topic_name == "/image"]
    node.destroy_node()
    rclpy.shutdown(context=context)
