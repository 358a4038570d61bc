"""Losses in metres; each returns per-sample terms (B,)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def huber(mean_enu_m: Tensor, target_enu_m: Tensor, delta_m: float = 1.0) -> Tensor:
    """Huber loss of (B, 2) positions, the mean over both axes: linear beyond `delta_m` (paper, section 3.4)."""
    return functional.huber_loss(mean_enu_m, target_enu_m, reduction="none", delta=delta_m).mean(dim=1)
