"""Which images of a bag are used, at which time, and on which topic they are found."""

import numpy as np
import pytest
from bag_helpers import TRUTH, bag_condition, custom_messages, row, write_mcap
from helpers import textured_rgb
from test_bags import STORE, T0, fix_message
from test_replay import TOPIC, image_message

from campus_visual_gps.errors import DatasetError
from training.replay.bag_images import ImageCounts, extract_images
from training.replay.bags import BagMessage, open_bag
from training.replay.fixes import read_fixes
from training.replay.reading_report import Reading, reading_block, reading_to_flat_json
from training.replay.topics import Topics, image_topic, named_fix_topic, odometry_topic, receiver_topic, truth_topic

COUNT = 6
RGB = textured_rgb(seed=1)
VIDEO = "theora_image_transport/msg/Packet"


def image(index, stamp_ns=None, data=None, topic=TOPIC):
    log_ns = T0 + index * 10**9
    message = image_message(log_ns if stamp_ns is None else stamp_ns, RGB, data)
    return message._replace(time_ns=log_ns, topic=topic)


def truth(count=COUNT, start_ns=T0):
    return [fix_message(start_ns + i * 10**9, 31.0 + i * 1e-5, 34.0, altitude=np.nan) for i in range(count)]


def extracted(path, images, fixes=None):
    messages = sorted([*(truth() if fixes is None else fixes), *images], key=lambda message: message.time_ns)
    with open_bag(write_mcap(path / "drive.mcap", messages)) as bag:
        found = extract_images(bag, TOPIC, read_fixes(bag, TRUTH), 32, path / "images")
    assert [file.exists() for file in found.paths] == [True] * len(found.stamps_ns)
    return found


def test_all_images_with_a_truth_are_used_and_nothing_is_said(tmp_path):
    found = extracted(tmp_path, [image(i) for i in range(COUNT)])
    assert found.stamps_ns.tolist() == [T0 + i * 10**9 for i in range(COUNT)]
    assert found.counts == ImageCounts() and not found.text
    assert set(found.photos["session"]) == {"drive"}


@bag_condition("images without stamps (0)", "taken at the time of their log; said once")
def test_images_without_stamps_are_taken_at_the_time_of_their_log(tmp_path, caplog):
    found = extracted(tmp_path, [image(i, stamp_ns=0) for i in range(COUNT)])
    assert found.stamps_ns.tolist() == [T0 + i * 10**9 for i in range(COUNT)]
    assert caplog.text.count("6 without a stamp, taken at the time of their log") == 1
    assert set(found.delays_s.values()) == {0.0}


@bag_condition("first image without a stamp, the others with", "all are used")
def test_one_image_without_a_stamp_does_not_hide_the_others(tmp_path):
    found = extracted(tmp_path, [image(0, stamp_ns=0), *(image(i) for i in range(1, COUNT))])
    assert len(found.stamps_ns) == COUNT


@bag_condition("images whose stamps go backward", "used, in the order of their stamps")
def test_images_whose_stamps_go_backward_are_used_in_their_order(tmp_path):
    found = extracted(tmp_path, [image(i, stamp_ns=T0 + (5 - i) * 10**9) for i in range(COUNT)])
    assert found.stamps_ns.tolist() == [T0 + i * 10**9 for i in range(COUNT)]
    np.testing.assert_allclose(found.photos["latitude_deg"], 31.0 + np.arange(COUNT) * 1e-5)


@bag_condition("images with the same stamp", "one per stamp; counted")
def test_images_with_the_same_stamp_count_once(tmp_path, caplog):
    found = extracted(tmp_path, [*(image(i) for i in range(COUNT)), image(6, stamp_ns=T0), image(7, stamp_ns=T0)])
    assert len(found.stamps_ns) == COUNT and found.counts == ImageCounts(repeated_stamp=2)
    assert "2 of 8 images left out (2 repeated_stamp)" in caplog.text


@bag_condition("images that cannot be decoded among good ones", "left out, counted, the first reason named")
def test_images_that_cannot_be_decoded_are_counted_and_the_reason_is_named(tmp_path, caplog):
    found = extracted(tmp_path, [image(0, data=b"none"), image(1, data=b""), *(image(i) for i in range(2, COUNT))])
    assert len(found.stamps_ns) == COUNT - 2 and found.counts == ImageCounts(undecodable=2)
    assert "2 of 6 images left out (2 undecodable) (the first: " in caplog.text


