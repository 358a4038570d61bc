"""SiteModel: all members and the image descriptors as one module, in batches, compiled and exported."""

import numpy as np
import pytest
import torch
from helpers import MIDDLE_CHANNELS, ROOT, make_bundle, make_members, make_reference, textured_rgb
from torch import nn

from campus_visual_gps import Localizer
from campus_visual_gps.bundle import load_bundle
from campus_visual_gps.engines.torch_engine import TorchEngine, to_model_outputs
from campus_visual_gps.errors import ConfigError
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
    SiteModel,
)
from campus_visual_gps.models.stages import stage_names
from campus_visual_gps.preprocess import ImageSpec, normalise, prepare

pytestmark = pytest.mark.slow  # builds networks

SIZE_PX = 64
CELLS = np.stack(np.meshgrid(np.arange(6), np.arange(5)), axis=-1).reshape(-1, 2) * 6.0
SAMPLE = ROOT / "sample"
BACKBONES = ["resnet18", "efficientnet_lite0", "swin_t", "convnext_tiny"]


def image_spec(backbone: str) -> ImageSpec:
    described = get_backbone(backbone)
    return ImageSpec(SIZE_PX, described.mean, described.std)


def images(count: int) -> torch.Tensor:
    """(N, S, S, 3) uint8."""
    return torch.from_numpy(np.stack([textured_rgb(SIZE_PX, SIZE_PX, seed) for seed in range(count)]))


def networks(backbone: str, shared_stages: int = 0, cells: np.ndarray | None = CELLS):
    """Two members, whose leading stages may have the same weights."""
    one, other = (network for _, network in make_members((1, 2), backbone, cells_enu_m=cells))
    with torch.no_grad():
        for names in stage_names(one.backbone)[:shared_stages]:
            for name in names:
                other.backbone.get_submodule(name).load_state_dict(one.backbone.get_submodule(name).state_dict())
    return [one, other]


@torch.inference_mode()
def run(model: nn.Module, batch: torch.Tensor) -> dict[str, torch.Tensor]:
    return model(batch)


def greatest_difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name].double() - other[name].double()).abs().max()) for name in one)


@pytest.fixture(scope="module")
def described():
    """A SiteModel of two ResNets with grids and a fitted extractor, and its outputs for two images."""
    members = networks("resnet18", shared_stages=3)
    reference = make_reference([(1, members[0])], image_spec("resnet18"), CELLS)
    model = SiteModel(members, image_spec("resnet18"), reference.extractor)
    return model, run(model, images(2))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_outputs_are_those_of_the_members_one_by_one(backbone):
    members, batch, image = networks(backbone, shared_stages=3), images(2), image_spec(backbone)
    model = SiteModel(members, image)
    together = run(model, batch)
    assert model.shared_stages == 3 and model.member_count == 2
    with torch.inference_mode():
        alone = [member(normalise(batch, image)) for member in members]
    for index, own in enumerate(alone):
        torch.testing.assert_close(together[MEMBER_MEANS][:, index], own.mean_enu_m, atol=1e-4, rtol=0)
        torch.testing.assert_close(together[MEMBER_COVS][:, index], own.cov_enu_m2, atol=1e-2, rtol=1e-4)
        torch.testing.assert_close(together[GRID_LOG_PROBS][:, index], own.grid_log_probs, atol=1e-4, rtol=0)
    one_by_one = [run(model, batch[row : row + 1]) for row in range(2)]
    joined = {name: torch.cat([own[name] for own in one_by_one]) for name in together}
    assert greatest_difference({MEMBER_MEANS: joined[MEMBER_MEANS]}, {MEMBER_MEANS: together[MEMBER_MEANS]}) < 1e-4
    torch.testing.assert_close(joined[POOLED_FEATURES], together[POOLED_FEATURES], atol=1e-4, rtol=1e-4)
    assert together[OOD_FEATURES].shape[1] == MIDDLE_CHANNELS.get(backbone, together[OOD_FEATURES].shape[1])


