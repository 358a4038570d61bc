"""Runs as tasks of a Ray cluster whose machines share a file system."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import training
from campus_visual_gps.errors import ConfigError
from training.experiments.execute import Outcome, execute, record_failure
from training.experiments.launchers import set_up_process
from training.experiments.plan import Run
from training.experiments.store import FAILED, RUNS

LOCAL = "local"


class RayCluster:
    """Executes runs on a cluster.

    A run whose machine is lost begins again elsewhere, from its last checkpoint. The cluster ends the runs of a command
    that was killed.

    Args:
        out: Directory of the experiments, the same on all machines.
        address: Of the cluster, as `ray.init` takes it; `local` starts one on this machine.
        jobs: Runs at a time; by default one for each GPU, or without GPUs one for each machine.

    Raises:
        ConfigError: Ray is not installed, or there is no cluster at the address.
    """

    def __init__(self, out: Path, address: str, jobs: int | None = None):
        try:
            import ray
        except ImportError as error:
            raise ConfigError("--ray needs Ray, the extra `cluster` of this package: pip install ray") from error
        self._ray, self._out = ray, out
        _connect(ray, address)
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0))
        self.capacity = jobs or gpus or max(1, len(ray.nodes()))
        cores = min(node["Resources"].get("CPU", 1.0) for node in ray.nodes() if node["Alive"])
        share = max(1, int(min(cores, resources.get("CPU", 1.0) // self.capacity)))
        # Ray gives a task as many threads as cores
        self._task = ray.remote(num_cpus=share, num_gpus=1 if gpus else 0, max_retries=1)(_execute)
        self._under_way: dict[Any, Run] = {}

    def start(self, run: Run) -> None:
        self._under_way[self._task.remote(run, self._out)] = run

    def wait(self) -> Outcome:
        (reference,), _ = self._ray.wait(list(self._under_way), num_returns=1)
        run = self._under_way.pop(reference)
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            reason = f"its process on the cluster died: {next(iter(str(error).splitlines()), type(error).__name__)}"
            record_failure(self._out / RUNS / run.run_id, reason)
            return Outcome(run.run_id, FAILED, reason)

    def close(self) -> None:
        for reference in self._under_way:
            self._ray.cancel(reference, force=True)
        self._ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    # workers import this package from where it is here
    root = str(Path(training.__file__).resolve().parent.parent)
    try:
        ray.init(
            address=address,
            runtime_env={"env_vars": {"PYTHONPATH": root}},
            logging_level=logging.WARNING,
            **({"include_dashboard": False} if address == LOCAL else {}),
        )
    except Exception as error:  # Ray raises several types, and plain ones
        first_line = next(iter(str(error).splitlines()), type(error).__name__)
        raise ConfigError(f"no Ray cluster at {address} ({first_line}); start one with `ray start --head`") from error


def _execute(run: Run, out: Path) -> Outcome:
    set_up_process()
    return execute(run, out)
