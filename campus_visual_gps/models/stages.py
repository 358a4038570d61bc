"""The stages of a backbone: named, split off while the rest is trained, shared by members, and read as feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from campus_visual_gps.errors import ConfigError

# Local features form a raster of about so many a side: finer feature maps are averaged over squares of that size.
LOCAL_FEATURES_PER_SIDE = 10
# A bundle keeps the stages that all members share in this file.
SHARED_STAGES = "shared_stages.safetensors"


def stage_names(backbone: nn.Module) -> list[tuple[str, ...]]:
    """Names of the submodules of each stage in the order of the forward pass; the stem is the first stage.

    Raises:
        ConfigError: the backbone is of an unknown architecture.
    """
    features, layer4, blocks = (getattr(backbone, name, None) for name in ("features", "layer4", "blocks"))
    if isinstance(features, nn.Sequential):  # torchvision's ConvNeXt, EfficientNet and Swin
        return [(f"features.{index}",) for index in range(len(features))]
    if layer4 is not None:  # ResNet
        return [("conv1", "bn1", "relu", "maxpool"), *((f"layer{index}",) for index in range(1, 5))]
    if isinstance(blocks, nn.Sequential):  # EfficientNet-Lite
        return [("conv_stem", "bn1"), *((f"blocks.{index}",) for index in range(len(blocks)))]
    raise ConfigError(f"the stages of {type(backbone).__name__} are not known")


class FrozenStages(nn.Sequential):
    """The first stages of a backbone, not trained, always in evaluation mode: (B, 3, S, S) -> (B, C, s, s)."""

    def __init__(self, names: list[str], modules: list[nn.Module]):
        super().__init__(*modules)
        self.names = names
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> FrozenStages:
        """Stay in evaluation mode: the batch statistics of a frozen stage must not move."""
        super().train(False)
        return self


def split_frozen_stages(backbone: nn.Module, count: int) -> FrozenStages | None:
    """Move the first `count` stages out of a backbone, which from then on takes their feature map; None for 0.

    Raises:
        ConfigError: the backbone has fewer stages.
    """
    if not count:
        return None
    names = _module_names(backbone, count)
    frozen = FrozenStages(names, [backbone.get_submodule(name) for name in names])
    for name in names:
        backbone.set_submodule(name, nn.Identity())
    return frozen


def merge_frozen_stages(backbone: nn.Module, frozen: FrozenStages | None) -> None:
    """Undo `split_frozen_stages`."""
    if frozen is not None:
        for name, module in zip(frozen.names, list(frozen), strict=True):
            backbone.set_submodule(name, module)


def without_stages(backbone: nn.Module, count: int) -> nn.Module:
    """A backbone with the same weights (not copied) that takes the feature map of the first `count` stages.

    Raises:
        ConfigError: the backbone has fewer stages.
    """
    kept_tensors = {id(tensor): tensor for tensor in chain(backbone.parameters(), backbone.buffers())}
    replaced = {id(backbone.get_submodule(name)): nn.Identity() for name in _module_names(backbone, count)}
    memo: dict[int, object] = {**kept_tensors, **replaced}
    return deepcopy(backbone, memo)


def shared_stage_count(backbones: Sequence[nn.Module]) -> int:
    """How many leading stages have the same weights in all backbones; 0 for a single one."""
    first, *others = backbones
    if not others or any(stage_names(other) != stage_names(first) for other in others):
        return 0
    for count, names in enumerate(stage_names(first)):
        own = stage_tensors(first, names)
        if not all(_equal(own, stage_tensors(other, names)) for other in others):
            return count
    return len(stage_names(first))


def stage_tensors(backbone: nn.Module, names: Sequence[str]) -> dict[str, Tensor]:
    """The parameters and buffers of some submodules by their name in the backbone."""
    modules = {name: backbone.get_submodule(name) for name in names}
    return {f"{name}.{key}": value for name, module in modules.items() for key, value in module.state_dict().items()}


def feature_stages(backbone: nn.Module) -> list[int]:
    """Indices of the stages that describe an image: from the middle one to the last but one.

    The last stage is left out: it is trained to tell the training photos apart, and sees new ones otherwise.
    """
    count = len(stage_names(backbone))
    return list(range(count // 2, count - 1))


class StagedBackbone(nn.Module):
    """A backbone stage by stage, with the same weights (not copied): the feature maps of some stages, and its output.

    Args:
        backbone: The whole backbone. It is not changed, but set to evaluation mode.
        stages: Indices of the stages whose feature maps are returned.
        skip: So many leading stages are left out: the module takes their feature map.
        with_output: Also return the backbone's output as "features" (B, d).
    """

    def __init__(self, backbone: nn.Module, stages: Sequence[int], skip: int, with_output: bool):
        super().__init__()
        names = stage_names(backbone.eval())
        count = len(names) if with_output else max(stages) + 1
        self.stages = nn.ModuleList(
            nn.Sequential(*(backbone.get_submodule(name) for name in names[index])) for index in range(skip, count)
        )
        self.rest = without_stages(backbone, len(names)) if with_output else None
        self._returned = [f"stage_{index}" if index in stages else None for index in range(skip, count)]

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Images (B, 3, S, S), or a feature map -> {"stage_<index>": feature map, "features": (B, d)}."""
        found: dict[str, Tensor] = {}
        for stage, name in zip(self.stages, self._returned, strict=True):
            images = stage(images)
            if name is not None:
                found[name] = images
        if self.rest is not None:
            found["features"] = self.rest(images)
        return found


def has_channels_last(backbone: nn.Module) -> bool:
    """Whether feature maps are (B, s, s, C), as Swin's, in the place of (B, C, s, s)."""
    return type(backbone).__name__ == "SwinTransformer"


def pooled_features(feature_maps: Sequence[Tensor]) -> list[Tensor]:
    """Mean and standard deviation (B, C) float32 over all positions of each (B, C, s, s), one after the other."""
    pooled = []
    for feature_map in feature_maps:
        std, mean = torch.std_mean(feature_map.float(), dim=(2, 3), correction=0)
        pooled += [mean, std]
    return pooled


def local_features(feature_maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """(B, g, g, C) float32 of the last two of the feature maps (B, C, s, s), the finer raster first.

    Finer rasters are averaged so that g is about LOCAL_FEATURES_PER_SIDE: more find no more (docs/results.md).
    """
    chosen = sorted(feature_maps[-2:], key=lambda feature_map: -feature_map.shape[-1])
    return tuple(avg_pool2d(chosen_map.float(), _stride(chosen_map.shape[-1])).movedim(1, -1) for chosen_map in chosen)


def _stride(side: int) -> int:
    return max(1, round(side / LOCAL_FEATURES_PER_SIDE))


def _module_names(backbone: nn.Module, count: int) -> list[str]:
    names = stage_names(backbone)
    if count > len(names):
        raise ConfigError(f"optimizer.frozen_stages {count}: the backbone has {len(names)}, the stem included")
    return list(chain.from_iterable(names[:count]))


def _equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())
