"""Decodes many photos on all cores, with a progress bar."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import cv2
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from campus_visual_gps.errors import DatasetError
from training.photos.decode import DecodedPhoto, DecodeTask, store_photo

# Starting a process costs about as much as decoding this many phone photos.
_MIN_TASKS_PER_POOL = 24


def store_photos(tasks: list[DecodeTask], progress: bool, workers: int | None = None) -> list[DecodedPhoto]:
    """Store photos in parallel processes.

    Args:
        tasks: Files to store.
        progress: Show a progress bar.
        workers: Number of processes; None takes one per core.

    Returns:
        Results in the order of the tasks.

    Raises:
        DatasetError: The disk is full, or a process was killed.
    """
    columns = (TextColumn("Photos"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not progress) as bar:
        return list(bar.track(_results(tasks, workers or _cores()), total=len(tasks)))


def _results(tasks: list[DecodeTask], workers: int) -> Iterator[DecodedPhoto]:
    if workers == 1 or len(tasks) < _MIN_TASKS_PER_POOL:
        yield from map(store_photo, tasks)
        return
    # spawn, not fork: a fork copies the locks of the caller's threads
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(tasks)), mp_context=context, initializer=_start_worker)
    try:
        yield from pool.map(store_photo, tasks, chunksize=4)
    except BrokenProcessPool:
        raise DatasetError(
            "a decoding process was killed, probably out of memory; run again with fewer workers to resume"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _cores() -> int:
    """Cores that this process may use; in a container fewer than the machine has."""
    with contextlib.suppress(AttributeError):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _start_worker() -> None:
    """Set up a worker process: one thread, ignores Ctrl-C, and ends with its parent."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
