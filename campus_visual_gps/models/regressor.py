"""ModelConfig and build_model: a backbone and a head joined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.models.backbones import build_backbone, get_backbone
from campus_visual_gps.models.heads import HeadOutput, build_head


@dataclass(frozen=True)
class ModelConfig:
    """What a member's network is, apart from its weights. Travels in the config, the run and the bundle."""

    backbone: str = "convnext_tiny"
    head: str = "mlp"
    dropout: float = 0.3
    output_scale_m: float = 1.0

    def __post_init__(self):
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(f"dropout {self.dropout} is outside 0..1")
        if not self.output_scale_m > 0.0:
            raise ConfigError(f"output_scale_m {self.output_scale_m} must be positive metres")


class RegressorOutput(NamedTuple):
    """The head's output and the (B, d) float32 features that it was computed from."""

    belief: HeadOutput
    features: Tensor


class Regressor(nn.Module):
    """Normalised (B, 3, S, S) -> RegressorOutput."""

    def __init__(self, config: ModelConfig, backbone: nn.Module, head: nn.Module):
        super().__init__()
        self.config = config
        self.backbone = backbone
        self.head = head

    def forward(self, images: Tensor) -> RegressorOutput:
        features = self.backbone(images).float()
        # In bfloat16 a coordinate of 100 m has steps of half a metre: the head stays in float32.
        with torch.autocast(images.device.type, enabled=False):
            return RegressorOutput(self.head(features), features)


def build_model(config: ModelConfig, weights: str = "none") -> Regressor:
    """Regressor with backbone weights "imagenet", "none" or from a file, and a fresh head. Raises ConfigError."""
    feature_dim = get_backbone(config.backbone).feature_dim
    head = build_head(config.head, feature_dim, config.dropout, config.output_scale_m)
    return Regressor(config, build_backbone(config.backbone, weights), head)