def test_stages_that_members_share_run_once_and_all_others_once_a_member():
    members = networks("resnet18", shared_stages=4)
    model, separate = (SiteModel(members, image_spec("resnet18"), shared_stages=count) for count in (None, 0))
    calls: dict[str, int] = {}

    def count_calls(name: str):
        def hook(*_) -> None:
            calls[name] = calls.get(name, 0) + 1

        return hook

    convolutions = {name: module for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    for name, module in convolutions.items():
        module.register_forward_hook(count_calls(name))
    together = run(model, images(1))
    assert model.shared_stages == 4
    assert set(calls.values()) == {1} and len(calls) == len(convolutions)
    in_all = sum(isinstance(module, nn.Conv2d) for module in members[0].modules())
    last_stage = sum(isinstance(module, nn.Conv2d) for module in members[0].backbone.layer4.modules())
    assert len(calls) == in_all + last_stage
    assert greatest_difference(together, run(separate, images(1))) < 1e-4


@pytest.mark.parametrize("shared_stages", [1, 2, 4, 5])
def test_however_many_stages_are_shared_the_outputs_are_the_same(shared_stages):
    members = networks("resnet18", shared_stages)
    model, separate = (SiteModel(members, image_spec("resnet18"), shared_stages=count) for count in (None, 0))
    assert model.shared_stages == shared_stages
    assert greatest_difference(run(model, images(1)), run(separate, images(1))) < 1e-4


def test_several_models_may_be_built_of_the_same_members():
    members = networks("resnet18", shared_stages=2)
    before = {name: tensor.clone() for name, tensor in members[1].state_dict().items()}
    first = SiteModel(members, image_spec("resnet18"))
    expected = run(first, images(1))
    second = SiteModel(members, image_spec("resnet18"))
    assert greatest_difference(run(second, images(1)), expected) == 0.0
    assert greatest_difference(run(first, images(1)), expected) == 0.0
    after = members[1].state_dict()
    assert list(after) == list(before) and all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_model_is_built_of_members_of_which_an_engine_moved_some_to_its_device():
    members = networks("resnet18", shared_stages=2)
    TorchEngine(SiteModel(members[:1], image_spec("resnet18")), "cuda")
    assert TorchEngine(SiteModel(members, image_spec("resnet18")), "cuda").run(images(1).numpy()).finite.all()


def test_members_without_batch_norm_share_their_weights_with_the_model_and_are_not_copied():
    members = networks("convnext_tiny", shared_stages=2)
    own = {parameter.data_ptr() for member in members for parameter in member.parameters()}
    model = SiteModel(members, image_spec("convnext_tiny"))
    assert {parameter.data_ptr() for parameter in model.parameters()} <= own


def test_with_an_extractor_there_are_descriptors_and_without_the_local_features(described):
    model, outputs = described
    assert DESCRIPTORS in outputs and not set(LOCAL_FEATURES) & set(outputs)
    np.testing.assert_allclose(np.linalg.norm(outputs[DESCRIPTORS], axis=1), 1.0, rtol=1e-5)
    local = outputs[LOCAL_DESCRIPTORS]
    assert local.dtype == torch.int8 and local.ndim == 3 and int(local.abs().max()) > 50
    bare = run(SiteModel(networks("resnet18"), image_spec("resnet18")), images(2))
    assert not {DESCRIPTORS, LOCAL_DESCRIPTORS} & set(bare)
    assert [tuple(bare[name].shape) for name in LOCAL_FEATURES] == [(2, 8, 8, 128), (2, 4, 4, 256)]
    expected = model.extractor.describe(bare[POOLED_FEATURES].numpy(), [bare[name].numpy() for name in LOCAL_FEATURES])
    np.testing.assert_allclose(outputs[DESCRIPTORS], expected.global_descriptors, atol=2e-3)
    assert np.abs(local.numpy().astype(int) - expected.local_descriptors).max() <= 1


def test_heads_without_a_grid_have_no_log_probabilities():
    model = SiteModel(networks("resnet18", cells=None), image_spec("resnet18"))
    outputs = run(model, images(1))
    assert GRID_LOG_PROBS not in outputs and model.cells_enu_m is None
    assert float(outputs[MEMBER_COVS].abs().max()) == 0.0


def test_members_whose_grids_differ_are_an_error():
    with pytest.raises(ConfigError, match="cells"):
        SiteModel([networks("resnet18")[0], networks("resnet18", cells=CELLS + 6.0)[1]], image_spec("resnet18"))
    with pytest.raises(ConfigError, match="cells"):
        SiteModel([networks("resnet18")[0], networks("resnet18", cells=None)[1]], image_spec("resnet18"))


def test_the_models_outputs_become_arrays_with_metres_in_float64(described):
    model, expected = described
    outputs = TorchEngine(model, "cpu", "fp32").run(images(2).numpy())
    assert len(outputs) == 2 and outputs.finite.all()
    assert outputs.member_means_enu_m.dtype == outputs.grid_log_probs.dtype == np.float64
    np.testing.assert_allclose(outputs.member_means_enu_m, expected[MEMBER_MEANS], atol=1e-4)
    assert outputs.local_features is None and outputs.local_descriptors.dtype == np.int8
    first = outputs.rows(np.array([True, False]))
    assert len(first) == 1
    again = type(outputs).concatenate([first, outputs.rows(slice(1, 2))])
    np.testing.assert_array_equal(again.descriptors, outputs.descriptors)


def test_only_the_image_that_is_not_finite_is_masked(described):
    _, expected = described
    arrays = {name: tensor.numpy().copy() for name, tensor in expected.items()}
    arrays[MEMBER_MEANS][1, 0, 0] = np.nan
    arrays[GRID_LOG_PROBS][0, 0, 0] = -np.inf  # a probability of zero
    outputs = to_model_outputs(arrays)
    assert outputs.finite.tolist() == [True, False]
    assert np.isfinite(outputs.member_means_enu_m[0]).all() and np.isnan(outputs.member_means_enu_m[1]).all()
    assert np.isnan(outputs.member_covs_enu_m2[1]).all() and np.isnan(outputs.grid_log_probs[1]).all()
    for array in (outputs.descriptors, outputs.local_descriptors, outputs.ood_features, outputs.pooled_features):
        assert not array[1].any() and array[0].any()


@pytest.mark.parametrize("name", [MEMBER_COVS, GRID_LOG_PROBS, OOD_FEATURES, POOLED_FEATURES, DESCRIPTORS])
def test_a_nan_in_any_output_makes_the_image_not_finite(described, name):
    arrays = {key: tensor.numpy().copy() for key, tensor in described[1].items()}
    arrays[name].reshape(2, -1)[0, 0] = np.nan
    assert to_model_outputs(arrays).finite.tolist() == [False, True]


def test_weights_that_are_nan_give_outputs_that_are_not_finite():
    members = networks("resnet18")
    with torch.no_grad():
        members[1].backbone.layer4[0].conv1.weight[0, 0, 0, 0] = torch.nan
    outputs = TorchEngine(SiteModel(members, image_spec("resnet18")), "cpu", "fp32").run(images(2).numpy())
    assert not outputs.finite.any() and np.isnan(outputs.member_means_enu_m).all()


@pytest.mark.parametrize("backbone", ["resnet18", "efficientnet_lite0"])
def test_compiled_as_one_graph_it_gives_the_same_numbers(backbone):
    members = networks(backbone, shared_stages=3)
    extractor = make_reference([(1, members[0])], image_spec(backbone), CELLS).extractor
    model = SiteModel(members, image_spec(backbone), extractor)
    torch.compiler.reset()
    with torch.no_grad():
        outputs = torch.compile(model, fullgraph=True, backend="eager")(images(2))
    assert greatest_difference(outputs, run(model, images(2))) < 1e-4


@pytest.mark.parametrize("backbone", ["resnet18", "efficientnet_lite0"])
def test_exported_it_takes_any_batch_and_gives_the_same_numbers(backbone):
    members = networks(backbone, shared_stages=3)
    extractor = make_reference([(1, members[0])], image_spec(backbone), CELLS).extractor
    model = SiteModel(members, image_spec(backbone), extractor)
    batch = {0: torch.export.Dim("batch", min=1, max=64)}
    exported = torch.export.export(model, (images(2),), dynamic_shapes=(batch,)).module()
    for count in (1, 3):
        assert greatest_difference(run(exported, images(count)), run(model, images(count))) < 1e-3


def described_bundle(directory):
    """A bundle of two members that share stages, with grids, a retrieval prior and a fitted extractor."""
    from campus_visual_gps.estimation.calibration import Calibration
    from campus_visual_gps.retrieval.prior import RetrievalPriorConfig

    members = networks("resnet18", shared_stages=3)
    named = list(zip((1, 2), members, strict=True))
    return make_bundle(
        directory,
        members=named,
        reference=make_reference(named, image_spec("resnet18"), CELLS),
        calibration=Calibration(5.0, temperature=1.5, retrieval_prior=RetrievalPriorConfig(0.5, 8.0, 0.1)),
    )


@pytest.mark.parametrize("bundle", ["made", "sample"])
def test_onnx_runtime_gives_the_same_positions(bundle, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    path = SAMPLE / "bundle" if bundle == "sample" else described_bundle(tmp_path / "bundle")
    if not path.is_dir():
        pytest.skip("sample/bundle does not exist")
    localizer = Localizer.load(path, device="cpu", precision="fp32", warm_up=False)
    model, image = localizer.engine.model, load_bundle(path).image
    photos = sample_photos() if bundle == "sample" else [textured_rgb(480, 640, seed) for seed in range(3)]
    inputs = np.stack([prepare(rgb, image) for rgb in photos])
    file = tmp_path / "site_model.onnx"
    batch = torch.export.Dim("batch", min=1, max=64)
    torch.onnx.export(
        model, (torch.from_numpy(inputs),), file, dynamo=True, dynamic_shapes=({0: batch},), verbose=False
    )
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = list(run(model, torch.from_numpy(inputs[:1])))
    assert len(names) == len(session.get_outputs())
    for rows in (slice(0, 1), slice(0, len(inputs))):
        arrays = session.run(None, {session.get_inputs()[0].name: inputs[rows]})
        found, expected = (to_model_outputs(dict(zip(names, arrays, strict=True))), localizer.engine.run(inputs[rows]))
        one, other = (estimated(localizer, outputs) for outputs in (found, expected))
        np.testing.assert_allclose(one.mean_enu_m, other.mean_enu_m, atol=1e-3)
        np.testing.assert_allclose(one.cov_enu_m2, other.cov_enu_m2, rtol=1e-3)


def sample_photos() -> list[np.ndarray]:
    """The first photo of every session of the sample."""
    from training.photos.decode import load_rgb

    return [load_rgb(next(iter(sorted(session.glob("*.heic"))))) for session in sorted((SAMPLE / "photos").iterdir())]


def estimated(localizer: Localizer, outputs):
    """The posterior of outputs, with the bundle's reference photos."""
    retrieval = None
    if localizer.index is not None:
        retrieval = localizer.index.search(outputs.descriptors, outputs.local_descriptors)
    return localizer.estimator.estimate(outputs, retrieval, np.full(len(outputs), 120.0))
