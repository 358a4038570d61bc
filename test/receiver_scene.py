"""A simulated walk with a receiver and a camera, for the receiver faults (receiver_faults.py).

The truth is a smooth walk; the visual fixes have the covariance that they claim and errors that are correlated in time,
and so have the receiver's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from campus_visual_gps.gnss.monitor_settings import MonitorSettings
from campus_visual_gps.gnss.visual_check import VisualFix

REFERENCE_DEG = (39.5, -3.0)
METRE_DEG = 1.0 / math.radians(6_371_000.0)
EAST_DEG = METRE_DEG / math.cos(math.radians(REFERENCE_DEG[0]))


@dataclass(frozen=True)
class Reading:
    """What the receiver says at one time; the pack changes it."""

    stamp_s: float
    position_m: np.ndarray
    sigma_m: float
    status: int = 0


@dataclass(frozen=True)
class Scene:
    """A walk or drive of `duration_s` with both sources."""

    duration_s: float = 120.0
    speed_mps: float = 1.4
    receiver_hz: float = 5.0
    visual_hz: float = 2.0
    visual_sigma_m: float = 5.5
    receiver_sigma_m: float = 1.5
    visual_latency_s: float = 0.3
    visual_correlation_s: float = 4.0
    receiver_correlation_s: float = 20.0
    # share of the visual error's variance with a correlation time of half a second instead
    quick_share: float = 0.0
    visual_gaps_s: tuple[tuple[float, float], ...] = ()
    # of the bundle
    correlation_time_s: float | None = 4.0
    settings: MonitorSettings = field(default_factory=MonitorSettings)


def correlated(times_s: np.ndarray, correlation_s: float, random: np.random.Generator) -> np.ndarray:
    """(N, 2) Gaussian, variance one, correlation exp(-lag / correlation_s)."""
    steps = random.standard_normal((len(times_s), 2))
    keep = np.exp(-np.diff(times_s) / correlation_s)
    values = steps.copy()
    for row in range(1, len(times_s)):
        values[row] = keep[row - 1] * values[row - 1] + math.sqrt(1.0 - keep[row - 1] ** 2) * steps[row]
    return values


def walk_m(times_s: np.ndarray, speed_mps: float, random: np.random.Generator) -> np.ndarray:
    """(N, 2) positions of a robot whose heading wanders."""
    grid_s = np.arange(0.0, times_s[-1] + 2.0, 0.2)
    heading = np.cumsum(random.standard_normal(len(grid_s)) * 0.05) + random.uniform(0.0, 2.0 * math.pi)
    steps = speed_mps * 0.2 * np.stack([np.cos(heading), np.sin(heading)], axis=1)
    way = np.cumsum(steps, axis=0)
    return np.stack([np.interp(times_s, grid_s, way[:, axis]) for axis in (0, 1)], axis=1)


def degrees(position_m: np.ndarray) -> tuple[float, float]:
    return REFERENCE_DEG[0] + position_m[1] * METRE_DEG, REFERENCE_DEG[1] + position_m[0] * EAST_DEG


def visual_stream(scene: Scene, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stamps (N,), errors (N, 2) and standard deviations (N,) of the visual fixes."""
    stamps_s = np.arange(random.uniform(0.0, 1.0 / scene.visual_hz), scene.duration_s, 1.0 / scene.visual_hz)
    slow = correlated(stamps_s, scene.visual_correlation_s, random)
    quick = correlated(stamps_s, 0.5, random)
    unit = math.sqrt(1.0 - scene.quick_share) * slow + math.sqrt(scene.quick_share) * quick
    # places differ: a standard deviation that changes by a third over half a minute
    sigmas_m = scene.visual_sigma_m * np.exp(0.3 * correlated(stamps_s, 30.0, random)[:, 0] - 0.09)
    return stamps_s, unit * sigmas_m[:, None], sigmas_m


@dataclass(frozen=True)
class Streams:
    """Stamps, true and measured positions of both sources along a scene, and the visual standard deviations."""

    times_s: np.ndarray
    truth_m: np.ndarray
    receiver_m: np.ndarray
    stamps_s: np.ndarray
    seen_m: np.ndarray
    sigmas_m: np.ndarray


def streams(scene: Scene, random: np.random.Generator) -> Streams:
    """Both sources with errors as they claim."""
    stamps_s, visual_errors_m, sigmas_m = visual_stream(scene, random)
    times_s = random.uniform(0.0, 1.0 / scene.receiver_hz) + np.arange(0.0, scene.duration_s, 1.0 / scene.receiver_hz)
    receiver_errors_m = scene.receiver_sigma_m * correlated(times_s, scene.receiver_correlation_s, random)
    both_s = np.concatenate([times_s, stamps_s])
    order = np.argsort(both_s)
    way = np.empty((len(both_s), 2))
    way[order] = walk_m(both_s[order], scene.speed_mps, random)
    truth_m = way[: len(times_s)]
    seen_m = way[len(times_s) :] + visual_errors_m
    return Streams(times_s, truth_m, truth_m + receiver_errors_m, stamps_s, seen_m, sigmas_m)


def arrivals(scene: Scene, made: Streams) -> list[tuple[float, int, int]]:
    """(time, 0 for the receiver or 1 for the camera, row) in order of time."""
    rows = [(when + 0.05, 0, row) for row, when in enumerate(made.times_s.tolist())]
    for row, when in enumerate(made.stamps_s.tolist()):
        if not any(start <= when < end for start, end in scene.visual_gaps_s):
            rows.append((when + scene.visual_latency_s, 1, row))
    return sorted(rows)


def visual_fix(made: Streams, row: int) -> VisualFix:
    covariance = made.sigmas_m[row] ** 2 * np.eye(2)
    return VisualFix(1000.0 + made.stamps_s[row], *degrees(made.seen_m[row]), covariance)
