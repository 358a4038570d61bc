"""Held-out sets whose errors and claims are known, for tests of the calibration."""

from __future__ import annotations

import io

import numpy as np

from campus_visual_gps.estimation.grid import LocationGrid
from campus_visual_gps.models.outputs import ModelOutputs
from campus_visual_gps.retrieval.index import TOP_K, RetrievalResult
from training.fit.calibration_set import CalibrationSet
from training.metrics.consistency import nees

N = 600
COLUMNS, ROWS = np.meshgrid(np.arange(30), np.arange(12))
GRID = LocationGrid(np.stack([COLUMNS.ravel(), ROWS.ravel()], axis=1) * 6.0, 6.0)


def outputs_of(means, covs, grid_log_probs=None) -> ModelOutputs:
    empty = np.zeros((len(means), 0), np.float32)
    return ModelOutputs(means, covs, grid_log_probs, empty, empty, None, None, None, np.ones(len(means), bool))


def gaussian_set(rng, error_sigma_m, claimed_sigma_m, night=0.0, brightness=120.0, n=N) -> CalibrationSet:
    """Gaussian members that claim one sigma and err by another."""
    error_sigma_m, claimed = (np.broadcast_to(value, n) for value in (error_sigma_m, claimed_sigma_m))
    truth = rng.uniform(0, 100, (n, 2))
    means = truth[:, None] + error_sigma_m[:, None, None] * rng.normal(size=(n, 1, 2))
    covs = claimed[:, None, None, None] ** 2 * np.eye(2)
    grey = np.full(n, brightness) + rng.normal(size=n)
    sessions = np.full(n, f"night-{night:g}", object)
    return CalibrationSet(
        outputs_of(means, covs),
        grey,
        np.full(n, 100.0),
        None,
        truth,
        sessions,
        np.arange(n),
        np.full(n, np.nan),
        np.full(n, night),
        None,
    )


def photos_near(truth, match_score) -> RetrievalResult:
    """For photos (N, 2) the nearest of them, as photos of the same place."""
    distances = np.linalg.norm(truth[:, None] - truth, axis=-1)
    rows = np.argsort(distances, axis=1)[:, :TOP_K]
    similarities = 1.0 - np.take_along_axis(distances, rows, axis=1) / 100.0
    return RetrievalResult(rows, similarities, truth[rows], np.full(rows.shape, float(match_score)))


def grid_set(rng, width_m, error_sigma_m, n=200, match_score=5.0) -> CalibrationSet:
    """Grids of one width about a point that errs by another."""
    truth = rng.uniform([30, 15], [140, 50], (n, 2))
    centre = truth + error_sigma_m * rng.normal(size=(n, 2))
    squared = ((GRID.centres_enu_m - centre[:, None]) ** 2).sum(-1)
    mass = np.exp(-squared / (2 * width_m**2)) + 1e-12
    grid_log_probs = np.log(mass / mass.sum(1, keepdims=True))[:, None]
    grey, sharp, sessions = np.full(n, 120.0), np.full(n, 100.0), np.full(n, "a", object)
    return CalibrationSet(
        outputs_of(centre[:, None], np.zeros((n, 1, 2, 2)), grid_log_probs),
        grey,
        sharp,
        GRID,
        truth,
        sessions,
        np.arange(n),
        np.full(n, np.nan),
        np.full(n, np.nan),
        photos_near(truth, match_score),
    )


def nees_of(sets, calibration):
    posteriors = [own.posterior(calibration) for own in sets]
    offsets = [own.mean_enu_m - held_out.truth_enu_m for own, held_out in zip(posteriors, sets, strict=True)]
    return nees(np.concatenate(offsets), np.concatenate([own.cov_enu_m2 for own in posteriors]))


def npz_without(data: bytes, prefix: str) -> bytes:
    """The content of an NPZ file without the arrays whose names begin so, as an earlier version wrote it."""
    with np.load(io.BytesIO(data)) as stored:
        kept = {name: stored[name] for name in stored.files if not name.startswith(prefix)}
    written = io.BytesIO()
    np.savez(written, **kept)
    return written.getvalue()
