"""How many threads the networks use for one image: measured, because it depends on network, computer and neighbours."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic, perf_counter

import numpy as np

# Twice the threads must make the slow runs this much faster: they are the first to suffer from other processes.
MIN_GAIN = 1.3
MAX_THREADS = 16
_MAX_TURNS, _BUDGET_S = 10, 2.0
_SLOW_PERCENTILE = 80.0
# Runs over which a slowdown is judged, and the first pause before more threads are tried again, doubled each time.
_WINDOW, _PAUSE_S, _MAX_PAUSE_S = 10, 60.0, 600.0


def candidates(cores: int) -> list[int]:
    """1, 2, 4, ... threads up to the cores, and the cores themselves."""
    cores = min(cores, MAX_THREADS)
    return sorted({1, cores, *(2**power for power in range(1, 5) if 2**power < cores)})


def measure(run: Callable[[int], object], counts: list[int]) -> dict[int, float]:
    """Seconds of `run(count)` for each count: the 80th percentile of up to 10 turns, about 2 s in all.

    The counts run in turns, so that all meet the same neighbours. Where those delay a run by seconds, one turn is all.
    """
    seconds: dict[int, list[float]] = {count: [] for count in counts}
    end_s = perf_counter() + _BUDGET_S
    for turn in range(_MAX_TURNS):
        for count in counts:
            start_s = perf_counter()
            if turn and start_s > end_s:
                break
            run(count)
            seconds[count].append(perf_counter() - start_s)
    return {count: float(np.percentile(own, _SLOW_PERCENTILE)) for count, own in seconds.items()}


def choose(seconds: dict[int, float]) -> int:
    """The largest count up to which every step from a smaller one gained MIN_GAIN for twice the threads.

    Args:
        seconds: As of `measure`, with the count 1.
    """
    best = 1
    for count in sorted(seconds):
        if count > 1 and seconds[best] / seconds[count] < MIN_GAIN ** np.log2(count / best):
            break
        best = count
    return best


class ThreadCount:
    """The number of threads for one image. Not thread-safe.

    A fixed number, or one that was measured. The latter goes back to one thread when other processes make more threads
    slower than one was at the measurement, and is tried again later.

    Args:
        count: The number.
        single_s: Seconds of a run with one thread, where the number was measured; None fixes it.
    """

    def __init__(self, count: int, single_s: float | None = None, clock: Callable[[], float] = monotonic):
        self.current = self._chosen = count
        self._single_s, self._clock = single_s, clock
        self._recent: deque[float] = deque(maxlen=_WINDOW)
        self._pause_s, self._retry_at_s = _PAUSE_S, 0.0

    def record(self, seconds: float) -> None:
        """A run with `current` threads took so long."""
        if self._single_s is None or self._chosen == 1:
            return
        if self.current == 1:
            if self._clock() >= self._retry_at_s:
                self.current = self._chosen
            return
        self._recent.append(seconds)
        if len(self._recent) == _WINDOW and np.median(self._recent) > self._single_s:
            self.current = 1
            self._recent.clear()
            self._retry_at_s = self._clock() + self._pause_s
            self._pause_s = min(2.0 * self._pause_s, _MAX_PAUSE_S)
