"""Photos through the localizer, in batches, into the rows of predictions.csv."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track

from campus_visual_gps.errors import ConfigError, DatasetError, GeodesyError
from campus_visual_gps.geodesy import LocalFrame
from campus_visual_gps.localizer import Localizer, PositionEstimate
from training.data.dataset import read_ahead
from training.metrics.errors import position_errors_m
from training.metrics.grid_nll import grid_nll
from training.photos.manifest import SUBSETS, load_dataset
from training.photos.tables import Row, read_rows, write_table

PREDICTIONS = "predictions.csv"
ALL = "all"
SPLITS = (*SUBSETS[:-1], ALL)
PHOTO_COLUMNS = ["photo_id", "file", "session", "captured_at", "camera", "night", "subset", "gps_accuracy_m"]
# Of the images of a bag: the image message's stamp in nanoseconds and its coordinate frame.
BAG_COLUMNS = ["stamp_ns", "frame_id"]
TEXT_COLUMNS = {
    "photo_id",
    "file",
    "session",
    "captured_at",
    "camera",
    "subset",
    "rejection_reason",
    "area",
    "frame_id",
}
# Columns of the calibrated covariance where `cov_*` is another one.
CALIBRATED_PREFIX = "calibrated_"
_MEMBER = re.compile(r"member_(.+)_east_m")
_MODES = 2
_PHOTOS_AT_ONCE = 16
_COV_ENTRIES = {"cov_ee_m2": (0, 0), "cov_en_m2": (0, 1), "cov_nn_m2": (1, 1)}


def select_photos(dataset_dir: Path, split: str) -> pd.DataFrame:
    """The photos of one subset, or of `all`, with the columns of `load_dataset`. Raises ConfigError, DatasetError."""
    if split not in SPLITS:
        raise ConfigError(f"split {split!r} is none of {', '.join(SPLITS)}")
    photos = load_dataset(dataset_dir)
    if split != ALL and not (photos["subset"] != "").any():
        raise DatasetError(
            f"{dataset_dir} was never split; run `split {dataset_dir} --test SESSION`, or score it whole: --split all"
        )
    chosen = photos if split == ALL else photos[photos["subset"] == split]
    if chosen.empty:
        sizes = photos["subset"].value_counts()
        there = ", ".join(f"{name} {count}" for name, count in sizes.items()) or "no photos at all"
        raise DatasetError(f"{dataset_dir}: no photos in {split}; it has {there}")
    return chosen.reset_index(drop=True)


def true_positions_m(photos: pd.DataFrame, frame: LocalFrame) -> np.ndarray:
    """(N, 2) metres of the photos' labels. Raises DatasetError for photos of another site."""
    try:
        return frame.to_local(photos["latitude_deg"], photos["longitude_deg"])
    except GeodesyError as error:
        raise DatasetError(f"these photos were taken at another site than the bundle's: {error}") from error


class Predicted(NamedTuple):
    """Of N photos: rows of predictions.csv without areas and baselines, descriptors (N, p), posteriors (N, K).

    The posteriors are over the cells of the localizer's grid, None for heads without one.
    """

    table: pd.DataFrame
    descriptors: np.ndarray
    grid_probs: np.ndarray | None


def predict(localizer: Localizer, photos: pd.DataFrame, paths: list[Path], progress: bool = True) -> Predicted:
    """Localize every photo's image file.

    The images are decoded ahead in a thread. They run in batches, which changes no answer by more than rounding does;
    `ensemble_s` is then the share of one image.
    """
    truth = true_positions_m(photos, localizer.bundle.frame)
    images = read_ahead(paths)
    starts = range(0, len(paths), _PHOTOS_AT_ONCE)
    names = [member.name for member in localizer.bundle.members]
    rows, descriptors, grids = [], [], []
    for start in track(starts, "localizing photos", disable=not progress, console=Console(stderr=True)):
        batch = [next(images) for _ in paths[start : start + _PHOTOS_AT_ONCE]]
        estimates = localizer.localize_batch(batch)
        for estimate, true_enu_m in zip(estimates, truth[start : start + _PHOTOS_AT_ONCE], strict=True):
            rows.append(_row(estimate, names) | _grid_nll(localizer, estimate, true_enu_m))
            descriptors.append(estimate.descriptor)
            grids += [] if estimate.grid_probs is None else [estimate.grid_probs.astype(np.float32)]
    table = _table(photos, truth, pd.DataFrame(rows))
    return Predicted(table, np.stack(descriptors), np.stack(grids) if grids else None)


def _row(estimate: PositionEstimate, names: list[str]) -> dict[str, float | str]:
    row = {
        "east_m": estimate.mean_enu_m[0],
        "north_m": estimate.mean_enu_m[1],
        "latitude_deg": estimate.latitude_deg,
        "longitude_deg": estimate.longitude_deg,
        **covariance_columns("", estimate.cov_enu_m2),
        **_calibrated(estimate),
        "radius90_m": estimate.radius90_m,
        "radius95_m": estimate.radius95_m,
        "rejection_reason": "" if estimate.rejection_reason is None else estimate.rejection_reason.value,
        "ensemble_spread_m": estimate.indicators.ensemble_spread_m,
        "ood_score": estimate.indicators.ood_score,
        "match_score": estimate.match_score,
        "modes": len(estimate.modes),
        "mode_separation_m": estimate.indicators.mode_separation_m,
        **_modes(estimate),
        "brightness": round(estimate.indicators.brightness, 2),
        "sharpness": round(estimate.indicators.sharpness, 2),
        "transform_s": round(estimate.transform_s, 6),
        "ensemble_s": round(estimate.ensemble_s, 6),
    }
    for name, mean, cov in zip(names, estimate.member_means_enu_m, estimate.member_covs_enu_m2, strict=True):
        row |= {f"member_{name}_east_m": mean[0], f"member_{name}_north_m": mean[1]}
        if np.any(cov):  # a head that regresses a point claims none
            row |= covariance_columns(f"member_{name}_", cov)
    return row


