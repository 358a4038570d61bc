"""How many threads the networks use for one image: measured, because it depends on network, computer and neighbours."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic

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


def choose(seconds: dict[int, float]) -> int:
    """The largest count up to which every step from a smaller one gained MIN_GAIN for twice the threads.

    Args:
        seconds: Of slow runs with each count, with the count 1.
    """
    best = 1
    for count in sorted(seconds):
        if count > 1 and seconds[best] / seconds[count] < MIN_GAIN ** np.log2(count / best):
            break
        best = count
    return best


class ThreadCount:
    """The number of threads for one image. Not thread-safe.

    A fixed number, or the one that pays: the first images run with each of `counts` in turns, so that all meet the same
    neighbours and no image waits for a measurement. Afterwards it goes back to one thread when other processes make
    more threads slower than one was at the measurement, and is tried again later.

    Args:
        counts: The numbers to choose from, the first one 1; a single number is fixed.
    """

    def __init__(self, counts: Sequence[int], clock: Callable[[], float] = monotonic):
        self.current = self._chosen = counts[0]
        self._measured: dict[int, list[float]] = {count: [] for count in counts} if len(counts) > 1 else {}
        self._single_s: float | None = None
        self._clock = clock
        self._recent: deque[float] = deque(maxlen=_WINDOW)
        self._pause_s, self._retry_at_s = _PAUSE_S, 0.0

    @property
    def measures(self) -> bool:
        """Whether the number is still being chosen."""
        return bool(self._measured)

    def record(self, seconds: float) -> None:
        """A run with `current` threads took so long."""
        if self._measured:
            self._measure(seconds)
        elif self._single_s is not None and self._chosen > 1:
            self._watch(seconds, self._single_s)

    def _measure(self, seconds: float) -> None:
        """The 80th percentile of up to 10 turns, about 2 s in all. With runs of seconds, one turn is all."""
        self._measured[self.current].append(seconds)
        turns, counts = [len(own) for own in self._measured.values()], list(self._measured)
        self.current = counts[(counts.index(self.current) + 1) % len(counts)]
        if min(turns) == max(turns) and (turns[0] == _MAX_TURNS or sum(map(sum, self._measured.values())) > _BUDGET_S):
            slow = {count: float(np.percentile(own, _SLOW_PERCENTILE)) for count, own in self._measured.items()}
            self.current = self._chosen = choose(slow)
            self._single_s, self._measured = slow[1], {}

    def _watch(self, seconds: float, single_s: float) -> None:
        if self.current == 1:
            if self._clock() >= self._retry_at_s:
                self.current = self._chosen
            return
        self._recent.append(seconds)
        if len(self._recent) == _WINDOW and np.median(self._recent) > single_s:
            self.current = 1
            self._recent.clear()
            self._retry_at_s = self._clock() + self._pause_s
            self._pause_s = min(2.0 * self._pause_s, _MAX_PAUSE_S)
