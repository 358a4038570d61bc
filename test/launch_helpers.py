"""Imports of the launch tests: launch, launch_testing and the built package, or a skip with the reason."""

from pathlib import Path

import pytest

pytest.importorskip("launch_testing", reason="launch_testing is not installed: it comes with a ROS distribution")
pytest.importorskip("launch_ros", reason="launch_ros is not installed: it comes with a ROS distribution")

import launch_testing.actions
import launch_testing.asserts
from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

try:
    SHARE = Path(get_package_share_directory("campus_visual_gps"))
except PackageNotFoundError:
    pytest.skip("the package is not built: colcon build, then source install/setup.bash", allow_module_level=True)


def included(name: str, **arguments: str) -> IncludeLaunchDescription:
    """An installed launch file of the package, with these arguments."""
    source = PythonLaunchDescriptionSource(str(SHARE / "launch" / name))
    return IncludeLaunchDescription(source, launch_arguments=arguments.items())


def launched(name: str, **arguments: str) -> LaunchDescription:
    """Launch description of a test: one launch file."""
    return LaunchDescription([included(name, **arguments), launch_testing.actions.ReadyToTest()])
