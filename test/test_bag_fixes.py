"""Which NavSatFix messages of a bag are positions: the same rule for truth, receiver and recorded fixes."""

import numpy as np
import pytest
from bag_helpers import TRUTH, bag_condition, row, write_mcap
from rosbags.rosbag2 import Writer
from test_bags import STORE, T0, fix_message

from campus_visual_gps.errors import DatasetError
from training.replay.bags import BagMessage, open_bag, write_bag
from training.replay.fixes import read_all_fixes, read_fixes, read_positions
from training.replay.stamps import read_times
from training.replay.switches import read_arrivals

NAN = float("nan")
COUNT = 10


def good(count=COUNT, first=0):
    return [fix_message(T0 + i * 10**9, 31.0 + i * 1e-5, 34.0) for i in range(first, first + count)]


def at(index, latitude=31.5, longitude=34.5, stamp_ns=None, **fields):
    """A message between two good ones, at the time of its log unless stamped."""
    log_ns = T0 + index * 10**9 + 500_000_000
    message = fix_message(log_ns if stamp_ns is None else stamp_ns, latitude, longitude, **fields)
    return message._replace(time_ns=log_ns)


def bag_of(path, messages):
    write_bag(path / "bag", sorted(messages, key=lambda message: message.time_ns))
    return open_bag(path / "bag")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        row(
            "no-fix",
            "truth or receiver with status -1 and NaN",
            "left out",
            ((NAN, NAN), {"status": -1}),
            "no_fix_status",
        ),
        row("held", "status -1, last position held", "left out", ((31.0, 34.0), {"status": -1}), "no_fix_status"),
        row("zero", "status -1 at 0/0", "left out", ((0.0, 0.0), {"status": -1}), "no_fix_status"),
        row(
            "unknown",
            "status -2, never set by the driver",
            "left out",
            ((31.0, 34.0), {"status": -2}),
            "status_unknown",
        ),
        row("nan", "status 0, latitude NaN", "left out", ((NAN, 34.0), {}), "not_finite"),
        row("infinite", "status 0, longitude infinite", "left out", ((31.0, float("-inf")), {}), "not_finite"),
        row("null-island", "status 0 at 0/0", "left out", ((0.0, 0.0), {}), "null_island"),
        row("near-null-island", "status 0 within 10 cm of 0/0", "left out", ((1e-7, -2e-7), {}), "null_island"),
        row("noise", "status 0, a receiver's noise around 0/0", "left out", ((2e-5, -1e-5), {}), "far_away"),
        row("swapped", "latitude and longitude swapped now and then", "left out", ((34.0, 31.0), {}), "far_away"),
        row("off-latitude", "latitude beyond 90", "left out", ((3100.5, 34.0), {}), "off_the_globe"),
        row("off-longitude", "longitude beyond 180", "left out", ((31.0, 340.0), {}), "off_the_globe"),
    ],
)
def test_a_fix_without_a_position_is_left_out_and_counted_by_its_reason(tmp_path, caplog, fields, reason):
    position, more = fields
    bad = [at(index, *position, **more) for index in (2, 5, 6)]
    with bag_of(tmp_path, [*good(), *bad]) as bag:
        fixes = read_fixes(bag, TRUTH)
        assert len(read_all_fixes(bag, TRUTH)) == COUNT + 3 and len(read_arrivals(bag, TRUTH)) == COUNT + 3
    assert fixes.stamps_ns.tolist() == [T0 + i * 10**9 for i in range(COUNT)]
    assert fixes.left_out == {reason: 3}
    assert f"3 of {COUNT + 3} fixes left out (3 {reason})" in caplog.text


