"""Heads by name: (B, d) features -> HeadOutput, in metres of the local frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn

from campus_visual_gps.errors import ConfigError


class HeadOutput(NamedTuple):
    """One member's belief: mean (B, 2) east/north metres and covariance (B, 2, 2) square metres.

    A head that regresses a point claims no spread of its own: its covariance is zero.
    """

    mean_enu_m: Tensor
    cov_enu_m2: Tensor


class PointHead(nn.Module):
    """Layers whose two outputs, times `output_scale_m`, are the position in metres.

    With a scale of 1 m this is the paper's head. A scale near the site's extent puts the outputs near -1..1, so
    that the head does not spend its first epochs growing its weights to hundreds of metres.
    """

    def __init__(self, layers: nn.Module, output_scale_m: float):
        super().__init__()
        self.layers = layers
        self.output_scale_m = output_scale_m

    def forward(self, features: Tensor) -> HeadOutput:
        mean = self.layers(features) * self.output_scale_m
        return HeadOutput(mean, mean.new_zeros(mean.shape[0], 2, 2))


def _linear(feature_dim: int, dropout: float) -> nn.Module:
    return nn.Linear(feature_dim, 2)


def _mlp(feature_dim: int, dropout: float) -> nn.Module:
    # paper, section 3.2
    return nn.Sequential(
        nn.Linear(feature_dim, 512),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(512, 128),
        nn.GELU(),
        nn.Linear(128, 2),
    )


HEADS: dict[str, Callable[[int, float], nn.Module]] = {"linear": _linear, "mlp": _mlp}


def build_head(name: str, feature_dim: int, dropout: float = 0.3, output_scale_m: float = 1.0) -> nn.Module:
    """Head of that name for d features. Raises ConfigError that lists the known ones."""
    if name not in HEADS:
        raise ConfigError(f"unknown head {name!r}; known: {', '.join(HEADS)}")
    return PointHead(HEADS[name](feature_dim, dropout), output_scale_m)
