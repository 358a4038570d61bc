"""Whatever the members say, no message that harms a filter is published: no NaN, no infinity, no zero covariance."""

import math

import numpy as np
import pytest
from helpers import FEATURES, MIDDLE_CHANNELS, make_bundle, textured_rgb
from hypothesis import given
from hypothesis import strategies as st
from ros_helpers import image_message, to_stamp

from campus_visual_gps import Localizer
from campus_visual_gps.engines.torch_engine import EnsembleOutput
from campus_visual_gps.errors import EstimateError
from campus_visual_gps.estimation.calibration import Calibration
from campus_visual_gps.estimation.integrity import Gates
from campus_visual_gps.retrieval.descriptor import RetrievalIndex
from campus_visual_gps.retrieval.prior import RetrievalPriorConfig
from campus_visual_gps.ros import messages
from campus_visual_gps.ros.image_queue import StampedImage
from campus_visual_gps.ros.pipeline import Pipeline
from training.fit.descriptor_fit import fit_descriptor_extractor

PICTURE = image_message(textured_rgb(48, 64))
CELLS = np.stack(np.meshgrid(np.arange(6), np.arange(5)), axis=-1).reshape(-1, 2) * 6.0

number = st.floats(width=64, allow_nan=True, allow_infinity=True)
near = st.floats(-500.0, 500.0)
member_rows = st.lists(
    st.tuples(*[st.one_of(near, number)] * 2, *[st.one_of(st.just(0.0), number)] * 3), min_size=2, max_size=2
)
some_features = st.one_of(st.just(0.0), st.just(1.0), number)


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    return Localizer.load(make_bundle(tmp_path_factory.mktemp("points") / "bundle"))


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    calibration = Calibration(
        5.0, temperature=1.5, reference_match_score=9.0, evidence=RetrievalPriorConfig(0.5, 8.0, 0.1)
    )
    directory = tmp_path_factory.mktemp("maps") / "bundle"
    gates = Gates(max_ood_score=1e3)
    localizer = Localizer.load(make_bundle(directory, cells_enu_m=CELLS, calibration=calibration, gates=gates))
    localizer.reference = some_places(localizer)
    return localizer


def some_places(localizer: Localizer) -> RetrievalIndex:
    """Six places as the bundle's network sees them."""
    outputs = [localizer.ensemble.predict(textured_rgb(48, 64, seed)) for seed in range(6)]
    statistics = np.stack([output.statistics for output in outputs])
    local = tuple(np.stack(stage) for stage in zip(*(output.local for output in outputs), strict=True))
    space = fit_descriptor_extractor(statistics, local, CELLS[:6])
    places = [space.place(output.statistics, output.local) for output in outputs]
    descriptors, parts = (np.stack(values) for values in zip(*places, strict=True))
    return RetrievalIndex(space, descriptors, parts, CELLS[:6])


def assert_harmless(localizer: Localizer, output: EnsembleOutput) -> None:
    """What becomes of the output is a refusal, an error before publishing, or messages that a filter can take."""
    localizer.ensemble.predict = lambda rgb: output
    with np.errstate(all="ignore"):
        result = Pipeline(localizer)(StampedImage(PICTURE, 1, 0.0))
    if result.rejection is not None:
        return
    try:
        fix = messages.to_navsatfix(result.estimate, to_stamp(1.0), "camera")
        pose = messages.to_pose(result.estimate, to_stamp(1.0), "map")
    except EstimateError:
        return
    assert all(math.isfinite(value) for value in (fix.latitude, fix.longitude, fix.altitude))
    for covariance, size in ((fix.position_covariance, 3), (pose.pose.covariance, 6)):
        matrix = np.array(covariance).reshape(size, size)
        assert np.all(np.isfinite(matrix))
        assert np.all(np.diag(matrix) > 0.0)


def _output(means, covs, grid_log_probs, feature: float) -> EnsembleOutput:
    statistics, square = np.full(FEATURES["resnet18"], feature, np.float32), np.zeros((8, 8, 3), np.uint8)
    local = tuple(np.full((side, side, size), feature, np.float32) for side, size in ((8, 128), (4, 256)))
    appearance = np.full(MIDDLE_CHANNELS["resnet18"], feature, np.float32)
    return EnsembleOutput(means, covs, grid_log_probs, statistics, local, appearance, square, 0.0, 0.0)


@given(member_rows, some_features)
def test_of_points_and_gaussians(points, rows, feature):
    table = np.array(rows)
    covs = np.stack([[[row[2], row[3]], [row[3], row[4]]] for row in table])
    with np.errstate(all="ignore"):
        assert_harmless(points, _output(table[:, :2], covs, None, feature))


@given(
    st.lists(st.one_of(st.floats(-50.0, 0.0), number), min_size=2 * len(CELLS), max_size=2 * len(CELLS)), some_features
)
def test_of_maps(maps, values, feature):
    grid_log_probs = np.array(values).reshape(2, -1)
    with np.errstate(all="ignore"):
        assert_harmless(maps, _output(np.zeros((2, 2)), np.zeros((2, 2, 2)), grid_log_probs, feature))


def test_a_sound_map_is_published(maps):
    grid_log_probs = np.full((2, len(CELLS)), -np.log(len(CELLS)))
    maps.ensemble.predict = lambda rgb: _output(np.zeros((2, 2)), np.zeros((2, 2, 2)), grid_log_probs, 0.1)
    estimate = Pipeline(maps)(StampedImage(PICTURE, 1, 0.0)).estimate
    fix = messages.to_navsatfix(estimate, to_stamp(1.0), "camera")
    assert fix.position_covariance[0] == pytest.approx(estimate.cov_enu_m2[0, 0])
