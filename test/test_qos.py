"""qos_overrides are honoured for every subscription and publisher of the node; a bad one is one clear line."""

import re

import pytest
import yaml
from compatibility import Area, condition
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TransformStamped
from helpers import ROOT, textured_rgb
from lifecycle_msgs.msg import Transition
from rclpy.qos import DurabilityPolicy, LivelinessPolicy, QoSProfile, ReliabilityPolicy
from ros_helpers import RunningNode, image_message, values

from campus_visual_gps.ros import tf_check
from campus_visual_gps.ros.node_topics import node_topics
from campus_visual_gps.ros.qos import RCLPY_TOPICS

pytestmark = pytest.mark.ros

TODAY = "2026-11-26"
CAMERA = ["--ros-args", "-r", "image:=/camera/image_raw", "-r", "/diagnostics:=/overridden/diagnostics"]
RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)


def overrides(**policies: object) -> dict[str, object]:
    """Parameters of these overrides; the names are TOPIC.ENTITY.POLICY."""
    return {f"qos_overrides.{name}": value for name, value in policies.items()}


def subscription_qos(client, topic: str):
    """Of the one subscription to a topic: discovery tells of it at any time after the node has made it."""
    client.wait(lambda: client.node.get_subscriptions_info_by_topic(topic), f"subscription to {topic}")
    return client.node.get_subscriptions_info_by_topic(topic)[0].qos_profile


def publisher_qos(client, topic: str):
    """Of the one publisher of a topic."""
    client.wait(lambda: client.node.get_publishers_info_by_topic(topic), f"publisher of {topic}")
    return client.node.get_publishers_info_by_topic(topic)[0].qos_profile


def restart(client) -> None:
    for name in ("DEACTIVATE", "CLEANUP", "CONFIGURE", "ACTIVATE"):
        assert client.change_state(getattr(Transition, f"TRANSITION_{name}")), name


@condition(Area.NODE, "qos_overrides of any topic of the node", "honoured, also after a second start", since=TODAY)
def test_overrides_of_every_entity_are_honoured_also_when_the_node_is_configured_again(bundle_dir):
    given = overrides(
        **{
            "/camera/image_raw.subscription.reliability": "reliable",
            "/camera/image_raw.subscription.depth": 3,
            "/receiver.subscription.reliability": "RELIABLE",
            "/out/fix.publisher.durability": "transient_local",
            "/out/fix.publisher.history": "keep_all",
            "/out/pose.publisher.reliability": "best_effort",
            "/out/merged.publisher.deadline": 2_000_000_000,
            "/out/merged.publisher.liveliness": "automatic",
            "/overridden/diagnostics.publisher.reliability": "best_effort",
        }
    )
    remapped = [*CAMERA, "-r", "visual_gps/fix:=/out/fix", "-r", "visual_gps/pose:=/out/pose", "-r", "fix:=/out/merged"]
    running = RunningNode(
        model_dir=str(bundle_dir),
        output="fallback",
        gps_topic="/receiver",
        image_topic="/camera/image_raw",
        image_qos=RELIABLE,
        cli_args=remapped,
        **given,
    )
    with running as client:
        for _ in range(2):
            assert subscription_qos(client, "/camera/image_raw").reliability == ReliabilityPolicy.RELIABLE
            client.wait(lambda: running.node._active is not None, "the active node")
            assert running.node._active._cameras._subscriptions[0]._subscription.qos_profile.depth == 3
            assert subscription_qos(client, "/receiver").reliability == ReliabilityPolicy.RELIABLE
            assert publisher_qos(client, "/out/fix").durability == DurabilityPolicy.TRANSIENT_LOCAL
            assert publisher_qos(client, "/out/pose").reliability == ReliabilityPolicy.BEST_EFFORT
            merged = publisher_qos(client, "/out/merged")
            assert merged.deadline.nanoseconds == 2_000_000_000
            assert merged.liveliness == LivelinessPolicy.AUTOMATIC
            diagnostics = publisher_qos(client, "/overridden/diagnostics")
            assert diagnostics.reliability == ReliabilityPolicy.BEST_EFFORT
            restart(client)


@condition(Area.TRANSPORT, "qos_overrides of the image's reliability", "goes before image_reliability", since=TODAY)
def test_an_override_of_the_reliability_goes_before_the_parameter_and_is_reported(bundle_dir):
    given = overrides(**{"/camera/image_raw.subscription.reliability": "best_effort"})
    with RunningNode(
        model_dir=str(bundle_dir),
        image_reliability="reliable",
        image_topic="/camera/image_raw",
        image_qos=RELIABLE,
        cli_args=["--ros-args", "-r", "image:=/camera/image_raw"],
        **given,
    ) as client:
        client.wait_connected()
        client.fix_of(image_message(textured_rgb(48, 64)))
        status = client.wait_status(lambda item: "image_reliability" in values(item), "the reliability")
        assert values(status)["image_reliability"] == "best_effort"
        assert values(status)["image_reliability_from"] == "qos_overrides"
        assert values(status)["image_publishers.reliable"] == "1"


