"""Losses of the heads; each returns per-sample terms (B,)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from campus_visual_gps.models.heads import GAUSSIAN, PROBABILITY_MAP, HeadOutput
from training.config import TrainConfig


def huber(mean_enu_m: Tensor, target_enu_m: Tensor, delta_m: float = 1.0) -> Tensor:
    """Huber loss of (B, 2) positions, the mean over both axes: linear beyond `delta_m` (paper, section 3.4)."""
    return functional.huber_loss(mean_enu_m, target_enu_m, reduction="none", delta=delta_m).mean(dim=1)


def beta_nll(mean_enu_m: Tensor, cov_enu_m2: Tensor, target_enu_m: Tensor, beta: float = 0.5) -> Tensor:
    """Negative log likelihood of (B, 2) positions under Gaussians (B, 2, 2), weighed by their variance^beta.

    Without the weight, samples whose variance has grown are hardly trained on any more (Seitzer et al., On the
    Pitfalls of Heteroscedastic Uncertainty Estimation, ICLR 2022); the variance of two axes is sqrt(det).
    """
    factor = torch.linalg.cholesky(cov_enu_m2)
    offset = (target_enu_m - mean_enu_m).to(cov_enu_m2.dtype).unsqueeze(-1)
    whitened = torch.linalg.solve_triangular(factor, offset, upper=False)
    log_det = 2.0 * factor.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
    nll = 0.5 * (whitened.squeeze(-1).square().sum(dim=-1) + log_det)
    return nll * (0.5 * beta * log_det).exp().detach()


def grid_cross_entropy(grid_log_probs: Tensor, cells_enu_m: Tensor, target_enu_m: Tensor, sigma_m: float) -> Tensor:
    """Cross entropy of log maps (B, K) with soft targets: on the cells, a Gaussian of `sigma_m` around labels (B, 2).

    A label has an error of its own; a target on one cell alone would teach the network to be surer than its teacher.
    """
    squared_m2 = (cells_enu_m - target_enu_m.unsqueeze(1)).square().sum(dim=-1)
    targets = functional.softmax(-squared_m2 / (2.0 * sigma_m**2), dim=1)
    return -(targets * grid_log_probs).sum(dim=1)


def loss_for_head(config: TrainConfig, belief: HeadOutput, target_enu_m: Tensor, cells_enu_m: Tensor | None) -> Tensor:
    """The loss that belongs to the configuration's head, with its settings."""
    if config.model.head == PROBABILITY_MAP:
        return grid_cross_entropy(belief.grid_log_probs, cells_enu_m, target_enu_m, config.loss.target_sigma_m)
    if config.model.head == GAUSSIAN:
        return beta_nll(belief.mean_enu_m, belief.cov_enu_m2, target_enu_m, config.loss.nll_beta)
    return huber(belief.mean_enu_m, target_enu_m, config.huber_delta_m)
