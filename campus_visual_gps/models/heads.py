"""Heads by name: (B, d) features -> HeadOutput, in metres of the local frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from campus_visual_gps.errors import ConfigError

GAUSSIAN = "gaussian"
PROBABILITY_MAP = "probability_map"

# No phone label is more accurate and no site is wider; the limits keep the likelihood of a Gaussian bounded.
MIN_SIGMA_M, MAX_SIGMA_M = 1.0, 1000.0
MAX_CORRELATION = 0.99


class HeadOutput(NamedTuple):
    """One member's output for B images.

    mean_enu_m (B, 2) east and north metres; cov_enu_m2 (B, 2, 2) square metres, float64 for a Gaussian, zero for a head
    that regresses a point; grid_log_probs (B, K) log probabilities of the site's K cells, None without a grid.
    """

    mean_enu_m: Tensor
    cov_enu_m2: Tensor
    grid_log_probs: Tensor | None = None


class PointHead(nn.Module):
    """Layers whose two outputs, times `output_scale_m`, are the position in metres.

    With a scale of 1 m this is the paper's head (section 3.2). A scale near the site's extent keeps the outputs near
    -1..1, so that the weights need not grow to hundreds of metres in the first epochs.
    """

    def __init__(self, layers: nn.Module, output_scale_m: float):
        super().__init__()
        self.layers = layers
        self.output_scale_m = output_scale_m

    def forward(self, features: Tensor) -> HeadOutput:
        mean = self.layers(features) * self.output_scale_m
        return HeadOutput(mean, mean.new_zeros(mean.shape[0], 2, 2))


class GaussianHead(nn.Module):
    """Layers whose five outputs are the mean, two sigmas in `output_scale_m`, and a correlation.

    Sigmas and correlation make the Cholesky factor of the covariance. They are bounded, so that it is positive definite
    whatever the layers say, and multiplied in float64: in float32 a long, thin ellipse would lose its short axis.
    """

    def __init__(self, layers: nn.Module, output_scale_m: float):
        super().__init__()
        self.layers = layers
        self.output_scale_m = output_scale_m

    def forward(self, features: Tensor) -> HeadOutput:
        outputs = self.layers(features)
        sigmas = functional.softplus(outputs[:, 2:4]) * self.output_scale_m + MIN_SIGMA_M
        east, north = sigmas.double().clamp(max=MAX_SIGMA_M).unbind(1)
        correlation = MAX_CORRELATION * torch.tanh(outputs[:, 4].double())
        rows = [east, torch.zeros_like(east), correlation * north, (1.0 - correlation.square()).sqrt() * north]
        factor = torch.stack(rows, dim=1).view(-1, 2, 2)
        return HeadOutput(outputs[:, :2] * self.output_scale_m, factor @ factor.mT)


class GridHead(nn.Module):
    """Layers whose K outputs are logits over the site's cells (K, 2), east/north metres of their centres."""

    cells_enu_m: Tensor
    _monomials: Tensor

    def __init__(self, layers: nn.Module, cells_enu_m: Tensor):
        super().__init__()
        self.layers = layers
        self.register_buffer("cells_enu_m", cells_enu_m.float())
        east, north = self.cells_enu_m.unbind(1)
        # one product with these gives all moments; they follow from the cells and are not saved
        monomials = torch.stack([east, north, east * east, east * north, north * north], dim=1)
        self.register_buffer("_monomials", monomials, persistent=False)

    def forward(self, features: Tensor) -> HeadOutput:
        grid_log_probs = functional.log_softmax(self.layers(features), dim=1)
        x, y, xx, xy, yy = (grid_log_probs.exp() @ self._monomials).unbind(1)
        cov = torch.stack([xx - x * x, xy - x * y, xy - x * y, yy - y * y], dim=1).view(-1, 2, 2)
        return HeadOutput(torch.stack([x, y], dim=1), cov, grid_log_probs)


def _linear(feature_dim: int, dropout: float, outputs: int) -> nn.Module:
    return nn.Linear(feature_dim, outputs)


def _mlp(feature_dim: int, dropout: float, outputs: int) -> nn.Module:
    # paper, section 3.2
    return nn.Sequential(
        nn.Linear(feature_dim, 512),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(512, 128),
        nn.GELU(),
        nn.Linear(128, outputs),
    )


POINT_HEADS: dict[str, Callable[[int, float, int], nn.Module]] = {"linear": _linear, "mlp": _mlp}
HEADS = (*POINT_HEADS, GAUSSIAN, PROBABILITY_MAP)


def build_head(
    name: str,
    feature_dim: int,
    dropout: float = 0.3,
    output_scale_m: float = 1.0,
    cells_enu_m: Tensor | None = None,
) -> nn.Module:
    """Head of that name for d features; `probability_map` wants the site's cells (K, 2), metres.

    Raises ConfigError that lists the known names.
    """
    if name in POINT_HEADS:
        return PointHead(POINT_HEADS[name](feature_dim, dropout, 2), output_scale_m)
    if name == GAUSSIAN:
        return GaussianHead(_mlp(feature_dim, dropout, 5), output_scale_m)
    if name != PROBABILITY_MAP:
        raise ConfigError(f"unknown head {name!r}; known: {', '.join(HEADS)}")
    if cells_enu_m is None or cells_enu_m.ndim != 2 or cells_enu_m.shape[1] != 2 or not len(cells_enu_m):
        raise ConfigError(f"head {name} needs the site's cells, (K, 2) metres")
    layers = nn.Sequential(nn.Dropout(dropout), nn.Linear(feature_dim, len(cells_enu_m)))
    return GridHead(layers, cells_enu_m)
