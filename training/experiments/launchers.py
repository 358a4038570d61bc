"""Where runs are executed: in this process, or in processes of their own, several at a time."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

from campus_visual_gps.threads import max_threads, wait_passively
from training.console import OneLineHandler
from training.experiments.execute import Outcome, execute, record_failure
from training.experiments.plan import Run
from training.experiments.store import FAILED, RUNS


class Launcher(Protocol):
    """Executes runs, up to `capacity` at a time."""

    capacity: int

    def start(self, run: Run) -> None:
        """Begin a run; at most `capacity` are under way."""

    def wait(self) -> Outcome:
        """The next run that ends; one must be under way."""

    def close(self) -> None:
        """End what is still under way. It can be resumed."""


@dataclass
class _Worker:
    """A process; `run` is the one that it works on."""

    process: Any
    connection: Connection
    slot: int
    run: Run | None = None


class Processes:
    """Executes runs in processes of their own: one that is killed, or has spoilt its GPU, costs one run.

    A process takes the next run after one that went well, and is replaced after one that failed.

    Args:
        out: Directory of the experiments.
        jobs: Processes at a time; each has its share of the cores, and one of the GPUs in turn.
    """

    def __init__(self, out: Path, jobs: int = 1):
        self.capacity = jobs
        self._out = out
        self._workers: list[_Worker] = []

    def start(self, run: Run) -> None:
        worker = next((worker for worker in self._workers if worker.run is None), None) or self._start_worker()
        worker.run = run
        with contextlib.suppress(OSError):  # it died: wait finds out
            worker.connection.send(run)

    def wait(self) -> Outcome:
        busy = {worker.connection: worker for worker in self._workers if worker.run is not None}
        worker = busy[wait(list(busy))[0]]  # type: ignore[index]
        run, worker.run = worker.run, None
        assert run is not None
        try:
            outcome = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join()
            reason = _death(worker.process.exitcode)
            record_failure(self._out / RUNS / run.run_id, reason)
            outcome = Outcome(run.run_id, FAILED, reason)
        if outcome.state == FAILED:
            self._end(worker)
        return outcome

    def close(self) -> None:
        for worker in list(self._workers):
            self._end(worker)

    def _start_worker(self) -> _Worker:
        context = multiprocessing.get_context("spawn")  # not fork, which copies the locks of threads
        slot = min(set(range(self.capacity)) - {worker.slot for worker in self._workers})
        ours, theirs = context.Pipe()
        # no daemon: a data loader has processes of its own
        process = context.Process(target=_work, args=(theirs, self._out, f"[{slot}] " if self.capacity > 1 else ""))
        with _environment(self._share(slot)), _ignoring_ctrl_c():
            process.start()
        theirs.close()
        self._workers.append(_Worker(process, ours, slot))
        return self._workers[-1]

    def _end(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.connection.close()
        worker.process.kill()  # files are written whole or not at all
        worker.process.join()

    def _share(self, slot: int) -> dict[str, str]:
        if self.capacity == 1:
            return {}
        share = {"OMP_NUM_THREADS": str(max(1, max_threads() // self.capacity))}
        devices = _cuda_devices()
        return share | ({"CUDA_VISIBLE_DEVICES": devices[slot % len(devices)]} if devices else {})


def _cuda_devices() -> list[str]:
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(index) for index in range(torch.cuda.device_count())]


@contextmanager
def _environment(changes: dict[str, str]) -> Iterator[None]:
    """What a process started inside inherits: it imports torch before it runs a line of ours."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _ignoring_ctrl_c() -> Iterator[None]:
    """A process started inside ignores Ctrl-C, from its first line on: its parent answers it."""
    if threading.current_thread() is not threading.main_thread():  # only there a signal can be set
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _work(connection: Connection, out: Path, prefix: str) -> None:
    """A process: one run after the other, until its parent ends."""
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    set_up_process(prefix)
    with contextlib.suppress(EOFError, OSError):  # the parent closes the connection
        while True:
            connection.send(execute(connection.recv(), out))


def set_up_process(prefix: str = "") -> None:
    """Log and wait for threads as the command line does."""
    wait_passively()
    handler = OneLineHandler()
    handler.setFormatter(logging.Formatter(f"{prefix}%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for ours in ("training", "campus_visual_gps"):
        logging.getLogger(ours).setLevel(logging.INFO)


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _death(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        hint = ", probably out of memory: try a smaller batch, fewer --jobs" if name == "SIGKILL" else ""
        return f"its process was killed by {name}{hint}"
    return f"its process ended with exit code {exit_code}"
