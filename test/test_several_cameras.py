"""Several cameras of a drive: their topics, their order, and what they add to the tracked position."""

import numpy as np
import pytest

from campus_visual_gps.errors import DatasetError
from campus_visual_gps.estimation.grid import LocationGrid
from campus_visual_gps.tracking.calibration import TrackingCalibration
from training.evaluate.posteriors import Posteriors
from training.evaluate.sequence_table import SequenceRun, TrackedBundle
from training.fit.image_sequences import ImageSequence
from training.replay.cameras import (
    ALL,
    FIRST,
    CameraViews,
    camera_block,
    camera_errors,
    camera_line,
    cameras_to_flat_json,
    with_cameras,
)
from training.replay.topics import further_image_topics

IMAGE = "sensor_msgs/msg/CompressedImage"
COUNT, CELL_M = 12, 5.0
east, north = np.meshgrid(np.arange(24), np.arange(6))
GRID = LocationGrid(np.stack([east.ravel(), north.ravel()], axis=1) * CELL_M, CELL_M)
TRUTH_M = np.stack([np.full(COUNT, 30.0), np.full(COUNT, 10.0)], axis=1)


class BagOfTopics:
    """What `topics` asks of a bag."""

    path = "drive"

    def topics(self):
        return {"/front/image/compressed": IMAGE, "/rear/image/compressed": IMAGE, "/gps/fix": "sensor_msgs/NavSatFix"}


def posterior(*centres_m):
    squared = [((GRID.centres_enu_m - (x, 10.0)) ** 2).sum(axis=1) for x in centres_m]
    probs = sum(np.exp(-own / (2.0 * 6.0**2)) for own in squared)
    return probs / probs.sum()


def drive():
    """A robot that stands in a corridor: its first camera sees two places that look alike."""
    probs = np.stack([posterior(30.0, 90.0)] * COUNT)
    times_s = np.arange(COUNT) * 10.0
    sequence = ImageSequence("drive", 0, np.arange(COUNT), times_s, probs, TRUTH_M, np.zeros(COUNT, bool))
    names = tuple(f"p{row}" for row in range(COUNT))
    bundle = TrackedBundle(Posteriors(names, probs, np.ones(COUNT), GRID), TrackingCalibration())
    return bundle, sequence


def rear(times_s):
    """A camera that sees which of the two places it is."""
    count = len(times_s)
    probs, truth = np.stack([posterior(30.0)] * count), np.repeat(TRUTH_M[:1], count, axis=0)
    return CameraViews("/rear/image", np.asarray(times_s), probs, truth, truth + 1.0, np.zeros(count, bool))


def test_further_cameras_are_found_by_name_and_named_once():
    bag, first = BagOfTopics(), "/front/image/compressed"
    assert further_image_topics(bag, first, ("/rear/image",)) == ["/rear/image/compressed"]
    with pytest.raises(DatasetError, match=r"--images /front/image is the same camera"):
        further_image_topics(bag, first, ("/front/image",))
    with pytest.raises(DatasetError, match="--images: /front/image/compressed, /rear/image/compressed"):
        further_image_topics(bag, first, ("/left/image",))


def test_images_of_all_cameras_are_in_the_order_of_time_and_of_equal_stamps_the_first_camera_is_last():
    _, sequence = drive()
    merged = with_cameras(sequence, [rear([-5.0, 0.0, 10.0, 15.0, 999.0])])
    assert merged.times_s[:6].tolist() == [0.0, 0.0, 10.0, 10.0, 15.0, 20.0], "none before the first image"
    assert merged.rows[:6].tolist() == [-1, 0, -1, 1, -1, 2]
    assert merged.cameras[:2] == ("/rear/image", "first")
    assert len(merged) == COUNT + 3, "and none after the last"


def test_a_second_camera_resolves_what_the_first_cannot():
    bundle, sequence = drive()
    run, views = SequenceRun(None, None, ((bundle, sequence),)), [rear(sequence.times_s)]
    errors = {own.cameras: own for own in camera_errors(run, views)}
    assert errors[FIRST].n_images == COUNT and errors[ALL].n_images == 2 * COUNT
    assert len(errors[FIRST].errors_m) == len(errors[ALL].errors_m) == COUNT, "at the images of the first camera"
    assert errors[ALL].errors_m[-1] < 5.0 < errors[FIRST].errors_m[-1]
    flat = cameras_to_flat_json(list(errors.values()), views)
    assert flat["cameras.all.random_walk.mean_error_m"] < flat["cameras.first.random_walk.mean_error_m"]
    assert flat["cameras.rear/image.single_mean_error_m"] == pytest.approx(np.sqrt(2.0))
    assert "all cameras" in camera_block(list(errors.values()), views)
    assert camera_line(list(errors.values())).count("->") == 2
