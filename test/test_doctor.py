"""`doctor` against nodes over DDS: a healthy robot passes, and each break is one line with what to do."""

import itertools
import json

import pytest
from doctor_robot import Robot, fix, image, imu, odometry
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from ros_helpers import Client, RunningNode

from campus_visual_gps.ros.doctor import collect, command, graph
from campus_visual_gps.ros.tf_check import transform_message

pytestmark = pytest.mark.ros

_numbers = itertools.count(1)
# How long the doctor looks; the longer ones are for a machine on which nothing comes in a second.
SECONDS = ("1", "4", "16")


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A loaded machine starts the nodes of a test slowly."""
    monkeypatch.setattr(collect, "DISCOVERY_S", 30.0)
    monkeypatch.setattr(graph, "SERVICE_TIMEOUT_S", 30.0)


@pytest.fixture
def examine(capsys):
    """Runs the command, for longer each time until `condition` holds; its exit status, and its findings.

    A finding is level, subject and text.
    """

    def run(namespace: str, condition=lambda findings: True) -> tuple[int, list[tuple[str, str, str]]]:
        for seconds in SECONDS:
            capsys.readouterr()
            status = command.run(["--namespace", namespace, "--seconds", seconds, "--json"])
            content = json.loads(capsys.readouterr().out)
            assert (content["result"] == "FAIL") == (status == 1)
            found = content["findings"]
            findings = [(item["level"], item["subject"], f"{item['message']}; {item['remedy']}") for item in found]
            if condition(findings):
                break
        return status, findings

    return run


@pytest.fixture
def space():
    """A namespace of its own."""
    return f"/robot{next(_numbers)}"


@pytest.fixture
def robot(space):
    """A robot without nodes."""
    made = Robot(space)
    yield made
    made.close()


def problems(findings) -> list[tuple[str, str, str]]:
    """What does not pass; without tf2_msgs the line on TF is no problem of the robot."""
    found = [finding for finding in findings if finding[0] != "PASS"]
    return found if transform_message() is not None else [item for item in found if "tf2_msgs" not in item[2]]


def of(findings, level: str, subject: str) -> list[str]:
    """The texts of one level and subject."""
    return [text for *kind, text in findings if kind == [level, subject]]


def says(findings, *texts: str) -> bool:
    """Whether each text is in some finding."""
    return all(any(text in said for _, _, said in findings) for text in texts)


def test_a_robot_that_works_passes(robot, space, examine):
    robot.localizer()
    robot.sensors()
    wheels = robot.node("wheels")
    robot.publish(wheels, "odom", odometry())
    robot.publish(wheels, "imu/data", imu)
    robot.fusion(odometry(), odometry(3.5, 4.0, variance_m2=9.0), "fix")
    robot.start()
    status, findings = examine(space, lambda findings: not problems(findings))
    assert problems(findings) == []
    assert status == 0
    assert {"localizer", "clock", "images", "fixes", "navsat", "filter"} <= {subject for _, subject, _ in findings}
    assert "64 x 48, rgb8" in of(findings, "PASS", "images")[0]


def test_inputs_that_nobody_publishes_and_an_output_at_the_origin_are_named(robot, space, examine):
    robot.localizer()
    robot.sensors()
    robot.fusion(odometry(0.0, 0.0), odometry(0.0, 0.0), "other/fix")
    robot.start()
    status, findings = examine(space, lambda findings: says(findings, "(0, 0, 0)", "stays at the origin"))
    assert status == 1
    navsat, filters = "\n".join(of(findings, "FAIL", "navsat")), "\n".join(of(findings, "FAIL", "filter"))
    assert f"nobody publishes {space}/other/fix, the fixes of {space}/navsat_transform; " in navsat
    assert f"{space}/odometry/gps are (0, 0, 0); the frame of the fixes is not connected" in navsat
    assert f"nobody publishes {space}/odom, an input of {space}/ekf_map; " in filters
    assert f"{space}/ekf_map stays at the origin of the map; " in filters
    (imu_line,) = of(findings, "WARN", "filter")
    assert f"nobody publishes {space}/imu/data, an optional input of {space}/ekf_map; " in imu_line


def test_a_second_publisher_of_fixes_and_bad_covariances_are_named(robot, space, examine):
    robot.localizer()
    robot.sensors()
    robot.publish(robot.node("second_driver"), "fix", fix(frame_id="", variance_m2=0.0))
    robot.start()
    status, findings = examine(space, lambda findings: says(findings, "2 publishers", "covariance of zeros"))
    texts = "\n".join(of(findings, "FAIL", "fixes"))
    assert status == 1
    assert f"2 publishers on {space}/fix: {space}/second_driver, {space}/visual_gps; " in texts
    assert "have a covariance of zeros" in texts


def test_a_camera_that_sends_nothing_or_does_not_match_is_named(robot, space, examine):
    robot.localizer(image_qos=QoSProfile(depth=5), image_reliability="reliable")
    robot.publish(robot.node("front_camera"), "image", image, qos_profile_sensor_data)
    robot.start()
    status, findings = examine(space, lambda findings: says(findings, "incompatible QoS"))
    (text,) = of(findings, "FAIL", "images")
    assert status == 1
    assert f"{space}/front_camera on {space}/image has an incompatible QoS" in text
    assert "set image_reliability to auto" in text
    assert of(findings, "WARN", "receiver") == [
        f"nobody publishes {space}/gps/fix: only visual fixes are used; start the receiver's driver, or set gps_topic"
    ]


def test_simulated_time_without_a_clock_and_a_mix_of_clocks_are_named(robot, space, examine):
    robot.localizer(use_sim_time=True)
    robot.start()
    status, findings = examine(space)
    assert status == 1
    assert "nobody publishes /clock" in of(findings, "FAIL", "clock")[0]
    assert f"no publisher of sensor_msgs/msg/Image on {space}/image" in of(findings, "FAIL", "images")[0]
    robot.stop()
    robot.fusion(odometry(), odometry(), "fix")
    robot.start()
    _, findings = examine(space, lambda findings: says(findings, "use_sim_time is true in"))
    assert f"use_sim_time is true in {space}/visual_gps and false in" in of(findings, "FAIL", "clock")[0]


def test_the_localizer_itself_works_beside_a_node_that_never_answers(bundle_dir, examine, monkeypatch):
    # the client of the tests, which nobody spins; the topics are observed for as long as asked for all the same
    monkeypatch.setattr(graph, "SERVICE_TIMEOUT_S", 5.0)
    running = RunningNode(model_dir=str(bundle_dir), output="fallback", max_rate_hz=5.0)
    with running as client:
        client.wait(lambda: client.state() == "active", "active localizer")
        robot = Robot(running.namespace)
        try:
            # the client of the tests is a second publisher of images
            robot.sensors()
            robot.start()
            client.wait(lambda: len(client.fixes) > 2, "fixes")
            status, findings = examine(running.namespace, lambda found: not any(item[0] == "FAIL" for item in found))
        finally:
            robot.close()
    assert [finding for finding in findings if finding[0] == "FAIL"] == []
    assert status == 0
    assert any("is active" in text for text in of(findings, "PASS", "localizer"))
    assert any("visual_gps/fix" in text for text in of(findings, "PASS", "fixes"))
    assert any("2 publishers" in text for text in of(findings, "WARN", "images"))


def test_a_localizer_without_a_model_says_what_is_missing(examine, monkeypatch):
    monkeypatch.setattr(graph, "SERVICE_TIMEOUT_S", 5.0)  # of the client, which nobody spins
    with RunningNode(model_dir="") as client:
        client.wait_status(lambda status: "model_dir" in status.message, "the missing model")
        status, findings = examine(client.node.get_namespace())
    assert status == 1
    (text,) = of(findings, "FAIL", "localizer")
    assert "is unconfigured (" in text and "model_dir:=/path/to/bundle" in text


def test_without_a_localizer_there_is_one_line(monkeypatch, space, examine):
    monkeypatch.setattr(collect, "DISCOVERY_S", 0.1)
    monkeypatch.setattr(graph, "SERVICE_TIMEOUT_S", 0.1)  # nobody spins the client
    client = Client(space, image_qos=10)
    try:
        status, findings = examine(space)
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
