"""Every figure of the report, flat, computed from the rows of predictions.csv."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from campus_visual_gps.estimation.integrity import distance_outside_m
from training.evaluate.covariance_baselines import CLAIMS
from training.evaluate.predict import covariances_m2, positions_m
from training.metrics.bootstrap import BlockBootstrap, walk_blocks
from training.metrics.consistency import consistency_figures
from training.metrics.errors import (
    Figures,
    error_figures,
    position_errors_m,
    ratio_figures,
    share_figures,
    with_interval,
)
from training.photos.manifest import capture_times_s

Report = dict[str, Any]
CONFORMAL_PERCENT = (90, 95)  # predictions.csv: radius90_m, radius95_m


@dataclass(frozen=True)
class RunInfo:
    """What was scored on what; goes into the report as it is. baselines: name -> "" or why it was not computed;
    those that are in `beside` are other evaluations of the same photos."""

    model_id: str
    bundle: str
    dataset: str
    split: str
    device: str
    precision: str
    evaluated_at: str
    member_seeds: list[int]
    area_source: str
    n_seen_in_training: int
    baselines: dict[str, str] = field(default_factory=dict)
    beside: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class TrainingSite:
    """The bundle's outline (V, 2), the training positions (N, 2), and how far outside a fix may lie, metres."""

    polygon_enu_m: np.ndarray
    training_enu_m: np.ndarray
    margin_m: float = 0.0


def compute_figures(predictions: pd.DataFrame, run: RunInfo, site: TrainingSite) -> Report:
    """The flat report: run information, then the figures of all photos, of each group and of each baseline.

    Keys: `mean_error_m` with `_low` and `_high` for all photos; `accepted.`, `refused.`, `day.`, `night.`,
    `session.<name>.`, `area.<name>.`, `member.<seed>.` and `baseline.<name>.` (and `baseline.<name>.day.`)
    before the same names for a part of them; `refused.<reason>.` has the errors of what one gate refused.
    """
    blocks, block_length_s = walk_blocks(predictions["session"].tolist(), capture_times_s(predictions["captured_at"]))
    report: Report = {key: value for key, value in asdict(run).items() if key != "baselines"}
    report["block_length_s"] = block_length_s
    report["n_outside_site"] = _outside_site(predictions, site)
    for prefix, rows in groups(predictions):
        report |= _prefixed(prefix, _own_figures(predictions[rows], blocks[rows]))
    report |= _refusals(predictions, blocks) | _times(predictions)
    for seed in run.member_seeds:
        errors_m = position_errors_m(positions_m(predictions, f"member_{seed}_"), positions_m(predictions, "true_"))
        report |= _prefixed(f"member.{seed}.", error_figures(errors_m, blocks))
    for name, reason in run.baselines.items():
        report |= _baseline(name, reason, predictions, blocks)
    return report


def groups(predictions: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    """Prefix of the keys and rows (N,) bool of every group of photos that a report tells apart."""
    yield "", np.ones(len(predictions), dtype=bool)
    accepted = (predictions["refusal"] == "").to_numpy()
    yield "accepted.", accepted
    yield "refused.", ~accepted
    yield from light_groups(predictions)
    for column in ("session", "area"):
        for name in sorted(predictions[column].unique()):
            yield f"{column}.{name}.", (predictions[column] == name).to_numpy()


def light_groups(predictions: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    """Day and night, where there are such photos; a photo whose light is unknown is in neither."""
    for prefix, is_night in (("day.", False), ("night.", True)):
        rows = (predictions["night"] == is_night).fillna(False).to_numpy(dtype=bool)
        if rows.any():
            yield prefix, rows


def _own_figures(rows: pd.DataFrame, blocks: np.ndarray) -> Figures:
    return error_figures(rows["error_m"].to_numpy(dtype=np.float64), blocks) | _consistency(rows, blocks)


def _consistency(rows: pd.DataFrame, blocks: np.ndarray, prefix: str = "") -> Figures:
    """Of the positions and covariances with that prefix; only the bundle's own have conformal radii."""
    offsets = positions_m(rows, prefix) - positions_m(rows, "true_")
    columns = {} if prefix else {percent: f"radius{percent}_m" for percent in CONFORMAL_PERCENT}
    radii = {percent: rows[name].to_numpy(dtype=np.float64) for percent, name in columns.items() if name in rows}
    return consistency_figures(offsets, covariances_m2(rows, prefix), blocks, radii)


def _refusals(predictions: pd.DataFrame, blocks: np.ndarray) -> Report:
    refusals, errors_m = predictions["refusal"], predictions["error_m"].to_numpy(dtype=np.float64)
    report: Report = share_figures("accepted_share", (refusals == "").to_numpy(), BlockBootstrap(blocks))
    for name in refusals[refusals != ""].value_counts().index:
        rows = (refusals == name).to_numpy()
        report |= _prefixed(f"refused.{name}.", error_figures(errors_m[rows], blocks[rows]))
    return report


def _times(predictions: pd.DataFrame) -> Report:
    ensemble_s = predictions["ensemble_s"]
    return {
        "seconds_per_photo_median": float((predictions["transform_s"] + ensemble_s).median()),
        "ensemble_s_median": float(ensemble_s.median()),
        "ensemble_s_p95": float(ensemble_s.quantile(0.95)),
    }


def _baseline(name: str, reason: str, predictions: pd.DataFrame, blocks: np.ndarray) -> Report:
    """Errors and their ratio where the positions are a method's own, consistency where it claims covariances."""
    prefix = f"baseline.{name}."
    if reason:
        return {f"{prefix}not_computed": reason} | _prefixed(prefix, with_interval("mean_error_m", np.nan, _UNKNOWN))
    report: Report = {}
    for part, rows in [("", np.ones(len(blocks), dtype=bool)), *light_groups(predictions)]:
        figures: Figures = {"n_photos": int(rows.sum())}
        if name not in CLAIMS:
            figures |= _against(name, predictions[rows], blocks[rows])
        if f"baseline_{name}_cov_ee_m2" in predictions:
            figures |= _consistency(predictions[rows], blocks[rows], f"baseline_{name}_")
        report |= _prefixed(prefix + part, figures)
    return report


def _against(name: str, rows: pd.DataFrame, blocks: np.ndarray) -> Figures:
    errors_m, ours_m = baseline_errors_m(rows, name), rows["error_m"].to_numpy(dtype=np.float64)
    return error_figures(errors_m, blocks) | ratio_figures("mean_error_ratio", ours_m, errors_m, blocks)


_UNKNOWN = (np.nan, np.nan)


def baseline_errors_m(predictions: pd.DataFrame, name: str) -> np.ndarray:
    """Errors (N,) metres of a baseline that was computed."""
    return position_errors_m(positions_m(predictions, f"baseline_{name}_"), positions_m(predictions, "true_"))


def _outside_site(predictions: pd.DataFrame, site: TrainingSite) -> int:
    truth = positions_m(predictions, "true_")
    return sum(distance_outside_m(point, site.polygon_enu_m) > site.margin_m for point in truth)


def _prefixed(prefix: str, figures: Figures) -> Report:
    return {prefix + key: value for key, value in figures.items()}
