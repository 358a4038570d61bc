"""A frame of the fixes that TF does not connect with the robot is reported once, over DDS."""

from itertools import count

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from helpers import textured_rgb
from lifecycle_msgs.msg import Transition
from ros_helpers import TIMEOUT_S, RunningNode, image_message, values
from tf_helpers import Broadcaster, transform_kind

from campus_visual_gps.ros import filter_gate, tf_check

pytestmark = pytest.mark.ros

_seeds = count()


@pytest.fixture
def transforms(monkeypatch):
    return transform_kind(monkeypatch)


def in_tf(status: DiagnosticStatus) -> str | None:
    return values(status).get("frame_in_tf")


def picture(frame_id: str = "front_camera"):
    """A different image each time, because repeated images are a warning of their own."""
    return image_message(textured_rgb(48, 64, seed=next(_seeds)), frame_id=frame_id)


def warnings_of(running: RunningNode) -> list[str]:
    """Filled with the warnings of the node's TfFrameMonitor."""
    warned: list[str] = []
    monitor = running.node._configured.publishers._gate._monitor
    log = monitor._log
    monitor._log = lambda text, warning: (warned.append(text) if warning else None, log(text, warning))
    return warned


def test_without_a_base_frame_a_missing_frame_is_warned_of_once_and_the_level_stays_ok(
    bundle_dir, transforms, monkeypatch
):
    monkeypatch.setattr(tf_check, "TF_TIMEOUT_S", 2.0)
    running = RunningNode(model_dir=str(bundle_dir))
    with running as client:
        client.wait_connected()
        warned = warnings_of(running)
        Broadcaster(client, transforms, "/tf", "odom", "base_link")()
        client.send_until_status(
            picture,
            lambda item: in_tf(item) == "no" and item.level == DiagnosticStatus.OK,
            "the frame missing and the level OK",
        )
        client.send_until_status(picture, lambda item: in_tf(item) == "no", "the frame still missing")
        assert len(warned) == 1
        assert "the camera's fixes are put at the origin by navsat_transform: /tf has no 'front_camera'" in warned[0]
        assert "camera_frame:=front_camera camera_xyz:=" in warned[0]
        # a transform that comes late counts
        send = Broadcaster(client, transforms, "/tf", "base_link", "front_camera")
        client.wait(lambda: send.publisher.get_subscription_count() > 0, "subscription to /tf")
        client.send_until_status(lambda: send() and picture(), lambda item: in_tf(item) == "yes", "the frame found")
        assert len(warned) == 1


def test_a_frame_that_was_published_once_before_the_node_started_is_found(bundle_dir, transforms, monkeypatch):
    monkeypatch.setattr(tf_check, "TF_TIMEOUT_S", TIMEOUT_S)
    running = RunningNode(model_dir=str(bundle_dir), autostart=False, frame_id="mast")
    with running as client:
        send = Broadcaster(client, transforms, "/tf_static", "base_link", "mast")
        send()
        assert client.change_state(Transition.TRANSITION_CONFIGURE)
        assert client.change_state(Transition.TRANSITION_ACTIVATE)
        warned = warnings_of(running)
        client.wait_status(lambda item: in_tf(item) == "yes", "the frame found before any image")
        # a frame that was found is not looked for again
        client.wait(lambda: send.publisher.get_subscription_count() == 0, "end of the subscription")
        assert warned == []


def test_visual_fixes_wait_for_camera_and_map_in_a_namespace_with_its_own_tf(bundle_dir, transforms, monkeypatch):
    """As two robots have it: /tf:=tf in a namespace. Another robot's transforms on /tf connect nothing."""
    monkeypatch.setattr(tf_check, "TF_TIMEOUT_S", 1.0)
    monkeypatch.setattr(filter_gate, "SETTLE_S", 0.2)
    remappings = ["--ros-args", "-r", "/tf:=tf", "-r", "/tf_static:=tf_static"]
    frames = {"base_frame": "base_link", "world_frame": "map"}
    running = RunningNode(model_dir=str(bundle_dir), cli_args=remappings, **frames)
    with running as client:
        others = [
            Broadcaster(client, transforms, "/tf", "map", "base_link"),
            Broadcaster(client, transforms, "/tf_static", "base_link", "front_camera"),
        ]
        for send in others:
            send()
        client.wait_connected()
        name = f"{running.namespace}/tf"
        status = client.send_until_status(
            lambda: others[0]() and picture("/front_camera"),
            lambda item: in_tf(item) == "no" and item.level == DiagnosticStatus.WARN and client.poses,
            "the frame missing",
        )
        gap = f"the camera's fixes are held back: {name} does not connect 'front_camera' with 'base_link'"
        assert gap in status.message and "camera_frame:=front_camera camera_xyz:=" in status.message
        assert int(values(status)["held_back"]) > 0
        camera = Broadcaster(client, transforms, "/tf_static", "base_link", "front_camera", f"{name}_static")
        camera()
        status = client.send_until_status(
            picture, lambda item: "'base_link' with 'map'" in item.message, "map missing, the camera found"
        )
        assert f"all fixes are held back: {name} does not connect" in status.message
        assert in_tf(status) == "yes" and values(status)["world_frame_in_tf"] == "no"
        assert client.fixes == []
        robot = Broadcaster(client, transforms, "/tf", "map", "base_link", name)
        client.send_until_status(
            lambda: robot() and picture("/front_camera"),
            lambda item: item.level == DiagnosticStatus.OK and client.fixes,
            "fixes after the map was connected",
        )
        # tf2 looks up no frame with the leading slash of ROS 1
        assert {fix.header.frame_id for fix in client.fixes} == {"front_camera"}
        client.wait(lambda: robot.publisher.get_subscription_count() == 0, "end of the subscription to /tf")


def test_without_tf2_msgs_the_frame_is_not_reported_and_nothing_is_held_back(bundle_dir, monkeypatch):
    monkeypatch.setattr(tf_check, "transform_message", lambda: None)
    with RunningNode(model_dir=str(bundle_dir), base_frame="base_link", world_frame="map") as client:
        client.wait_connected()
        client.fix_of(picture())
        assert in_tf(client.wait_status(lambda item: "fixes" in item.message, "a fix")) is None
