"""Settings of a test run: DDS on the loopback only, one domain for each process, no deadlines on a shared machine."""

import os

# Before anything imports rclpy. A worker of pytest-xdist inherits the domain of the process that started it.
os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
if "PYTEST_XDIST_WORKER" in os.environ:
    _number = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))
    os.environ["ROS_DOMAIN_ID"] = str((int(os.environ["ROS_DOMAIN_ID"]) + _number) % 101)
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")

import pytest
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
    """Order and groups for `pytest -n 2 --dist loadgroup --no-loadscope-reorder`, as scripts/test runs it.

    All tests that start ROS nodes are one group: one worker runs them, one after the other. The other groups are the
    modules, whose fixtures are made once. The groups that take longest start first.
    """
    if not hasattr(config, "workerinput"):  # no worker of pytest-xdist
        return
    for item in items:
        item.add_marker(pytest.mark.xdist_group("ros" if item.get_closest_marker("ros") else item.path.stem))
    items.sort(key=_start_order)


def _start_order(item) -> int:
    """0 for tests that start ROS nodes, 1 for slow ones, 2 for all others."""
    if item.get_closest_marker("ros"):
        return 0
    return 1 if item.get_closest_marker("slow") else 2


@pytest.fixture(scope="module")
def bundle_dir(tmp_path_factory):
    """A tiny bundle, for the modules that have no other."""
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
