"""Batch norms as part of the convolutions before them: the same function in evaluation mode, with fewer operations."""

from __future__ import annotations

from copy import deepcopy
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_weights


def fold_batch_norms(backbone: nn.Module) -> nn.Module:
    """A copy of a backbone, for inference only, without the batch norms that follow a convolution.

    A batch norm follows the convolution that is defined directly before it in the same module and has its number of
    channels, as in ResNet and EfficientNet. The backbone itself is not changed; one without batch norm is returned as
    it is.
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in backbone.modules()):
        return backbone
    replaced: dict[int, object] = {}
    for module in backbone.modules():
        for (_, conv), (_, norm) in pairwise(module.named_children()):
            if (
                isinstance(conv, nn.Conv2d)
                and isinstance(norm, nn.BatchNorm2d)
                and conv.out_channels == norm.num_features
                and norm.running_mean is not None
                and norm.running_var is not None
            ):
                fused = _fused(conv, norm, norm.running_mean, norm.running_var)
                # a batch norm of EfficientNet-Lite holds the activation
                replaced |= {id(conv): fused, id(norm): deepcopy(getattr(norm, "act", nn.Identity()))}
    return deepcopy(backbone, replaced).eval()


@torch.no_grad()
def _fused(conv: nn.Conv2d, norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> nn.Conv2d:
    weight, bias = fuse_conv_bn_weights(conv.weight, conv.bias, mean, variance, norm.eps, norm.weight, norm.bias)
    fused = deepcopy(conv, {id(conv.weight): weight})
    fused.bias = bias
    return fused