def _grid_nll(localizer: Localizer, estimate: PositionEstimate, true_enu_m: np.ndarray) -> dict[str, float | str]:
    """How likely the truth is by the grid, for heads with one."""
    if localizer.grid is None or estimate.grid_probs is None:
        return {}
    return {"grid_nll": float(grid_nll(estimate.grid_probs[None], localizer.grid, true_enu_m[None])[0])}


def _calibrated(estimate: PositionEstimate) -> dict[str, float]:
    """The calibrated covariance, where another one was chosen by name."""
    calibrated = estimate.calibrated_cov_enu_m2
    if np.array_equal(calibrated, estimate.cov_enu_m2, equal_nan=True):
        return {}
    return {name: float(value) for name, value in covariance_columns(CALIBRATED_PREFIX, calibrated).items()}


def _modes(estimate: PositionEstimate) -> dict[str, float]:
    """The two heaviest modes, where the head gives a map: east, north, share of the mass."""
    row: dict[str, float] = {}
    for number, mode in enumerate(estimate.modes[:_MODES], start=1):
        row |= {
            f"mode{number}_east_m": mode.mean_enu_m[0],
            f"mode{number}_north_m": mode.mean_enu_m[1],
            f"mode{number}_share": mode.share,
        }
    return row


def covariance_columns(prefix: str, cov_enu_m2: np.ndarray) -> dict[str, np.ndarray]:
    """Covariances (..., 2, 2) -> the columns with that prefix, (...) each, as `covariances_m2` reads them."""
    return {prefix + name: cov_enu_m2[..., row, column] for name, (row, column) in _COV_ENTRIES.items()}


def _table(photos: pd.DataFrame, truth: np.ndarray, estimates: pd.DataFrame) -> pd.DataFrame:
    columns = PHOTO_COLUMNS + [name for name in BAG_COLUMNS if name in photos]
    table = photos[columns].assign(
        true_latitude_deg=photos["latitude_deg"],
        true_longitude_deg=photos["longitude_deg"],
        true_east_m=truth[:, 0],
        true_north_m=truth[:, 1],
    )
    estimates.insert(0, "error_m", position_errors_m(estimates[["east_m", "north_m"]].to_numpy(), truth))
    return pd.concat([table, estimates], axis=1)


def write_predictions(path: Path, predictions: pd.DataFrame) -> None:
    """predictions.csv with full precision: what is read back is what was computed. An infinity becomes unknown."""
    write_table(path, predictions.replace([np.inf, -np.inf], np.nan))


def read_predictions(path: Path) -> pd.DataFrame:
    """predictions.csv with every number as it was written. Raises DatasetError that names the line."""
    rows = read_rows(
        path, required=("photo_id", "session", "rejection_reason", "true_east_m", "true_north_m", "error_m")
    )
    columns = list(rows[0].values) if rows else []
    return pd.DataFrame({name: _column(rows, name) for name in columns})


def _column(rows: list[Row], name: str) -> pd.Series:
    if name in TEXT_COLUMNS:
        return pd.Series([row.text(name) for row in rows], dtype=object)
    if name == "night":
        return pd.Series([row.flag(name) for row in rows], dtype="boolean")
    if name == "stamp_ns":
        # exact: float64 cannot hold nanoseconds since 1970
        return pd.Series([row.integer(name) for row in rows], dtype=np.int64)
    return pd.Series([row.number(name) for row in rows], dtype=np.float64)


def positions_m(table: pd.DataFrame, prefix: str = "") -> np.ndarray:
    """(N, 2) metres east and north of the columns with that prefix ("", "true_", "member_<name>_", ...)."""
    return table[[f"{prefix}east_m", f"{prefix}north_m"]].to_numpy(dtype=np.float64)


def members_in(table: pd.DataFrame) -> tuple[str, ...]:
    """Names of the members that a table of predictions has positions of, by seed."""
    found = (match[1] for match in map(_MEMBER.fullmatch, map(str, table.columns)) if match)
    return in_seed_order(name for name in found if f"member_{name}_north_m" in table)


def in_seed_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names of members, each once, in the order of the seeds that they begin with."""
    return tuple(sorted(set(names), key=lambda name: (int(re.match(r"\d*", name)[0] or 0), name)))  # type: ignore[index]


def member_positions_m(table: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """(N, M, 2) metres of the members of these names."""
    return np.stack([positions_m(table, f"member_{name}_") for name in names], axis=1)


def covariances_m2(table: pd.DataFrame, prefix: str = "") -> np.ndarray:
    """(N, 2, 2) square metres of the columns with that prefix."""
    ee, en, nn = (table[prefix + name].to_numpy(dtype=np.float64) for name in _COV_ENTRIES)
    return np.stack([np.stack([ee, en], axis=-1), np.stack([en, nn], axis=-1)], axis=-2)
