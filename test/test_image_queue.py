"""Which images are accepted, and that only the newest one waits."""

import gc
import threading
import weakref
from functools import partial

import numpy as np
import pytest
from compatibility import Area, condition

from campus_visual_gps.ros.image_queue import DropRule, LatestImageBuffer, StampedImage, StampFilter, Worker
from campus_visual_gps.ros.stamps import NS_PER_S

TIMEOUT_S = 30.0


def image(number: int) -> StampedImage:
    return StampedImage(f"message {number}", number, 0.0)


def accepted(stamp_filter: StampFilter, stamps_s) -> list[float]:
    return [stamp for stamp in stamps_s if stamp_filter.check(round(stamp * NS_PER_S)) is None]


@condition(
    Area.TRANSPORT,
    "images out of order, by less than a second",
    "the older ones are dropped as stamp_not_newer",
    since="2026-11-22",
)
def test_repeated_and_older_stamps_are_dropped():
    stamp_filter = StampFilter()
    stamps_s = (5.0, 5.1, 5.1, 5.05, 5.2)
    reasons = [stamp_filter.check(round(stamp * NS_PER_S)) for stamp in stamps_s]
    assert reasons == [None, None, DropRule.STAMP_NOT_NEWER, DropRule.STAMP_NOT_NEWER, None]


def test_a_stamp_of_zero_is_dropped():
    assert StampFilter().check(0) == DropRule.UNSTAMPED


def test_a_clock_that_jumps_back_starts_over():
    assert accepted(StampFilter(2.0), (100.0, 100.1, 100.6, 3.0, 3.1, 3.5)) == [100.0, 100.6, 3.0, 3.5]


def test_age_counts_in_ros_time_and_only_where_it_is_limited():
    now_ns = 100 * NS_PER_S
    assert StampFilter(max_age_s=2.0).check(now_ns - 3 * NS_PER_S, now_ns) == DropRule.TOO_OLD
    assert StampFilter(max_age_s=2.0).check(now_ns - NS_PER_S, now_ns) is None
    assert StampFilter().check(NS_PER_S, now_ns) is None


def test_an_image_from_the_future_is_dropped_and_changes_nothing():
    stamp_filter, now_ns = StampFilter(), 100 * NS_PER_S
    assert stamp_filter.check(now_ns, now_ns) is None
    assert stamp_filter.check(now_ns + 5 * NS_PER_S, now_ns) == DropRule.FROM_FUTURE
    assert stamp_filter.check(now_ns + 1, now_ns) is None
    assert stamp_filter.epoch == 0


def test_a_jump_back_starts_an_epoch():
    stamp_filter = StampFilter()
    epochs = [stamp_filter.check(stamp * NS_PER_S) or stamp_filter.epoch for stamp in (5, 6, 1, 2)]
    assert epochs == [0, 0, 1, 1]
    stamp_filter.restart()
    assert (stamp_filter.check(2 * NS_PER_S), stamp_filter.epoch) == (None, 2)


@condition(
    Area.TRANSPORT, "one stray stamp far ahead", "only that image counts; the next ones are used", since="2026-11-22"
)
def test_a_stray_stamp_from_the_future_does_not_silence_the_node():
    assert accepted(StampFilter(), (10.0, 5000.0, 10.1, 10.2)) == [10.0, 5000.0, 10.1, 10.2]


@pytest.mark.parametrize("rate_hz", [0.5, 2.0, 7.0, 10.0])
def test_the_rate_is_held_and_used_to_the_full(rate_hz):
    camera = [1.0 + index / 30.0 for index in range(30 * 60)]
    count = len(accepted(StampFilter(rate_hz), camera))
    assert 60 * rate_hz - 2 <= count <= 60 * rate_hz + 1


def test_a_rate_that_the_camera_never_reaches_drops_nothing():
    camera = [1.0 + index / 10.0 + 0.004 * (index % 2) for index in range(100)]
    assert len(accepted(StampFilter(50.0), camera)) == 100
    assert StampFilter(1.0).check(NS_PER_S) is None


def test_the_reason_is_the_rate():
    stamp_filter = StampFilter(1.0)
    assert [stamp_filter.check(stamp * NS_PER_S // 10) for stamp in (10, 11)] == [None, DropRule.RATE_LIMIT]


def test_the_buffer_keeps_the_newest_image():
    buffer = LatestImageBuffer()
    assert [buffer.put(image(number)) for number in (1, 2, 3)] == [False, True, True]
    assert buffer.take() == image(3)
    assert buffer.put(image(4)) is False


def test_each_camera_has_its_newest_image_and_the_oldest_of_them_is_next():
    buffer = LatestImageBuffer()
    stream = ((1, "front"), (2, "left"), (3, "left"), (5, "front"))
    images = [StampedImage("", stamp_ns, 0.0, camera=camera) for stamp_ns, camera in stream]
    assert [buffer.put(own) for own in images] == [False, False, True, True]
    assert [buffer.take(), buffer.take()] == [images[2], images[3]]
    late = StampedImage("", 4, 0.0, epoch=1, camera="left")
    buffer.put(late)
    buffer.put(images[3])  # of an epoch that has ended: its result is dropped, and it is first
    assert [buffer.take(), buffer.take()] == [images[3], late]


def test_a_closed_buffer_returns_none_and_stores_nothing():
    buffer = LatestImageBuffer()
    taken = []
    thread = threading.Thread(target=lambda: taken.append(buffer.take()))
    thread.start()
    buffer.close()
    thread.join(TIMEOUT_S)
    assert taken == [None]
    assert [buffer.put(image(number)) for number in (1, 2)] == [False, False]


def test_images_that_arrive_during_the_work_are_overwritten_but_for_the_newest():
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
    worker.buffer.put(image(1))
    assert started.wait(TIMEOUT_S)
    assert [worker.buffer.put(image(number)) for number in (2, 3, 4)] == [False, True, True]
    go_on.set()
    assert done.wait(TIMEOUT_S)
    worker.stop()
    assert worker.join(TIMEOUT_S)
    assert results == [1, 4]


class Model:
    """What the functions of a worker hold."""


def test_a_stopped_worker_drops_the_result_of_its_last_image_and_frees_the_model():
    started, go_on = threading.Event(), threading.Event()
    results = []
    model = Model()
    freed = weakref.ref(model)

    def work(given: StampedImage, model: Model) -> StampedImage:
        started.set()
        assert go_on.wait(TIMEOUT_S)
        return given

    worker = Worker(partial(work, model=model), results.append)
    del model
    worker.buffer.put(image(1))
    assert started.wait(TIMEOUT_S)
    worker.stop()  # returns while the image is still being processed
    assert freed() is not None
    go_on.set()
    assert worker.join(TIMEOUT_S)
    assert results == []
    gc.collect()
    assert freed() is None


@condition(Area.TRANSPORT, "camera at exactly max_rate_hz, with jitter", "no image is dropped", since="2026-11-22")
def test_a_camera_at_exactly_the_allowed_rate_loses_no_image_to_jitter():
    stamp_filter = StampFilter(max_rate_hz=2.0)
    jitter_ns = np.random.default_rng(0).integers(-40_000_000, 40_000_000, 200)
    stamps = [10**18 + i * 500_000_000 + int(jitter) for i, jitter in enumerate(jitter_ns)]
    accepted = [stamp for stamp in stamps if stamp_filter.check(stamp) is None]
    assert len(accepted) >= 195
    assert (len(accepted) - 1) / ((accepted[-1] - accepted[0]) * 1e-9) <= 2.01
