"""A wrong argument of a launch file is an error of `ros2 launch` in one line, and nothing is started."""

import shutil
import subprocess

import pytest
from helpers import make_bundle

if shutil.which("ros2") is None:
    pytest.skip("ros2 launch is not installed: it comes with a ROS distribution", allow_module_level=True)

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

pytestmark = pytest.mark.ros

try:
    get_package_share_directory("campus_visual_gps")
except PackageNotFoundError:
    pytest.skip("the package is not built: colcon build, then source install/setup.bash", allow_module_level=True)


def error_of(name: str, **arguments: str) -> str:
    """What `ros2 launch` prints when it fails."""
    given = [f"{argument}:={value}" for argument, value in arguments.items()]
    command = ["ros2", "launch", "campus_visual_gps", name, *given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "process started" not in done.stdout + done.stderr
    return done.stdout + done.stderr


def test_fusion_without_a_bundle(tmp_path):
    error = error_of("fusion.launch.py", model_dir=str(tmp_path))
    assert f"no datum for navsat_transform: {tmp_path}/bundle.yaml: No such file or directory" in error
    assert "expected model_dir:= to name a model bundle or datum:='LATITUDE LONGITUDE'" in error


def test_fusion_with_something_else_than_a_bundle(tmp_path):
    (tmp_path / "bundle.yaml").write_text("model_id: no frame\n", encoding="utf-8")
    message = "bundle.yaml is not a bundle manifest (KeyError: 'frame')"
    assert message in error_of("fusion.launch.py", model_dir=str(tmp_path))


@pytest.mark.parametrize("datum", ["39.5", "39.5 west", "91 0", "0 181", "nan nan"])
def test_fusion_with_a_datum_that_is_no_position(tmp_path, datum):
    error = error_of("fusion.launch.py", model_dir=str(tmp_path), datum=datum)
    assert f"datum: expected latitude and longitude in degrees such as '39.5 -3.0', got '{datum}'" in error


def test_a_camera_position_of_two_numbers(tmp_path):
    bundle = str(make_bundle(tmp_path / "bundle"))
    message = "camera_xyz: expected three numbers such as '0.15 0 1.2', got '1 2'"
    assert message in error_of("localize.launch.py", model_dir=bundle, camera_xyz="1 2")


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("gps_xyz", "0 0", "gps_xyz: expected three numbers such as '0.15 0 1.2', got '0 0'"),
        ("gps_xyz", "0 0 nan", "gps_xyz: expected three numbers such as '0.15 0 1.2', got '0 0 nan'"),
        ("max_rate_hz", "fast", "max_rate_hz: expected a number such as 2.0, got 'fast'"),
    ],
)
def test_a_number_that_is_none(tmp_path, argument, value, message):
    bundle = str(make_bundle(tmp_path / "bundle"))
    assert message in error_of("localize.launch.py", model_dir=bundle, **{argument: value})
