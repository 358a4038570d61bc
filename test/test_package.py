"""colcon installs what `ros2 run` and `ros2 launch` look for, where they look for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from helpers import ROOT

NAME = "campus_visual_gps"
COLCON = Path(sys.executable).with_name("colcon")
SOURCES = ("package.xml", "setup.py", "setup.cfg", "LICENSE", "resource", NAME, "launch", "config")
TRAINING_CONFIG = ("config/training/*.yaml", "config/training/experiments/*.yaml")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not COLCON.exists(), reason=f"colcon is not installed next to {sys.executable}"),
]


def run(*command: str, cwd: Path) -> str:
    # an AMENT_PREFIX_PATH of another workspace would be built on top of
    environment = {name: value for name, value in os.environ.items() if name != "AMENT_PREFIX_PATH"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Path:
    """A workspace whose source is this checkout, without what the checkout has built or collected."""
    workspace = tmp_path_factory.mktemp("workspace")
    source = workspace / "src" / NAME
    source.mkdir(parents=True)
    for name in SOURCES:
        (source / name).symlink_to(ROOT / name)
    return workspace


@pytest.fixture(scope="module")
def installed(workspace) -> Path:
    run(str(COLCON), "--log-base", "log", "build", "--event-handlers", "console_direct+", cwd=workspace)
    return workspace / "install" / NAME


def test_the_package_is_an_ament_python_one(workspace):
    # an invalid package.xml would silently make it a plain Python package, which ROS does not find
    listed = run(str(COLCON), "--log-base", "log", "list", cwd=workspace)
    assert listed.split() == [NAME, f"src/{NAME}", "(ros.ament_python)"]


def test_package_xml_setup_py_and_citation_agree():
    from catkin_pkg.package import parse_package

    warnings: list[str] = []
    package = parse_package(str(ROOT / "package.xml"), warnings=warnings)
    assert not warnings
    version = run(sys.executable, "setup.py", "--quiet", "--version", cwd=ROOT).split()[-1]
    assert (package.name, package.version) == (NAME, version)
    assert [license_.strip() for license_ in package.licenses] == ["Apache-2.0"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], citation["license"]) == (version, "Apache-2.0")


def test_executables_launch_files_configuration_and_index_entry_are_installed(installed):
    share = installed / "share" / NAME
    for name in ("doctor", "filter_reset", "localizer"):
        assert os.access(installed / "lib" / NAME / name, os.X_OK)
    assert (installed / "share" / "ament_index" / "resource_index" / "packages" / NAME).is_file()
    assert (share / "package.xml").is_file()
    patterns = ("launch/*.launch.py", "config/*.yaml", "config/*.json", "config/*.rviz", *TRAINING_CONFIG)
    for folder, pattern in (item.rsplit("/", 1) for item in patterns):
        expected = sorted(path.name for path in (ROOT / folder).glob(pattern))
        assert sorted(path.name for path in (share / folder).glob(pattern)) == expected
    assert (share / "launch" / "localize.launch.py").is_file()


def test_only_the_runtime_is_installed(installed):
    packages = {path.parent.name for path in installed.glob("lib/python*/site-packages/*/__init__.py")}
    assert packages == {NAME}
    modules = {path.name for path in installed.glob(f"lib/python*/site-packages/{NAME}/*/")}
    assert {"models", "ros"} <= modules
    assert list(installed.glob(f"lib/python*/site-packages/{NAME}/py.typed")), "type checkers need the marker py.typed"


def test_the_installed_executable_runs_with_an_interpreter_that_has_everything(installed):
    first_line = (installed / "lib" / NAME / "localizer").read_text(encoding="utf-8").splitlines()[0]
    interpreter = Path(first_line.removeprefix("#!"))
    assert interpreter.parent.resolve() == Path(sys.executable).parent.resolve()
