"""The stages of a backbone, and what leaves the one in the middle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from campus_visual_gps.errors import ConfigError


def stage_names(backbone: nn.Module) -> list[tuple[str, ...]]:
    """Names of the submodules of each leading stage, in the order of the forward pass; the stem is the first.

    Raises ConfigError for a backbone of an unknown make.
    """
    if hasattr(backbone, "features"):  # torchvision's ConvNeXt, EfficientNet and Swin
        return [(f"features.{index}",) for index in range(len(backbone.features))]
    if hasattr(backbone, "layer4"):  # ResNet
        return [("conv1", "bn1", "relu", "maxpool"), *((f"layer{index}",) for index in range(1, 5))]
    if hasattr(backbone, "conv_stem"):  # timm's EfficientNet
        return [("conv_stem", "bn1"), *((f"blocks.{index}",) for index in range(len(backbone.blocks)))]
    raise ConfigError(f"the stages of {type(backbone).__name__} are not known")


@contextmanager
def middle_activations(backbone: nn.Module) -> Iterator[list[Tensor]]:
    """Collects what the middle stage gives, one tensor (B, C, s, s) for every forward pass inside.

    Half way through a backbone the features still tell textures and materials of any place apart; at its end a network
    that was trained on one site knows little else.
    """
    stages = stage_names(backbone)
    module = backbone.get_submodule(stages[len(stages) // 2][-1])
    collected: list[Tensor] = []

    def collect(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        collected.append(output.movedim(-1, 1) if _channels_come_last(backbone) else output)

    handle = module.register_forward_hook(collect)
    try:
        yield collected
    finally:
        handle.remove()


def channel_means(activations: Tensor) -> Tensor:
    """(B, C, s, s) of any precision -> (B, C) float32."""
    return activations.mean(dim=(2, 3), dtype=torch.float32)


def _channels_come_last(backbone: nn.Module) -> bool:
    return type(backbone).__name__ == "SwinTransformer"
