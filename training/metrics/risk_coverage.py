"""Does the predicted sigma rank photos by their error? Mean error against the share of photos kept.

The photos of greatest sigma are rejected first (risk-coverage curve: El-Yaniv and Wiener, JMLR 11, 2010; its area,
AURC: Geifman, Uziel and El-Yaniv, ICLR 2019). Photos of equal sigma count with their expectation over every order
among them, so that a constant sigma equals rejection at random, whatever the order of the file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.metrics.bootstrap import BlockBootstrap
from training.metrics.estimate import UNKNOWN, Estimate

COVERAGE = 0.8


@dataclass(frozen=True)
class RiskCoverageMetrics:
    """Of the curve of mean error over coverage, the share of photos kept, those of least sigma first.

    `aurc_m` is its area, `aurc_oracle_m` that of a sigma that ranks the photos by their true error, `aurc_random_m`
    of one without information, which is the mean error. `mean_error_at_80_coverage_m` is one point of the curve, and
    `error_ratio_at_80_coverage` that over the mean error of all photos. Unknown where no photo has a covariance.
    """

    aurc_m: Estimate = UNKNOWN
    mean_error_at_80_coverage_m: Estimate = UNKNOWN
    error_ratio_at_80_coverage: Estimate = UNKNOWN
    aurc_oracle_m: float | None = None
    aurc_random_m: float | None = None


@dataclass(frozen=True)
class _Steps:
    """Errors by groups of equal sigma, the least first, for R draws: copies and sums of errors, (R, G) each."""

    copies: np.ndarray
    sums_m: np.ndarray

    def before(self) -> tuple[np.ndarray, np.ndarray]:
        """Copies and sum of errors of all groups of less sigma."""
        return np.cumsum(self.copies, axis=1) - self.copies, np.cumsum(self.sums_m, axis=1) - self.sums_m

    def means_m(self) -> np.ndarray:
        """Mean error of each group, 0 where none of it was drawn."""
        return self.sums_m / np.maximum(self.copies, 1.0)


class Ranking:
    """Photos by their sigma (N,), with their errors (N,) in metres; neither holds NaN."""

    def __init__(self, sigmas_m: np.ndarray, errors_m: np.ndarray):
        self.order = np.argsort(sigmas_m, kind="stable")
        ordered = np.asarray(sigmas_m, dtype=np.float64)[self.order]
        self._starts = np.flatnonzero(np.append(True, np.diff(ordered) > 0.0))
        self._errors_m = np.asarray(errors_m, dtype=np.float64)[self.order]

    def areas_m(self, copies: np.ndarray) -> np.ndarray:
        """(R, N) copies of the photos in `order` -> (R,): mean over all shares kept of the mean error of those kept.

        Of a group with mean m behind B copies with the sum S, j = 1..w are kept with the mean (S + j m) / (B + j)
        = m + (S - m B) / (B + j), so a group adds w m + (S - m B) (H(B + w) - H(B)), H the harmonic numbers.
        """
        steps = self._steps(copies)
        (before, sums_m), means_m = steps.before(), steps.means_m()
        total = copies.sum(axis=1)
        harmonic = np.append(0.0, np.cumsum(1.0 / np.arange(1, int(total.max()) + 1)))
        start, end = before.astype(np.int64), (before + steps.copies).astype(np.int64)
        gained = steps.sums_m + (sums_m - means_m * before) * (harmonic[end] - harmonic[start])
        return gained.sum(axis=1) / total

    def kept_means_m(self, copies: np.ndarray, share: float) -> np.ndarray:
        """(R, N) copies of the photos in `order` -> (R,): mean error at that coverage, the last photo in part."""
        steps = self._steps(copies)
        (before, sums_m), means_m = steps.before(), steps.means_m()
        kept = share * copies.sum(axis=1)
        last = np.argmax(before + steps.copies >= kept[:, None] - 1e-9, axis=1)
        row = np.arange(len(last))
        before, sums_m, means_m = before[row, last], sums_m[row, last], means_m[row, last]
        return (sums_m + (kept - before) * means_m) / kept

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Shares kept (N,), ascending, and the mean error (N,) of those kept, metres."""
        steps = self._steps(np.ones((1, len(self.order))))
        counts = steps.copies[0].astype(np.int64)
        expected_m = np.repeat(steps.means_m()[0], counts)
        kept = np.arange(1, len(expected_m) + 1)
        return kept / len(kept), np.cumsum(expected_m) / kept

    def _steps(self, copies: np.ndarray) -> _Steps:
        if len(self._starts) == len(self.order):
            return _Steps(copies, copies * self._errors_m)
        sums_m = np.add.reduceat(copies * self._errors_m, self._starts, axis=1)
        return _Steps(np.add.reduceat(copies, self._starts, axis=1), sums_m)


def risk_coverage_metrics(sigmas_m: np.ndarray, errors_m: np.ndarray, bootstrap: BlockBootstrap) -> RiskCoverageMetrics:
    """The risk-coverage curve of N > 0 photos with sigmas (N,) and errors (N,), metres."""
    ranking, once = Ranking(sigmas_m, errors_m), np.ones((1, len(errors_m)))

    def statistics(copies: np.ndarray) -> np.ndarray:
        kept_m = ranking.kept_means_m(copies, COVERAGE)
        all_m = copies @ errors_m[ranking.order] / copies.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):  # draws without any error
            return np.stack([ranking.areas_m(copies), kept_m, kept_m / all_m], axis=1)

    values, replicates = statistics(once)[0], bootstrap.of_copies(ranking.order, statistics)
    area, kept, ratio = (
        Estimate.of(value, bootstrap.interval(column)) for value, column in zip(values, replicates.T, strict=True)
    )
    oracle_m = float(Ranking(errors_m, errors_m).areas_m(once)[0])
    return RiskCoverageMetrics(area, kept, ratio, oracle_m, float(np.mean(errors_m)))
