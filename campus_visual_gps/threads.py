"""Threads of the numeric libraries: how many they use, and how the idle ones wait.

torch, OpenCV and the BLAS of numpy and scipy start one thread for every core. In one image's pass through the networks
hundreds of parallel regions of less than a millisecond follow each other, and each one ends with its last thread.
Beside another process that thread waits for a core, some milliseconds each time. Therefore: one thread where regions
are small, and threads that sleep while they wait, so that their core is free for the thread that they wait for.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Read when the libraries are loaded: by OpenMP of GNU (torch's wheels for Linux), of LLVM and of Intel, and by OpenCV.
_ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0", "OPENCV_FOR_THREADS_NUM": "1"}
_CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def wait_passively() -> None:
    """Let torch's threads sleep, not spin, while they wait for each other; OpenCV gets one thread.

    By environment variables, which child processes inherit: call it before torch and OpenCV are imported. Variables
    that the user has set are kept.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def usable_cores() -> int:
    """Cores that this process may use: those of its affinity, and at most its container's quota."""
    count = os.cpu_count() or 1
    with suppress(AttributeError):  # not on macOS
        count = len(os.sched_getaffinity(0))
    quota = _quota_cores()
    return count if quota is None else min(count, quota)


def max_threads() -> int:
    """One thread for every usable core, and at most OMP_NUM_THREADS."""
    with suppress(ValueError):
        limit = int(os.environ.get("OMP_NUM_THREADS", "").split(",")[0])
        if limit > 0:
            return min(limit, usable_cores())
    return usable_cores()


def limit_threads(count: int = 1) -> None:
    """From now on one thread for OpenCV, and at most `count` for BLAS and for torch where the calling thread uses it.

    Imports torch. `torch_threads` allows torch more for a time.
    """
    import cv2
    import torch

    os.environ["OPENBLAS_NUM_THREADS"] = str(count)  # of a library that is loaded later, such as scipy's own
    cv2.setNumThreads(1)
    torch.set_num_threads(count)
    with suppress(ImportError):  # a ROS distribution may lack it; all but a few of the node's products are too small
        from threadpoolctl import threadpool_limits

        threadpool_limits(count, user_api="blas")


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """The calling thread computes with so many threads of torch inside the block."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _quota_cores() -> int | None:
    """Whole cores of the CPU quota of cgroup v2, at least 1; None without a quota."""
    with suppress(OSError, ValueError):
        quota, period = _CGROUP_QUOTA.read_text(encoding="ascii").split()
        return max(1, math.floor(int(quota) / int(period)))
    return None
