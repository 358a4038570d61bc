"""Test-time augmentation: weighted views of a photo, through the one estimator, the same in every run."""

import json
from dataclasses import replace

import numpy as np
import pytest
from ensemble_helpers import config_of, write_dataset
from helpers import make_bundle, textured_rgb

from campus_visual_gps import Localizer
from campus_visual_gps.bundle import load_bundle
from campus_visual_gps.errors import ConfigError
from campus_visual_gps.models.outputs import ModelOutputs
from campus_visual_gps.preprocess import ImageSpec
from training.augment_settings import AugmentSettings
from training.config import to_dict
from training.evaluate.predict import read_predictions
from training.evaluate.tta import MATCHED, ORIGINAL, PHOTOMETRIC, TtaSettings, Views, augmentation, average_views
from training.report.evaluation import evaluate
from training.report.evaluation_options import EvaluationOptions

IMAGE = ImageSpec(64, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
NOTHING = AugmentSettings(
    rotation_deg=0.0,
    perspective_p=0.0,
    brightness=0.0,
    contrast=0.0,
    saturation=0.0,
    grayscale_p=0.0,
    night_p=0.0,
    erasing_p=0.0,
)


def outputs(means, grids=None, covs=None) -> ModelOutputs:
    """Outputs for images (N,) with means (N, M, 2)."""
    count, members = means.shape[:2]
    nothing = np.arange(count, dtype=np.float32)[:, None]
    covs = np.zeros((count, members, 2, 2)) if covs is None else covs
    return ModelOutputs(means, covs, grids, nothing, nothing, nothing, None, None, np.ones(count, bool))


def test_the_photo_weighs_twice_and_every_view_once():
    means = np.zeros((6, 1, 2))
    means[1:, 0, 0] = [7.0, 7.0, 7.0, 7.0, 7.0]
    weights = TtaSettings(MATCHED).weights
    assert weights.tolist() == pytest.approx([2 / 7, *[1 / 7] * 5])
    averaged = average_views(outputs(means), weights)
    assert averaged.member_means_enu_m.tolist() == [[[5.0, 0.0]]] and len(averaged) == 1


def test_views_of_a_member_make_a_mixture_with_its_moments():
    random = np.random.default_rng(0)
    means, weights = random.normal(0, 5, (8, 3, 2)), np.array([0.4, 0.3, 0.2, 0.1])
    covs = np.broadcast_to(np.diag([4.0, 1.0]), (8, 3, 2, 2))
    averaged = average_views(outputs(means, covs=covs), weights)
    for photo in range(2):
        for member in range(3):
            own = means[4 * photo : 4 * photo + 4, member]
            np.testing.assert_allclose(averaged.member_means_enu_m[photo, member], weights @ own)
            expected = np.cov(own.T, aweights=weights, bias=True) + np.diag([4.0, 1.0])
            np.testing.assert_allclose(averaged.member_covs_enu_m2[photo, member], expected)
    # what describes the image is that of the photo itself
    assert averaged.descriptors[:, 0].tolist() == [0.0, 4.0]


def test_grids_are_pooled_as_probabilities():
    probs = np.array([[[0.8, 0.2, 0.0]], [[0.2, 0.2, 0.6]]])
    with np.errstate(divide="ignore"):
        averaged = average_views(outputs(np.zeros((2, 1, 2)), np.log(probs)), np.array([0.75, 0.25]))
    np.testing.assert_allclose(np.exp(averaged.grid_log_probs), [[[0.65, 0.2, 0.15]]])


def test_a_view_that_is_not_finite_makes_the_photo_not_finite():
    one = replace(outputs(np.zeros((4, 1, 2))), finite=np.array([True, True, True, False]))
    assert average_views(one, np.array([0.5, 0.5])).finite.tolist() == [True, False]


def test_views_are_the_same_in_every_run_and_differ_from_photo_to_photo_and_view_to_view():
    rgb = textured_rgb(64, 64)
    first, again = (Views(TtaSettings(MATCHED), AugmentSettings(), IMAGE) for _ in range(2))
    views = first(rgb, "p0123456789abcdef")
    assert views.shape == (6, 64, 64, 3) and views.dtype == np.uint8
    np.testing.assert_array_equal(views, again(rgb, "p0123456789abcdef"))
    np.testing.assert_array_equal(views, again(rgb, "0123456789abcdef"))  # an id of an older data set
    np.testing.assert_array_equal(views[0], rgb)
    assert not np.array_equal(views, first(rgb, "pfedcba9876543210"))
    assert len({view.tobytes() for view in views}) == 6


def test_without_augmentation_every_view_is_the_photo():
    rgb = textured_rgb(64, 64)
    assert all(np.array_equal(view, rgb) for view in Views(TtaSettings(MATCHED), NOTHING, IMAGE)(rgb, "x"))


def trained_bundle(directory, **overrides):
    augment = to_dict(AugmentSettings(rotation_deg=3.0, noise_sigma=4.0, night_p=0.3))
    training = {"weights": "none", "dataset": "", "config": {"augment": augment}}
    return make_bundle(directory, training=training, **overrides)


@pytest.mark.slow
def test_modes_are_what_their_names_say(tmp_path):
    bundle = load_bundle(trained_bundle(tmp_path / "bundle"))
    matched, photometric, original = (augmentation(mode, bundle) for mode in (MATCHED, PHOTOMETRIC, ORIGINAL))
    assert matched == AugmentSettings(rotation_deg=3.0, noise_sigma=4.0, night_p=0.3)
    geometric = ("rotation_deg", "perspective_p", "horizontal_flip_p", "resized_crop_p", "erasing_p", "noise_sigma")
    assert not any(getattr(photometric, name) for name in geometric)
    assert (photometric.brightness, photometric.night_p) == (matched.brightness, matched.night_p)
    assert original.horizontal_flip_p and original.resized_crop_p and not original.night_p
    unknown = load_bundle(make_bundle(tmp_path / "other"))
    assert augmentation(ORIGINAL, unknown) == original
    with pytest.raises(ConfigError, match="does not say how it was augmented"):
        augmentation(MATCHED, unknown)


@pytest.mark.parametrize("wrong", [{"mode": "mirrored"}, {"views": 0}, {"original_weight": -1.0}])
def test_settings_that_make_no_sense_are_one_line(wrong):
    with pytest.raises(ConfigError, match="tta: expected"):
        TtaSettings(**({"mode": MATCHED} | wrong))


def test_a_mode_is_named_once():
    with pytest.raises(ConfigError, match="every mode once"):
        EvaluationOptions(tta=(TtaSettings(MATCHED), TtaSettings(MATCHED)))


@pytest.mark.slow
def test_evaluate_reports_views_beside_the_plain_ensemble(tmp_path):
    dataset = write_dataset(tmp_path / "set")
    config = config_of(dataset, augment={"night_p": 0.5})
    training = {"weights": "none", "dataset": str(dataset), "config": to_dict(config)}
    bundle = make_bundle(tmp_path / "bundle", training=training)
    options = EvaluationOptions(tta=(TtaSettings(MATCHED, views=2), TtaSettings(PHOTOMETRIC, views=2)))
    summary = evaluate(bundle, dataset, "test", tmp_path / "report", progress=False, options=options)
    predictions = read_predictions(summary.predictions_path)
    text, flat = summary.report_path.read_text(), json.loads((summary.out_dir / "report.json").read_text())
    assert "## Test-time augmentation" in text and "| TTA, photometric |" in text
    for mode in ("matched", "photometric"):
        answers = predictions[[f"tta_{mode}_east_m", f"tta_{mode}_north_m"]].to_numpy()
        errors_m = np.linalg.norm(answers - predictions[["true_east_m", "true_north_m"]].to_numpy(), axis=1)
        assert flat[f"tta.{mode}.mean_error_m"] == pytest.approx(errors_m.mean())
        difference = errors_m.mean() - predictions["error_m"].mean()
        assert flat[f"tta.{mode}.mean_difference_m"] == pytest.approx(difference)
        assert flat[f"tta.{mode}.seconds_per_photo"] > flat[f"tta.{mode}.plain_seconds_per_photo"] > 0.0


@pytest.mark.slow
def test_views_without_augmentation_give_the_answers_of_the_plain_ensemble(tmp_path):
    from training.evaluate.tta import predict_views
    from training.photos.manifest import image_path, load_dataset

    dataset = write_dataset(tmp_path / "set")
    training = {"weights": "none", "dataset": "", "config": {"augment": to_dict(NOTHING)}}
    cells = np.stack(np.meshgrid(np.arange(6), np.arange(5)), axis=-1).reshape(-1, 2) * 6.0
    bundle = make_bundle(tmp_path / "bundle", training=training, cells_enu_m=cells)
    localizer = Localizer.load(bundle, device="cpu", precision="fp32", warm_up=False)
    photos = load_dataset(dataset).iloc[:3]
    paths = [image_path(dataset, photo_id) for photo_id in photos["photo_id"]]
    columns = predict_views(localizer, photos["photo_id"].tolist(), paths, TtaSettings(MATCHED, 1), progress=False)
    from training.data.dataset import read_rgb

    for row, path in enumerate(paths):
        estimate = localizer.localize(read_rgb(path))
        found = [columns["tta_matched_east_m"][row], columns["tta_matched_north_m"][row]]
        np.testing.assert_allclose(found, estimate.mean_enu_m, atol=1e-3)
        assert columns["tta_matched_cov_ee_m2"][row] == pytest.approx(estimate.cov_enu_m2[0, 0], rel=1e-3)
