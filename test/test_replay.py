"""A bag is scored offline and live, and both are the same fixes."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
from helpers import ROOT, make_bundle, textured_rgb
from test_bags import STORE, T0, fix_message

from campus_visual_gps import Localizer
from campus_visual_gps.errors import DatasetError
from training.evaluate.predict import covariances_m2, positions_m, read_predictions
from training.replay.bags import BagMessage, open_bag, write_bag
from training.replay.fixes import read_fixes
from training.replay.replay import replay
from training.replay.topics import Topics

IMAGE = "sensor_msgs/msg/CompressedImage"
TOPIC = "/camera/image_raw/compressed"
COUNT = 8


def image_message(stamp_ns, rgb, data=None):
    types = STORE.types
    header = types["std_msgs/msg/Header"](
        stamp=types["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9), frame_id="camera"
    )
    encoded = cv2.imencode(".png", rgb[..., ::-1])[1].ravel() if data is None else np.frombuffer(data, np.uint8)
    content = types[IMAGE](header=header, format="rgb8; png compressed bgr8", data=encoded)
    return BagMessage(TOPIC, IMAGE, stamp_ns, bytes(STORE.serialize_cdr(content, IMAGE)))


@pytest.fixture(scope="module")
def bundle_dir(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("replay") / "bundle", backbone="efficientnet_lite0", seeds=(42,))


@pytest.fixture(scope="module")
def bag_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("bags") / "drive"
    messages = []
    for i in range(COUNT):
        stamp = T0 + i * 500_000_000
        messages.append(fix_message(stamp - 100_000_000, 31.262 + i * 1e-5, 34.802, topic="/ground_truth/fix"))
        messages.append(image_message(stamp, textured_rgb(seed=i)))
    messages.append(image_message(T0 + COUNT * 500_000_000, None, data=b"no picture"))
    write_bag(path, messages)
    return path


@pytest.mark.slow
def test_offline_every_image_with_a_truth_is_scored(tmp_path, bag_dir, bundle_dir):
    summary = replay(bag_dir, bundle_dir, tmp_path / "out", progress=False)
    rows = read_predictions(summary.predictions_path)
    # the last image is after the last truth, and the damaged one is none
    assert len(rows) == COUNT - 1 == summary.report["n_photos"]
    localizer = Localizer.load(bundle_dir)
    expected = [localizer.localize(textured_rgb(seed=i)).mean_enu_m for i in range(COUNT - 1)]
    np.testing.assert_allclose(positions_m(rows), expected, atol=0.01)
    np.testing.assert_allclose(rows["true_latitude_deg"][1], 31.262 + 1.2e-5, atol=1e-9)
    assert summary.report["baseline.median_position.mean_error_m"] > 0


@pytest.mark.ros
def test_live_fixes_are_the_offline_ones(tmp_path, bag_dir, bundle_dir):
    settings = ("model_dir:=" + str(bundle_dir), "image_transport:=compressed", "max_rate_hz:=0.0")
    # offline, each image has its own covariance
    settings += ("correlated_errors:=ignore",)
    options = [item for setting in settings for item in ("-p", setting)]
    command = [sys.executable, "-m", "campus_visual_gps.ros.localizer_node", "--ros-args", *options]
    node = subprocess.Popen([*command, "-r", "image:=/camera/image_raw"], cwd=ROOT)
    recorded = tmp_path / "recorded"
    try:
        played = subprocess.run(
            [sys.executable, "-m", "training", "play", str(bag_dir), "--wait-for", TOPIC, "--record", str(recorded)],
            cwd=ROOT,
            check=True,
            timeout=180,
            capture_output=True,
            text=True,
        )
    finally:
        node.terminate()
        assert node.wait(timeout=60) == 0
    assert f"{2 * COUNT + 1} messages published" in played.stdout
    with open_bag(recorded) as bag:
        fixes = read_fixes(bag, "/visual_gps/fix")
        assert TOPIC in bag.topics()
    # best effort may lose an image on a busy machine, and a slow one is skipped
    assert len(fixes) >= COUNT - 3
    live = replay(recorded, bundle_dir, tmp_path / "live", topics=Topics(recorded="/visual_gps/fix"), progress=False)
    offline = replay(bag_dir, bundle_dir, tmp_path / "offline", progress=False)
    live_rows = read_predictions(live.predictions_path).set_index("stamp_ns")
    offline_rows = read_predictions(offline.predictions_path).set_index("stamp_ns").loc[live_rows.index]
    np.testing.assert_allclose(positions_m(live_rows), positions_m(offline_rows), atol=0.01)
    np.testing.assert_allclose(covariances_m2(live_rows), covariances_m2(offline_rows), rtol=1e-3)


def test_a_bag_without_a_truth_lists_what_it_has(tmp_path, bundle_dir):
    write_bag(tmp_path / "bag", [image_message(T0, textured_rgb()), fix_message(T0, 31.262, 34.802, topic="/gps/fix")])
    with pytest.raises(DatasetError, match="--truth, one of: /gps/fix"):
        replay(tmp_path / "bag", bundle_dir, tmp_path / "out", progress=False)


def test_fixes_of_another_drive_are_an_error(tmp_path, bag_dir, bundle_dir):
    with open_bag(bag_dir) as bag:
        messages = [*bag.messages(), fix_message(T0 + 10**12, 31.262, 34.802, topic="/visual_gps/fix")]
    write_bag(tmp_path / "bag", messages)
    with pytest.raises(DatasetError, match="stamp"):
        replay(
            tmp_path / "bag", bundle_dir, tmp_path / "out", topics=Topics(recorded="/visual_gps/fix"), progress=False
        )
