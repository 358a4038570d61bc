"""Settings of a test run: DDS on the loopback only, one domain for each process, no deadlines on a shared machine."""

import os
from pathlib import Path

# Before anything imports rclpy. A worker of pytest-xdist inherits the domain of the process that started it.
os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
if "PYTEST_XDIST_WORKER" in os.environ:
    _number = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))
    os.environ["ROS_DOMAIN_ID"] = str((int(os.environ["ROS_DOMAIN_ID"]) + _number) % 101)
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")

import pytest
from compatibility import COLLECTED
from hypothesis import HealthCheck, settings

settings.register_profile(
    "shared-machine",
    deadline=None,
    max_examples=60,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("shared-machine")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Under pytest-xdist, start the tests that take longest first: those with ROS nodes, then the slow ones."""
    config.stash[COLLECTED] = list(items)
    if hasattr(config, "workerinput"):  # set in the workers
        items.sort(key=_start_order)


def _start_order(item) -> int:
    if item.get_closest_marker("ros"):
        return 0
    return 1 if item.get_closest_marker("slow") else 2


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """One worker runs all modules with the marker `ros`, one after the other; every other module is a unit of its own.

    Nodes of two workers would compete for the cores, and a module's fixtures are made once.
    """
    from xdist.scheduler import LoadScopeScheduling

    class RosModulesTogether(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            module = nodeid.split("::", 1)[0]
            return "ros" if module in ros_modules else module

    ros_modules = {
        path.relative_to(config.rootpath).as_posix()
        for path in Path(__file__).parent.glob("test_*.py")
        if "pytest.mark.ros" in path.read_text(encoding="utf-8")
    }
    return RosModulesTogether(config, log)


@pytest.fixture(scope="session")
def bundle_dir(tmp_path_factory):
    """A tiny bundle, for the modules that have no other. It is written once: tests leave it as it is."""
    from helpers import make_bundle

    return make_bundle(tmp_path_factory.mktemp("shared") / "bundle")


@pytest.fixture(scope="module")
def localizer(bundle_dir):
    """The library on that bundle."""
    from campus_visual_gps import Localizer

    return Localizer.load(bundle_dir)


@pytest.fixture(scope="module")
def active(bundle_dir):
    """A client of one active node with default parameters, for the tests that leave it as it was."""
    from ros_helpers import RunningNode

    with RunningNode(model_dir=str(bundle_dir)) as client:
        client.wait_connected()
        yield client
