"""Absolute trajectory error (ATE) of the accepted fixes, through evo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TrajectoryMetrics:
    """Absolute trajectory error (ATE), metres; None where there is no fix.

    The first three are of the fixes as published: fixes are absolute, and an offset of all of them is an error. The
    aligned one is after the rigid transform that fits best, which removes such an offset; scatter is left.
    """

    ate_rmse_m: float | None = None
    ate_mean_m: float | None = None
    ate_max_m: float | None = None
    ate_aligned_rmse_m: float | None = None


def trajectory_metrics(stamps_ns: np.ndarray, fixes_m: np.ndarray, truth_m: np.ndarray) -> TrajectoryMetrics:
    """ATE of fixes (N, 2) metres against the truth (N, 2) at the same stamps (N,)."""
    if len(stamps_ns) == 0:
        return TrajectoryMetrics()
    plain, aligned_m = _ape(stamps_ns, fixes_m, truth_m), _aligned(fixes_m, truth_m)
    aligned_rmse_m = None if aligned_m is None else _ape(stamps_ns, aligned_m, truth_m)["rmse"]
    return TrajectoryMetrics(plain["rmse"], plain["mean"], plain["max"], aligned_rmse_m)


def _ape(stamps_ns: np.ndarray, fixes_m: np.ndarray, truth_m: np.ndarray) -> dict[str, float]:
    from evo.core.metrics import APE, PoseRelation

    metric = APE(PoseRelation.translation_part)
    metric.process_data((_trajectory(stamps_ns, truth_m), _trajectory(stamps_ns, fixes_m)))
    return {name: float(value) for name, value in metric.get_all_statistics().items()}


def _trajectory(stamps_ns: np.ndarray, positions_m: np.ndarray):
    """On the ground, facing east: evo expects poses, and the translation error needs no orientation."""
    from evo.core.trajectory import PoseTrajectory3D

    count = len(stamps_ns)
    return PoseTrajectory3D(
        positions_xyz=np.column_stack([positions_m, np.zeros(count)]),
        orientations_quat_wxyz=np.tile([1.0, 0.0, 0.0, 0.0], (count, 1)),
        timestamps=(stamps_ns - stamps_ns[0]) / 1e9,
    )


def _aligned(fixes_m: np.ndarray, truth_m: np.ndarray) -> np.ndarray | None:
    """The fixes after the rotation and shift that fit best (Umeyama); None for too few or equal ones."""
    from evo.core.geometry import GeometryException, umeyama_alignment

    try:
        rotation, shift, _ = umeyama_alignment(fixes_m.T, truth_m.T)
    except GeometryException:
        return None
    return fixes_m @ rotation.T + shift
