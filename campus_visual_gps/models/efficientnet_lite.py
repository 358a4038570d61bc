"""EfficientNet-Lite (TensorFlow's, 2020) without its classifier: EfficientNet without squeeze-and-excitation, ReLU6.

Names and order of the tensors are those of timm's tf_efficientnet_lite*, and so is every number. It is written out
here because it is what robots run: timm needs torchvision, and that torch._dynamo, and to import these takes three
times as long as to import torch.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

STEM_CHANNELS, FEATURE_DIM = 32, 1280
_BATCH_NORM_EPS = 1e-3


class _Stage(NamedTuple):
    """`depth` blocks; the first one has the stride."""

    depth: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)


class SamePaddingConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's SAME: ceil(size / stride) outputs, the odd row of padding at the end."""

    def forward(self, images: Tensor) -> Tensor:
        (height, width), (kernel, _), (stride, _) = images.shape[-2:], self.kernel_size, self.stride
        rows, columns = (max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in (height, width))
        padding = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
        return super().forward(functional.pad(images, padding))


class BatchNormAct2d(nn.BatchNorm2d):
    """Batch norm and ReLU6, or batch norm alone."""

    def __init__(self, channels: int, activates: bool = True):
        super().__init__(channels, eps=_BATCH_NORM_EPS)
        self.act = nn.ReLU6(inplace=True) if activates else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        return self.act(super().forward(images))


class SeparableBlock(nn.Module):
    """Depthwise and pointwise convolution: the first stage, which expands nothing."""

    def __init__(self, channels: int, out_channels: int, stage: _Stage):
        super().__init__()
        self.conv_dw = _conv(channels, channels, stage.kernel, stage.stride, groups=channels)
        self.bn1 = BatchNormAct2d(channels)
        self.conv_pw = _conv(channels, out_channels)
        self.bn2 = BatchNormAct2d(out_channels, activates=False)
        self.adds_input = stage.stride == 1 and channels == out_channels

    def forward(self, images: Tensor) -> Tensor:
        outputs = self.bn2(self.conv_pw(self.bn1(self.conv_dw(images))))
        return outputs + images if self.adds_input else outputs


class InvertedResidual(nn.Module):
    """Pointwise expansion, depthwise convolution, pointwise projection."""

    def __init__(self, channels: int, out_channels: int, stage: _Stage):
        super().__init__()
        inner = _divisible(channels * stage.expansion)
        self.conv_pw = _conv(channels, inner)
        self.bn1 = BatchNormAct2d(inner)
        self.conv_dw = _conv(inner, inner, stage.kernel, stage.stride, groups=inner)
        self.bn2 = BatchNormAct2d(inner)
        self.conv_pwl = _conv(inner, out_channels)
        self.bn3 = BatchNormAct2d(out_channels, activates=False)
        self.adds_input = stage.stride == 1 and channels == out_channels

    def forward(self, images: Tensor) -> Tensor:
        outputs = self.bn2(self.conv_dw(self.bn1(self.conv_pw(images))))
        outputs = self.bn3(self.conv_pwl(outputs))
        return outputs + images if self.adds_input else outputs


class EfficientNetLite(nn.Module):
    """(B, 3, S, S) -> (B, 1280).

    Args:
        width: Factor of the channels of all stages: 1.0 for Lite0, 1.1 for Lite2.
        depth: Factor of the blocks of all stages but the first and the last: 1.0 and 1.2.
    """

    def __init__(self, width: float, depth: float):
        super().__init__()
        self.conv_stem = _conv(3, STEM_CHANNELS, 3, 2)
        self.bn1 = BatchNormAct2d(STEM_CHANNELS)
        self.blocks = nn.Sequential()
        channels = STEM_CHANNELS
        for stage in _STAGES:
            out_channels = _divisible(stage.channels * width)
            scaled = stage not in (_STAGES[0], _STAGES[-1])
            blocks = nn.Sequential()
            for index in range(math.ceil(stage.depth * depth) if scaled else stage.depth):
                own = stage if index == 0 else stage._replace(stride=1)
                block = SeparableBlock if stage.expansion == 1 else InvertedResidual
                blocks.append(block(channels, out_channels, own))
                channels = out_channels
            self.blocks.append(blocks)
        self.conv_head = _conv(channels, FEATURE_DIM)
        self.bn2 = BatchNormAct2d(FEATURE_DIM)
        self.global_pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        outputs = self.blocks(self.bn1(self.conv_stem(images)))
        return self.global_pool(self.bn2(self.conv_head(outputs)))


def _conv(channels: int, out_channels: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    if stride == 1:  # the padding does not depend on the size
        return nn.Conv2d(channels, out_channels, kernel, padding=kernel // 2, groups=groups, bias=False)
    return SamePaddingConv2d(channels, out_channels, kernel, stride, groups=groups, bias=False)


def _divisible(channels: float) -> int:
    """The multiple of 8 next to a number of channels, at least nine tenths of it."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8


def _initialise(module: nn.Module) -> None:
    """As TensorFlow's implementation: by the fan-out of each group."""
    # on the device meta there are no numbers, and normal_ would import torch._dynamo
    if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))
