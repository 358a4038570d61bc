"""Checks of the doctor on localizer, images, clock and fixes: what each says, and quiet where all is well."""

import math
from dataclasses import replace

import numpy as np
import pytest
from doctor_graph import (
    CAMERA,
    GPS,
    NOW_S,
    fix,
    healthy,
    image,
    samples,
    the_problem,
    transport,
    with_parameters,
    with_samples,
)

from campus_visual_gps.ros.doctor.checks import examine
from campus_visual_gps.ros.doctor.clock_checks import check_clock, check_stamps
from campus_visual_gps.ros.doctor.findings import Finding, Level, counted, overall
from campus_visual_gps.ros.doctor.fix_checks import check_fixes
from campus_visual_gps.ros.doctor.localizer_checks import check_images, check_localizer
from campus_visual_gps.ros.doctor.snapshot import Diagnostic
from campus_visual_gps.ros.transport_state import RAW_TYPE, Offer


def test_a_healthy_robot_passes_every_check():
    findings = examine(healthy())
    assert [finding.line() for finding in findings if finding.level is not Level.PASS] == []
    subjects = {finding.subject for finding in findings}
    assert subjects == {"localizer", "clock", "images", "fixes", "tf", "navsat", "filter"}


def test_the_last_line_counts_and_warnings_do_not_fail():
    findings = [Finding(Level.PASS, "a", "b"), Finding(Level.WARN, "a", "b", "c")]
    assert counted(findings) == "PASS: 0 failed, 1 warning, 1 passed"
    assert overall([*findings, Finding(Level.FAIL, "a", "b", "c")]) is Level.FAIL


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"localizer": None, "localizers": ()}, "no node 'visual_gps'"),
        ({"localizer": None, "localizers": ("/a/visual_gps", "/b/visual_gps")}, "name one with --namespace"),
        ({"localizer": None, "localizers": ("/visual_gps", "/visual_gps")}, "stop all but one"),
        ({"diagnostics": {}}, "publishes no diagnostics"),
    ],
)
def test_a_localizer_that_is_missing_ambiguous_or_mute_fails(changes, expected):
    found = the_problem(check_localizer(replace(healthy(), **changes)))
    assert found.level is Level.FAIL and expected in found.line()


@pytest.mark.parametrize(
    ("state_", "level", "expected"),
    [
        ("inactive", Level.FAIL, "ros2 lifecycle set /visual_gps activate"),
        ("unconfigured", Level.FAIL, "ros2 lifecycle set /visual_gps configure"),
        ("configuring", Level.WARN, "ask again"),
        ("", Level.FAIL, "does not answer"),
    ],
)
def test_each_lifecycle_state_has_its_remedy(state_, level, expected):
    snapshot = healthy()
    snapshot.localizer = replace(snapshot.localizer, state=state_)
    found = the_problem(check_localizer(snapshot))
    assert (found.level, expected in found.line()) == (level, True)


@pytest.mark.parametrize(("level", "expected"), [(1, Level.WARN), (2, Level.FAIL), (3, Level.WARN), (9, Level.WARN)])
def test_what_the_diagnostics_say_is_passed_on_with_their_level(level, expected):
    snapshot = healthy()
    snapshot.diagnostics["visual_gps: fallback"] = Diagnostic("visual_gps: fallback", level, "receiver lost")
    snapshot.diagnostics["other_node: motor"] = Diagnostic("other_node: motor", 2, "hot")
    found = the_problem(check_localizer(snapshot))
    assert (found.level, found.subject) == (expected, "fallback") and "receiver lost" in found.message


def test_images_without_publisher_or_without_arrival_fail_with_the_cause():
    snapshot = with_samples("/image", [])
    found = the_problem(check_images(snapshot))
    assert "a publisher of raw images is matched on /image" in found.message and "larger" not in found.message
    snapshot.transports = (transport("/image", offers=()),)
    found = the_problem(check_images(snapshot))
    assert found.message == f"no publisher of {RAW_TYPE} on /image" and "start the camera" in found.remedy


def test_a_camera_that_is_slow_unstamped_frozen_or_double_is_named():
    slow = with_samples("/image", samples(image(), CAMERA, rate_hz=0.2))
    assert the_problem(check_images(slow)).message == "/image: 0.2 Hz"
    unstamped = [replace(sample, stamp_s=0.0) for sample in samples(image(), CAMERA)]
    assert the_problem(check_images(with_samples("/image", unstamped))).message == "stamps on /image are zero"
    frozen = [replace(sample, stamp_s=NOW_S) for sample in samples(image(), CAMERA)]
    assert "stand still" in the_problem(check_images(with_samples("/image", frozen))).message
    assert "no frame_id" in the_problem(check_images(with_samples("/image", samples(image())))).message
    double = healthy()
    offers = (Offer("/camera", RAW_TYPE, "reliable"), Offer("/b", RAW_TYPE, "reliable"))
    double.transports = (transport("/image", offers=offers),)
    assert "2 publishers on /image: /b, /camera" in the_problem(check_images(double)).message


def test_each_of_several_cameras_is_looked_at():
    snapshot = with_samples("/image", samples(image(), CAMERA))
    snapshot.transports += (transport("/rear", offers=()),)
    front, rear = check_images(snapshot)
    assert front.level is Level.PASS and "/image" in front.message
    assert rear.level is Level.FAIL and rear.message == f"no publisher of {RAW_TYPE} on /rear"


