"""launch_testing: the installed `localize.launch.py` starts a node that turns camera images into fixes."""

import tempfile
import unittest
from pathlib import Path

import pytest
from helpers import make_bundle, textured_rgb
from launch_helpers import launch_testing, launched
from ros_helpers import Client, image_message, png_message
from sensor_msgs.msg import CompressedImage, Image

from campus_visual_gps import Localizer

pytestmark = pytest.mark.ros

SCRATCH = tempfile.TemporaryDirectory(prefix="campus_visual_gps_launch_")
BUNDLE = make_bundle(Path(SCRATCH.name) / "2025")  # a name that launch could take for a number


@pytest.mark.launch_test
@launch_testing.parametrize("transport", ["raw", "compressed"])
def generate_test_description(transport):
    arguments = {
        "model_dir": str(BUNDLE),
        "image_topic": "/front/image_raw",
        "image_transport": transport,
        "namespace": f"robot_{transport}",
        "log_level": "warn",
    }
    return launched("localize.launch.py", **arguments)


class TestLocalize(unittest.TestCase):
    """While the node runs."""

    def test_the_node_becomes_active_and_gives_the_fix_of_the_library(self, transport):
        raw = transport == "raw"
        topic = "/front/image_raw" if raw else "/front/image_raw/compressed"
        client = Client(f"/robot_{transport}", Image if raw else CompressedImage, topic)
        self.addCleanup(client.close)
        client.wait_connected()
        self.assertEqual(client.state(), "active")
        rgb = textured_rgb(120, 160)
        fix = client.fix_of((image_message if raw else png_message)(rgb))
        expected = Localizer.load(BUNDLE).localize(rgb)
        # 1e-7 degrees are a centimetre
        self.assertAlmostEqual(fix.latitude, expected.latitude_deg, delta=1e-7)
        self.assertAlmostEqual(fix.longitude, expected.longitude_deg, delta=1e-7)


@launch_testing.post_shutdown_test()
class TestAfterShutdown(unittest.TestCase):
    """After launch has sent SIGINT."""

    def test_the_node_ends_with_exit_code_0(self, proc_info):
        launch_testing.asserts.assertExitCodes(proc_info)
