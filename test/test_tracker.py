"""The tracker's belief stays a probability, follows a walk, and takes nothing from an image that says nothing."""

import numpy as np
import pytest
from tracking_helpers import CENTRES, GRID, UNIFORM, error_m, seen_at

from campus_visual_gps.errors import ConfigError, EstimateError
from campus_visual_gps.estimation.grid import LocationGrid, point_and_covariance
from campus_visual_gps.tracking.calibration import TrackingCalibration
from campus_visual_gps.tracking.site_mask import reachable_cells
from campus_visual_gps.tracking.summary import POINT_POWER, point_and_moment
from campus_visual_gps.tracking.tracker import Tracker


def new_tracker(**overrides):
    return Tracker(GRID, TrackingCalibration(**overrides))


def test_a_uniform_posterior_changes_nothing():
    tracker = new_tracker()
    tracker.update(0.0, seen_at((30.0, 30.0)))
    before = tracker.estimate(3.0)
    after = tracker.update(3.0, UNIFORM)
    assert np.allclose(before.grid_probs, after.grid_probs, atol=1e-9)
    assert after.lost_probability == pytest.approx(before.lost_probability)
    assert not after.contradicted


def test_silence_forgets_where_the_camera_was_evenly():
    tracker = new_tracker()
    tracker.update(0.0, seen_at((30.0, 30.0)))
    lost_probability = tracker.update(0.0, seen_at((30.0, 30.0))).lost_probability
    for hour in range(1, 100):
        last = tracker.estimate(hour * 3600.0)
    assert np.allclose(last.grid_probs, UNIFORM)
    assert last.lost_probability == pytest.approx(0.01, abs=0.005) and lost_probability < 0.02


def test_an_ambiguous_image_is_resolved_by_the_walk_before_it():
    tracker = new_tracker(correlation_time_s=2.0, measurement_power=1.0)
    for second in range(0, 30, 3):
        tracker.update(second, seen_at((10.0 + second, 30.0)))
    position = tracker.update(30.0, seen_at((40.0, 30.0), (100.0, 30.0)))
    assert error_m(position, (40.0, 30.0)) < 10.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_a_bad_posterior_is_one_error_and_leaves_the_belief_as_it_was(bad):
    tracker = new_tracker()
    before = tracker.update(0.0, seen_at((30.0, 30.0)))
    probs = UNIFORM.copy()
    probs[3] = bad
    with pytest.raises(EstimateError, match="posterior"):
        tracker.update(0.0, probs)
    with pytest.raises(EstimateError, match="288 cells"):
        tracker.update(0.0, UNIFORM[:-1])
    assert np.allclose(tracker.estimate(0.0).grid_probs, before.grid_probs)


def test_a_clock_that_jumps_back_begins_anew():
    tracker = new_tracker()
    tracker.update(1000.0, seen_at((30.0, 30.0)))
    assert error_m(tracker.update(5.0, seen_at((100.0, 10.0))), (100.0, 10.0)) < 10.0


def test_nobody_is_where_the_mask_says_that_nobody_can_be():
    wall = np.abs(CENTRES[:, 0] - 60.0) < 6.0
    tracker = Tracker(GRID, TrackingCalibration(), reachable=~wall)
    tracker.update(0.0, seen_at((60.0, 30.0)))
    assert tracker.estimate(10.0).grid_probs[wall].sum() == 0.0
    with pytest.raises(ConfigError, match="no cell"):
        Tracker(GRID, TrackingCalibration(), reachable=np.zeros(len(GRID), bool))


def test_cells_in_a_building_are_unreachable_but_not_those_in_its_yard():
    building, yard = (np.array([[a, a], [b, a], [b, b], [a, b]], dtype=float) for a, b in ((8.0, 42.0), (18.0, 32.0)))
    mask = reachable_cells(GRID, [(building, yard)])
    inside = (np.abs(CENTRES - 25.0) < 17.0).all(axis=1)
    in_yard = (np.abs(CENTRES - 25.0) < 7.0).all(axis=1)
    assert (mask == ~(inside & ~in_yard)).all()
    assert reachable_cells(GRID, ()) is None


@pytest.mark.parametrize("seed", range(8))
def test_point_and_moment_are_those_of_single_images(seed):
    rng = np.random.default_rng(seed)
    bumps = seen_at(*rng.uniform((0.0, 0.0), (115.0, 55.0), (1 + seed % 3, 2)), sigma_m=4.0)
    for probs in (bumps, UNIFORM, rng.dirichlet(np.full(len(GRID), 0.02)), np.eye(len(GRID))[seed]):
        point, moment = point_and_moment(probs, GRID)
        sharper = probs**POINT_POWER / (probs**POINT_POWER).sum()
        assert np.allclose(point, point_and_covariance(sharper, CENTRES, GRID.cell_m)[0], atol=0.1)
        offsets = CENTRES - point
        expected_moment = (offsets * probs[:, None]).T @ offsets + GRID.cell_m**2 / 12.0 * np.eye(2)
        assert np.allclose(moment, expected_moment, rtol=0.01, atol=1.0)


def test_on_a_large_grid_the_point_is_found_as_exactly():
    columns, rows = np.meshgrid(np.arange(90), np.arange(70))
    grid = LocationGrid(np.stack([columns.ravel(), rows.ravel()], axis=1) * 5.0, 5.0)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        centres = rng.uniform((0.0, 0.0), (445.0, 345.0), (1 + seed % 3, 2))
        squares = ((grid.centres_enu_m - centres[:, None]) ** 2).sum(axis=2)
        probs = np.exp(-squares / (2.0 * rng.uniform(30.0, 80.0) ** 2)).sum(axis=0) + 0.01
        probs /= probs.sum()
        sharper = probs**POINT_POWER / (probs**POINT_POWER).sum()
        expected, _ = point_and_covariance(sharper, grid.centres_enu_m, grid.cell_m)
        assert np.allclose(point_and_moment(probs, grid)[0], expected, atol=0.1)
