"""Processes that work through many tasks, of which some may kill a process or never end.

A library that decodes foreign files can crash, run out of memory or loop. concurrent.futures gives up all tasks when
one process dies, and cannot say which task it was; here only that task fails, by name, and the others go on.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

import cv2

from campus_visual_gps.errors import DatasetError

TASK_LIMIT_S = 120.0  # the largest photos take a few seconds
_START_LIMIT_S = 300.0  # imports on a machine that does much else
_MAX_FAILED_STARTS = 3  # one after the other
_MEMORY_BYTES = 4 << 30  # of a process; decoding needs a quarter of it


@dataclass(frozen=True)
class Failure:
    """A task that ended its process, or was ended with it."""

    reason: str


@dataclass
class _Worker:
    """A process; `task` is the one it works on, None before it is ready and between tasks."""

    process: Any
    connection: Connection
    deadline_s: float
    ready: bool = False
    task: int | None = None


def run_tasks(
    function: Callable[[Any], Any], tasks: Sequence[Any], workers: int, limit_s: float = TASK_LIMIT_S
) -> Iterator[tuple[int, Any]]:
    """Call a function of a module with each task in processes.

    A task whose process dies is tried once more, alone, as the memory may have been used up by others.

    Args:
        function: Its result, which is not None, is sent back; a DatasetError that it raises ends all.
        tasks: Its arguments.
        workers: Number of processes.
        limit_s: Time for one task.

    Yields:
        The index of a task and its result or Failure, in the order in which they end.

    Raises:
        DatasetError: That of the function, or processes cannot be started.
    """
    pool = _Pool(function, limit_s)
    again: list[int] = []
    try:
        for index, outcome in pool.run(tasks, range(len(tasks)), workers):
            if outcome is None:
                again.append(index)
            else:
                yield index, outcome
        for index, outcome in pool.run(tasks, again, 1):
            yield index, outcome or Failure("its process was killed twice, probably out of memory or by a damaged file")
    finally:
        pool.close()


class _Pool:
    def __init__(self, function: Callable[[Any], Any], limit_s: float):
        self._function, self._limit_s = function, limit_s
        self._workers: list[_Worker] = []
        self._failed_starts = 0

    def run(self, tasks: Sequence[Any], indices: Sequence[int], count: int) -> Iterator[tuple[int, Any]]:
        """Indices of tasks with their results; None where the process died."""
        waiting, left = deque(indices), len(indices)
        while left:
            self._assign(tasks, waiting, min(count, left))
            now_s = time.monotonic()
            first_s = min(worker.deadline_s for worker in self._workers)
            events = [worker.connection for worker in self._workers]
            wait(
                [*events, *(worker.process.sentinel for worker in self._workers)], max(0.0, min(first_s - now_s, 60.0))
            )
            for worker in list(self._workers):
                index = worker.task
                answered, outcome = self._poll(worker)
                if answered and index is not None:
                    left -= 1
                    yield index, outcome

    def _assign(self, tasks: Sequence[Any], waiting: deque[int], count: int) -> None:
        while len(self._workers) < count:
            self._workers.append(_start(self._function))
        for worker in self._workers[:count]:
            if worker.ready and worker.task is None and waiting:
                worker.task = waiting.popleft()
                worker.deadline_s = time.monotonic() + self._limit_s
                with contextlib.suppress(OSError):  # it died: _poll finds out
                    worker.connection.send(tasks[worker.task])

    def _poll(self, worker: _Worker) -> tuple[bool, Any]:
        """Whether the worker's task has ended, and how."""
        try:
            if worker.connection.poll():
                worker.ready, message = True, worker.connection.recv()
                if isinstance(message, DatasetError):
                    raise message
                worker.task, worker.deadline_s = None, float("inf")
                return True, message
        except (EOFError, OSError):
            worker.process.join(5.0)  # its end of the connection closes a moment before it ends
        if not worker.process.is_alive():
            return self._drop(worker), None
        if time.monotonic() > worker.deadline_s:
            self._drop(worker)
            return True, Failure(f"not decoded within {self._limit_s:g} s")
        return False, None

    def _drop(self, worker: _Worker) -> bool:
        """Forget a worker that died or hangs. Raises DatasetError if none can be started."""
        self._workers.remove(worker)
        _end(worker)
        self._failed_starts = 0 if worker.ready else self._failed_starts + 1
        if self._failed_starts >= _MAX_FAILED_STARTS:
            raise DatasetError(
                f"a decoding process could not be started (exit code {worker.process.exitcode}); run with one worker, "
                "and a script needs `if __name__ == '__main__':`"
            )
        return True

    def close(self) -> None:
        for worker in self._workers:
            _end(worker)


def _start(function: Callable[[Any], Any]) -> _Worker:
    context = multiprocessing.get_context("spawn")  # not fork, which copies the locks of the caller's threads
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, function), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours, time.monotonic() + _START_LIMIT_S)


def _end(worker: _Worker) -> None:
    worker.connection.close()
    worker.process.kill()  # files are written whole or not at all
    worker.process.join()


def _work(connection: Connection, function: Callable[[Any], Any]) -> None:
    """The worker process: one thread, ignores Ctrl-C, and ends with its parent."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    _limit_memory()
    _silence_libraries()
    connection.send(None)
    with contextlib.suppress(EOFError, OSError):  # the parent closes the connection
        while True:
            task = connection.recv()
            try:
                connection.send(function(task))
            except DatasetError as error:
                connection.send(error)


def _silence_libraries() -> None:
    """Drop what decoders in C print about damaged files, without saying which; Python's own errors are still shown."""
    sys.stderr = os.fdopen(os.dup(2), "w")
    with open(os.devnull, "wb") as nothing:  # noqa: PTH123
        os.dup2(nothing.fileno(), 2)


def _limit_memory() -> None:
    """An allocation above the limit fails in this process, before the system looks for a process to kill."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # not on Windows; a lower limit is set already
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_BYTES, hard))


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
