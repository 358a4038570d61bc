"""Whatever the members say, no message that harms a filter is published: no NaN, no infinity, no zero covariance."""

import math

import numpy as np
import pytest
from compatibility import Area, condition
from helpers import FEATURES, MIDDLE_CHANNELS, make_bundle, make_members, make_reference, textured_rgb
from hypothesis import given
from hypothesis import strategies as st
from ros_helpers import image_message, to_stamp

from campus_visual_gps import Localizer
from campus_visual_gps.engines.torch_engine import to_model_outputs
from campus_visual_gps.errors import EstimateError
from campus_visual_gps.estimation.calibration import Calibration
from campus_visual_gps.estimation.integrity import Gates, RejectionReason
from campus_visual_gps.models.backbones import get_backbone
from campus_visual_gps.models.site_model import (
    DESCRIPTORS,
    GRID_LOG_PROBS,
    LOCAL_DESCRIPTORS,
    LOCAL_FEATURES,
    MEMBER_COVS,
    MEMBER_MEANS,
    OOD_FEATURES,
    POOLED_FEATURES,
)
from campus_visual_gps.preprocess import ImageSpec
from campus_visual_gps.retrieval.prior import RetrievalPriorConfig
from campus_visual_gps.ros import messages
from campus_visual_gps.ros.image_queue import StampedImage
from campus_visual_gps.ros.pipeline import Pipeline

pytestmark = pytest.mark.slow  # builds networks

IMAGE = image_message(textured_rgb(48, 64))
CELLS = np.stack(np.meshgrid(np.arange(6), np.arange(5)), axis=-1).reshape(-1, 2) * 6.0

number = st.floats(width=64, allow_nan=True, allow_infinity=True)
near = st.floats(-500.0, 500.0)
member_rows = st.lists(
    st.tuples(*[st.one_of(near, number)] * 2, *[st.one_of(st.just(0.0), number)] * 3), min_size=2, max_size=2
)
some_features = st.one_of(st.just(0.0), st.just(1.0), number)


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    return Localizer.load(make_bundle(tmp_path_factory.mktemp("points") / "bundle"), device="cpu", warm_up=False)


@pytest.fixture(scope="module")
def grids(tmp_path_factory):
    """Of a bundle with grid heads, a retrieval prior and the reference photos' descriptors."""
    calibration = Calibration(
        5.0, temperature=1.5, reference_match_score=9.0, retrieval_prior=RetrievalPriorConfig(0.5, 8.0, 0.1)
    )
    members, described = make_members(cells_enu_m=CELLS), get_backbone("resnet18")
    image = ImageSpec(64, described.mean, described.std)
    bundle_dir = make_bundle(
        tmp_path_factory.mktemp("grids") / "bundle",
        members=members,
        image=image,
        reference=make_reference(members, image, CELLS),
        calibration=calibration,
        gates=Gates(max_ood_score=1e3),
    )
    return Localizer.load(bundle_dir, device="cpu", warm_up=False)


def assert_harmless(localizer: Localizer, outputs: dict[str, np.ndarray]) -> None:
    """What becomes of the outputs is a rejection, an error before publishing, or messages that a filter can take."""
    localizer.engine.run = lambda images: to_model_outputs(outputs)
    with np.errstate(all="ignore"):
        result = Pipeline(localizer)(StampedImage(IMAGE, 1, 0.0))
    if result.rejection is not None:
        assert result.rejection.reason != RejectionReason.INTERNAL_ERROR, result.rejection.text
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


def _outputs(localizer: Localizer, means, covs, grid_log_probs, feature: float) -> dict[str, np.ndarray]:
    """Named outputs of a SiteModel for one image, all of whose features are one number."""
    with np.errstate(over="ignore"):
        value = np.float32(feature)
    outputs = {
        MEMBER_MEANS: means[None],
        MEMBER_COVS: covs[None],
        OOD_FEATURES: np.full((1, MIDDLE_CHANNELS["resnet18"]), value),
        POOLED_FEATURES: np.full((1, FEATURES["resnet18"]), value),
    }
    if grid_log_probs is None:
        local = ((8, 128), (4, 256))
        features = (np.full((1, side, side, size), value) for side, size in local)
        return outputs | dict(zip(LOCAL_FEATURES, features, strict=True))
    reference = localizer.index
    return outputs | {
        GRID_LOG_PROBS: grid_log_probs[None],
        DESCRIPTORS: np.full((1, localizer.engine.model.extractor.projection.shape[0]), value),
        LOCAL_DESCRIPTORS: np.zeros_like(reference.local_descriptors[:1]),
    }


@condition(
    Area.NODE,
    "network outputs that are NaN, infinite or absurd, points and Gaussians",
    "never published",
    since="2026-11-22",
)
@given(member_rows, some_features)
def test_of_points_and_gaussians(points, rows, feature):
    table = np.array(rows)
    covs = np.stack([[[row[2], row[3]], [row[3], row[4]]] for row in table])
    with np.errstate(all="ignore"):
        assert_harmless(points, _outputs(points, table[:, :2], covs, None, feature))


@condition(Area.NODE, "network outputs that are NaN, infinite or absurd, grids", "never published", since="2026-11-22")
@given(
    st.lists(st.one_of(st.floats(-50.0, 0.0), number), min_size=2 * len(CELLS), max_size=2 * len(CELLS)), some_features
)
def test_of_grids(grids, values, feature):
    grid_log_probs = np.array(values).reshape(2, -1)
    with np.errstate(all="ignore"):
        assert_harmless(grids, _outputs(grids, np.zeros((2, 2)), np.zeros((2, 2, 2)), grid_log_probs, feature))


def test_an_even_grid_is_published(grids):
    grid_log_probs = np.full((2, len(CELLS)), -np.log(len(CELLS)))
    outputs = _outputs(grids, np.zeros((2, 2)), np.zeros((2, 2, 2)), grid_log_probs, 0.1)
    grids.engine.run = lambda images: to_model_outputs(outputs)
    estimate = Pipeline(grids)(StampedImage(IMAGE, 1, 0.0)).estimate
    fix = messages.to_navsatfix(estimate, to_stamp(1.0), "camera")
    assert fix.position_covariance[0] == pytest.approx(estimate.cov_enu_m2[0, 0])
