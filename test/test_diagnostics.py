"""The level of the diagnostics says what an operator has to do."""

from campus_visual_gps.ros.diagnostics import ERROR, OK, STALE, WARN, NodeStatistics, StageTimes
from campus_visual_gps.ros.image_queue import FROM_FUTURE, RATE_LIMIT, STAMP_NOT_NEWER

TIMES = StageTimes(0.001, 0.002, 0.030, 0.001, 0.036)


class FakeClock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def fix(status: NodeStatistics) -> None:
    status.image(None)
    status.fix(TIMES, {"position_sigma_m": 5.0, "spread_m": 1.5, "fix_age_s": 0.05})


def refuse(status: NodeStatistics, unusable: bool) -> None:
    status.image(None)
    status.rejected("reason", "why", unusable)


def test_fixes_are_ok_even_beside_refusals():
    status = NodeStatistics("/image")
    fix(status)
    refuse(status, unusable=False)
    level, _, values = status.health()
    assert level == OK
    assert (values["images"], values["fixes"], values["refused"], values["refused.reason"]) == (2, 1, 1, 1)
    assert values["last_refusal"] == "reason: why"


def test_only_refused_estimates_are_a_warning_and_only_unusable_images_an_error():
    status = NodeStatistics("/image")
    refuse(status, unusable=False)
    assert status.health()[:2] == (WARN, "estimates are refused, reason: why")
    refuse(status, unusable=True)
    assert status.health()[:2] == (ERROR, "images are refused, reason: why")
    fix(status)
    assert status.health().level == OK


def test_the_verdict_stays_until_there_is_news():
    status = NodeStatistics("/image")
    refuse(status, unusable=True)
    assert [status.health().level for _ in range(3)] == [ERROR] * 3


def test_silence_is_stale_from_the_start_and_after_images():
    clock = FakeClock()
    status = NodeStatistics("/camera/image", clock)
    assert status.health().level == OK
    clock.now_s += 3.5
    assert status.health()[:2] == (STALE, "no image on /camera/image for 3.5 s")
    fix(status)
    assert status.health().level == OK
    clock.now_s += 10.0
    assert status.health().level == STALE


def test_bad_stamps_are_a_warning_but_the_rate_limit_is_not():
    status = NodeStatistics("/image")
    status.image(STAMP_NOT_NEWER)
    assert status.health().level == WARN
    fix(status)
    status.image(RATE_LIMIT)
    status.image(STAMP_NOT_NEWER)
    level, _, values = status.health()
    assert level == OK
    assert (values["dropped.stamp_not_newer"], values["dropped.rate_limit"]) == (2, 1)


def test_stage_times_are_milliseconds():
    status = NodeStatistics("/image")
    fix(status)
    values = status.health().values
    assert round(values["ensemble_ms"], 6) == 30.0
    assert round(values["latency_p95_ms"], 6) == 36.0
    assert round(values["overhead_ms"], 6) == 6.0


def test_the_rate_is_that_since_the_last_report_and_the_age_that_of_the_last_image():
    clock = FakeClock()
    status = NodeStatistics("/image", clock)
    for _ in range(30):
        status.image(None, age_s=0.25)
    clock.now_s += 2.0
    values = status.health().values
    assert (values["image_rate_hz"], values["image_age_s"], values["image_silence_s"]) == (15.0, 0.25, 2.0)


def test_a_camera_that_repeats_itself_is_a_warning():
    status = NodeStatistics("/image")
    status.record_repeat(9)
    fix(status)
    assert status.health().level == OK
    status.record_repeat(10)
    fix(status)
    assert status.health()[:2] == (WARN, "the camera is frozen or covered: the last 11 images are identical")
    status.record_repeat(0)
    assert status.health().level == OK


def test_images_that_are_all_dropped_are_named():
    status = NodeStatistics("/image")
    status.image(FROM_FUTURE)
    assert "from_future" in status.health().message
