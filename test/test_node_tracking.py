"""Tracking in the node over DDS: two cameras and odometry make one belief; relocalisation, initial pose and grids."""

import math
from itertools import count

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseWithCovarianceStamped
from lifecycle_msgs.msg import Transition
from nav_msgs.msg import OccupancyGrid, Odometry
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_helpers import RunningNode, image_message, to_seconds, to_stamp, values
from sensor_msgs.msg import Image, NavSatFix
from std_srvs.srv import Trigger
from tracking_bundle import CELL_M, CELLS, make_seeing_bundle, picture, seen_at

from campus_visual_gps.estimation.calibration import Calibration
from campus_visual_gps.estimation.grid import LocationGrid
from campus_visual_gps.geodesy import LocalFrame
from campus_visual_gps.ros.cameras import FixStamps
from campus_visual_gps.tracking.calibration import TrackingCalibration
from campus_visual_gps.tracking.session import TrackingSession

pytestmark = pytest.mark.ros

FRAME = LocalFrame.at(31.262, 34.802)
WEST, MIDDLE, EAST = np.array([-40.0, -20.0]), np.zeros(2), np.array([40.0, 20.0])
POSTERIORS = [seen_at(WEST), seen_at(MIDDLE), seen_at(EAST), seen_at(WEST, EAST), np.full(len(CELLS), 1 / len(CELLS))]
SEES_WEST, SEES_MIDDLE, SEES_EAST, SEES_WEST_OR_EAST, SEES_NOTHING = range(5)
# from west to east in 40 s, of which the first 30 s have a clear image every 3 s
STEP_M = (EAST - WEST) / 40.0
FIRST_ON_WAY, ON_WAY_S = len(POSTERIORS), range(0, 31, 3)
POSTERIORS += [seen_at(WEST + second * STEP_M, sigma_m=5.0) for second in ON_WAY_S]
CALIBRATION = Calibration(5.0, tracking=TrackingCalibration(measurement_power=1.0, correlation_time_s=0.5))
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# every test plays its own bag: its stamps are far before those of the test before it, and the belief begins anew
_starts_s = count(80_000, -1_000)


class Robot:
    """Two cameras and odometry, and a listener to all that the tracking publishes."""

    def __init__(self, client):
        self.client, self.node = client, client.node
        self.fixes, self.poses, self.initial, self.grids = [], [], [], {"posterior": [], "tracked": []}
        self._cameras = {"front": client._images, "left": self.node.create_publisher(Image, "left/image", 10)}
        self._odometry = self.node.create_publisher(Odometry, "odom", 10)
        self.node.create_subscription(NavSatFix, "visual_gps/tracked_fix", self.fixes.append, 10)
        self.node.create_subscription(PoseWithCovarianceStamped, "visual_gps/tracked_pose", self.poses.append, 10)
        self.node.create_subscription(PoseWithCovarianceStamped, "initialpose", self.initial.append, 10)
        for name, found in self.grids.items():
            self.node.create_subscription(OccupancyGrid, f"visual_gps/{name}_grid", found.append, LATCHED)
        left, odometry = self._cameras["left"], self._odometry
        client.wait(lambda: left.get_subscription_count() and odometry.get_subscription_count(), "subscriptions")

    def begin(self) -> float:
        """Forget what came, and the time at which a bag begins."""
        for messages in (self.fixes, self.poses, self.initial, self.client.fixes, *self.grids.values()):
            messages.clear()
        return float(next(_starts_s))

    def send(self, number: int, stamp_s: float, camera: str = "front") -> None:
        self._cameras[camera].publish(image_message(picture(number), stamp_s, f"{camera}_camera"))

    def see(self, number: int, stamp_s: float, camera: str = "front") -> PoseWithCovarianceStamped:
        """The tracked pose at the time of an image."""
        self.send(number, stamp_s, camera)
        self.client.wait(lambda: self._at(self.poses, stamp_s), f"tracked pose at {stamp_s} s")
        return self._at(self.poses, stamp_s)[0]

    def fix_at(self, messages, stamp_s: float):
        self.client.wait(lambda: self._at(messages, stamp_s), f"fix at {stamp_s} s")
        return self._at(messages, stamp_s)[0]

    def drive_to(self, stamp_s: float, x_m: float, y_m: float, yaw_rad: float = 0.0, frame: str = "odom") -> None:
        message = Odometry()
        message.header.stamp, message.header.frame_id, message.child_frame_id = to_stamp(stamp_s), frame, "base_link"
        message.pose.pose.position.x, message.pose.pose.position.y = x_m, y_m
        message.pose.pose.orientation.z, message.pose.pose.orientation.w = math.sin(yaw_rad / 2), math.cos(yaw_rad / 2)
        self._odometry.publish(message)

    def status(self, condition, what: str) -> dict[str, str]:
        return values(self.client.wait_status(lambda status: condition(values(status)), what))

    @staticmethod
    def _at(messages, stamp_s: float) -> list:
        return [message for message in messages if abs(to_seconds(message.header.stamp) - stamp_s) < 1e-4]


