"""Single-image, tracked and smoothed positions side by side, computed from the rows of sequences.csv and the trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from training.evaluate.predict import covariances_m2, positions_m
from training.evaluate.sequence_table import COLD_START, KIDNAP, SINGLE, SequenceRun
from training.metrics.bootstrap import BlockBootstrap, walk_blocks
from training.metrics.consistency import ConsistencyMetrics, consistency_metrics
from training.metrics.errors import ErrorMetrics, error_metrics, mean_error_ratio, share_of
from training.metrics.estimate import Estimate
from training.metrics.sequences import FOUND_M, DelayMetrics, delay_metrics
from training.photos.manifest import capture_times_s

DAY, NIGHT = "day", "night"


@dataclass(frozen=True)
class MethodMetrics:
    """Of one way to a position: errors, share within FOUND_M, consistency, and its mean error over the single one.

    `ratio` has an interval over stretches of a walk, `ratio_sessions` one over whole sessions; both are paired.
    """

    errors: ErrorMetrics
    within_found: Estimate
    consistency: ConsistencyMetrics
    ratio: Estimate
    ratio_sessions: Estimate


@dataclass(frozen=True)
class SequenceGroup:
    """A session, a light, or everything: each method's metrics, and how soon a place is found, by tracking and alone.

    `lost_mean` is the mean probability of being lost, `contradicted_share` that of images which the belief contradicts.
    """

    n_sequences: int
    duration_s: float
    methods: Mapping[str, MethodMetrics]
    lost_mean: float
    contradicted_share: float
    convergence: DelayMetrics
    convergence_single: DelayMetrics
    recovery: DelayMetrics
    recovery_single: DelayMetrics


@dataclass(frozen=True)
class SequenceArea:
    """Mean and maximum error in a named area by each method, metres; None where no photo has a position."""

    name: str
    n_photos: int
    mean_and_max_m: Mapping[str, tuple[float | None, float | None]]


@dataclass(frozen=True)
class SequenceMetrics:
    """Everything, by light where there are both, by session and by area.

    `n_left_out` photos have no time, no posterior, or no other photo within the pause that ends a sequence.
    """

    all: SequenceGroup
    by_light: Mapping[str, SequenceGroup]
    by_session: Mapping[str, SequenceGroup]
    by_area: Sequence[SequenceArea]
    n_left_out: int

    def worse(self, method: str) -> list[str]:
        """Sessions in which the mean error of a method is above that of single images."""
        return [name for name, group in self.by_session.items() if (group.methods[method].ratio.value or 0.0) > 1.0]


def sequence_metrics(run: SequenceRun, n_photos: int) -> SequenceMetrics:
    """Metrics of a run over the photos of `n_photos` predictions."""
    table = run.table
    blocks, _ = walk_blocks(table["session"].tolist(), capture_times_s(table["captured_at"]))

    def group(rows: np.ndarray) -> SequenceGroup:
        return _group(
            run.methods, table[rows], blocks[rows], run.trials[run.trials["session"].isin(table["session"][rows])]
        )

    lights = {
        light: (table["night"] == night).fillna(False).to_numpy(dtype=bool)
        for light, night in ((DAY, False), (NIGHT, True))
    }
    return SequenceMetrics(
        all=group(np.ones(len(table), dtype=bool)),
        by_light={light: group(rows) for light, rows in lights.items() if rows.any() and not rows.all()},
        by_session={str(name): group((table["session"] == name).to_numpy()) for name in table["session"].unique()},
        by_area=[_area(str(name), rows, run.methods) for name, rows in table.groupby("area")],
        n_left_out=n_photos - len(table),
    )


def _area(name: str, rows: pd.DataFrame, methods: Sequence[str]) -> SequenceArea:
    errors = {method: rows[f"{method}_error_m"] for method in methods}
    return SequenceArea(
        name, len(rows), {method: (float(own.mean()), float(own.max())) for method, own in errors.items()}
    )


def _group(names: Sequence[str], rows: pd.DataFrame, blocks: np.ndarray, trials: pd.DataFrame) -> SequenceGroup:
    starts, jumps = (trials[trials["kind"] == kind] for kind in (COLD_START, KIDNAP))
    by_sequence = rows.groupby(["session", "sequence"])["time_s"]
    return SequenceGroup(
        n_sequences=len(by_sequence),
        duration_s=float((by_sequence.max() - by_sequence.min()).sum()),
        methods={name: _method(name, rows, blocks) for name in names},
        lost_mean=float(rows["lost_probability"].mean()),
        contradicted_share=float(rows["contradicts_track"].mean()),
        convergence=delay_metrics(starts["tracked_s"], starts["tracked_images"]),
        convergence_single=delay_metrics(starts["single_s"], starts["single_images"]),
        recovery=delay_metrics(jumps["tracked_s"], jumps["tracked_images"]),
        recovery_single=delay_metrics(jumps["single_s"], jumps["single_images"]),
    )


def _method(name: str, rows: pd.DataFrame, blocks: np.ndarray) -> MethodMetrics:
    errors_m, single_m = rows[f"{name}_error_m"].to_numpy(), rows[f"{SINGLE}_error_m"].to_numpy()
    offsets_m = positions_m(rows, f"{name}_") - positions_m(rows, "true_")
    return MethodMetrics(
        errors=error_metrics(errors_m, blocks),
        within_found=share_of(errors_m <= FOUND_M, BlockBootstrap(blocks)),
        consistency=consistency_metrics(offsets_m, covariances_m2(rows, f"{name}_"), blocks),
        ratio=mean_error_ratio(errors_m, single_m, blocks),
        ratio_sessions=mean_error_ratio(errors_m, single_m, rows["session"].to_numpy(dtype=str)),
    )
