"""Losses of the heads; each returns per-sample terms (B,).

The weights of a weighted loss are not in here: they belong to the training photos (training/fit/sample_weights.py).
Validation takes the same terms without weights.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from campus_visual_gps.models.heads import GAUSSIAN, PROBABILITY_MAP, HeadOutput
from training.config import HUBER, LossSettings


def huber(mean_enu_m: Tensor, target_enu_m: Tensor, delta_m: float = 1.0) -> Tensor:
    """Huber loss, the mean over both axes (paper, section 3.4).

    Args:
        mean_enu_m: Predicted positions (B, 2), metres.
        target_enu_m: Labels (B, 2), metres.
        delta_m: Error from which the loss is linear, metres.
    """
    return functional.huber_loss(mean_enu_m, target_enu_m, reduction="none", delta=delta_m).mean(dim=1)


def squared_error(mean_enu_m: Tensor, target_enu_m: Tensor) -> Tensor:
    """Squared error in square metres, the mean over both axes: the MSE of the paper's baseline (section 4.3).

    Args:
        mean_enu_m: Predicted positions (B, 2), metres.
        target_enu_m: Labels (B, 2), metres.
    """
    return (mean_enu_m - target_enu_m).square().mean(dim=1)


def beta_nll(mean_enu_m: Tensor, cov_enu_m2: Tensor, target_enu_m: Tensor, beta: float = 0.5) -> Tensor:
    """Negative log likelihood under Gaussians, weighted by variance^beta; the variance of two axes is sqrt(det).

    Without the weight, samples with a large variance hardly contribute to the gradient (Seitzer et al., On the
    Pitfalls of Heteroscedastic Uncertainty Estimation, ICLR 2022).

    Args:
        mean_enu_m: Predicted means (B, 2), metres.
        cov_enu_m2: Predicted covariances (B, 2, 2), square metres.
        target_enu_m: Labels (B, 2), metres.
        beta: Exponent of the weight, 0 to 1.
    """
    factor = torch.linalg.cholesky(cov_enu_m2)
    offset = (target_enu_m - mean_enu_m).to(cov_enu_m2.dtype).unsqueeze(-1)
    whitened = torch.linalg.solve_triangular(factor, offset, upper=False)
    log_det = 2.0 * factor.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
    nll = 0.5 * (whitened.squeeze(-1).square().sum(dim=-1) + log_det)
    return nll * (0.5 * beta * log_det).exp().detach()


def grid_cross_entropy(grid_log_probs: Tensor, cells_enu_m: Tensor, target_enu_m: Tensor, sigma_m: float) -> Tensor:
    """Cross entropy with soft targets: a Gaussian around the label, normalised over the cells.

    A label has an error of its own; a one-hot target would teach the network more certainty than the label has.

    Args:
        grid_log_probs: Log probabilities (B, K) of the cells.
        cells_enu_m: Centres (K, 2) of the cells, metres.
        target_enu_m: Labels (B, 2), metres.
        sigma_m: Sigma of the Gaussian, metres.
    """
    squared_m2 = (cells_enu_m - target_enu_m.unsqueeze(1)).square().sum(dim=-1)
    targets = functional.softmax(-squared_m2 / (2.0 * sigma_m**2), dim=1)
    return -(targets * grid_log_probs).sum(dim=1)


def loss_for_head(
    head: str, settings: LossSettings, output: HeadOutput, target_enu_m: Tensor, cells_enu_m: Tensor | None = None
) -> Tensor:
    """The loss that belongs to a head, without weights.

    Args:
        head: Name of the head, as in ModelConfig.
        settings: Name of the loss of point heads, and parameters of all losses.
        output: What the head returned for B images.
        target_enu_m: Labels (B, 2), metres.
        cells_enu_m: Centres (K, 2) of the grid head's cells, metres.

    Returns:
        Per-sample terms (B,).
    """
    if head == PROBABILITY_MAP:
        if output.grid_log_probs is None or cells_enu_m is None:
            raise ValueError(f"head {head}: expected log probabilities and cells, got an output without a grid")
        return grid_cross_entropy(output.grid_log_probs, cells_enu_m, target_enu_m, settings.target_sigma_m)
    if head == GAUSSIAN:
        return beta_nll(output.mean_enu_m, output.cov_enu_m2, target_enu_m, settings.nll_beta)
    if settings.name == HUBER:
        return huber(output.mean_enu_m, target_enu_m, settings.huber_delta_m)
    return squared_error(output.mean_enu_m, target_enu_m)


def loss_label(head: str, settings: LossSettings) -> str:
    """What the reported loss of a head is, for an axis."""
    if head == PROBABILITY_MAP:
        return "cross entropy (nats)"
    if head == GAUSSIAN:
        return f"negative log likelihood, beta {settings.nll_beta:g}"
    return f"Huber loss, delta {settings.huber_delta_m:g} m (m²)" if settings.name == HUBER else "squared error (m²)"
