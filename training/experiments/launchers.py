"""Where runs are executed: in this process, or in processes of their own, several at a time."""

from __future__ import annotations

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


@dataclass(frozen=True)
class Workplace:
    """The directories of the experiments and of the data set."""

    out: Path
    dataset_dir: Path


class Launcher(Protocol):
    """Executes runs, up to `capacity` at a time."""

    capacity: int

    def start(self, run: Run) -> None:
        """Begin a run; at most `capacity` are under way."""

    def wait(self) -> Outcome:
        """The next run that ends; one must be under way."""

    def close(self) -> None:
        """End what is still under way. It can be resumed."""


class InProcess:
    """Executes each run at once, in this process."""

    capacity = 1

    def __init__(self, workplace: Workplace):
        self._workplace = workplace
        self._outcomes: list[Outcome] = []

    def start(self, run: Run) -> None:
        self._outcomes.append(execute(run, self._workplace.out, self._workplace.dataset_dir))

    def wait(self) -> Outcome:
        return self._outcomes.pop()

    def close(self) -> None:
        pass


@dataclass
class _Worker:
    run: Run
    process: Any
    connection: Connection
    slot: int


class Processes:
    """Executes each run in a process of its own: one that is killed, or spoils its GPU, fails alone.

    Args:
        workplace: The directories.
        jobs: Processes at a time; each has its share of the cores, and one of the GPUs in turn.
    """

    def __init__(self, workplace: Workplace, jobs: int = 1):
        self.capacity = jobs
        self._workplace = workplace
        self._workers: list[_Worker] = []

    def start(self, run: Run) -> None:
        context = multiprocessing.get_context("spawn")  # not fork, which copies the locks of threads
        slot = min(set(range(self.capacity)) - {worker.slot for worker in self._workers})
        ours, theirs = context.Pipe(duplex=False)
        # no daemon: a data loader has processes of its own
        process = context.Process(target=_work, args=(theirs, run, self._workplace, slot, self.capacity > 1))
        with _environment(self._share(slot)):
            process.start()
        theirs.close()
        self._workers.append(_Worker(run, process, ours, slot))

    def wait(self) -> Outcome:
        # a sentinel closes a moment before its process ends
        ended = wait([worker.process.sentinel for worker in self._workers])
        worker = next(worker for worker in self._workers if worker.process.sentinel in ended)
        self._workers.remove(worker)
        worker.process.join()
        try:
            if worker.connection.poll():
                return worker.connection.recv()
        except EOFError:  # it was killed while it sent
            pass
        finally:
            worker.connection.close()
        reason = _death(worker.process.exitcode)
        record_failure(self._workplace.out / RUNS / worker.run.run_id, reason)
        return Outcome(worker.run.run_id, FAILED, reason)

    def close(self) -> None:
        for worker in self._workers:
            worker.process.kill()  # files are written whole or not at all
        for worker in self._workers:
            worker.process.join()
            worker.connection.close()
        self._workers.clear()

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


def _work(connection: Connection, run: Run, workplace: Workplace, slot: int, named: bool) -> None:
    """The process of one run: ignores Ctrl-C, which its parent answers, and ends with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    set_up_process(f"[{slot}] " if named else "")
    connection.send(execute(run, workplace.out, workplace.dataset_dir))
    connection.close()


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
