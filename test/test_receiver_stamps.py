"""Stamps of receivers: missing, ahead, repeated, going back."""

import pytest
from compatibility import Area, condition
from ros_helpers import to_seconds
from test_fallback import RECEIVER_FRAME, VISUAL_FRAME, Stream, message

SINCE = "2026-11-26"


def run(stream: Stream, start_s: float, end_s: float, stamp_s, rate_hz: float = 4.0) -> None:
    """The receiver's messages with the stamps `stamp_s(now_s)`, visual fixes at 2 Hz, ticks."""
    for index in range(round((end_s - start_s) * rate_hz)):
        now_s = start_s + index / rate_hz
        stream.fallback.receiver(message(stamp_s(now_s)), now_s)
        if index % 2 == 0:
            stream.fallback.visual(message(now_s - 0.3, VISUAL_FRAME), now_s)
        stream.fallback.tick(now_s)


def healthy() -> Stream:
    stream = Stream()
    run(stream, 1000.0, 1010.0, lambda now_s: now_s)
    return stream


@pytest.mark.parametrize(
    ("name", "stamp_s"),
    [
        pytest.param(
            "unstamped",
            lambda now_s: 0.0,
            marks=condition(Area.RECEIVER, "stamps of 0", "not used: unstamped", since=SINCE),
        ),
        pytest.param(
            "from_future",
            lambda now_s: now_s + 18.0,
            marks=condition(Area.RECEIVER, "stamps in GPS time, 18 s ahead", "not used: from_future", since=SINCE),
        ),
        pytest.param(
            "from_future",
            lambda now_s: now_s + 619_315_200.0,
            marks=condition(Area.RECEIVER, "stamps 1024 weeks ahead", "not used: from_future", since=SINCE),
        ),
    ],
)
def test_stamps_that_no_filter_can_use_are_faults_and_do_not_hold_back_the_camera(name, stamp_s):
    stream = healthy()
    run(stream, 1010.0, 1020.0, stamp_s)
    _, text, values = stream.fallback.report()
    assert f"receiver degraded, {name}: " in text
    assert values[f"fault.{name}"] == 40
    after = [to_seconds(fix.header.stamp) for fix in stream.out if fix.header.frame_id == VISUAL_FRAME]
    assert len(after) >= 17 and max(after) < 1020.0
    run(stream, 1020.0, 1025.0, lambda now_s: now_s)
    assert stream.out[-1].header.frame_id == RECEIVER_FRAME


@condition(Area.RECEIVER, "one stamp ahead or of 0", "costs that message only", since=SINCE)
@pytest.mark.parametrize("wrong_s", [0.0, 1e9])
def test_one_wrong_stamp_costs_its_own_message_only(wrong_s):
    stream = healthy()
    run(stream, 1010.0, 1020.0, lambda now_s: wrong_s if now_s == 1015.0 else now_s)
    stamps_s = [to_seconds(fix.header.stamp) for fix in stream.out]
    assert stamps_s == [1000.0 + index / 4 for index in range(80) if index != 60]
    assert stream.fallback.report().values["source_changes"] == 0


@condition(Area.RECEIVER, "stamps of whole seconds at 4 Hz (gpsd_client)", "one fix a second is used", since=SINCE)
def test_repeated_stamps_are_counted_and_do_no_harm():
    stream = healthy()
    run(stream, 1010.0, 1030.0, lambda now_s: float(int(now_s)))
    values = stream.fallback.report().values
    assert (values["state"], values["source_changes"]) == ("healthy", 0)
    assert values["fault.stamp_not_newer"] == 60
    assert [to_seconds(fix.header.stamp) for fix in stream.out[-20:]] == [1010.0 + index for index in range(20)]


@condition(Area.RECEIVER, "the same message again and again", "not used: silent", since="2026-11-22")
def test_a_driver_that_repeats_its_last_message_is_silent():
    stream = healthy()
    run(stream, 1010.0, 1020.0, lambda now_s: 1009.75)
    assert "receiver lost, silent: " in stream.fallback.report().message
    assert stream.out[-1].header.frame_id == VISUAL_FRAME


@condition(Area.RECEIVER, "messages out of order by less than a second", "late ones are dropped", since=SINCE)
def test_messages_out_of_order_are_dropped():
    stream = healthy()
    run(stream, 1010.0, 1020.0, lambda now_s: now_s - 0.4 if now_s % 1.0 == 0.0 else now_s)
    values = stream.fallback.report().values
    assert (values["state"], values["source_changes"], values["fault.stamp_not_newer"]) == ("healthy", 0, 10)


@condition(Area.RECEIVER, "stamps that jump back, as in a looping bag", "judged anew", since="2026-11-22")
def test_a_looping_bag_starts_over():
    stream = healthy()
    run(stream, 1010.0, 1020.0, lambda now_s: now_s - 500.0)
    assert stream.fallback.report().values["state"] == "healthy"
    assert to_seconds(stream.out[-1].header.stamp) == 519.75


@condition(Area.RECEIVER, "a frame_id that is empty", "fix has the frame_id gps", since="2026-11-22")
def test_an_empty_frame_id_is_filled_in():
    stream = Stream()
    stream.fallback.receiver(message(1000.0, frame_id=""), 1000.0)
    assert stream.out[0].header.frame_id == "gps"
