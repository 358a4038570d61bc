"""`combine`: trained members of any backbones as one bundle that is calibrated on photos that none was trained on."""

import shutil

import numpy as np
import pytest
from ensemble_helpers import A_SESSION, FRAME, SESSIONS, config_of, split, write_dataset, write_folds, write_run
from helpers import textured_rgb

from campus_visual_gps import Localizer
from campus_visual_gps.bundle import load_bundle
from campus_visual_gps.errors import ConfigError, DatasetError
from campus_visual_gps.geodesy import LocalFrame
from training.data.dataset import read_rgb
from training.fit.combine import combine
from training.photos.manifest import image_path, load_dataset

pytestmark = pytest.mark.slow  # builds networks

LITE = {"backbone": "efficientnet_lite0", "head": "linear", "output_scale_m": 20.0}
GRID = {"backbone": "resnet18", "head": "probability_map", "cell_m": 20.0}


@pytest.fixture(scope="module")
def dataset_dir(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "set")


@pytest.fixture(scope="module")
def resnets(tmp_path_factory, dataset_dir):
    """A run of two members."""
    return write_run(tmp_path_factory.mktemp("runs") / "resnets", config_of(dataset_dir, seeds=[42, 123]))


@pytest.fixture(scope="module")
def lite(tmp_path_factory, dataset_dir):
    """A run of another backbone with a seed that the other has too."""
    return write_run(tmp_path_factory.mktemp("runs") / "lite", config_of(dataset_dir, model=LITE))


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory, resnets, lite):
    return combine([resnets, lite], tmp_path_factory.mktemp("bundles") / "hybrid")


def localizer_of(path):
    return Localizer.load(path, device="cpu", precision="fp32", warm_up=False)


def test_members_of_two_backbones_with_one_seed_make_one_bundle(hybrid):
    bundle = load_bundle(hybrid.bundle_dir)
    assert [member.name for member in bundle.members] == ["42-resnet18", "123-resnet18", "42-efficientnet_lite0"]
    assert [member.seed for member in bundle.members] == [42, 123, 42]
    assert bundle.members[0].image.mean != bundle.members[2].image.mean == (0.5, 0.5, 0.5)
    assert bundle.model_id.startswith("resnet18+efficientnet_lite0-linear-")
    assert [run["members"] for run in bundle.training["runs"]] == [
        ["42-resnet18", "123-resnet18"],
        ["42-efficientnet_lite0"],
    ]
    card = (bundle.path / "MODEL_CARD.md").read_text()
    assert "Combined from:" in card and "efficientnet_lite0 with linear head, seed 42" in card


def test_every_member_of_a_hybrid_answers_as_it_does_alone(hybrid, resnets, lite, tmp_path):
    together = localizer_of(hybrid.bundle_dir)
    alone = [localizer_of(combine([run], tmp_path / run.name).bundle_dir) for run in (resnets, lite)]
    for seed in range(3):
        rgb = textured_rgb(seed=seed)
        expected = np.concatenate([own.localize(rgb).member_means_enu_m for own in alone])
        estimate = together.localize(rgb)
        np.testing.assert_allclose(estimate.member_means_enu_m, expected, atol=1e-3)
        np.testing.assert_allclose(estimate.mean_enu_m, expected.mean(axis=0), atol=1e-3)


def test_the_photos_of_all_runs_are_the_reference_and_only_unseen_ones_calibrate(tmp_path, dataset_dir):
    data = shutil.copytree(dataset_dir, tmp_path / "set")
    runs = []
    for number, trained in enumerate((SESSIONS[0], SESSIONS[1])):
        subsets = dict.fromkeys(SESSIONS[:3], "val") | {trained: "train", SESSIONS[3]: "test"}
        split(data, subsets)
        runs.append(write_run(tmp_path / f"run-{number}", config_of(data, seeds=[number + 1])))
    summary = combine(runs, tmp_path / "bundle")
    bundle = load_bundle(summary.bundle_dir)
    # the first walk trained one member and the second the other: only the third is unseen by both
    assert summary.val_photos == A_SESSION and summary.train_photos == 2 * A_SESSION
    assert bundle.calibration.measured.get("sessions", [SESSIONS[2]]) == [SESSIONS[2]]
    assert len(bundle.load_reference().descriptors) == len(bundle.training["photo_ids"]) == 2 * A_SESSION
    assert set(bundle.training["sessions"]) == set(SESSIONS[:2])


