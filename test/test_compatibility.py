"""docs/compatibility.md lists what the tests show."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("make_compatibility.py")


@pytest.mark.slow
def test_the_page_is_what_the_tests_say():
    pytest.importorskip("rclpy", reason="ROS 2 is not installed: the conditions of the node cannot be listed")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    check = subprocess.run([sys.executable, str(SCRIPT), "--check"], env=environment, capture_output=True, text=True)
    assert check.returncode == 0, f"run `python {SCRIPT.name}` and commit docs/compatibility.md\n{check.stderr}"