def place(pose: PoseWithCovarianceStamped) -> np.ndarray:
    return np.array([pose.pose.pose.position.x, pose.pose.pose.position.y])


def sigma_m(pose: PoseWithCovarianceStamped) -> float:
    return math.sqrt(np.linalg.eigvalsh(np.array(pose.pose.covariance).reshape(6, 6)[:2, :2])[-1])


@pytest.fixture(scope="module")
def robot(tmp_path_factory):
    bundle_dir = make_seeing_bundle(tmp_path_factory.mktemp("seeing") / "bundle", POSTERIORS, calibration=CALIBRATION)
    with RunningNode(
        model_dir=str(bundle_dir),
        image_topic="front/image",
        image_qos=10,
        image_topics=["front/image", "left/image"],
        tracking="odometry",
        publish_grids=True,
        grid_rate_hz=0.5,
        publish_initial_pose=True,
        relocalize_timeout_s=8.0,
        relocalize_max_sigma_m=15.0,
    ) as client:
        client.wait_connected()
        yield Robot(client)


def test_after_several_images_it_is_more_certain_and_an_ambiguous_image_is_no_longer(robot):
    start_s = robot.begin()
    poses = [robot.see(SEES_WEST, start_s + 5.0 * step) for step in range(4)]
    assert sigma_m(poses[-1]) < sigma_m(poses[0])
    assert np.linalg.norm(place(poses[-1]) - WEST) < 6.0
    tracked = robot.see(SEES_WEST_OR_EAST, start_s + 16.0)
    assert np.linalg.norm(place(tracked) - WEST) < 6.0
    single = robot.fix_at(robot.client.fixes, start_s + 16.0)
    assert np.linalg.norm(FRAME.to_local(single.latitude, single.longitude) - WEST) > 20.0
    fix = robot.fix_at(robot.fixes, start_s + 16.0)
    assert np.linalg.norm(FRAME.to_local(fix.latitude, fix.longitude) - place(tracked)) < 0.01
    assert (fix.header.frame_id, tracked.header.frame_id) == ("front_camera", "map")
    found = robot.status(lambda found: found.get("tracked_images") == "5", "five tracked images")
    assert float(found["lost_probability"]) < 0.1 and found["tracked_modes"] == "1"
    assert found["tracking_motion"] == "random_walk" and float(found["tracking_step_ms"]) > 0.0


def test_an_image_that_the_past_contradicts_gives_no_fix_and_the_reason(robot):
    start_s = robot.begin()
    for step in range(4):
        robot.see(SEES_WEST, start_s + step)
    before = robot.status(lambda found: found.get("tracked_images") == "4", "four tracked images")
    tracked = robot.see(SEES_EAST, start_s + 4.0)
    robot.see(SEES_WEST, start_s + 5.0)
    robot.fix_at(robot.client.fixes, start_s + 5.0)
    assert not robot._at(robot.client.fixes, start_s + 4.0)
    assert np.linalg.norm(place(tracked) - WEST) < 8.0
    found = robot.status(lambda found: "rejected.contradicts_track" in found, "a contradiction")
    assert int(found["contradicted"]) == int(before["contradicted"]) + 1
    assert "contradicts_track: position 39.8 m east, 19.8 m north, which is " in found["last_rejection"]


