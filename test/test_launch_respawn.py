"""launch_testing: `localize.launch.py` starts a localizer again that was killed, and it is active again by itself."""

import os
import signal
import tempfile
import unittest
from pathlib import Path

import pytest
from helpers import make_bundle
from launch_helpers import launched
from receiver_helpers import Receiver
from ros_helpers import Client

pytestmark = pytest.mark.ros

SCRATCH = tempfile.TemporaryDirectory(prefix="campus_visual_gps_respawn_")
BUNDLE = make_bundle(Path(SCRATCH.name) / "bundle")
NAMESPACE = "/robot_respawn"


@pytest.mark.launch_test
def generate_test_description():
    arguments = {"model_dir": str(BUNDLE), "namespace": NAMESPACE, "output": "fallback", "log_level": "warn"}
    return launched("localize.launch.py", **arguments)


def process_ids() -> set[int]:
    """The processes of the localizer in this test's namespace."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended meanwhile
        if f"__ns:={NAMESPACE}".encode() in arguments and b"__node:=visual_gps" in arguments:
            found.add(int(path.parent.name))
    return found


class TestRespawn(unittest.TestCase):
    """While the node runs."""

    def test_a_killed_localizer_comes_back_with_visual_fixes_and_then_passes_the_receiver(self):
        client = Client(NAMESPACE)
        self.addCleanup(client.close)
        receiver = Receiver(client)
        receiver.sends, receiver.with_images = False, True
        receiver.wait_visual()
        (killed,) = process_ids()
        os.kill(killed, signal.SIGKILL)
        client.wait(lambda: process_ids() - {killed}, "another process")
        receiver.wait_visual()
        receiver.sends = True
        receiver.wait(lambda: receiver.fixes[-1].header.frame_id == "antenna", "receiver after the outage")
