"""The parameter files set only parameters that robot_localization has, and suit the fixes of the node."""

import re

import numpy as np
import pytest
import yaml
from helpers import ROOT

# Declared in src/ros_filter.cpp and src/navsat_transform.cpp of robot_localization 3.5.2 (Humble) and 3.6.0.
FILTER = """
acceleration_gains acceleration_limits base_link_frame base_link_frame_output control_config control_timeout debug
debug_out_file deceleration_gains deceleration_limits disabled_at_startup dynamic_process_noise_covariance frequency
gravitational_acceleration history_length initial_estimate_covariance initial_state map_frame odom_frame
permit_corrected_publication predict_to_current_time print_diagnostics process_noise_covariance publish_acceleration
publish_tf reset_on_time_jump sensor_timeout smooth_lagged_data tf_prefix transform_time_offset transform_timeout
two_d_mode use_control world_frame
"""
ODOMETRY = """
config differential relative pose_use_child_frame pose_rejection_threshold twist_rejection_threshold queue_size
"""
IMU = """
config differential relative pose_rejection_threshold twist_rejection_threshold
linear_acceleration_rejection_threshold remove_gravitational_acceleration queue_size
"""
NAVSAT = """
magnetic_declination_radians yaw_offset zero_altitude publish_filtered_gps use_odometry_yaw wait_for_datum datum
use_local_cartesian frequency delay transform_timeout broadcast_cartesian_transform
broadcast_cartesian_transform_as_parent_frame
"""
SENSOR = {"odom": ODOMETRY, "imu": IMU}
STATE = ("x", "y", "z", "roll", "pitch", "yaw", "vx", "vy", "vz", "vroll", "vpitch", "vyaw", "ax", "ay", "az")


def parameters(file: str, node: str) -> dict:
    return yaml.safe_load((ROOT / "config" / file).read_text(encoding="utf-8"))["/**"][node]["ros__parameters"]


def is_known(name: str) -> bool:
    sensor = re.fullmatch(r"(odom|imu)\d(?:_(\w+))?", name)
    return name in FILTER.split() or bool(sensor and (sensor[2] is None or sensor[2] in SENSOR[sensor[1]].split()))


def fused(content: dict, sensor: str) -> set[str]:
    """Names of the state's entries that a sensor is fused into."""
    flags = content[f"{sensor}_config"]
    assert len(flags) == len(STATE) and all(isinstance(flag, bool) for flag in flags)
    return {name for name, flag in zip(STATE, flags, strict=True) if flag}


@pytest.fixture
def local():
    return parameters("ekf.yaml", "ekf_odom")


@pytest.fixture
def site():
    return parameters("ekf.yaml", "ekf_map")


@pytest.fixture
def navsat():
    return parameters("navsat_transform.yaml", "navsat_transform")


def test_every_name_is_one_that_robot_localization_declares(local, site, navsat):
    assert [name for name in [*local, *site] if not is_known(name)] == []
    assert set(navsat) <= set(NAVSAT.split())
    assert not is_known("odom1_rejection_threshold")  # a pose's name: on an odometry it would do nothing


def test_the_origin_is_the_datum_that_the_launch_file_writes(navsat):
    assert navsat["wait_for_datum"] is True
    assert "datum" not in navsat
    assert navsat["use_local_cartesian"] is False


def test_only_the_map_filter_takes_fixes_and_only_their_position(local, site):
    assert (local["world_frame"], site["world_frame"]) == (local["odom_frame"], site["map_frame"])
    assert not any("gps" in str(value) for value in local.values())
    assert site["odom1"] == "odometry/gps"
    assert fused(site, "odom1") == {"x", "y"}
    assert not site["odom1_differential"] and not site["odom1_relative"]
    assert fused(site, "odom0") == fused(local, "odom0") == {"vx", "vy", "vyaw"}
    assert fused(local, "imu0") == {"vyaw"} and fused(site, "imu0") == {"yaw", "vyaw"}


def test_an_outlier_with_a_small_sigma_is_rejected_and_a_late_fix_is_fused_at_its_stamp(site):
    assert 3.0 <= site["odom1_pose_rejection_threshold"] <= 5.0
    assert site["smooth_lagged_data"] is True
    assert site["history_length"] >= 2.0


def test_nothing_is_left_to_the_parameter_that_does_nothing_in_ros_2(local, site):
    # the code that reads it is commented out in src/ros_filter.cpp; filter_reset does it
    assert "reset_on_time_jump" not in local | site


def test_the_first_fix_is_accepted_far_from_the_origin(site):
    start = np.array(site["initial_estimate_covariance"]).reshape(15, 15)
    assert np.all(start == np.diag(start.diagonal())) and np.all(start.diagonal() > 0)
    # a site measures some kilometres at most; the threshold is in sigmas
    assert site["odom1_pose_rejection_threshold"] * np.sqrt(start[0, 0]) >= 2000.0
    assert start[0, 0] == start[1, 1]


def test_the_process_noise_is_a_complete_matrix_of_floats(site):
    noise = site["process_noise_covariance"]
    # Humble requires 15 x 15 values; ROS 2 rejects arrays of mixed types
    assert len(noise) == 225 and all(isinstance(value, float) for value in noise)
    assert all(isinstance(value, float) for value in site["initial_estimate_covariance"])
    assert np.all(np.diag(np.reshape(noise, (15, 15))) > 0)


def test_navsat_transform_runs_faster_than_fixes_come(navsat):
    localizer = yaml.safe_load((ROOT / "config" / "localizer.yaml").read_text(encoding="utf-8"))
    max_rate_hz = localizer["/**"]["visual_gps"]["ros__parameters"]["max_rate_hz"]
    assert navsat["frequency"] >= 4 * max_rate_hz


def test_the_filters_are_two_dimensional(local, site, navsat):
    assert local["two_d_mode"] and site["two_d_mode"] and navsat["zero_altitude"]
