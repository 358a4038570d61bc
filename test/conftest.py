"""Test-run settings: DDS on the loopback only, one domain per run, no deadlines on a shared machine."""

import os

# before anything imports rclpy
os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")

import pytest
from hypothesis import settings

settings.register_profile("shared-machine", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("shared-machine")


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