def test_two_cameras_make_one_belief_and_their_fixes_one_topic(robot):
    start_s = robot.begin()
    robot.see(SEES_WEST_OR_EAST, start_s)
    assert sigma_m(robot.poses[-1]) > 20.0
    robot.send(SEES_EAST, start_s + 1.0, "left")
    robot.send(SEES_WEST_OR_EAST, start_s + 1.0, "front")  # one trigger, one stamp
    robot.client.wait(lambda: len(robot.client.fixes) == 3, "fixes of both cameras")
    robot.client.wait(lambda: len(robot.poses) == 3, "tracked poses of both cameras")
    frames = {fix.header.frame_id for fix in robot.client.fixes[1:]}
    stamps = [fix.header.stamp.sec * 10**9 + fix.header.stamp.nanosec for fix in robot.client.fixes]
    assert frames == {"left_camera", "front_camera"} and stamps == sorted(set(stamps))
    assert np.linalg.norm(place(robot.poses[-1]) - EAST) < 8.0
    found = robot.status(lambda found: found.get("camera_2.images_received", "0") != "0", "images of the second camera")
    assert found["camera_1.topic"].endswith("/front/image") and found["camera_2.topic"].endswith("/left/image")


def test_odometry_moves_the_belief_once_it_is_aligned_and_its_faults_are_counted(robot):
    start_s = robot.begin()
    robot.see(SEES_WEST, start_s)
    for second in range(1, 41):
        robot.drive_to(start_s + second, STEP_M[1] * second, -STEP_M[0] * second)  # its axes are turned by a quarter
    robot.drive_to(start_s + 40.5, math.nan, 0.0)
    robot.drive_to(start_s + 39.0, 1.0, 1.0)
    robot.status(lambda found: found.get("odometry.stamp_not_newer") == "1", "odometry that is out of order")
    for number, second in enumerate(ON_WAY_S, FIRST_ON_WAY):
        robot.see(number, start_s + second + 0.01)
    tracked = robot.see(SEES_NOTHING, start_s + 40.01)
    assert np.linalg.norm(place(tracked) - EAST) < 10.0
    found = robot.status(lambda found: "heading_offset_deg" in found, "a heading")
    assert abs(float(found["heading_offset_deg"]) - 90.0) < 10.0
    assert (found["tracking_motion"], found["odometry.not_finite"]) == ("odometry", "1")
    assert_as_in_replay(robot, start_s)


def assert_as_in_replay(robot, start_s: float) -> None:
    """The drive above through the class that `replay` calls gives the published positions and covariances."""
    session = TrackingSession(LocationGrid(CELLS, CELL_M), CALIBRATION.tracking, "odometry")
    for second in range(1, 41):
        session.odometry(start_s + second, np.array([STEP_M[1], -STEP_M[0]]) * second, 0.0)
    images = [(0.0, SEES_WEST), *((second + 0.01, FIRST_ON_WAY + i) for i, second in enumerate(ON_WAY_S))]
    for second, number in (*images, (40.01, SEES_NOTHING)):
        expected = session.image(start_s + second, POSTERIORS[number], "front")
        (pose,) = robot._at(robot.poses, start_s + second)
        covariance = np.array(pose.pose.covariance).reshape(6, 6)[:2, :2]
        # the networks' weights are kept in float16
        assert np.allclose(place(pose), expected.mean_enu_m, atol=0.01)
        assert np.allclose(covariance, expected.cov_enu_m2, rtol=0.01, atol=0.1)


def test_relocalize_forgets_and_answers_and_publishes_an_initial_pose_with_unknown_yaw(robot):
    start_s = robot.begin()
    for step in range(3):
        robot.see(SEES_WEST, start_s + step)
    client = robot.node.create_client(Trigger, "visual_gps/relocalize")
    robot.client.wait(client.service_is_ready, "the service")
    future = client.call_async(Trigger.Request())
    number = iter(range(1000))

    def answered() -> bool:
        # the node goes on with its images meanwhile
        step = next(number)
        if step % 10 == 0:
            robot.send(SEES_EAST, start_s + 10.0 + step / 10.0)
        return future.done()

    robot.client.wait(answered, "an answer")
    answer = future.result()
    assert answer.success, answer.message
    assert "m east" in answer.message and "covariance [" in answer.message and "initialpose published" in answer.message
    robot.client.wait(lambda: robot.initial, "an initial pose")
    (pose,) = robot.initial
    assert np.linalg.norm(place(pose) - EAST) < 8.0 and pose.header.frame_id == "map"
    covariance = np.array(pose.pose.covariance).reshape(6, 6)
    assert math.isclose(covariance[5, 5], math.pi**2) and covariance[0, 0] < 15.0**2
    robot.node.destroy_client(client)


