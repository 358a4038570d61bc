"""The localizer's estimate and the paper's interface."""

import numpy as np
import pytest
import torch
from helpers import make_bundle, make_members, make_reference, textured_rgb

from campus_visual_gps import Localizer, predict_gps
from campus_visual_gps.bundle import load_bundle
from campus_visual_gps.errors import BundleError, ConfigError, ImageError
from campus_visual_gps.estimation.calibration import Calibration
from campus_visual_gps.estimation.integrity import Gates, RejectionReason
from campus_visual_gps.preprocess import ImageSpec
from campus_visual_gps.retrieval.prior import RetrievalPriorConfig

pytestmark = pytest.mark.slow  # builds networks

CELLS = np.stack(np.meshgrid(np.arange(6), np.arange(5)), axis=-1).reshape(-1, 2) * 6.0


@pytest.fixture(scope="module")
def bundle_dir(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("model") / "bundle")


@pytest.fixture(scope="module")
def localizer(bundle_dir):
    return Localizer.load(bundle_dir, device="cpu")


@pytest.fixture(scope="module")
def grid_localizer(tmp_path_factory):
    """Of a bundle with grid heads, a retrieval prior and an extractor that was fitted on images 0 to 11."""
    members = make_members(cells_enu_m=CELLS)
    image = ImageSpec(64, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    bundle_dir = make_bundle(
        tmp_path_factory.mktemp("grid") / "bundle",
        members=members,
        image=image,
        reference=make_reference(members, image, CELLS),
        calibration=Calibration(
            5.0,
            temperature=1.5,
            conformal_90=2.0,
            reference_match_score=9.0,
            retrieval_prior=RetrievalPriorConfig(1.0, 8.0, 0.1),
        ),
    )
    return Localizer.load(bundle_dir, device="cpu", warm_up=False)


def test_an_estimate_is_the_mean_of_the_members_on_the_globe(localizer):
    estimate = localizer.localize(textured_rgb())
    np.testing.assert_allclose(estimate.mean_enu_m, estimate.member_means_enu_m.mean(axis=0))
    enu = localizer.bundle.frame.to_local(estimate.latitude_deg, estimate.longitude_deg)
    np.testing.assert_allclose(enu, estimate.mean_enu_m, atol=1e-6)
    assert np.linalg.eigvalsh(estimate.cov_enu_m2).min() >= 25.0 - 1e-9
    assert estimate.altitude_m == 300.0 and estimate.rejection_reason is None
    assert estimate.ensemble_s > 0 and estimate.transform_s > 0
    assert estimate.modes == () and np.isnan(estimate.match_score) and np.isnan(estimate.radius90_m)


def test_different_images_give_different_positions(localizer):
    first, second = (localizer.localize(textured_rgb(seed=seed)).mean_enu_m for seed in (0, 1))
    assert np.linalg.norm(first - second) > 0.05


def test_the_same_image_gives_the_same_answer_whatever_came_before(localizer):
    first = localizer.localize(textured_rgb())
    localizer.localize(textured_rgb(seed=1))
    for _ in range(3):
        again = localizer.localize(textured_rgb())
        np.testing.assert_allclose(again.mean_enu_m, first.mean_enu_m, atol=1e-4)
        assert again.indicators.repeat_count == 0


def test_repeats_are_counted_by_the_caller_and_rejected_by_the_gate(tmp_path):
    bundle_dir = make_bundle(tmp_path / "bundle", gates=Gates(site_margin_m=None, max_repeated_images=2))
    localizer = Localizer.load(bundle_dir, device="cpu", warm_up=False)
    reasons = [localizer.localize(textured_rgb(), repeat_count=count).rejection_reason for count in (0, 2, 3)]
    assert reasons == [None, None, RejectionReason.REPEATED_IMAGE]
    assert localizer.localize(textured_rgb(), repeat_count=3).indicators.repeat_count == 3


def test_a_batch_gives_the_answers_of_the_images_one_by_one(localizer):
    images = [textured_rgb(seed=seed) for seed in range(3)]
    batch = localizer.localize_batch(images, [0, 1, 2])
    assert [estimate.indicators.repeat_count for estimate in batch] == [0, 1, 2]
    for estimate, image in zip(batch, images, strict=True):
        alone = localizer.localize(image)
        np.testing.assert_allclose(estimate.mean_enu_m, alone.mean_enu_m, atol=1e-4)
        np.testing.assert_allclose(estimate.cov_enu_m2, alone.cov_enu_m2, rtol=1e-4)
        assert estimate.indicators.brightness == alone.indicators.brightness
        assert estimate.indicators.ood_score == pytest.approx(alone.indicators.ood_score, rel=1e-3)


def test_a_reference_photo_is_recognised_and_its_match_score_is_reported(grid_localizer):
    known, unknown = grid_localizer.localize(textured_rgb(seed=3)), grid_localizer.localize(textured_rgb(seed=77))
    assert known.match_score > unknown.match_score >= 1.0
    found = grid_localizer.index.search(known.descriptor[None], k=1)
    np.testing.assert_array_equal(found.positions_enu_m[0, 0], CELLS[3])
    assert known.indicators.ood_score < 0.1 < unknown.indicators.ood_score
    sigma = np.sqrt(np.trace(known.cov_enu_m2) / 2.0)
    assert known.radius90_m == pytest.approx(2.0 * sigma) and np.isnan(known.radius95_m)
    assert known.modes and sum(mode.share for mode in known.modes) <= 1.0 + 1e-9


def test_with_retrieval_a_batch_gives_the_answers_of_the_images_one_by_one(grid_localizer):
    images = [textured_rgb(seed=seed) for seed in (3, 77)]
    for estimate, image in zip(grid_localizer.localize_batch(images), images, strict=True):
        alone = grid_localizer.localize(image)
        np.testing.assert_allclose(estimate.mean_enu_m, alone.mean_enu_m, atol=0.01)
        np.testing.assert_allclose(estimate.cov_enu_m2, alone.cov_enu_m2, rtol=0.01)


def test_the_model_moves_to_the_cpu_without_reading_the_bundle_again(grid_localizer, tmp_path):
    moved = grid_localizer.on_cpu()
    assert moved.engine.device.type == "cpu" and moved.index is grid_localizer.index
    first, second = (one.localize(textured_rgb()).mean_enu_m for one in (grid_localizer, moved))
    np.testing.assert_allclose(first, second, atol=1e-4)


def test_the_papers_interface_returns_float32_degrees(localizer, bundle_dir, monkeypatch):
    image = textured_rgb()
    estimate = localizer.localize(image)
    monkeypatch.setenv("CAMPUS_VISUAL_GPS_MODEL", str(bundle_dir))
    for answer in (predict_gps(image), predict_gps(image, bundle_dir)):
        assert answer.shape == (2,) and answer.dtype == np.float32
        np.testing.assert_allclose(answer, [estimate.latitude_deg, estimate.longitude_deg], rtol=3e-7)


def test_without_a_model_the_variable_is_named(monkeypatch):
    monkeypatch.delenv("CAMPUS_VISUAL_GPS_MODEL", raising=False)
    with pytest.raises(BundleError, match="CAMPUS_VISUAL_GPS_MODEL"):
        predict_gps(textured_rgb())


def test_an_image_of_the_wrong_type_says_what_came(localizer):
    with pytest.raises(ImageError, match="float64"):
        localizer.localize(textured_rgb() / 255.0)


def test_an_estimate_off_the_site_is_rejected_with_its_reason(tmp_path):
    far = make_bundle(tmp_path / "bundle", site_half_m=0.001, gates=Gates(site_margin_m=0.0))
    estimate = Localizer.load(far, device="cpu", warm_up=False).localize(textured_rgb())
    assert estimate.rejection_reason == RejectionReason.OUTSIDE_SITE


def test_members_without_finite_outputs_are_rejected_and_do_not_crash(tmp_path):
    members = make_members()
    with torch.no_grad():
        members[0][1].head.layers.bias[0] = torch.nan
    broken = make_bundle(tmp_path / "broken", members=members)
    estimate = Localizer.load(broken, device="cpu", warm_up=False).localize(textured_rgb())
    assert estimate.rejection_reason == RejectionReason.NOT_FINITE
    assert np.isnan(estimate.latitude_deg) and np.isnan(estimate.cov_enu_m2).all()


def test_members_whose_backbone_is_nan_are_rejected_with_a_grid_and_retrieval_too(tmp_path):
    members = make_members(cells_enu_m=CELLS)
    image = ImageSpec(64, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    reference = make_reference(members, image, CELLS)
    with torch.no_grad():
        members[0][1].backbone.conv1.weight[:] = torch.nan
    calibration = Calibration(5.0, retrieval_prior=RetrievalPriorConfig(1.0, 8.0, 0.1))
    broken = make_bundle(
        tmp_path / "broken", members=members, image=image, reference=reference, calibration=calibration
    )
    estimate = Localizer.load(broken, device="cpu").localize(textured_rgb())
    assert estimate.rejection_reason == RejectionReason.NOT_FINITE and estimate.modes == ()
    assert np.isfinite(estimate.descriptor).all() and np.isnan(estimate.indicators.ood_score)


def test_a_bundle_without_an_extractor_gives_the_pooled_features(localizer):
    estimate = localizer.localize(textured_rgb())
    assert localizer.index is None and estimate.descriptor.shape == (2 * (128 + 256),)


@pytest.mark.parametrize("arguments", [{"device": "tpu"}, {"device": "cuda:99"}, {"precision": "int3"}])
def test_a_device_or_precision_that_does_not_exist_is_an_error(bundle_dir, arguments):
    with pytest.raises(ConfigError):
        Localizer.load(bundle_dir, **arguments)


def test_cells_that_lie_on_no_raster_are_a_bundle_error(tmp_path):
    bundle_dir = make_bundle(tmp_path / "bundle", cells_enu_m=CELLS * 1.13)
    with pytest.raises(BundleError, match="raster"):
        Localizer.load(bundle_dir, device="cpu", warm_up=False)


def test_bfloat16_stays_near_float32(bundle_dir, localizer):
    half = Localizer.load(bundle_dir, device="cpu", precision="bf16")
    image = textured_rgb()
    assert half.engine.precision == "bf16"
    assert np.linalg.norm(half.localize(image).mean_enu_m - localizer.localize(image).mean_enu_m) < 1.0


def test_the_members_of_the_bundle_are_those_of_the_engine(bundle_dir, localizer):
    assert localizer.engine.member_count == len(load_bundle(bundle_dir).members) == 2