def bad(name: str, value: object, expected: str):
    text = f"qos_overrides...{name.split('.', 1)[1]}: {value!r}"
    return pytest.param(
        name, value, expected, marks=condition(Area.NODE, text, "one line; the node waits unconfigured", since=TODAY)
    )


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        bad("/x/image.subscription.reliability", "relyable", "expected one of system_default, reliable, best_effort"),
        bad("/x/image.subscription.reliability", 1, "expected one of system_default, reliable, best_effort"),
        bad("/x/image.subscription.depth", 0, "expected an integer of 1 or more, got 0"),
        bad("/x/image.subscription.depth", "five", "expected an integer of 1 or more, got 'five'"),
        bad("/diagnostics.publisher.depth", -1, "expected an integer of 1 or more, got -1"),
        bad("/x/image.subscription.deadline", -5, "expected an integer of 0 or more (nanoseconds), got -5"),
        bad("/tf.subscription.durability", "unknown", "expected one of system_default, transient_local, volatile"),
    ],
)
def test_a_bad_value_keeps_the_node_up_and_is_named_in_one_line(name, value, expected, bundle_dir):
    remapped = ["--ros-args", "-r", "image:=/x/image"]
    with RunningNode(model_dir=str(bundle_dir), cli_args=remapped, **overrides(**{name: value})) as client:
        status = client.wait_status(lambda item: item.level == DiagnosticStatus.ERROR, "an error")
        assert f"parameter qos_overrides.{name}: {expected}" in status.message
        assert "\n" not in status.message
        assert client.state() == "unconfigured"


def test_overrides_without_effect_are_warned_of_by_name(bundle_dir, capfd):
    given = overrides(
        **{
            "/other/image.subscription.depth": 2,
            "image.subscription.depth": 2,
            "/x/image.publisher.depth": 2,
            "/x/image.subscription.relibility": "reliable",
            "/x/image.subscription.lifespan": 1,
            "/x/image.reader.depth": 2,
            "/clock.subscription.depth": 2,
            "/x/image.subscription.depth": 4,
        }
    )
    with RunningNode(model_dir=str(bundle_dir), cli_args=["--ros-args", "-r", "image:=/x/image"], **given) as client:
        client.wait_status(lambda item: values(item).get("state") == "active", "the node active")
    lines = [line for line in capfd.readouterr().err.splitlines() if "has no effect" in line]
    named = [re.search(r"'qos_overrides\.([^']*)'", line)[1] for line in lines]
    expected = {name.removeprefix("qos_overrides.") for name in given} - {"/x/image.subscription.depth"}
    assert sorted(named) == sorted(expected)
    assert any("no subscription of '/other/image', only of /tf, /tf_static, /x/image" in line for line in lines)


def test_every_entity_of_the_node_can_be_overridden(bundle_dir):
    running = RunningNode(model_dir=str(bundle_dir), output="fallback")
    with running as client:
        client.wait_connected()
        node = running.node
        known = set(node_topics(node, node._configured.settings))
        name, namespace = node.get_name(), node.get_namespace()
        for entity, found in (
            ("publisher", node.get_publisher_names_and_types_by_node(name, namespace)),
            ("subscription", node.get_subscriber_names_and_types_by_node(name, namespace)),
        ):
            topics = {topic for topic, _ in found if not topic.endswith(RCLPY_TOPICS)}
            assert topics
            assert {(entity, topic) for topic in topics} <= known


def test_the_subscriptions_to_tf_can_be_overridden(bundle_dir, monkeypatch):
    monkeypatch.setattr(tf_check, "transform_message", lambda: TransformStamped)  # tf2_msgs is not everywhere
    given = overrides(**{"/moved/tf.subscription.reliability": "best_effort"})
    remapped = ["--ros-args", "-r", "/tf:=/moved/tf"]
    with RunningNode(model_dir=str(bundle_dir), frame_id="camera", cli_args=remapped, **given) as client:
        client.wait_status(lambda item: "frame_in_tf" in values(item), "the frame looked for")
        assert subscription_qos(client, "/moved/tf").reliability == ReliabilityPolicy.BEST_EFFORT


def test_the_example_of_the_documentation_is_honoured(bundle_dir, tmp_path):
    page = (ROOT / "docs" / "camera.md").read_text(encoding="utf-8")
    blocks = [block for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "qos_overrides" in block]
    assert len(blocks) == 1
    example = yaml.safe_load(blocks[0])["/**"]["ros__parameters"]["qos_overrides"]
    (tmp_path / "qos.yaml").write_text(blocks[0], encoding="utf-8")
    image, fix = "/camera/image_raw", "/visual_gps/fix"
    assert set(example) == {image, fix}
    arguments = ["--ros-args", "--params-file", str(tmp_path / "qos.yaml"), "-r", f"image:={image}"]
    running = RunningNode(
        model_dir=str(bundle_dir),
        image_topic=image,
        image_qos=RELIABLE,
        cli_args=[*arguments, "-r", f"visual_gps/fix:={fix}"],
    )
    with running as client:
        client.wait_status(lambda item: values(item).get("state") == "active", "the node active")
        reliability = subscription_qos(client, image).reliability
        assert reliability.name.lower() == example[image]["subscription"]["reliability"]
        durability = publisher_qos(client, fix).durability
        assert durability.name.lower() == example[fix]["publisher"]["durability"]
