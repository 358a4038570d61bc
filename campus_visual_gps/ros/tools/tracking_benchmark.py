"""What a step of the tracker costs on a large site: 10,000 cells, odometry, and a yaw that is unknown at first."""

from __future__ import annotations

import math
from time import perf_counter

import numpy as np

from campus_visual_gps.estimation.grid import LocationGrid
from campus_visual_gps.ros.tools.benchmark_inputs import square_grid
from campus_visual_gps.threads import limit_threads
from campus_visual_gps.tracking.calibration import TrackingCalibration
from campus_visual_gps.tracking.tracker import Tracker

CELLS, CELL_M = 10_000, 5.0
STEPS, STEP_S = 500, 0.3
# The first steps are measured with all directions, the last ones with those that are left.
MEASURED = 100
_RADIUS_M, _SPEED_MPS, _BLUR_M = 150.0, 1.0, 20.0


def tracking_ms(steps: int = STEPS) -> dict[str, float]:
    """Median milliseconds of the first steps with an unknown yaw, and of the last of `steps`.

    On one thread, as in the node.
    """
    limit_threads()
    grid = LocationGrid(square_grid(CELLS) * (CELL_M / 6.0), CELL_M)
    tracker, random = Tracker(grid, TrackingCalibration()), np.random.default_rng(0)
    centre = grid.centres_enu_m.mean(axis=0)
    seconds = []
    for step in range(steps):
        angle = step * STEP_S * _SPEED_MPS / _RADIUS_M
        place = centre + _RADIUS_M * np.array([math.cos(angle), math.sin(angle)])
        squares = ((grid.centres_enu_m - place - random.normal(0.0, 5.0, 2)) ** 2).sum(axis=1)
        posterior = np.exp(-squares / (2.0 * _BLUR_M**2)) + 1e-6
        tracker.move(step * STEP_S, place, None, yaw_odom_rad=angle)
        start = perf_counter()
        tracker.update(step * STEP_S, posterior)
        seconds.append(perf_counter() - start)
    begun = min(steps // 4, MEASURED)  # by then the robot has moved, and the directions are compared
    first, last = seconds[begun // 4 : begun], seconds[-begun:]
    medians_ms = (1e3 * float(np.median(own)) for own in (first, last))
    return dict(zip((f"tracking_{CELLS}_ms", f"tracking_late_{CELLS}_ms"), medians_ms, strict=True))
