"""Progress lines: which run of how many, and how long the rest takes, by the runs that have ended."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from training.experiments.plan import Plan, Run
from training.experiments.store import RUNS, read_status

log = logging.getLogger(__name__)


class Progress:
    """Counts runs and expects their time from the seconds per unit of work of those that have ended.

    Args:
        plan: All runs.
        out: Directory of the experiments, for the times of runs that have ended before.
        capacity: Runs at a time.
    """

    def __init__(self, plan: Plan, out: Path, capacity: int):
        self._capacity = capacity
        self._total, self._rows = len(plan.runs), len(plan.rows)
        self._started_s: dict[str, float] = {}
        self._left: dict[str, Run] = {}
        self._seconds: dict[str, list[tuple[float, float]]] = defaultdict(list)  # by backbone: (work, seconds)
        for run in plan.runs.values():
            seconds = read_status(out / RUNS / run.run_id).get("made_seconds")
            if isinstance(seconds, float):
                self._add(run, seconds)

    def begin(self, left: Sequence[Run]) -> None:
        """Say what is to be done."""
        self._left = {run.run_id: run for run in left}
        done = self._total - len(left)
        log.info("%d rows need %d runs, of which %d have ended before", self._rows, self._total, done)

    def start(self, run: Run) -> None:
        """Say that a run begins, and how long all that is left takes."""
        self._started_s[run.run_id] = monotonic()
        left_s = self._seconds_left()
        expected = "" if left_s is None else f", about {duration(left_s)} left"
        number = self._total - len(self._left) + len(self._started_s)
        log.info("run %d of %d: %s (%s)%s", number, self._total, run.title, run.run_id, expected)

    def end(self, run: Run) -> None:
        """A run has ended."""
        seconds = monotonic() - self._started_s.pop(run.run_id)
        self._left.pop(run.run_id, None)
        self._add(run, seconds)

    def skip(self, run: Run) -> None:
        """A run that cannot begin."""
        self._left.pop(run.run_id, None)

    def _add(self, run: Run, seconds: float) -> None:
        if run.config is not None:
            self._seconds[run.config.model.backbone].append((_work_of(run), seconds))

    def _seconds_left(self) -> float | None:
        everything = [pair for pairs in self._seconds.values() for pair in pairs]
        if not everything:
            return None
        left_s = 0.0
        for run in self._left.values():
            if run.config is None:
                continue
            pairs = self._seconds.get(run.config.model.backbone) or everything
            expected_s = _work_of(run) * sum(seconds for _, seconds in pairs) / sum(work for work, _ in pairs)
            started_s = self._started_s.get(run.run_id)
            left_s += expected_s if started_s is None else max(0.0, expected_s - (monotonic() - started_s))
        return left_s / self._capacity


def _work_of(run: Run) -> float:
    """In proportion to the pixels that a training passes through its network."""
    if run.config is None:
        return 0.0
    return run.config.trainer.max_epochs * run.config.photo_fraction * run.config.size_px**2


def duration(seconds: float) -> str:
    """A rough length of time in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
