"""Walks over a small site, with the posteriors that a network with two look-alike places would give."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import numpy as np
import pandas as pd

from campus_visual_gps.estimation.grid import LocationGrid
from training.evaluate.posteriors import Posteriors
from training.evaluate.predict import covariance_columns
from training.metrics.errors import position_errors_m

CELL_M = 6.0
START = datetime(2025, 3, 11, 9, 0, tzinfo=timezone.utc)


def site_grid(width: int = 40, height: int = 6) -> LocationGrid:
    """A site of `width` by `height` cells."""
    east, north = np.meshgrid(np.arange(width) * CELL_M, np.arange(height) * CELL_M)
    return LocationGrid(np.stack([east.ravel(), north.ravel()], axis=1), CELL_M)


def bump(grid: LocationGrid, centre_m: np.ndarray, sigma_m: float) -> np.ndarray:
    probs = np.exp(-((grid.centres_enu_m - centre_m) ** 2).sum(axis=1) / (2.0 * sigma_m**2))
    return probs / probs.sum()


def walk(grid: LocationGrid, images: int, seed: int, step_m: float = 2.5) -> tuple[np.ndarray, np.ndarray]:
    """Truth (N, 2) to and fro along the site, and posteriors (N, K): a third of the images name any other place."""
    rng = np.random.default_rng(seed)
    length_m = grid.centres_enu_m[:, 0].max() - 20.0
    way = np.abs((np.arange(images) * step_m + rng.uniform(0, 60)) % (2 * length_m) - length_m)
    truth = np.stack([10.0 + way, np.full(images, 15.0)], axis=1)
    posteriors = []
    for position in truth:
        own = bump(grid, position + rng.normal(0, 5.0, 2), 9.0)
        other = bump(grid, np.array([rng.uniform(0.0, length_m), position[1]]), 9.0)
        share = 0.2 if rng.uniform() < 1 / 3 else 0.75
        posteriors.append(0.97 * (share * own + (1 - share) * other) + 0.03 / len(grid))
    return truth, np.array(posteriors)


def predictions_of(
    grid: LocationGrid, sessions: dict[str, tuple[np.ndarray, np.ndarray]], every_s: float = 3.0
) -> tuple[pd.DataFrame, Posteriors]:
    """Rows as of predictions.csv with the columns that matter here, and the posteriors, of sessions: truth, probs."""
    tables, grids = [], []
    for number, (name, (truth, probs)) in enumerate(sessions.items()):
        mean = grid.centres_enu_m[probs.argmax(axis=1)]
        start = START + timedelta(days=number)
        tables.append(
            pd.DataFrame(
                {
                    "photo_id": [f"{name}-{row:04d}" for row in range(len(truth))],
                    "file": [f"{name}/{row:04d}.jpg" for row in range(len(truth))],
                    "session": name,
                    "captured_at": [
                        (start + timedelta(seconds=row * every_s)).isoformat() for row in range(len(truth))
                    ],
                    "night": pd.array([name.endswith("night")] * len(truth), dtype="boolean"),
                    "area": np.where(truth[:, 0] < 100.0, "west", "east"),
                    "gps_accuracy_m": np.nan,
                    "rejection_reason": "",
                    "match_score": np.nan,
                    "true_latitude_deg": 39.5 + truth[:, 1] / 111_000.0,
                    "true_longitude_deg": -3.0 + truth[:, 0] / 86_000.0,
                    "true_east_m": truth[:, 0],
                    "true_north_m": truth[:, 1],
                    "error_m": position_errors_m(mean, truth),
                    "east_m": mean[:, 0],
                    "north_m": mean[:, 1],
                    **covariance_columns("", np.tile(400.0 * np.eye(2), (len(truth), 1, 1))),
                }
            )
        )
        grids.append(probs)
    table = pd.concat(tables, ignore_index=True)
    return table, Posteriors(tuple(table["photo_id"]), np.concatenate(grids), np.ones(len(table)), grid)
