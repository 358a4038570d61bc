"""A node that was killed is back with visual fixes on `fix`, and passes the receiver when that returns."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from compatibility import Area, condition
from helpers import ROOT
from receiver_helpers import Receiver
from ros_helpers import TIMEOUT_S, Client, to_seconds

pytestmark = [pytest.mark.ros, pytest.mark.slow]
NAMESPACE = "/killed"


@contextmanager
def node_process(bundle_dir) -> Iterator[subprocess.Popen]:
    """The executable, with output fallback; the context kills it."""
    options = ["-r", f"__ns:={NAMESPACE}", "-p", f"model_dir:={bundle_dir}", "-p", "output:=fallback"]
    command = [sys.executable, "-m", "campus_visual_gps.ros.localizer_node", "--ros-args", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=TIMEOUT_S)


@condition(
    Area.NODE, "node killed (SIGKILL) while the receiver is lost", "started again: visual fixes", since="2026-11-26"
)
def test_after_a_kill_in_an_outage_the_next_process_goes_on(bundle_dir, record_property):
    client = Client(NAMESPACE)
    try:
        receiver = Receiver(client)
        receiver.sends, receiver.with_images = False, True
        with node_process(bundle_dir) as process:
            receiver.wait_visual()
            last_s = to_seconds(receiver.fixes[-1].header.stamp)
            process.send_signal(signal.SIGKILL)
            process.wait(TIMEOUT_S)
        killed_s = time.monotonic()
        with node_process(bundle_dir):
            receiver.wait_visual()
            record_property("visual_fix_after_kill_s", round(time.monotonic() - killed_s, 1))
            assert to_seconds(receiver.fixes[-1].header.stamp) > last_s
            receiver.sends = True
            receiver.wait(lambda: receiver.fixes[-1].header.frame_id == "antenna", "receiver after the outage")
    finally:
        client.close()
