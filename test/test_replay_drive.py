"""`replay` of a drive with an outage: a bag with the fixes, the table with and without them, from any kind of bag."""

import cv2
import numpy as np
import pytest
from helpers import ROOT, make_bundle, textured_rgb
from rosbags.rosbag2 import StoragePlugin, Writer
from test_bags import STORE, T0, fix_message
from test_replay import image_message

from campus_visual_gps import Localizer
from campus_visual_gps.bundle import Altitude
from campus_visual_gps.errors import DatasetError
from campus_visual_gps.geodesy import LocalFrame
from training.evaluate.predict import read_predictions
from training.replay.bags import BagMessage, open_bag, write_bag
from training.replay.fixes import read_fixes
from training.replay.replay import replay
from training.replay.stamps import read_times
from training.replay.topics import Topics, odometry_topic, receiver_topic
from training.replay.with_fixes import BAG, FIX_TOPIC, write_with_fixes

pytestmark = pytest.mark.slow

FRAME = LocalFrame.at(31.262, 34.802)
RAW, ODOMETRY = "sensor_msgs/msg/Image", "nav_msgs/msg/Odometry"
SECONDS = 16
OUTAGE_S = (10.0, 14.0)
DELAY_NS = 40_000_000


def header(stamp_ns, frame_id):
    stamp = STORE.types["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return STORE.types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id)


def raw_message(stamp_ns, rgb):
    height, width = rgb.shape[:2]
    content = STORE.types[RAW](header(stamp_ns, "camera"), height, width, "rgb8", 0, width * 3, rgb.ravel())
    return BagMessage("/camera/image_raw", RAW, stamp_ns, bytes(STORE.serialize_cdr(content, RAW)))


def odometry_message(stamp_ns, x, y):
    types = STORE.types
    pose = types["geometry_msgs/msg/Pose"](
        types["geometry_msgs/msg/Point"](x, y, 0.0), types["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0)
    )
    zero = types["geometry_msgs/msg/Vector3"](0.0, 0.0, 0.0)
    twist = types["geometry_msgs/msg/Twist"](zero, zero)
    content = types[ODOMETRY](
        header(stamp_ns, "odom"),
        "base_link",
        types["geometry_msgs/msg/PoseWithCovariance"](pose, np.zeros(36)),
        types["geometry_msgs/msg/TwistWithCovariance"](twist, np.zeros(36)),
    )
    return BagMessage("/odom", ODOMETRY, stamp_ns, bytes(STORE.serialize_cdr(content, ODOMETRY)))


def drive_messages(image=image_message):
    """Two metres a second to the north; odometry calls that x; the receiver is silent in the outage."""
    messages = []
    for i in range(2 * SECONDS):
        time_s = i / 2
        stamp = T0 + int(time_s * 1e9)
        latitude, longitude = (float(value) for value in FRAME.to_geodetic([0.0, 2.0 * time_s]))
        messages.append(fix_message(stamp, latitude, longitude, topic="/ground_truth/fix"))
        if not OUTAGE_S[0] < time_s < OUTAGE_S[1]:
            messages.append(fix_message(stamp, latitude, longitude, topic="/gps/fix"))
        messages.append(odometry_message(stamp, 2.0 * time_s, 0.0))
        messages.append(image(stamp, textured_rgb(seed=i))._replace(time_ns=stamp + DELAY_NS))
    return sorted(messages, key=lambda message: message.time_ns)


@pytest.fixture(scope="module")
def bundle_dir(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("replay_drive") / "bundle", seeds=(42,))


@pytest.fixture(scope="module")
def bag_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("drive") / "drive"
    write_bag(path, drive_messages())
    return path


@pytest.fixture(scope="module")
def summary(tmp_path_factory, bag_dir, bundle_dir):
    return replay(bag_dir, bundle_dir, tmp_path_factory.mktemp("out") / "out", progress=False)


def test_the_report_compares_the_outage_with_and_without_the_visual_fix(summary):
    report = summary.report
    assert (report["outage.count"], report["outage.total_s"], report["outage.n_frames"]) == (1, 4.0, 7)
    assert report["outage.dead_reckoning.mean_error_m"] == pytest.approx(0.0, abs=0.05)
    assert report["outage.held.mean_error_m"] == pytest.approx(4.0, abs=0.01)
    rows = read_predictions(summary.predictions_path)
    assert rows["stamp_ns"][1] == T0 + 500_000_000 and rows["photo_id"][1] == f"drive-{T0 + 500_000_000}"
    assert set(rows["frame_id"]) == {"camera"} and set(rows["camera"]) == {""}
    expected = rows["error_m"][(rows.index > 20) & (rows.index < 28)].mean()
    assert report["outage.visual.mean_error_m"] == pytest.approx(expected)
    assert report["availability_share"] == 1.0 and report["accepted_frames_share"] == 1.0
    assert report["ate_rmse_m"] == pytest.approx(np.sqrt((rows["error_m"] ** 2).mean()))
    text = summary.report_path.read_text()
    assert "| with: visual fix | 7 |" in text and "![drive_error](drive_error.png)" in text


def test_the_pictures_show_the_drive(summary):
    for name in ("drive_map", "drive_error"):
        picture = cv2.imread(str(summary.pictures[name]))
        assert picture is not None and picture.std() > 5


def test_a_copy_of_the_bag_has_the_fixes_of_the_library(summary, bag_dir, bundle_dir):
    with open_bag(bag_dir) as bag, open_bag(summary.out_dir / BAG) as copy:
        fixes = read_fixes(copy, FIX_TOPIC)
        delays = read_times(copy, FIX_TOPIC).delays_s()
        assert list(copy.messages(bag.topics())) == list(bag.messages())
        message = copy.decode(next(copy.messages([FIX_TOPIC])))
    estimate = Localizer.load(bundle_dir).localize(textured_rgb(seed=0))
    assert len(fixes) == 2 * SECONDS
    np.testing.assert_allclose(fixes.positions[0, :2], [estimate.latitude_deg, estimate.longitude_deg], atol=1e-7)
    np.testing.assert_allclose(fixes.covariances_enu_m2[0][:2, :2], estimate.cov_enu_m2, rtol=1e-4)
    assert (message.status.status, message.position_covariance_type) == (0, 3)
    assert (message.altitude, message.header.frame_id, fixes.covariances_enu_m2[0, 2, 2]) == (300.0, "camera", 25.0)
    # a fix is recorded after its image, later by the time that the ensemble took
    assert min(delays.values()) > DELAY_NS / 1e9


def test_the_copy_keeps_the_latched_transforms_of_a_real_bag(summary, tmp_path):
    predictions = read_predictions(summary.predictions_path)
    with open_bag(ROOT / "sample" / "drive") as bag:
        path = write_with_fixes(bag, predictions, {}, Altitude(300.0, 5.0), tmp_path)
        with open_bag(path) as copy:
            assert copy.latched() == {"/tf_static"} and copy.qos()["/tf_static"] == bag.qos()["/tf_static"]
            assert list(copy.messages(["/tf_static"])) == list(bag.messages(["/tf_static"]))


def test_recorded_fixes_are_scored_with_their_latency_and_no_copy_is_made(summary, tmp_path, bundle_dir):
    recorded = replay(summary.out_dir / BAG, bundle_dir, tmp_path / "out", Topics(recorded=FIX_TOPIC), progress=False)
    assert recorded.report["mean_error_m"] == pytest.approx(summary.report["mean_error_m"])
    assert recorded.report["outage.visual.mean_error_m"] == pytest.approx(summary.report["outage.visual.mean_error_m"])
    assert 0.0 < recorded.report["latency.node_median_s"] < recorded.report["latency.fix_median_s"]
    assert not (tmp_path / "out" / BAG).exists()
    again = replay(summary.out_dir / BAG, bundle_dir, tmp_path / "again", progress=False)
    with open_bag(again.out_dir / BAG) as copy:
        assert len(read_fixes(copy, FIX_TOPIC)) == 2 * SECONDS  # the old ones have made room


def test_sqlite3_and_raw_images_give_the_same(tmp_path, summary, bundle_dir):
    path = tmp_path / "raw"
    connections = {}
    with Writer(path, version=8, storage_plugin=StoragePlugin.SQLITE3) as writer:
        for message in drive_messages(raw_message):
            if message.topic not in connections:
                connections[message.topic] = writer.add_connection(message.topic, message.type_name, typestore=STORE)
            writer.write(connections[message.topic], message.time_ns, message.data)
    report = replay(path, bundle_dir, tmp_path / "out", progress=False).report
    for name in ("mean_error_m", "outage.visual.mean_error_m", "outage.held.mean_error_m", "availability_share"):
        assert report[name] == pytest.approx(summary.report[name], rel=1e-3)


def test_topics_are_found_by_name_and_ambiguous_ones_are_not_used(tmp_path):
    names = ("/ground_truth/fix", "/visual_gps/fix", "/front/fix", "/rear/fix")
    write_bag(tmp_path / "bag", [fix_message(T0, 31.0, 34.0, topic=name) for name in names])
    with open_bag(tmp_path / "bag") as bag:
        assert receiver_topic(bag, None, {"/ground_truth/fix"}) is None
        assert receiver_topic(bag, None, {"/ground_truth/fix", "/rear/fix"}) == "/front/fix"
        assert receiver_topic(bag, "/rear/fix", set()) == "/rear/fix"
        assert odometry_topic(bag, None) is None
        with pytest.raises(DatasetError, match="--gps /gps/fix is none of: /front/fix"):
            receiver_topic(bag, "/gps/fix", set())
