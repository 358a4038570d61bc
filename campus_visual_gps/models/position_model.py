"""PositionModel: one member, a backbone and a head."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.models.backbones import build_backbone, get_backbone
from campus_visual_gps.models.heads import HeadOutput, build_head


@dataclass(frozen=True)
class ModelConfig:
    """What a member's network is, apart from its weights. Travels in the config, the run and the bundle.

    `output_scale_m` is for heads that regress metres, `cell_m` the side of a cell of heads with a grid.
    """

    backbone: str = "convnext_tiny"
    head: str = "mlp"
    dropout: float = 0.3
    output_scale_m: float = 1.0
    cell_m: float = 6.0

    def __post_init__(self):
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(f"dropout {self.dropout} is outside 0..1")
        if not self.output_scale_m > 0.0:
            raise ConfigError(f"output_scale_m {self.output_scale_m} must be positive metres")
        if not 0.5 <= self.cell_m <= 100.0:
            raise ConfigError(f"cell_m {self.cell_m} is outside 0.5..100 m")


class PositionModel(nn.Module):
    """Normalised (B, 3, S, S) -> HeadOutput."""

    def __init__(self, config: ModelConfig, backbone: nn.Module, head: nn.Module):
        super().__init__()
        self.config = config
        self.backbone = backbone
        self.head = head

    @property
    def cells_enu_m(self) -> Tensor | None:
        """The cells (K, 2) of the head's grid, metres; None for a head without one."""
        return getattr(self.head, "cells_enu_m", None)

    def forward(self, images: Tensor) -> HeadOutput:
        features = self.backbone(images).float()
        # In bfloat16 a coordinate of 100 m has steps of half a metre: the head stays in float32.
        with torch.autocast(images.device.type, enabled=False):
            return self.head(features)


def build_model(config: ModelConfig, weights: str = "none", cells_enu_m: Tensor | None = None) -> PositionModel:
    """PositionModel with backbone weights "imagenet", "none" or from a file, and a fresh head.

    A head with a grid needs the site's cells (K, 2), metres. Raises ConfigError.
    """
    feature_dim = get_backbone(config.backbone).feature_dim
    head = build_head(config.head, feature_dim, config.dropout, config.output_scale_m, cells_enu_m)
    return PositionModel(config, build_backbone(config.backbone, weights), head)


def build_from_state(config: ModelConfig, state: dict[str, Tensor]) -> PositionModel:
    """The network that saved this state, of whose tensors it makes no copies.

    Raises:
        ConfigError: The configuration is wrong.
        RuntimeError: The tensors do not fit.
    """
    with torch.device("meta"):  # no random weights are made only to be replaced
        model = build_model(config, cells_enu_m=state.get("head.cells_enu_m"))
    dtypes = {name: tensor.dtype for name, tensor in model.state_dict().items()}
    model.load_state_dict({name: tensor.to(dtypes.get(name)) for name, tensor in state.items()}, assign=True)
    return model
