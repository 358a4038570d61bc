"""`replay` and `recalibrate` of bags as robots leave them: the report says what was not used."""

import numpy as np
import pytest
from bag_helpers import bag_condition, custom_messages, write_mcap
from helpers import make_bundle, textured_rgb
from test_bags import T0, fix_message
from test_replay import image_message

from campus_visual_gps.errors import DatasetError
from training.evaluate.predict import read_predictions
from training.replay.bags import BagMessage
from training.replay.recalibrate import recalibrate
from training.replay.replay import replay
from training.replay.topics import Topics
from training.replay.with_fixes import FIX_TOPIC

pytestmark = pytest.mark.slow

NAN = float("nan")
SECONDS = 12


@pytest.fixture(scope="module")
def bundle_dir(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("replay_faults") / "bundle", seeds=(42,))


def drive(path, truth_status=0, recorded=False, more=()):
    """A bare MCAP file: every image twice, truth with faults, a receiver without any fix, messages of an own type."""
    messages = [*custom_messages(), *more]
    for i in range(SECONDS):
        stamp = T0 + i * 10**9
        image = image_message(stamp, textured_rgb(seed=i))
        latitude = 31.262 + i * 1e-5
        messages += [image, image._replace(time_ns=stamp + 1)]
        for k in range(5):
            messages.append(fix_message(stamp + k * 2 * 10**8, latitude, 34.802, topic="/truth", status=truth_status))
        messages.append(fix_message(stamp + 10**8, NAN, NAN, topic="/truth", status=-1))
        messages.append(fix_message(stamp + 3 * 10**8, 0.0, 0.0, topic="/truth"))
        messages.append(fix_message(stamp, NAN, NAN, topic="/gps/fix", status=-1))
        if recorded:  # every third image is rejected
            position = (NAN, NAN) if i % 3 == 0 else (latitude, 34.802)
            messages.append(fix_message(stamp, *position, topic=FIX_TOPIC, status=-1 if i % 3 == 0 else 0))
    return write_mcap(path, sorted(messages, key=lambda message: message.time_ns))


@bag_condition("drive with a receiver that never has a fix", "scored; the report counts what was left out")
def test_the_report_counts_what_of_the_bag_was_left_out(tmp_path, bundle_dir, caplog):
    odometry = BagMessage("/odom", "nav_msgs/msg/Odometry", T0, b"no odometry")  # nobody asked for it
    bag = drive(tmp_path / "drive.mcap", more=[odometry])
    summary = replay(bag, bundle_dir, progress=False)
    assert "/odom cannot be decoded" in caplog.text and "the report does without it" in caplog.text
    assert summary.out_dir == tmp_path / "drive-replay"
    assert len(read_predictions(summary.predictions_path)) == SECONDS == summary.report["n_photos"]
    assert summary.report["bag.images.repeated_stamp"] == SECONDS
    assert summary.report["bag.truth.no_fix_status"] == summary.report["bag.truth.null_island"] == SECONDS
    assert summary.report["bag.receiver.no_fix_status"] == SECONDS and summary.report["bag.lost_messages"] == 0
    assert summary.report["outage.count"] == 1
    line = f"- /truth: {2 * SECONDS} of {7 * SECONDS} fixes left out ({SECONDS} no_fix_status, {SECONDS} null_island)"
    assert line in summary.report_path.read_text() and line.removeprefix("- ") in summary.terminal


@bag_condition("recorded fixes with status -1 and NaN", "count as rejected images")
def test_recorded_messages_without_a_fix_are_rejected_images(tmp_path, bundle_dir):
    bag = drive(tmp_path / "drive.mcap", recorded=True)
    summary = replay(bag, bundle_dir, topics=Topics(recorded="visual_gps/fix"), progress=False)
    rows = read_predictions(summary.predictions_path)
    assert (rows["rejection_reason"] == "no_fix").tolist() == [i % 3 == 0 for i in range(SECONDS)]
    np.testing.assert_allclose(rows["error_m"][rows["rejection_reason"] == ""], 0.0, atol=0.01)


@bag_condition("survey drive whose truth never has a fix", "one line counts the reasons")
def test_a_survey_without_any_truth_is_one_line(tmp_path, bundle_dir):
    bag = drive(tmp_path / "drive.mcap", truth_status=-1)
    truth = "none of the messages on /truth has a position: 84 of 84 fixes left out (72 no_fix_status, 12 null_island)"
    for run in (
        lambda: recalibrate(bundle_dir, bag, tmp_path / "new", device="cpu"),
        lambda: replay(bag, bundle_dir, progress=False),
    ):
        with pytest.raises(DatasetError) as caught:
            run()
        assert truth in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()
