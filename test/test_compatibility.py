"""docs/compatibility.md lists what the tests show."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from compatibility import COLLECTED
from make_compatibility import PAGE, marked_modules, render, rows_of

SCRIPT = Path(__file__).with_name("make_compatibility.py")


@pytest.mark.slow
def test_the_page_is_what_the_tests_say(request):
    pytest.importorskip("rclpy", reason="ROS 2 is not installed: the conditions of the node cannot be listed")
    remedy = f"run `python {SCRIPT.name}` and commit docs/compatibility.md"
    modules = set(marked_modules())
    items = [item for item in request.config.stash[COLLECTED] if item.path in modules]
    # a run of the whole suite has collected them; one of a part has not
    if {item.path for item in items} == modules and not any("::" in argument for argument in request.config.args):
        assert render(rows_of(items)) == PAGE.read_text(encoding="utf-8"), remedy
        return
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    check = subprocess.run([sys.executable, str(SCRIPT), "--check"], env=environment, capture_output=True, text=True)
    assert check.returncode == 0, f"{remedy}\n{check.stderr}"
