"""The backbone's leading stages, which may stay as they are while the rest is trained."""

from __future__ import annotations

from itertools import chain

from torch import nn

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.models.stages import stage_names


class Trunk(nn.Sequential):
    """The frozen stages in one piece: (B, 3, S, S) -> activations (B, C, s, s). Always in evaluation mode."""

    def __init__(self, names: list[str], modules: list[nn.Module]):
        super().__init__(*modules)
        self.names = names
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Trunk:
        # batch statistics of a frozen stage would still move
        return super().train(False)


def take_trunk(backbone: nn.Module, frozen_stages: int) -> Trunk | None:
    """Take the first stages out of a backbone, which from then on reads their activations; None for 0.

    Raises ConfigError when the backbone has not that many.
    """
    if not frozen_stages:
        return None
    stages = stage_names(backbone)
    if frozen_stages > len(stages):
        raise ConfigError(f"optimizer.frozen_stages {frozen_stages}: the backbone has {len(stages)}, the stem included")
    names = list(chain.from_iterable(stages[:frozen_stages]))
    trunk = Trunk(names, [backbone.get_submodule(name) for name in names])
    for name in names:
        backbone.set_submodule(name, nn.Identity())
    return trunk


def put_back(backbone: nn.Module, trunk: Trunk | None) -> None:
    """Undo `take_trunk`."""
    if trunk is not None:
        for name, module in zip(trunk.names, list(trunk), strict=True):
            backbone.set_submodule(name, module)
