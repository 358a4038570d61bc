"""Tasks for the tests of the worker pool, in a module that a process imports quickly."""

import ctypes
import os
import signal
import time
from pathlib import Path

from campus_visual_gps.errors import DatasetError


def work(task):
    """What a task does to its process; runs in a worker."""
    what, argument = task
    if what == "crash":
        ctypes.string_at(0)
    if what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "killed once" and not Path(argument).exists():
        Path(argument).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "hang":
        time.sleep(3600)
    if what == "memory":
        try:
            bytearray(8 << 30)
        except MemoryError:
            return "no memory"
    if what == "disk":
        raise DatasetError("no space left")
    return what
