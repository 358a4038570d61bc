"""The level of the diagnostics tells the operator whether to act, and the values say why."""

from types import SimpleNamespace

import pytest
from compatibility import Area, condition

from campus_visual_gps.ros.diagnostics import ERROR, OK, STALE, WARN, NodeStatistics, StageTimes, active_report
from campus_visual_gps.ros.image_queue import DropRule

TIMES = StageTimes(0.001, 0.002, 0.030, 0.001, 0.036)


class FakeClock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def fix(statistics: NodeStatistics) -> None:
    statistics.record_image(None)
    statistics.record_fix(TIMES, {"position_sigma_m": 5.0, "ensemble_spread_m": 1.5, "fix_age_s": 0.05})


def reject(statistics: NodeStatistics, unusable: bool) -> None:
    statistics.record_image(None)
    statistics.record_rejection("reason", "why", unusable)


def test_fixes_are_ok_although_other_images_are_rejected():
    statistics = NodeStatistics("/image")
    fix(statistics)
    reject(statistics, unusable=False)
    level, _, values = statistics.report()
    assert level == OK
    assert (values["images"], values["fixes"], values["rejected"], values["rejected.reason"]) == (2, 1, 1, 1)
    assert values["last_rejection"] == "reason: why"


def test_rejected_estimates_are_a_warning_and_unusable_images_an_error():
    statistics = NodeStatistics("/image")
    reject(statistics, unusable=False)
    assert statistics.report()[:2] == (WARN, "estimates are rejected, reason: why")
    reject(statistics, unusable=True)
    assert statistics.report()[:2] == (ERROR, "images are rejected, reason: why")
    fix(statistics)
    assert statistics.report().level == OK


def test_the_level_stays_until_something_new_happens():
    statistics = NodeStatistics("/image")
    reject(statistics, unusable=True)
    assert [statistics.report().level for _ in range(3)] == [ERROR] * 3


@condition(
    Area.TRANSPORT,
    "camera that stops or never starts",
    "the diagnostics are stale after three seconds",
    since="2026-11-22",
)
def test_silence_is_stale_from_the_start_and_after_images():
    clock = FakeClock()
    statistics = NodeStatistics("/camera/image", clock)
    assert statistics.report().level == OK
    clock.now_s += 3.5
    assert statistics.report()[:2] == (STALE, "no image on /camera/image for 3.5 s")
    fix(statistics)
    assert statistics.report().level == OK
    clock.now_s += 10.0
    assert statistics.report().level == STALE


def test_bad_stamps_are_a_warning_but_the_rate_limit_is_not():
    statistics = NodeStatistics("/image")
    statistics.record_image(DropRule.STAMP_NOT_NEWER)
    assert statistics.report().level == WARN
    fix(statistics)
    statistics.record_image(DropRule.RATE_LIMIT)
    statistics.record_image(DropRule.STAMP_NOT_NEWER)
    level, _, values = statistics.report()
    assert level == OK
    assert (values["dropped.stamp_not_newer"], values["dropped.rate_limit"]) == (2, 1)


def test_stage_times_are_milliseconds():
    statistics = NodeStatistics("/image")
    fix(statistics)
    values = statistics.report().values
    assert round(values["ensemble_ms"], 6) == 30.0
    assert round(values["latency_p95_ms"], 6) == 36.0
    assert round(values["overhead_ms"], 6) == 6.0


def test_the_rate_is_that_since_the_last_report_and_the_age_that_of_the_last_image():
    clock = FakeClock()
    statistics = NodeStatistics("/image", clock)
    for _ in range(30):
        statistics.record_image(None, age_s=0.25)
    clock.now_s += 2.0
    values = statistics.report().values
    assert (values["image_rate_hz"], values["image_age_s"], values["image_silence_s"]) == (15.0, 0.25, 2.0)


@condition(
    Area.CAMERA,
    "camera that is frozen and repeats one image",
    "a warning after ten identical images",
    since="2026-11-22",
)
def test_a_camera_that_repeats_itself_is_a_warning():
    statistics = NodeStatistics("/image")
    statistics.record_repeat(9)
    fix(statistics)
    assert statistics.report().level == OK
    statistics.record_repeat(10)
    fix(statistics)
    level, message, values = statistics.report()
    assert (level, message) == (WARN, "the camera is frozen or covered: the last 11 images are identical")
    assert values["repeated_images"] == 10
    statistics.record_repeat(0)
    assert statistics.report().level == OK


def test_images_that_are_all_dropped_are_named():
    statistics = NodeStatistics("/image")
    statistics.record_image(DropRule.FROM_FUTURE)
    assert "from_future" in statistics.report().message


def test_overwritten_and_stale_images_are_counted():
    statistics = NodeStatistics("/image")
    fix(statistics)
    statistics.record_overwritten()
    statistics.record_unpublished(DropRule.BEFORE_TIME_JUMP)
    values = statistics.report().values
    assert (values["overwritten"], values["dropped.before_time_jump"]) == (1, 1)


LOCALIZER = SimpleNamespace(
    bundle=SimpleNamespace(model_id="model-1"),
    engine=SimpleNamespace(device="cpu", precision="fp32", threads=SimpleNamespace(current=1)),
)


def test_the_diagnostic_of_an_active_node_names_the_model_and_its_device():
    statistics = NodeStatistics("/image")
    fix(statistics)
    values = active_report(statistics, LOCALIZER).values
    assert [values[name] for name in ("state", "model_id", "device", "precision")] == [
        "active",
        "model-1",
        "cpu",
        "fp32",
    ]


@pytest.mark.parametrize(("unusable", "level"), [(None, WARN), (True, ERROR)])
def test_a_warning_replaces_ok_but_not_an_error(unusable, level):
    statistics = NodeStatistics("/image")
    if unusable is None:
        fix(statistics)
    else:
        reject(statistics, unusable)
    report = active_report(statistics, LOCALIZER, warning="slow")
    assert report.level == level
    assert (report.message == "slow") == (unusable is None)
