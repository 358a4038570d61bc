"""Which frames are admitted, and that only the newest waits."""

import threading

import numpy as np
import pytest

from campus_visual_gps.ros.image_queue import (
    FROM_FUTURE,
    NANOSECONDS,
    RATE_LIMIT,
    STAMP_NOT_NEWER,
    TOO_OLD,
    UNSTAMPED,
    LatestImageBuffer,
    StampedImage,
    StampFilter,
    Worker,
)

TIMEOUT_S = 30.0


def frame(number: int) -> StampedImage:
    return StampedImage(f"message {number}", number, 0.0)


def admitted(admission: StampFilter, stamps_s) -> list[float]:
    return [stamp for stamp in stamps_s if admission.check(round(stamp * NANOSECONDS)) is None]


def test_repeated_and_older_stamps_are_dropped():
    admission = StampFilter()
    stamps_s = (5.0, 5.1, 5.1, 5.05, 5.2)
    reasons = [admission.check(round(stamp * NANOSECONDS)) for stamp in stamps_s]
    assert reasons == [None, None, STAMP_NOT_NEWER, STAMP_NOT_NEWER, None]


def test_a_stamp_of_zero_is_dropped():
    assert StampFilter().check(0) == UNSTAMPED


def test_a_clock_that_jumps_back_starts_over():
    assert admitted(StampFilter(2.0), (100.0, 100.1, 100.6, 3.0, 3.1, 3.5)) == [100.0, 100.6, 3.0, 3.5]


def test_age_counts_in_ros_time_and_only_where_it_is_limited():
    now_ns = 100 * NANOSECONDS
    assert StampFilter(max_age_s=2.0).check(now_ns - 3 * NANOSECONDS, now_ns) == TOO_OLD
    assert StampFilter(max_age_s=2.0).check(now_ns - NANOSECONDS, now_ns) is None
    assert StampFilter().check(NANOSECONDS, now_ns) is None


def test_an_image_from_the_future_is_dropped_and_changes_nothing():
    admission, now_ns = StampFilter(), 100 * NANOSECONDS
    assert admission.check(now_ns, now_ns) is None
    assert admission.check(now_ns + 5 * NANOSECONDS, now_ns) == FROM_FUTURE
    assert admission.check(now_ns + 1, now_ns) is None
    assert admission.epoch == 0


def test_a_jump_back_starts_an_epoch():
    admission = StampFilter()
    epochs = [admission.check(stamp * NANOSECONDS) or admission.epoch for stamp in (5, 6, 1, 2)]
    assert epochs == [0, 0, 1, 1]
    admission.restart()
    assert (admission.check(2 * NANOSECONDS), admission.epoch) == (None, 2)


def test_a_stray_stamp_from_the_future_does_not_silence_the_node():
    assert admitted(StampFilter(), (10.0, 5000.0, 10.1, 10.2)) == [10.0, 5000.0, 10.1, 10.2]


@pytest.mark.parametrize("rate_hz", [0.5, 2.0, 7.0, 10.0])
def test_the_rate_is_held_and_used_to_the_full(rate_hz):
    camera = [1.0 + index / 30.0 for index in range(30 * 60)]
    count = len(admitted(StampFilter(rate_hz), camera))
    assert 60 * rate_hz - 2 <= count <= 60 * rate_hz + 1


def test_a_rate_that_the_camera_never_reaches_drops_nothing():
    camera = [1.0 + index / 10.0 + 0.004 * (index % 2) for index in range(100)]
    assert len(admitted(StampFilter(50.0), camera)) == 100
    assert StampFilter(1.0).check(NANOSECONDS) is None


def test_the_reason_is_the_rate():
    admission = StampFilter(1.0)
    assert [admission.check(stamp * NANOSECONDS // 10) for stamp in (10, 11)] == [None, RATE_LIMIT]


def test_the_slot_keeps_the_newest_frame():
    slot = LatestImageBuffer()
    assert [slot.put(frame(number)) for number in (1, 2, 3)] == [False, True, True]
    assert slot.take() == frame(3)
    assert slot.put(frame(4)) is False


def test_a_closed_slot_lets_its_taker_go():
    slot = LatestImageBuffer()
    taken = []
    thread = threading.Thread(target=lambda: taken.append(slot.take()))
    thread.start()
    slot.close()
    thread.join(TIMEOUT_S)
    assert taken == [None]


def test_the_worker_skips_frames_that_arrive_during_its_work():
    started, go_on, done = threading.Event(), threading.Event(), threading.Event()
    results = []

    def work(given: StampedImage) -> int:
        started.set()
        assert go_on.wait(TIMEOUT_S)
        return given.stamp_ns

    def deliver(result: int) -> None:
        results.append(result)
        if result == 4:
            done.set()

    worker = Worker(work, deliver)
    worker.slot.put(frame(1))
    assert started.wait(TIMEOUT_S)
    assert [worker.slot.put(frame(number)) for number in (2, 3, 4)] == [False, True, True]
    go_on.set()
    assert done.wait(TIMEOUT_S)
    worker.stop()
    assert worker.join(TIMEOUT_S)
    assert results == [1, 4]


def test_a_stopped_worker_drops_the_frame_in_work_and_lets_go_of_the_model():
    started, go_on = threading.Event(), threading.Event()
    results = []

    def work(given: StampedImage) -> StampedImage:
        started.set()
        assert go_on.wait(TIMEOUT_S)
        return given

    worker = Worker(work, results.append)
    worker.slot.put(frame(1))
    assert started.wait(TIMEOUT_S)
    worker.stop()  # returns though the work has not ended
    go_on.set()
    assert worker.join(TIMEOUT_S)
    assert results == []
    assert worker._work is None


def test_a_camera_of_just_the_allowed_rate_loses_no_frame_to_its_jitter():
    admission = StampFilter(max_rate_hz=2.0)
    jitter_ns = np.random.default_rng(0).integers(-40_000_000, 40_000_000, 200)
    stamps = [10**18 + i * 500_000_000 + int(jitter) for i, jitter in enumerate(jitter_ns)]
    admitted = [stamp for stamp in stamps if admission.check(stamp) is None]
    assert len(admitted) >= 195
    assert (len(admitted) - 1) / ((admitted[-1] - admitted[0]) * 1e-9) <= 2.01
