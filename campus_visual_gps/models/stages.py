"""The stages of a backbone, and what the later half of them says of an image."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from campus_visual_gps.errors import ConfigError

# An image has about so many parts a side: means of as many activations as that takes.
PARTS_A_SIDE = 10


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
def late_activations(backbone: nn.Module) -> Iterator[list[Tensor]]:
    """Collects what the stages from the middle one on give, tensors (B, C, s, s) in the order of the forward pass."""
    collected: list[Tensor] = []

    def collect(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        collected.append(output.movedim(-1, 1) if _channels_come_last(backbone) else output)

    stages = stage_names(backbone)
    late = [backbone.get_submodule(names[-1]) for names in stages[len(stages) // 2 :]]
    handles = [module.register_forward_hook(collect) for module in late]
    try:
        yield collected
    finally:
        for handle in handles:
            handle.remove()


def channel_statistics(activations: list[Tensor]) -> list[Tensor]:
    """Means and standard deviations (B, C) float32 over the places of each of the (B, C, s, s), one after the other."""
    statistics = []
    for stage in activations:
        std, mean = torch.std_mean(stage.float(), dim=(2, 3), correction=0)
        statistics += [mean, std]
    return statistics


def local_activations(activations: list[Tensor]) -> tuple[Tensor, ...]:
    """(B, g, g, C) float32 of the two stages before the last one of (B, C, s, s), the finer raster first.

    There are still parts of a scene to be told apart; the last stage has few places, and is trained on the site.
    Finer rasters are means of squares of activations, so that g is about PARTS_A_SIDE: more find no more
    (docs/results.md), and take time.
    """
    chosen = sorted(activations[-3:-1], key=lambda stage: -stage.shape[-1])
    return tuple(avg_pool2d(stage.float(), _step(stage.shape[-1])).movedim(1, -1) for stage in chosen)


def _step(side: int) -> int:
    return max(1, round(side / PARTS_A_SIDE))


def _channels_come_last(backbone: nn.Module) -> bool:
    return type(backbone).__name__ == "SwinTransformer"
