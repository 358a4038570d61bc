"""Simulated errors of GPS and odometry: correlated in time, larger under a roof."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

OPEN_SIGMA_M, ROOF_SIGMA_M = 3.0, 8.0  # of a phone, per axis
PHONE_CORRELATION_S = 30.0
PHONE_WHITE_SIGMA_M = 1.0
WRONG_SHARE = 0.02
WRONG_OFFSET_M = (25.0, 40.0)
WRONG_ACCURACY_M = (22.0, 60.0)


@dataclass(frozen=True)
class PhoneFixes:
    """measured_m: (N, 2) east and north, metres. accuracy_m: (N,) reported 68 % radius, metres."""

    measured_m: np.ndarray
    accuracy_m: np.ndarray


def gauss_markov(times_s: np.ndarray, correlation_s: float, rng: np.random.Generator) -> np.ndarray:
    """(N, 2) first-order Gauss-Markov noise of unit variance at increasing times (N,)."""
    values = rng.normal(size=(len(times_s), 2))
    for i in range(1, len(times_s)):
        keep = np.exp(-(times_s[i] - times_s[i - 1]) / correlation_s)
        values[i] = keep * values[i - 1] + np.sqrt(1.0 - keep**2) * values[i]
    return values


def phone_fixes(
    times_s: np.ndarray, positions_m: np.ndarray, roofed: np.ndarray, rng: np.random.Generator
) -> PhoneFixes:
    """Fixes of a phone along one walk.

    Args:
        times_s: Increasing times (N,).
        positions_m: True positions (N, 2).
        roofed: Whether each is under a roof (N,) bool.
        rng: Random generator.
    """
    sigma = np.where(roofed, ROOF_SIGMA_M, OPEN_SIGMA_M)
    error = gauss_markov(times_s, PHONE_CORRELATION_S, rng) * sigma[:, None]
    error += rng.normal(0.0, PHONE_WHITE_SIGMA_M, error.shape)
    # 68 % of the errors of two axes lie within 1.51 sigma.
    accuracy = 1.51 * np.hypot(sigma, PHONE_WHITE_SIGMA_M) * rng.lognormal(0.0, 0.15, len(sigma))
    # A few fixes are from a radio mast or outdated: large errors with a large reported radius.
    wrong = rng.random(len(sigma)) < WRONG_SHARE
    error[wrong] = _far_offsets(int(wrong.sum()), rng)
    accuracy[wrong] = rng.uniform(*WRONG_ACCURACY_M, int(wrong.sum()))
    return PhoneFixes(positions_m + error, accuracy)


def _far_offsets(count: int, rng: np.random.Generator) -> np.ndarray:
    angle, distance = rng.uniform(0, 2 * np.pi, count), rng.uniform(*WRONG_OFFSET_M, count)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1) * distance[:, None]


@dataclass(frozen=True)
class WheelErrors:
    """Systematic and random errors of the robot's odometry: wheel radius and gyro bias."""

    scale: float = 1.015
    yaw_rate_bias_rad_s: float = 0.0006
    speed_sigma_m_s: float = 0.03
    yaw_rate_sigma_rad_s: float = 0.01


def dead_reckoning(
    times_s: np.ndarray, speed_m_s: np.ndarray, yaw_rad: np.ndarray, errors: WheelErrors, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Odometry from the true motion.

    Args:
        times_s: Sample times (N,).
        speed_m_s: True speed (N,).
        yaw_rad: True yaw (N,).
        errors: Error model.
        rng: Random generator.

    Returns:
        Positions (N, 2) from the start, yaw (N,), speed (N,) and yaw rate (N,).
    """
    dt = np.diff(times_s, prepend=times_s[0])
    true_rate = np.divide(np.diff(yaw_rad, prepend=yaw_rad[0]), dt, out=np.zeros_like(dt), where=dt > 0)
    moving = speed_m_s > 0.01  # zero while standing
    speed = speed_m_s * errors.scale + moving * rng.normal(0.0, errors.speed_sigma_m_s, len(dt))
    rate = true_rate + errors.yaw_rate_bias_rad_s + rng.normal(0.0, errors.yaw_rate_sigma_rad_s, len(dt))
    yaw = yaw_rad[0] + np.cumsum(rate * dt)
    steps = (speed * dt)[:, None] * np.stack([np.cos(yaw), np.sin(yaw)], axis=1)
    return np.cumsum(steps, axis=0), yaw, speed, rate