def test_without_a_photo_that_no_member_has_seen_there_is_no_calibration(tmp_path, dataset_dir):
    data = shutil.copytree(dataset_dir, tmp_path / "set")
    runs = []
    for number, (trained, held_out) in enumerate((SESSIONS[:2], SESSIONS[1::-1])):
        split(data, {trained: "train", held_out: "val", SESSIONS[2]: "test", SESSIONS[3]: "test"})
        runs.append(write_run(tmp_path / f"run-{number}", config_of(data, seeds=[number + 1])))
    with pytest.raises(DatasetError, match=r"left to calibrate on: of 24 .*run-0 on 12, .*run-1 on 12.*--calibrate-on"):
        combine(runs, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("head", ["linear", "mlp", "gaussian"])
def test_a_member_that_was_trained_in_another_local_frame_answers_the_same_place(tmp_path, dataset_dir, head):
    model = {"backbone": "resnet18", "head": head, "output_scale_m": 20.0}
    elsewhere = LocalFrame.at(*map(float, FRAME.to_geodetic(np.array([40.0, -70.0]))))
    here = write_run(tmp_path / "here", config_of(dataset_dir, model=model, seeds=[1]))
    there = write_run(tmp_path / "there", config_of(dataset_dir, model=model, seeds=[2]), frame=elsewhere)
    alone = localizer_of(combine([there], tmp_path / "alone").bundle_dir)
    together = localizer_of(combine([here, there], tmp_path / "both").bundle_dir)
    assert alone.bundle.frame == elsewhere != together.bundle.frame
    expected, estimate = alone.localize(textured_rgb()), together.localize(textured_rgb())
    found = together.bundle.frame.to_geodetic(estimate.member_means_enu_m[1])
    np.testing.assert_allclose(found, alone.bundle.frame.to_geodetic(expected.member_means_enu_m[0]), atol=1e-7)
    np.testing.assert_allclose(estimate.member_covs_enu_m2[1], expected.member_covs_enu_m2[0], rtol=1e-3, atol=1e-6)


def test_grids_with_the_same_cells_are_averaged(tmp_path, dataset_dir):
    runs = [write_run(tmp_path / f"{seed}", config_of(dataset_dir, model=GRID, seeds=[seed])) for seed in (1, 2)]
    bundle_dir = combine(runs, tmp_path / "bundle").bundle_dir
    estimate = localizer_of(bundle_dir).localize(textured_rgb())
    assert estimate.modes and estimate.member_means_enu_m.shape == (2, 2)


def test_a_bundle_gives_its_members_too(tmp_path, hybrid, dataset_dir):
    other = write_run(tmp_path / "other", config_of(dataset_dir, seeds=[7]))
    bundle = load_bundle(combine([hybrid.bundle_dir, other], tmp_path / "more").bundle_dir)
    assert [member.name for member in bundle.members][-2:] == ["42-efficientnet_lite0", "7-resnet18"]
    one, again = (localizer_of(path).localize(textured_rgb()) for path in (hybrid.bundle_dir, bundle.path))
    np.testing.assert_allclose(again.member_means_enu_m[:3], one.member_means_enu_m, atol=1e-3)


def test_a_run_without_a_record_is_known_by_its_data_set_until_that_is_split_anew(tmp_path, dataset_dir):
    data = shutil.copytree(dataset_dir, tmp_path / "set")
    run = write_run(tmp_path / "run", config_of(data), record=False)
    assert combine([run / "seed-42"], tmp_path / "bundle").val_photos == A_SESSION
    split(data, dict(zip(SESSIONS, ("train", "val", "val", "test"), strict=True)))
    with pytest.raises(DatasetError, match="split anew"):
        combine([run / "seed-42"], tmp_path / "other")


def test_folds_of_every_recipe_calibrate_a_hybrid(tmp_path, dataset_dir, resnets, lite):
    configs = config_of(dataset_dir, seeds=[42, 123]), config_of(dataset_dir, model=LITE)
    folds = [
        write_folds(tmp_path / name, config, run, SESSIONS[:3])
        for name, config, run in zip(("a", "b"), configs, (resnets, lite), strict=True)
    ]
    summary = combine([resnets, lite], tmp_path / "bundle", calibrate_on=folds)
    bundle = load_bundle(summary.bundle_dir)
    assert bundle.training["calibrated_on"] == "folds of 3 sessions" and summary.val_photos == 3 * A_SESSION
    # the folds have the members of the bundle: what they say of a photo is what the bundle says of it
    photos = load_dataset(dataset_dir)
    photos = photos[photos["session"].isin(SESSIONS[:3])]
    truth = bundle.frame.to_local(photos["latitude_deg"], photos["longitude_deg"])
    localizer = localizer_of(bundle.path)
    found = [localizer.localize(read_rgb(image_path(dataset_dir, own))).mean_enu_m for own in photos["photo_id"]]
    errors_m = np.linalg.norm(np.stack(found) - truth, axis=1)
    assert bundle.training["val_mean_error_m"] == pytest.approx(errors_m.mean(), abs=0.01)
    with pytest.raises(DatasetError, match=r"no folds of the recipe of .*lite"):
        combine([resnets, lite], tmp_path / "other", calibrate_on=folds[:1])


def test_settings_of_the_bundle_may_be_replaced_and_those_of_a_training_not(tmp_path, resnets):
    settings = ["bundle.covariance=ensemble_spread", "bundle.site_margin_m=40"]
    bundle = load_bundle(combine([resnets], tmp_path / "bundle", settings=settings).bundle_dir)
    assert bundle.calibration.covariance == "ensemble_spread" and bundle.gates.site_margin_m == 40.0
    for wrong, says in (("trainer.max_epochs=3", "members are trained"), ("bundle.typo=3", "typo")):
        with pytest.raises(ConfigError, match=says):
            combine([resnets], tmp_path / "other", settings=[wrong])


def test_what_does_not_fit_together_is_one_line_that_says_why(tmp_path, dataset_dir, resnets):
    larger = write_run(tmp_path / "larger", config_of(dataset_dir, size_px=96, seeds=[5]))
    coarse = write_run(tmp_path / "coarse", config_of(dataset_dir, model=GRID | {"cell_m": 30.0}, seeds=[5]))
    grid = write_run(tmp_path / "grid", config_of(dataset_dir, model=GRID, seeds=[6]))
    (tmp_path / "empty").mkdir()
    unfinished = shutil.copytree(resnets, tmp_path / "unfinished")
    (unfinished / "seed-123" / "member.safetensors").unlink()
    taken = tmp_path / "taken"
    taken.mkdir()
    cases = [
        ([resnets, larger], ConfigError, "images of 64 px .* of 96 px"),
        ([grid, coarse], ConfigError, "other cells"),
        ([resnets, grid], ConfigError, "grid and heads without"),
        ([resnets, resnets / "seed-42"], ConfigError, r"the same member \(seed 42\)"),
        ([tmp_path / "empty"], DatasetError, "no trained members"),
        ([unfinished], DatasetError, "seed-123 is not trained yet"),
    ]
    for runs, error, says in cases:
        with pytest.raises(error, match=says) as caught:
            combine(runs, tmp_path / "bundle")
        assert "\n" not in str(caught.value) and not (tmp_path / "bundle").exists()
    with pytest.raises(ConfigError, match="exists already"):
        combine([resnets], taken)


def test_runs_of_two_data_sets_need_the_name_of_one(tmp_path, dataset_dir, resnets):
    copied = shutil.copytree(dataset_dir, tmp_path / "copy")
    other = write_run(tmp_path / "run", config_of(copied, seeds=[9]))
    with pytest.raises(ConfigError, match="--dataset"):
        combine([resnets, other], tmp_path / "bundle")
    assert combine([resnets, other], tmp_path / "bundle", dataset_dir).val_photos == A_SESSION
