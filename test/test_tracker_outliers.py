"""What outliers named before counts less when an image names it again; a camera that was carried is still found."""

import numpy as np
import pytest
from tracking_helpers import CENTRES, GRID, UNIFORM, error_m, seen_at

from campus_visual_gps.tracking.calibration import TrackingCalibration
from campus_visual_gps.tracking.lost import LostState
from campus_visual_gps.tracking.outliers import OutlierMemory
from campus_visual_gps.tracking.raster import BeliefRaster
from campus_visual_gps.tracking.session import weighed_posterior
from campus_visual_gps.tracking.tracker import Tracker

TRUTH, ELSEWHERE = (25.0, 45.0), ((70.0, 10.0), (95.0, 10.0))


def memory_and_raster(**overrides):
    raster = BeliefRaster(GRID)
    return OutlierMemory(raster, TrackingCalibration(outlier_share=0.2, **overrides)), raster


def contrast(memory, raster, posterior, agreement, dt_s=2.0):
    """How many times as probable the best place is after an image as the worst."""
    ratio = raster.spread(posterior * len(GRID))
    telling = 1.0 - float(ratio[raster.site].min())
    seen = memory.weigh(ratio, agreement, telling, dt_s, 0.5)[raster.site]
    return seen.max() / seen.min()


def test_what_outliers_named_before_counts_less_when_the_next_image_names_it():
    memory, raster = memory_and_raster()
    named = [contrast(memory, raster, weighed_posterior(seen_at(ELSEWHERE[0]), 0.6), 0.7) for _ in range(6)]
    assert named[-1] < 0.3 * named[0]
    elsewhere = contrast(memory, raster, weighed_posterior(seen_at((10.0, 50.0)), 0.6), 0.7)
    assert elsewhere > 2.0 * named[-1]


def test_outliers_are_forgotten():
    memory, raster = memory_and_raster(outlier_memory_s=10.0)
    posterior = weighed_posterior(seen_at(ELSEWHERE[0]), 0.6)
    first = contrast(memory, raster, posterior, 0.7)
    for _ in range(5):
        last = contrast(memory, raster, posterior, 0.7)
    assert contrast(memory, raster, posterior, 0.7, dt_s=200.0) == pytest.approx(first, rel=0.01)
    memory.clear()
    assert contrast(memory, raster, posterior, 0.7) == pytest.approx(first)
    assert last < first


def test_images_that_agree_with_the_belief_go_on_telling_one_place_from_another():
    memory, raster = memory_and_raster()
    assert min(contrast(memory, raster, seen_at(TRUTH), 15.0) for _ in range(20)) > 40.0


def test_a_robot_that_stands_makes_no_outlier_of_what_it_sees():
    memory, raster = memory_and_raster()
    ratio = raster.spread(weighed_posterior(seen_at(TRUTH), 0.6) * len(GRID))
    first, *_, last = (memory.weigh(ratio, 0.7, 0.6, 0.1, 0.0) for _ in range(100))
    assert np.allclose(first, last)


def test_an_image_that_says_nothing_stays_one():
    memory, raster = memory_and_raster()
    assert contrast(memory, raster, UNIFORM, 1.0) == pytest.approx(1.0)


def test_a_carried_camera_is_found_though_a_fifth_of_the_images_are_taken_for_outliers():
    tracker = Tracker(GRID, TrackingCalibration(outlier_share=0.2))
    for step in range(20):
        tracker.update(0.5 * step, seen_at(TRUTH))
    for step in range(20, 40):
        last = tracker.update(0.5 * step, seen_at(ELSEWHERE[1]))
    assert error_m(last, ELSEWHERE[1]) < 10.0
    assert last.lost_probability < 0.5
    assert np.hypot(*(CENTRES[last.grid_probs.argmax()] - ELSEWHERE[1])) < 6.0


@pytest.mark.parametrize(("between", "gives_way"), [(0.5, True), (1.0, False), (40.0, False)])
def test_an_image_that_agrees_less_than_with_a_belief_that_knows_nothing_confirms_no_belief(between, gives_way):
    raster = BeliefRaster(GRID)
    lost, ratio = LostState(raster, TrackingCalibration()), np.ones(raster.shape, dtype=np.float32)

    def stays(agreement):
        return lost.weigh(ratio, agreement, 1.0, 1.0, 0.0, 0.2, 1.0)[0]

    for agreement in (0.01, 0.01, between, 0.01, 0.01):
        assert stays(agreement) == 1.0
    assert (stays(0.01) < 1.0) == gives_way
