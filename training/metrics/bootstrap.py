"""Intervals for photos that are not independent: whole blocks of a walk are drawn, never single photos.

Neighbouring photos of one walk share a location, a light and the drift of their labels, so their errors rise and fall
together, and drawing photo by photo would promise intervals several times too narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
REPLICATES = 2000
SEED = 20251223
# Under five blocks the spread between them is not known: no interval is better than a wrong one.
MIN_BLOCKS = 5
BLOCK_LENGTHS_S = (60.0, 30.0, 15.0)
ENOUGH_BLOCKS = 10
UNTIMED_SPACING_S = 6.0
_MAX_WEIGHTS = 4_000_000  # elements of the largest array in flight

Interval = tuple[float, float]


class BlockBootstrap:
    """Draws blocks with replacement; blocks is one label (N,) per photo. The same draws serve every statistic.

    Every method takes values (N,) without NaN and gives one number per replicate, (R,). Draws that are shared
    make two statistics of the same photos paired.
    """

    def __init__(self, blocks: np.ndarray, replicates: int = REPLICATES, seed: int = SEED):
        _, self._block_of = np.unique(np.asarray(blocks), return_inverse=True)
        self.n_blocks = int(self._block_of.max()) + 1 if len(self._block_of) else 0
        self._sizes = np.bincount(self._block_of, minlength=self.n_blocks)
        if self.n_blocks:
            even = np.full(self.n_blocks, 1.0 / self.n_blocks)
            draws = np.random.default_rng(seed).multinomial(self.n_blocks, even, size=replicates)
            self._draws = draws.astype(np.float64)  # products with whole numbers skip BLAS

    def means(self, values: np.ndarray) -> np.ndarray:
        """Mean of each replicate."""
        return self._totals(values) / (self._draws @ self._sizes)

    def ratios(self, numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
        """Mean of one over mean of the other in each replicate, paired photo by photo."""
        return self._totals(numerator) / self._totals(denominator)

    def quantiles(self, values: np.ndarray, quantile: float) -> np.ndarray:
        """Quantile of each replicate, exactly as `numpy.quantile` gives it for the photos drawn."""
        order = np.argsort(values, kind="stable")
        ordered = np.asarray(values, dtype=np.float64)[order]
        return self.of_copies(order, lambda copies: _counted_quantile(ordered, copies, quantile))

    def of_copies(self, order: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Any statistic of the photos drawn: it maps copies (r, N) of the photos in `order` (N,) to (r, ...) numbers.

        It is called with some replicates at a time, as many as fit into memory.
        """
        blocks = self._block_of[order]
        step = max(1, _MAX_WEIGHTS // len(blocks))
        chunks = (self._draws[start : start + step] for start in range(0, len(self._draws), step))
        return np.concatenate([statistic(draws[:, blocks]) for draws in chunks])

    def interval(self, replicates: np.ndarray) -> Interval:
        """Percentile interval of CONFIDENCE over the replicates; NaN for fewer than MIN_BLOCKS blocks.

        The percentiles are widened for few blocks, as Student's t is over the normal (Hesterberg, The American
        Statistician 69, 2015, "expanded percentile interval"); with hundreds of blocks that is nothing.
        """
        if self.n_blocks < MIN_BLOCKS:
            return (np.nan, np.nan)
        widening = np.sqrt(self.n_blocks / (self.n_blocks - 1))
        tail = stats.norm.cdf(widening * stats.t.ppf((1.0 - CONFIDENCE) / 2.0, self.n_blocks - 1))
        low, high = np.quantile(replicates, [tail, 1.0 - tail])
        return (float(low), float(high))

    def share_interval(self, flags: np.ndarray) -> Interval:
        """Interval of the share of true flags (N,).

        Where all flags agree every replicate agrees too; the bound is then the exact one (Clopper and Pearson)
        for as many independent trials as there are blocks.
        """
        flags = np.asarray(flags, dtype=np.float64)
        if self.n_blocks < MIN_BLOCKS or flags.min() != flags.max():
            return self.interval(self.means(flags)) if self.n_blocks else (np.nan, np.nan)
        bound = ((1.0 - CONFIDENCE) / 2.0) ** (1.0 / self.n_blocks)
        return (float(bound), 1.0) if flags[0] else (0.0, float(1.0 - bound))

    def _totals(self, values: np.ndarray) -> np.ndarray:
        sums = np.bincount(self._block_of, weights=np.asarray(values, dtype=np.float64), minlength=self.n_blocks)
        return self._draws @ sums


def _counted_quantile(ordered: np.ndarray, counts: np.ndarray, quantile: float) -> np.ndarray:
    """Quantiles (R,) of ordered values (N,), of which replicate r holds counts[r, n] copies."""
    copies_up_to = np.cumsum(counts, axis=1)
    position = (copies_up_to[:, -1] - 1) * quantile
    below = np.floor(position)
    # the value at position k of a replicate is the first one that has more than k copies up to itself
    lower = ordered[np.argmax(copies_up_to > below[:, None], axis=1)]
    upper = ordered[np.argmax(copies_up_to > np.ceil(position)[:, None], axis=1)]
    return lower + (position - below) * (upper - lower)


def walk_blocks(sessions: Sequence[str], times_s: np.ndarray) -> tuple[np.ndarray, float]:
    """Photos of sessions (N,) at times (N,) seconds -> block labels (N,) int, and the length of a block in seconds.

    A block is a stretch of a session, counted from its first photo. On real walks the errors of photos are
    correlated for about a minute, so a block lasts one; only where that leaves fewer than ENOUGH_BLOCKS is it
    shortened, not below a stop of some seconds. Photos without a time (NaN) are taken as one every
    UNTIMED_SPACING_S in the order given, which is that of the files.
    """
    names, times_s = np.asarray(sessions, dtype=object), np.array(times_s, dtype=np.float64)
    for name in set(names):
        rows = names == name
        times_s[rows] = _since_start(times_s[rows])
    for length_s in BLOCK_LENGTHS_S:
        stretches = zip(names, np.isnan(times_s), np.floor(_filled(names, times_s) / length_s), strict=True)
        labels: dict[tuple, int] = {}
        blocks = np.array([labels.setdefault(stretch, len(labels)) for stretch in stretches], dtype=np.int64)
        if len(labels) >= ENOUGH_BLOCKS:
            break
    return blocks, length_s


def _since_start(times_s: np.ndarray) -> np.ndarray:
    """Seconds since the first known time; NaN stays NaN."""
    known = times_s[np.isfinite(times_s)]
    return times_s - known.min() if len(known) else times_s


def _filled(sessions: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """Times with the unknown ones of each session replaced by their order among themselves."""
    filled = times_s.copy()
    for name in set(sessions):
        rows = np.flatnonzero((sessions == name) & np.isnan(times_s))
        filled[rows] = np.arange(len(rows)) * UNTIMED_SPACING_S
    return filled
