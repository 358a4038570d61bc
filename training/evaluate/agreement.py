"""How far the members of an ensemble agree, and which photos all of them miss, from predictions.csv alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from training.evaluate.predict import member_positions_m, positions_m
from training.metrics.errors import position_errors_m
from training.metrics.estimate import finite_or_none

# Beyond this an error is poor (paper, table 2 and figure 5).
IMPOSSIBLE_OVER_M = 20.0
_KEPT_COLUMNS = ("photo_id", "file", "session", "area", "captured_at", "night", "error_m", "ensemble_spread_m")
_LAST_COLUMNS = ("rejection_reason", "true_latitude_deg", "true_longitude_deg", "latitude_deg", "longitude_deg")


@dataclass(frozen=True)
class PairAgreement:
    """Two members over all photos that both have a position of.

    Attributes:
        names: Of the two.
        mean_distance_m, median_distance_m: Between their positions.
        error_correlation: Of their errors as vectors, east and north together, -1 to 1: 1 where they miss in the same
            direction by the same distance, and averaging gains nothing.
        distance_error_correlation: Pearson's, of their distance errors: 1 where they find the same photos hard.
    """

    names: tuple[str, str]
    mean_distance_m: float | None
    median_distance_m: float | None
    error_correlation: float | None
    distance_error_correlation: float | None


@dataclass(frozen=True)
class AgreementMetrics:
    """Of all members.

    Attributes:
        pairs: Every two of them.
        mean_distance_m: Mean over photos of the mean distance between two members.
        error_correlation: Mean over the pairs.
        impossible_over_m: The limit of `n_impossible`.
        n_impossible: How many photos every member misses by more than the limit ("The Impossible 14", paper, 4.5).
        n_missed_by_ensemble: How many photos the ensemble misses by more than the limit.
        n_missed_by_any: How many photos at least one member misses by more than the limit.
    """

    pairs: tuple[PairAgreement, ...]
    mean_distance_m: float | None
    error_correlation: float | None
    impossible_over_m: float
    n_impossible: int
    n_missed_by_ensemble: int
    n_missed_by_any: int


def member_errors_m(predictions: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """(N, M) distance errors of the members, metres; NaN where a member has no position."""
    truth = positions_m(predictions, "true_")
    return np.stack([position_errors_m(own, truth) for own in _by_member(predictions, names)], axis=1)


def missed_by_all(errors_m: np.ndarray, over_m: float) -> np.ndarray:
    """(N,) bool of errors (N, M): every member is wrong by more than `over_m`, or has no position."""
    return np.asarray(~(np.asarray(errors_m) <= over_m).any(axis=1))


def agreement_metrics(
    predictions: pd.DataFrame, names: Sequence[str], over_m: float = IMPOSSIBLE_OVER_M
) -> AgreementMetrics | None:
    """Agreement of the members of these names; None for fewer than two, which cannot agree."""
    if len(names) < 2:
        return None
    members, truth = _by_member(predictions, names), positions_m(predictions, "true_")
    errors = member_errors_m(predictions, names)
    pairs = tuple(
        _pair((names[one], names[other]), members[one], members[other], truth)
        for one, other in combinations(range(len(names)), 2)
    )
    distances = np.stack([np.linalg.norm(one - other, axis=1) for one, other in combinations(members, 2)])
    known = np.isfinite(distances).all(axis=0)
    correlations = [pair.error_correlation for pair in pairs if pair.error_correlation is not None]
    return AgreementMetrics(
        pairs=pairs,
        mean_distance_m=finite_or_none(distances[:, known].mean()) if known.any() else None,
        error_correlation=float(np.mean(correlations)) if correlations else None,
        impossible_over_m=over_m,
        n_impossible=int(missed_by_all(errors, over_m).sum()),
        n_missed_by_ensemble=int((~(predictions["error_m"].to_numpy() <= over_m)).sum()),
        n_missed_by_any=int((~(errors <= over_m)).any(axis=1).sum()),
    )


def impossible_photos(
    predictions: pd.DataFrame, names: Sequence[str], over_m: float = IMPOSSIBLE_OVER_M
) -> pd.DataFrame:
    """The content of impossible.csv: the photos that all members miss, those that all miss by most first.

    `least_error_m` is that of the best member, `member_<name>_error_m` that of each.
    """
    errors_m = member_errors_m(predictions, names)
    members = pd.DataFrame({f"member_{name}_error_m": errors_m[:, row] for row, name in enumerate(names)})
    least_m = np.where(np.isfinite(errors_m), errors_m, np.inf).min(axis=1)
    first = predictions[[name for name in _KEPT_COLUMNS if name in predictions]].reset_index(drop=True)
    last = predictions[[name for name in _LAST_COLUMNS if name in predictions]].reset_index(drop=True)
    table = pd.concat([first, members, last], axis=1)
    table.insert(len(first.columns), "least_error_m", least_m)
    rows = table[missed_by_all(errors_m, over_m)].sort_values("least_error_m", ascending=False, kind="stable")
    return rows.replace([np.inf], np.nan).reset_index(drop=True)


def _by_member(predictions: pd.DataFrame, names: Sequence[str]) -> list[np.ndarray]:
    return list(np.moveaxis(member_positions_m(predictions, names), 1, 0))


def _pair(names: tuple[str, str], one: np.ndarray, other: np.ndarray, truth: np.ndarray) -> PairAgreement:
    known = np.isfinite(one).all(axis=1) & np.isfinite(other).all(axis=1)
    if not known.any():
        return PairAgreement(names, None, None, None, None)
    distances_m = np.linalg.norm(one[known] - other[known], axis=1)
    own, its = one[known] - truth[known], other[known] - truth[known]
    return PairAgreement(
        names,
        float(distances_m.mean()),
        float(np.median(distances_m)),
        _vector_correlation(own, its),
        _correlation(np.linalg.norm(own, axis=1), np.linalg.norm(its, axis=1)),
    )


def _vector_correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    """Correlation of vectors (N, 2) about their means: sum of the inner products over the root of the energies."""
    one, other = one - one.mean(axis=0), other - other.mean(axis=0)
    energy = np.sqrt((one**2).sum() * (other**2).sum())
    return float((one * other).sum() / energy) if energy > 0.0 else None


def _correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    return _vector_correlation(one[:, None], other[:, None])
