"""The backbone's leading stages apart: frozen while the rest is trained, and run once for members that share them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from itertools import chain

import torch
from torch import Tensor, nn

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.models.stages import stage_names


class FrozenStages(nn.Sequential):
    """Leading stages in one piece: (B, 3, S, S) -> activations (B, C, s, s). Frozen, always in evaluation mode."""

    def __init__(self, names: list[str], modules: list[nn.Module]):
        super().__init__(*modules)
        self.names = names
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> FrozenStages:
        # batch statistics of a frozen stage would still move
        return super().train(False)


def split_frozen_stages(backbone: nn.Module, stages: int) -> FrozenStages | None:
    """Take the first stages out of a backbone, which from then on reads their activations; None for 0.

    Raises ConfigError when the backbone has not that many.
    """
    if not stages:
        return None
    names = _names(backbone, stages)
    frozen = FrozenStages(names, [backbone.get_submodule(name) for name in names])
    for name in names:
        backbone.set_submodule(name, nn.Identity())
    return frozen


def merge_frozen_stages(backbone: nn.Module, frozen: FrozenStages | None) -> None:
    """Undo `split_frozen_stages`."""
    if frozen is not None:
        for name, module in zip(frozen.names, list(frozen), strict=True):
            backbone.set_submodule(name, module)


def without_trunk(backbone: nn.Module, stages: int) -> nn.Module:
    """The same backbone, weights and all, but for its first stages, whose activations it reads.

    Raises ConfigError when the backbone has not that many.
    """
    left_as_they_are = {id(tensor): tensor for tensor in chain(backbone.parameters(), backbone.buffers())}
    left_out = {id(backbone.get_submodule(name)): nn.Identity() for name in _names(backbone, stages)}
    return deepcopy(backbone, left_as_they_are | left_out)


def common_stages(backbones: Sequence[nn.Module]) -> int:
    """How many leading stages have the same weights in all backbones, as those that training froze have."""
    first, *others = backbones
    if any(stage_names(other) != stage_names(first) for other in others):
        return 0
    for count, names in enumerate(stage_names(first)):
        own = _tensors(first, names)
        if not all(_equal(own, _tensors(other, names)) for other in others):
            return count
    return len(stage_names(first))


@contextmanager
def output_of_trunk(backbone: nn.Module, stages: int) -> Iterator[list[Tensor]]:
    """Collects what the first stages give, (B, C, s, s), each time that the backbone runs."""
    collected: list[Tensor] = []
    last = backbone.get_submodule(stage_names(backbone)[stages - 1][-1])
    handle = last.register_forward_hook(lambda _module, _inputs, output: collected.append(output))
    try:
        yield collected
    finally:
        handle.remove()


def _names(backbone: nn.Module, stages: int) -> list[str]:
    names = stage_names(backbone)
    if stages > len(names):
        raise ConfigError(f"optimizer.frozen_stages {stages}: the backbone has {len(names)}, the stem included")
    return list(chain.from_iterable(names[:stages]))


def _tensors(backbone: nn.Module, names: Sequence[str]) -> dict[str, Tensor]:
    modules = {name: backbone.get_submodule(name) for name in names}
    return {f"{name}.{key}": value for name, module in modules.items() for key, value in module.state_dict().items()}


def _equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())