@bag_condition("images from before or after the truth", "left out and counted")
def test_images_without_a_truth_are_counted(tmp_path):
    found = extracted(tmp_path, [image(i) for i in range(COUNT + 3)])
    assert len(found.stamps_ns) == COUNT and found.counts == ImageCounts(without_truth=3)


@bag_condition("images and truth of clocks that differ by years", "one line gives the times of both")
def test_clocks_that_differ_are_one_line_with_both_times(tmp_path):
    with pytest.raises(DatasetError, match=r"6 without_truth\); images are from 2025-10-09 .*, the truth from 2006-"):
        extracted(tmp_path, [image(i) for i in range(COUNT)], truth(start_ns=T0 - 1024 * 7 * 86400 * 10**9))


def test_the_report_says_what_was_left_out():
    reading = Reading(["bag x: 4 of 5"], ImageCounts(undecodable=2), {"null_island": 3}, {}, {"/a": 1})
    assert "- bag x: 4 of 5" in reading_block(reading)
    flat = reading_to_flat_json(reading)
    assert (flat["bag.images.undecodable"], flat["bag.truth.null_island"], flat["bag.lost_messages"]) == (2, 3, 1)
    assert reading_block(Reading()) == ""


def topic_of(path, topics, wanted):
    """topics: name -> message."""
    messages = [message._replace(topic=topic) for topic, message in topics.items()]
    with open_bag(write_mcap(path / "drive.mcap", messages)) as bag:
        return image_topic(bag, wanted)


RAW = "/robot/camera/image_raw"


@pytest.mark.parametrize(
    ("topics", "wanted", "found"),
    [
        row(
            "slash", "topic named without its slash, or with one behind", "found", [RAW], "robot/camera/image_raw/", RAW
        ),
        row("namespace", "topic named without its namespace", "found if it is the only one", [RAW], "image_raw", RAW),
        row(
            "base", "raw topic named, the bag has /compressed", "found", [f"{RAW}/compressed"], RAW, f"{RAW}/compressed"
        ),
        row("both", "raw and /compressed of one camera", "the raw one", [RAW, f"{RAW}/compressed"], None, RAW),
        row("depth", "camera beside a /compressedDepth topic", "the camera", [RAW, "/d/compressedDepth"], None, RAW),
    ],
)
def test_an_image_topic_is_found_however_it_is_named(tmp_path, topics, wanted, found):
    assert topic_of(tmp_path, dict.fromkeys(topics, image(0)), wanted) == found


@pytest.mark.parametrize(
    ("topics", "wanted", "said"),
    [
        row(
            "type",
            "topic of another type named as image topic",
            "one line names both types",
            {"/truth": truth()[0], TOPIC: image(0)},
            "/truth",
            "/truth is of type sensor_msgs/msg/NavSatFix, expected sensor_msgs/Image or CompressedImage",
        ),
        row(
            "video",
            "bag with theora, ffmpeg or Foxglove video only",
            "one line: how to republish",
            {"/camera/theora": BagMessage("", VIDEO, T0, b"")},
            None,
            r"/camera/theora is video .* republish .* in_transport:=theora",
        ),
        row(
            "several",
            "several cameras",
            "one line lists them",
            {"/a": image(0), "/b": image(0)},
            None,
            "--images: /a, /b",
        ),
        row("none", "bag without images", "one line says so", {"/truth": truth()[0]}, None, "--images: none"),
    ],
)
def test_without_an_image_topic_one_line_says_what_to_do(tmp_path, topics, wanted, said):
    with pytest.raises(DatasetError, match=said):
        topic_of(tmp_path, topics, wanted)


def test_truth_receiver_and_odometry_are_found_without_slash_too(tmp_path):
    odometry = STORE.generate_msgdef("nav_msgs/msg/Odometry", ros_version=2)[0]
    odom = BagMessage("/odom", "nav_msgs/msg/Odometry", T0, b"")
    messages = [truth()[0], truth()[0]._replace(topic="/rtk/fix"), odom, *custom_messages()]
    path = write_mcap(tmp_path / "drive.mcap", messages, {"nav_msgs/msg/Odometry": ("ros2msg", odometry)})
    with open_bag(path) as bag:
        assert truth_topic(bag, None) == TRUTH and truth_topic(bag, "rtk/fix") == "/rtk/fix"
        assert receiver_topic(bag, "rtk/fix/", set()) == "/rtk/fix" and odometry_topic(bag, "odom") == "/odom"
        with pytest.raises(DatasetError, match=r"/custom is of type robot_msgs/msg/Wheel, .* --recorded"):
            named_fix_topic(bag, "custom", "--recorded")
    assert Topics().images is None