def test_relocalize_without_images_says_why_not_after_its_deadline(robot):
    robot.see(SEES_NOTHING, robot.begin())  # the images of the test before have been processed
    answer = robot.client.call(Trigger, "relocalize", Trigger.Request())
    assert not answer.success and "0 of at least 2 images came" in answer.message


def test_the_grids_are_latched_from_0_to_100_and_rate_limited(robot):
    start_s = robot.begin()
    for step in range(4):
        robot.see(SEES_EAST, start_s + step)
    late = []
    robot.node.create_subscription(OccupancyGrid, "visual_gps/tracked_grid", late.append, LATCHED)
    robot.client.wait(lambda: late, "a grid that was published before")
    assert [to_seconds(grid.header.stamp) for grid in robot.grids["posterior"]] == [start_s, start_s + 2.0]
    for grid in (late[0], robot.grids["posterior"][0]):
        data = np.array(grid.data).reshape(grid.info.height, grid.info.width)
        assert (data.min(), data.max()) == (0, 100) and grid.header.frame_id == "map"
        row, column = np.unravel_index(data.argmax(), data.shape)
        origin = grid.info.origin.position
        found_m = np.array([origin.x, origin.y]) + (np.array([column, row]) + 0.5) * grid.info.resolution
        assert np.linalg.norm(found_m - EAST) < 5.0


def test_a_jump_back_forgets_where_the_robot_was(robot):
    start_s = robot.begin()
    for step in range(3):
        robot.see(SEES_WEST, start_s + step)
    again = robot.see(SEES_EAST, start_s - 50.0)
    assert np.linalg.norm(place(again) - EAST) < 8.0
    robot.status(lambda found: found.get("tracked_images") == "1", "a belief that began anew")


def test_a_deactivation_forgets_it_too_and_a_call_that_waits_gets_its_answer(robot):
    start_s = robot.begin()
    robot.see(SEES_WEST, start_s)
    robot.status(lambda found: found.get("tracked_images") == "1", "the image")
    service = robot.node.create_client(Trigger, "visual_gps/relocalize")
    robot.client.wait(service.service_is_ready, "service relocalize")
    waiting = service.call_async(Trigger.Request())
    # requests of two services may arrive in either order: this one has arrived when the image is forgotten
    robot.status(lambda found: found.get("tracked_images") == "0", "a position that was forgotten")
    assert robot.client.change_state(Transition.TRANSITION_DEACTIVATE)
    robot.client.wait(waiting.done, "an answer")
    assert waiting.result() == Trigger.Response(success=False, message="the node was deactivated meanwhile")
    answer = robot.client.call(Trigger, "relocalize", Trigger.Request())
    assert not answer.success and answer.message == "the node is not active"
    assert robot.client.change_state(Transition.TRANSITION_ACTIVATE)
    robot.client.wait_connected()
    robot.client.wait(lambda: robot._odometry.get_subscription_count(), "subscription to the odometry")
    pose = robot.see(SEES_EAST, start_s + 1.0)
    assert np.linalg.norm(place(pose) - EAST) < 8.0


def test_stamps_of_fixes_increase_strictly_over_all_cameras():
    stamps = FixStamps()
    assert [stamps.next_ns(ns, 0) for ns in (1000, 1000, 1000, 900, 5000)] == [1000, 1001, 1002, None, 5000]
    assert stamps.next_ns(2000, 0) is None and stamps.next_ns(2000, 1) == 2000  # time jumped back


def test_point_heads_are_not_tracked_and_the_node_says_so_in_one_line(bundle_dir):
    with RunningNode(model_dir=str(bundle_dir), tracking="random_walk") as client:
        status = client.wait_status(lambda status: "location grid" in status.message, "what tracking needs")
        assert status.level == DiagnosticStatus.ERROR
        assert status.message.startswith(
            "cannot activate: parameter tracking: random_walk needs a bundle with a location"
        )
