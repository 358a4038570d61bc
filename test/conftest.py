"""Test-run settings: DDS on the loopback only, one domain per run, no deadlines on a shared machine."""

import os

# before anything imports rclpy
os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")

from hypothesis import settings

settings.register_profile("shared-machine", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("shared-machine")