@pytest.mark.parametrize(
    "altitude",
    [row("nan", "truth with altitude NaN", "used", NAN), row("wild", "truth with altitude -2e10", "used", -2e10)],
)
def test_an_altitude_is_no_reason_to_leave_a_truth_out(tmp_path, altitude):
    with bag_of(tmp_path, [fix_message(T0 + i * 10**9, 31.0, 34.0, altitude) for i in range(5)]) as bag:
        truth = read_fixes(bag, TRUTH)
    assert len(truth) == 5 and not truth.left_out
    np.testing.assert_array_equal(truth.interpolate(np.array([T0 + 10**9 // 2]))[0, :2], [31.0, 34.0])


@bag_condition("topic without any position", "one line counts the reasons and names the topic")
def test_a_topic_without_any_position_is_one_line_that_counts_the_reasons(tmp_path):
    bad = [at(0, NAN, NAN, status=-1), at(1, NAN, NAN, status=-1), at(2, 0.0, 0.0), at(3, status=-2)]
    with bag_of(tmp_path, bad) as bag:
        assert len(read_positions(bag, TRUTH)) == 0  # a receiver may have none
        with pytest.raises(DatasetError) as caught:
            read_fixes(bag, TRUTH)
    text = str(caught.value)
    assert "none of the messages on /truth has a position: 4 of 4 fixes left out" in text
    assert "(2 no_fix_status, 1 null_island, 1 status_unknown)" in text
    assert "expected 0 (fix) or more" in text and "\n" not in text


@bag_condition("fixes without stamps (0)", "taken at the time of their log; said")
def test_fixes_without_stamps_are_taken_at_the_time_of_their_log(tmp_path, caplog):
    with bag_of(tmp_path, [at(index, stamp_ns=0) for index in range(4)]) as bag:
        truth = read_fixes(bag, TRUTH)
    assert truth.stamps_ns.tolist() == [T0 + i * 10**9 + 500_000_000 for i in range(4)]
    assert "4 without a stamp, taken at the time of their log" in caplog.text


@bag_condition("some fixes without stamps", "taken at the time of their log; said")
def test_a_single_fix_without_a_stamp_takes_its_place_among_the_others(tmp_path):
    with bag_of(tmp_path, [*good(), at(4, stamp_ns=0)]) as bag:
        truth = read_fixes(bag, TRUTH)
    assert len(truth) == COUNT + 1 and truth.positions[5, 0] == 31.5


@bag_condition("fixes without stamps beside stamps of another clock", "left out and counted as no_time")
def test_beside_stamps_of_another_clock_the_log_is_no_time(tmp_path):
    simulated = [message._replace(time_ns=message.time_ns + 10**15) for message in good()]
    with bag_of(tmp_path, [*simulated, at(3, stamp_ns=0)]) as bag:
        truth = read_fixes(bag, TRUTH)
    assert len(truth) == COUNT and truth.left_out == {"no_time": 1}


@bag_condition("receiver that repeats its last fix with its stamp", "one per stamp; counted")
def test_repeated_stamps_count_once(tmp_path):
    repeated = [at(3, 32.0, stamp_ns=T0 + 3 * 10**9), at(4, 32.0, stamp_ns=T0 + 3 * 10**9)]
    with bag_of(tmp_path, [*good(), *repeated]) as bag:
        truth = read_fixes(bag, TRUTH)
    assert truth.left_out == {"repeated_stamp": 2} and truth.positions[3, 0] == 31.0 + 3e-5
    assert (np.diff(truth.stamps_ns) > 0).all()


@bag_condition("stamps that go backward", "sorted by stamp")
def test_stamps_that_go_backward_are_sorted(tmp_path):
    late = [message._replace(time_ns=T0 + 20 * 10**9 + index) for index, message in enumerate(good(5)[::-1])]
    with bag_of(tmp_path, [*good(5, first=5), *late]) as bag:
        truth = read_fixes(bag, TRUTH)
    assert len(truth) == COUNT and (np.diff(truth.stamps_ns) > 0).all()


@pytest.mark.parametrize("log_ns", [row("log", "log times of 0 or -1", "read; stamps count", 2**64 - 1), 0])
def test_log_times_that_are_none_do_no_harm(tmp_path, log_ns):
    messages = good()
    messages[4] = messages[4]._replace(time_ns=log_ns)
    path = write_mcap(tmp_path / "drive.mcap", messages)
    with open_bag(path) as bag:
        truth = read_fixes(bag, TRUTH)
        assert len(read_times(bag, TRUTH).delays_s()) == COUNT
        assert write_bag(tmp_path / "copy", bag.messages()) == COUNT
    assert len(truth) == COUNT and not truth.left_out


@bag_condition("topic of NavSatFix without messages", "one line")
def test_a_topic_without_messages_is_one_line(tmp_path):
    with Writer(tmp_path / "bag", version=9) as writer:
        writer.add_connection(TRUTH, "sensor_msgs/msg/NavSatFix", typestore=STORE)
    with open_bag(tmp_path / "bag") as bag, pytest.raises(DatasetError, match="/truth has no messages"):
        read_fixes(bag, TRUTH)


@bag_condition("fix topic with messages of another type too", "they are left out and counted")
def test_messages_of_another_type_on_the_topic_of_fixes_are_left_out_and_counted(tmp_path, caplog):
    text = b"\0\1\0\0\2\0\0\0a\0"
    others = [BagMessage(TRUTH, "std_msgs/msg/String", T0 + i * 10**9 - 1, text) for i in range(3)]
    with bag_of(tmp_path, [*good(), *others]) as bag:
        assert len(read_fixes(bag, TRUTH)) == COUNT
        assert len(read_times(bag, TRUTH).stamps_ns) == COUNT
        assert len(list(bag.messages())) == COUNT + 3  # a copy has them all
        assert len(list(bag.of_type())) == COUNT  # and none is played as another type
    assert "3 messages on /truth are std_msgs/msg/String: left out" in caplog.text
