"""The tracker's fast arithmetic gives what the plain one gives, and stays within the range of 32-bit floats."""

import numpy as np
import pytest
from tracking_helpers import GRID, seen_at

from campus_visual_gps.tracking.calibration import TrackingCalibration
from campus_visual_gps.tracking.interpolation import ShiftedByEach, shifted, sum_of_shifted
from campus_visual_gps.tracking.tracker import Tracker


@pytest.mark.parametrize("reach_cells", [0.5, 3.0, 30.0])
def test_moving_by_many_offsets_at_once_is_moving_by_each(reach_cells):
    rng, move = np.random.default_rng(0), ShiftedByEach()
    for count in (7, 7, 2):
        values = rng.random((9, 13), dtype=np.float32)
        offsets = rng.uniform(-reach_cells, reach_cells, (count, 2))
        expected = [shifted(values, own, replicate=True) for own in offsets]
        assert np.allclose(move(values, offsets), expected, atol=1e-5)


@pytest.mark.parametrize("reach_cells", [0.5, 1.0, 3.0, 30.0])
def test_the_sum_of_many_that_are_moved_is_that_of_each(reach_cells):
    rng = np.random.default_rng(0)
    for count in (1, 7):
        values = rng.random((count, 9, 13), dtype=np.float32)
        offsets = rng.uniform(-reach_cells, reach_cells, (count, 2))
        expected = sum(shifted(own, offset) for own, offset in zip(values, offsets, strict=True))
        assert np.allclose(sum_of_shifted(values, offsets), expected, atol=1e-5)


def test_a_drive_that_leaves_the_site_makes_no_denormal_numbers():
    tracker, least = Tracker(GRID, TrackingCalibration()), np.finfo(np.float32).tiny
    for step in range(200):
        place = np.array([10.0 + step, 30.0])
        tracker.move(step * 1.0, place, None, yaw_odom_rad=0.0)
        tracker.update(step * 1.0, seen_at(place % 100.0, flat_share=0.0))
        beliefs = tracker._hypotheses.beliefs
        assert not ((beliefs > 0.0) & (beliefs < least)).any()


def test_an_image_that_sees_only_where_nobody_can_be_says_nothing_wrong():
    reachable = np.ones(len(GRID), dtype=bool)
    reachable[:40] = False
    probs = np.where(reachable, 0.0, 1.0 / 40.0)
    with np.errstate(all="raise", under="ignore"):
        tracked = Tracker(GRID, TrackingCalibration(), reachable).update(0.0, probs)
    assert np.allclose(tracked.grid_probs[reachable], 1.0 / reachable.sum())