def test_large_raw_images_over_best_effort_are_warned_of():
    snapshot = with_samples("/image", samples(image(6_000_000), CAMERA))
    offers = (Offer("/camera", RAW_TYPE, "best_effort"),)
    snapshot.transports = (transport("/image", reliability="best_effort", offers=offers),)
    assert "6.0 MB, best effort" in the_problem(check_images(snapshot)).message


@pytest.mark.parametrize(
    ("publishers", "times", "level", "expected"),
    [
        ((), [], Level.FAIL, "nobody publishes /clock"),
        (("/bag",), [], Level.FAIL, "nothing comes"),
        (("/bag", "/gazebo"), [(0.0, 1.0)], Level.FAIL, "2 publishers of /clock: /bag, /gazebo"),
        (("/bag",), [(0.0, 5.0), (1.0, 5.0)], Level.WARN, "/clock stands still at 5.0 s"),
        (("/bag",), [(0.0, 5.0), (1.0, 2.0), (2.0, 3.0)], Level.WARN, "/clock jumped back"),
    ],
)
def test_simulated_time_needs_one_clock_that_runs(publishers, times, level, expected):
    snapshot = with_parameters("localizer", use_sim_time=True)
    snapshot = replace(snapshot, filters=(), navsats=(), clock_publishers=publishers, clock_s=times)
    found = the_problem(check_clock(snapshot))
    assert (found.level, expected in found.message) == (level, True)


def test_nodes_with_different_clocks_fail_and_a_clock_that_nobody_uses_is_a_warning():
    assert (
        "true in /visual_gps and false in"
        in the_problem(check_clock(with_parameters("localizer", use_sim_time=1))).message
    )
    unused = replace(healthy(), clock_publishers=("/bag",))
    found = the_problem(check_clock(unused))
    assert found.level is Level.WARN and "use_sim_time:=true" in found.remedy


@pytest.mark.parametrize(
    ("offset_s", "level", "expected"),
    [
        (37.0, Level.FAIL, "TAI"),
        (-37.0, Level.FAIL, "TAI"),
        (-18.0, Level.FAIL, "GPS time"),
        (3.0, Level.FAIL, "clock of the camera's computer"),
        (-12.0, Level.WARN, "clock of the camera's computer"),
        (-1e7, Level.FAIL, "use_sim_time:=true and play the bag with --clock"),
    ],
)
def test_stamps_of_another_clock_are_named_with_their_cause(offset_s, level, expected):
    found = the_problem(check_stamps(with_samples("/image", samples(image(), CAMERA, offset_s))))
    assert (found.level, expected in found.remedy) == (level, True)
    assert found.message.startswith("/image: stamps are ")


def test_recorded_images_are_only_a_warning_where_nothing_is_fused():
    snapshot = with_samples("/image", samples(image(), CAMERA, -1e7))
    alone = replace(snapshot.localizer, subscribed=(("/image", RAW_TYPE),))
    topics = {"/image": snapshot.topics["/image"]}
    snapshot = replace(snapshot, localizer=alone, filters=(), navsats=(), topics=topics)
    assert the_problem(check_stamps(snapshot)).level is Level.WARN


COVARIANCES = {
    "NaN": (np.full((3, 3), math.nan), "NaN or infinity"),
    "zeros": (np.zeros((3, 3)), "covariance of zeros"),
    "minus one": (np.diag([-1.0, -1.0, -1.0]), "unknown covariance"),
    "negative": (np.diag([-4.0, 4.0, 4.0]), "covariance_negative"),
    "huge": (np.eye(3) * 1e9, "sigma above 1000 m"),
    "tiny": (np.eye(3) * 1e-9, "sigma below 1 mm"),
}


@pytest.mark.parametrize("name", COVARIANCES)
def test_a_covariance_that_a_filter_must_not_get_is_named(name):
    covariance, expected = COVARIANCES[name]
    found = the_problem(check_fixes(with_samples("/fix", samples(fix(cov_enu_m2=covariance), GPS))))
    assert found.level is Level.FAIL and "/fix: 10 of 10 have" in found.message and expected in found.message
    # behind the fallback the localizer judges and completes the receiver's messages
    judged = the_problem(check_fixes(with_samples("/gps/fix", samples(fix(cov_enu_m2=covariance), GPS))))
    assert judged.level is Level.WARN


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"status": -1}, "no_fix_status"),
        ({"status": -2}, "status_unknown"),
        ({"latitude_deg": math.nan}, "not_finite"),
        ({"latitude_deg": 0.0, "longitude_deg": 0.0}, "null_island"),
        ({"altitude_m": math.nan}, "navsat_transform drops them"),
        ({"covariance_type": 0}, "unknown covariance (type 0)"),
    ],
)
def test_a_fix_without_position_is_named(changes, expected):
    found = the_problem(check_fixes(with_samples("/fix", samples(fix(**changes), GPS))))
    assert expected in found.line()


def test_a_fix_without_frame_silence_and_two_publishers_fail():
    assert "no frame_id" in the_problem(check_fixes(with_samples("/fix", samples(fix())))).message
    assert (
        the_problem(check_fixes(with_samples("/visual_gps/fix", []))).message == "nothing on /visual_gps/fix in 6.0 s"
    )
    double = healthy()
    double.topics["/fix"] = replace(double.topics["/fix"], publishers=("/driver", "/visual_gps"))
    assert "2 publishers on /fix: /driver, /visual_gps" in the_problem(check_fixes(double)).message


def test_a_receiver_that_nobody_publishes_is_a_warning():
    snapshot = with_samples("/gps/fix", [], publishers=())
    found = the_problem(check_fixes(snapshot))
    assert (found.level, found.subject) == (Level.WARN, "receiver")
