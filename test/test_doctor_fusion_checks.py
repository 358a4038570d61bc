"""Checks of the doctor on coordinate frames and on the nodes of robot_localization."""

from dataclasses import replace

import pytest
from doctor_graph import CAMERA, GPS, fix, healthy, samples, state, the_problem, tree, with_parameters, with_samples

from campus_visual_gps.ros.doctor.filter_checks import check_filters, check_log, check_navsat
from campus_visual_gps.ros.doctor.findings import Finding, Level
from campus_visual_gps.ros.doctor.snapshot import FIX_TYPE, ODOMETRY_TYPE, LogLine
from campus_visual_gps.ros.doctor.tf_checks import check_frames


def test_frames_that_are_not_connected_fail_and_name_who_has_them():
    snapshot = healthy()
    snapshot.tree = tree(("map", "odom"), ("odom", "base_link"), ("base_link", CAMERA), ("mast", GPS))
    found = the_problem(check_frames(snapshot))
    assert found.message.startswith(f"no transform base_link -> {GPS}, the frame of /fix: they are in two trees")
    snapshot.tree = tree(("odom", "base_link"), ("base_link", CAMERA), ("base_link", GPS))
    assert the_problem(check_frames(snapshot)).message.startswith("no transform map -> base_link, of /ekf_map")


def test_a_frame_with_two_parents_fails_and_without_tf2_msgs_it_is_said():
    snapshot = healthy()
    snapshot.parents["base_link"] = {"odom", "map"}
    assert the_problem(check_frames(snapshot)).message == "'base_link' has several parents: map, odom"
    found = the_problem(check_frames(replace(snapshot, tree=None)))
    assert found.level is Level.WARN and "tf2_msgs is not installed" in found.message


@pytest.mark.parametrize(
    ("topic", "level", "expected"),
    [
        ("/odom", Level.FAIL, "set odom_topic"),
        ("/odometry/gps", Level.FAIL, "start navsat_transform"),
        ("/imu/data", Level.WARN, "without an IMU"),
    ],
)
def test_an_input_of_a_filter_that_nobody_publishes_is_named(topic, level, expected):
    found = the_problem(check_filters(with_samples(topic, [], publishers=())))
    assert (found.level, expected in found.remedy) == (level, True)
    assert f"nobody publishes {topic}, an" in found.message


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], "publishes nothing on /odometry/global"),
        (samples(state(is_finite=False)), "is NaN for good"),
        (samples(state(0.0, 0.0)), "stays at the origin of the map"),
        (samples(state(40.0, 4.0)), "37 m from the fixes, and rejects them"),
    ],
)
def test_an_output_that_is_silent_nan_at_the_origin_or_elsewhere_fails(found, expected):
    problem = the_problem(check_filters(with_samples("/odometry/global", found)))
    assert problem.level is Level.FAIL and expected in problem.message


def test_the_filter_of_the_odometry_may_be_at_its_origin():
    snapshot = with_samples("/odometry/global", samples(state(0.0, 0.0)))
    node = replace(snapshot.filters[0], parameters={**snapshot.filters[0].parameters, "world_frame": "odom"})
    assert all(finding.level is Level.PASS for finding in check_filters(replace(snapshot, filters=(node,))))


def test_a_slow_filter_a_certain_odometry_and_lagged_data_in_simulated_time_are_warnings():
    slow = with_parameters("filters", frequency=100.0)
    assert {finding.level for finding in check_filters(slow)} == {Level.PASS}  # it gets no more than 10 Hz
    slow.topics["/odom"] = replace(slow.topics["/odom"], samples=samples(state(), rate_hz=50.0))
    assert "reaches 10.0 of 50.0 Hz" in the_problem(check_filters(slow)).message
    certain = with_samples("/odom", samples(state(twist_variances=(0.0, 0.0, 0.0))))
    assert "twist covariance of zeros" in the_problem(check_filters(certain)).message
    lagged = with_parameters("filters", use_sim_time=True, smooth_lagged_data=True)
    assert "smooth_lagged_data in simulated time" in the_problem(check_filters(lagged)).message


@pytest.mark.parametrize(
    ("parameters", "level", "expected"),
    [
        ({"wait_for_datum": False}, Level.WARN, "first fix as the origin"),
        ({"datum": []}, Level.FAIL, "no datum"),
        ({"datum": [0.0, 0.0, 0.0]}, Level.FAIL, "no datum"),
        ({"use_local_cartesian": True}, Level.FAIL, "use_local_cartesian"),
    ],
)
def test_each_setting_of_navsat_transform_that_moves_the_map_is_named(parameters, level, expected):
    found = the_problem(check_navsat(with_parameters("navsats", **parameters)))
    assert (found.level, expected in found.message) == (level, True)


def test_navsat_transform_at_the_origin_silent_or_missing_fails():
    origin = with_samples("/odometry/gps", samples(state(0.0, 0.0)))
    assert "10 of 10 messages on /odometry/gps are (0, 0, 0)" in the_problem(check_navsat(origin)).message
    assert "publishes nothing on /odometry/gps" in the_problem(check_navsat(with_samples("/odometry/gps", []))).message
    assert "no navsat_transform runs" in the_problem(check_navsat(replace(healthy(), navsats=()))).message


def test_a_robot_that_really_is_at_the_origin_of_the_map_passes():
    snapshot = with_samples("/fix", samples(fix(latitude_deg=31.26), GPS))
    for name in ("/odometry/gps", "/odometry/global"):
        snapshot.topics[name] = replace(snapshot.topics[name], samples=samples(state(0.0, 0.0)))
    findings = [*check_navsat(snapshot), *check_filters(snapshot)]
    assert {finding.level for finding in findings} == {Level.PASS}


def test_navsat_transform_that_reads_another_topic_than_the_fallback_is_warned_of():
    snapshot = healthy()
    subscribed = (("/visual_gps/fix", FIX_TYPE), ("/odometry/global", ODOMETRY_TYPE))
    snapshot.navsats = (replace(snapshot.navsats[0], subscribed=subscribed),)
    assert "set fix_topic:=fix" in the_problem(check_navsat(snapshot)).remedy


def test_the_error_text_of_navsat_transform_is_explained():
    text = "Could not obtain base_link -> antenna transform. Will not remove offset"
    found = the_problem(check_log(replace(healthy(), log=[LogLine("navsat_transform", text)] * 5)))
    assert text in found.message and "robot at the origin" in found.remedy


def test_a_hostile_name_stays_on_one_line():
    finding = Finding(Level.FAIL, "fixes", "frame 'a\nb\x1b[31m'", "rename it")
    assert "\n" not in finding.line() and "\x1b" not in finding.line()
