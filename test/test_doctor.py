"""`doctor` against real nodes over DDS: a healthy robot passes, and each break is one line with what to do."""

import itertools
import json

import pytest
from doctor_robot import Robot, fix, imu, odometry
from helpers import textured_rgb
from rclpy.qos import qos_profile_sensor_data
from ros_helpers import Client, RunningNode, image_message

from campus_visual_gps.ros.doctor import collect, command
from campus_visual_gps.ros.tf_check import transform_message

pytestmark = pytest.mark.ros

_seeds = itertools.count()
_spaces = itertools.count(1)
SECONDS = "1.5"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(collect, "DISCOVERY_S", 20.0)


@pytest.fixture
def examine(capsys):
    """Runs the command; its exit status, and its lines by level and subject."""

    def run(namespace: str, *arguments: str) -> tuple[int, list[tuple[str, str, str]]]:
        capsys.readouterr()
        status = command.run(["--namespace", namespace, "--seconds", SECONDS, "--json", *arguments])
        content = json.loads(capsys.readouterr().out)
        assert (content["result"] == "FAIL") == (status == 1)
        return status, [
            (item["level"], item["subject"], f"{item['message']}; {item['remedy']}") for item in content["findings"]
        ]

    return run


def images(stamp):
    message = image_message(textured_rgb(48, 64, seed=next(_seeds)))
    message.header.stamp = stamp
    return message


def problems(findings) -> list[tuple[str, str]]:
    """Level and subject of what does not pass; without tf2_msgs the line on TF is one of them."""
    found = [(level, subject) for level, subject, _ in findings if level != "PASS"]
    return found if transform_message() is not None else [item for item in found if item != ("WARN", "tf")]


@pytest.fixture(scope="module")
def running(bundle_dir):
    """An active localizer with output fallback that a camera and a receiver feed."""
    node = RunningNode(model_dir=str(bundle_dir), output="fallback", max_rate_hz=5.0)
    with node as client:
        client.wait_connected()
        robot = Robot(node.namespace)
        try:
            camera, driver = robot.node("front_camera"), robot.node("gps_driver")
            robot.publish(camera, "image", images, qos_profile_sensor_data)
            robot.publish(driver, "gps/fix", fix())
            client.wait(lambda: len(client.fixes) > 2, "fixes")
            yield node
        finally:
            robot.close()


def test_a_robot_that_works_passes(running, examine):
    robot = Robot(running.namespace)
    try:
        wheels = robot.node("wheels")
        robot.publish(wheels, "odom", odometry())
        robot.publish(wheels, "imu/data", imu)
        robot.fusion(odometry(), odometry(3.5, 4.0, variance_m2=9.0), "fix")
        status, findings = examine(running.namespace)
    finally:
        robot.close()
    assert problems(findings) == [], findings
    assert status == 0
    subjects = [subject for _, subject, _ in findings]
    assert {"localizer", "clock", "images", "fixes", "navsat", "filter", "fallback"} <= set(subjects)
    assert any("64 x 48, rgb8" in text for _, _, text in findings)


def test_inputs_that_nobody_publishes_and_an_output_at_the_origin_are_named(running, examine):
    robot = Robot(running.namespace)
    try:
        robot.fusion(odometry(0.0, 0.0), odometry(0.0, 0.0), "other/fix")
        status, findings = examine(running.namespace)
    finally:
        robot.close()
    assert status == 1
    text = "\n".join(" ".join(finding) for finding in findings)
    space = running.namespace
    assert f"FAIL navsat nobody publishes {space}/other/fix, the fixes of {space}/navsat_transform; " in text
    assert f"FAIL filter nobody publishes {space}/odom, an input of {space}/ekf_map; " in text
    assert f"WARN filter nobody publishes {space}/imu/data, an optional input of {space}/ekf_map; " in text
    assert f"{space}/odometry/gps are (0, 0, 0); the frame of the fixes is not connected" in text
    assert f"FAIL filter {space}/ekf_map stays at the origin of the map; " in text


def test_a_second_publisher_of_fixes_and_bad_covariances_are_named(running, examine):
    robot = Robot(running.namespace)
    try:
        other = robot.node("second_driver")
        robot.publish(other, "gps/fix", fix(frame_id="", variance_m2=0.0))
        status, findings = examine(running.namespace)
    finally:
        robot.close()
    texts = [text for level, subject, text in findings if subject == "fixes" and level != "PASS"]
    publishers = f"{running.namespace}/gps_driver, {running.namespace}/second_driver"
    assert status == 1
    assert any(f"2 publishers on {running.namespace}/gps/fix: {publishers}" in text for text in texts)
    assert any("covariance of zeros" in text for text in texts)


def test_a_localizer_without_camera_and_without_model(bundle_dir, examine):
    with RunningNode(model_dir=str(bundle_dir)) as client:
        client.wait_connected()
        # the client of the tests offers images and sends none
        status, findings = examine(client.node.get_namespace())
        assert (status, problems(findings)[0][0]) == (1, "FAIL") or status == 1
        (text,) = [text for level, subject, text in findings if (level, subject) == ("FAIL", "images")]
        assert "nothing arrives" in text and "check that the camera sends images" in text
    with RunningNode(model_dir="") as client:
        client.wait_status(lambda status: "model_dir" in status.message, "the missing model")
        status, findings = examine(client.node.get_namespace())
        assert status == 1
        assert findings[0][:2] == ("FAIL", "localizer")
        assert "is unconfigured" in findings[0][2] and "model_dir:=/path/to/bundle" in findings[0][2]


def test_a_reliable_subscription_and_a_best_effort_camera_do_not_match(bundle_dir, examine):
    with RunningNode(model_dir=str(bundle_dir), image_reliability="reliable") as client:
        client.wait(lambda: client.state() == "active", "active localizer")
        status, findings = examine(client.node.get_namespace())
    (text,) = [text for level, subject, text in findings if (level, subject) == ("FAIL", "images")]
    assert status == 1
    assert "has an incompatible QoS" in text and "set image_reliability to auto" in text


def test_simulated_time_without_a_clock_is_named(bundle_dir, examine):
    with RunningNode(model_dir=str(bundle_dir), use_sim_time=True) as client:
        client.wait(lambda: client.state() == "active", "active localizer")
        status, findings = examine(client.node.get_namespace())
    assert status == 1
    assert any(level == "FAIL" and "nobody publishes /clock" in text for level, _, text in findings)


def test_without_a_localizer_there_is_one_line(monkeypatch, examine):
    monkeypatch.setattr(collect, "DISCOVERY_S", 0.1)
    client = Client(f"/empty{next(_spaces)}", image_qos=10)
    try:
        status, findings = examine(client.node.get_namespace())
    finally:
        client.close()
    assert status == 1
    ((level, subject, text),) = findings
    assert (level, subject) == ("FAIL", "localizer")
    assert "no node 'visual_gps'" in text and "start localize.launch.py" in text


def test_a_wrong_argument_is_one_line(capsys):
    with pytest.raises(SystemExit) as ended:
        command.run(["--seconds", "soon"])
    assert ended.value.code == 2
    assert "expected 0.5 to 600 seconds, got 'soon'" in capsys.readouterr().err
