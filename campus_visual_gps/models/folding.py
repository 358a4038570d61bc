"""Batch norms as part of the convolutions before them: the same function in evaluation mode, with fewer operations."""

from __future__ import annotations

from copy import deepcopy
from itertools import pairwise

from torch import nn
from torch.nn.utils import fuse_conv_bn_eval


def fold_batch_norms(backbone: nn.Module) -> nn.Module:
    """A copy of a backbone, for inference only, without the batch norms that follow a convolution.

    A batch norm follows the convolution that is defined directly before it in the same module and has its number of
    channels, as in ResNet and EfficientNet. The backbone itself is not changed; one without batch norm is returned as
    it is.
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in backbone.modules()):
        return backbone
    folded = deepcopy(backbone).eval()
    for module in list(folded.modules()):
        for (conv_name, conv), (norm_name, norm) in pairwise(list(module.named_children())):
            if (
                isinstance(conv, nn.Conv2d)
                and isinstance(norm, nn.BatchNorm2d)
                and conv.out_channels == norm.num_features
            ):
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                # timm's batch norm holds the activation
                setattr(module, norm_name, getattr(norm, "act", nn.Identity()))
    return folded
