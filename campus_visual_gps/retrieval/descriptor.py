"""Global and local descriptors of an image, for visual place recognition.

The global descriptor joins channel statistics of the later stages with VLADs of the local features of two stages (Jegou
et al., Aggregating local descriptors into a compact image representation, CVPR 2010), in a metric that is learned from
where the training photos were taken (training/fit/descriptor_fit.py). Local descriptors are whitened local features of
the finer stage; retrieval/matching.py compares them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from campus_visual_gps.errors import BundleError

# Soft assignment of a local feature to the centroids: softmax of so many times their cosine.
SOFT_ASSIGNMENT_ALPHA = 20.0
# Shorter vectors are taken as zero.
EPS = 1e-6
# Local descriptors are stored as int8: unit vectors times this.
INT8_SCALE = 127.0
PREFIX = "descriptor."


class ImageDescriptors(NamedTuple):
    """Of N images: global descriptors (N, p) float32 of norm 1, local descriptors (N, T, t) int8, units times 127."""

    global_descriptors: np.ndarray
    local_descriptors: np.ndarray


class VladCodebook(nn.Module):
    """VLAD of the local features (B, g, g, C) of one stage.

    Features are standardised by `mean` and `std` (C,) and made unit vectors; `centroids` (k, C) are the k-means of the
    training photos', and the VLAD is divided by `scale` (1,).
    """

    mean: Tensor
    std: Tensor
    centroids: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, std: Tensor, centroids: Tensor, scale: Tensor):
        super().__init__()
        for name, tensor in (("mean", mean), ("std", std), ("centroids", centroids), ("scale", scale)):
            self.register_buffer(name, tensor.float())

    def units(self, features: Tensor) -> Tensor:
        """Local features (B, g, g, C) -> standardised unit vectors (B, g * g, C)."""
        return normalize((features.float().flatten(1, -2) - self.mean) / self.std, dim=-1, eps=EPS)

    def forward(self, features: Tensor) -> Tensor:
        """Local features (B, g, g, C) -> VLAD (B, k * C): sums of differences to each centroid, each sum of norm 1."""
        units = self.units(features)
        weights = torch.softmax(units @ (SOFT_ASSIGNMENT_ALPHA * self.centroids).T, dim=-1).mT
        residuals = weights @ units - weights.sum(dim=-1, keepdim=True) * self.centroids
        return normalize(residuals, dim=-1, eps=EPS).flatten(1) / self.scale


class DescriptorExtractor(nn.Module):
    """Pooled features (B, d) and local features of two stages -> global and local descriptors.

    All buffers are fitted on the training photos: `pooled_mean` and `pooled_std` (d,) standardise the pooled features,
    which are joined with the VLADs of the `codebooks`; that, less `raw_mean` (D,), times `projection` (p, D) float16,
    is the global descriptor. `local_whitening` (C, t) whitens the local features of the first of the two stages.
    """

    pooled_mean: Tensor
    pooled_std: Tensor
    raw_mean: Tensor
    projection: Tensor
    local_whitening: Tensor

    def __init__(self, codebooks: Sequence[VladCodebook], **buffers: Tensor):
        super().__init__()
        self.codebooks = nn.ModuleList(codebooks)
        for name in _BUFFERS:
            self.register_buffer(name, buffers[name].half() if name == "projection" else buffers[name].float())

    @property
    def feature_channels(self) -> list[int]:
        """Channels of the pooled features and of each stage's local features that it was fitted for."""
        return [len(self.pooled_mean), *(len(codebook.get_buffer("mean")) for codebook in self.codebooks)]

    def raw_descriptor(self, pooled: Tensor, local: Sequence[Tensor]) -> Tensor:
        """(B, D) float32: standardised pooled features and VLADs, one after the other."""
        vlads = [codebook(stage) for codebook, stage in zip(self.codebooks, local, strict=True)]
        return torch.cat([(pooled.float() - self.pooled_mean) / self.pooled_std, *vlads], dim=1)

    def forward(self, pooled: Tensor, local: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Pooled (B, d) and local features (B, g, g, C) -> descriptors (B, p), local descriptors (B, T, t) int8."""
        centred = self.raw_descriptor(pooled, local) - self.raw_mean
        # the projection is read once a batch: in float16 that is half of the time
        descriptor = normalize(linear(centred.half(), self.projection).float(), dim=1, eps=EPS)
        whitened = (local[0].float().flatten(1, 2) - self.codebooks[0].get_buffer("mean")) @ self.local_whitening
        return descriptor, torch.round(normalize(whitened, dim=-1, eps=EPS) * INT8_SCALE).to(torch.int8)

    @torch.inference_mode()
    def describe(self, pooled: np.ndarray, local: Sequence[np.ndarray], batch: int = 64) -> ImageDescriptors:
        """Descriptors of N images from stored features: pooled (N, d), local (N, g, g, C) of two stages.

        Raises:
            BundleError: the features have other channels than the extractor was fitted for.
        """
        check_channels(self, [pooled.shape[-1], *(stage.shape[-1] for stage in local)])
        found = []
        for start in range(0, len(pooled), batch):
            rows = slice(start, start + batch)
            found.append(self(torch.from_numpy(pooled[rows]), [torch.from_numpy(stage[rows]) for stage in local]))
        return ImageDescriptors(*(torch.cat(tensors).numpy() for tensors in zip(*found, strict=True)))

    def tensors(self) -> dict[str, np.ndarray]:
        """Its buffers by name, as bundles store them."""
        return {PREFIX + name: tensor.detach().cpu().contiguous().numpy() for name, tensor in self.state_dict().items()}

    @classmethod
    def from_tensors(cls, tensors: dict[str, np.ndarray]) -> DescriptorExtractor | None:
        """What `tensors` gave; None if there is nothing of it.

        Raises:
            BundleError: a tensor is missing or not finite.
        """
        own = {name.removeprefix(PREFIX): value for name, value in tensors.items() if name.startswith(PREFIX)}
        if not own:
            return None
        if not all(np.isfinite(array).all() for array in own.values()):
            raise BundleError("the descriptor extractor is not finite; build the bundle again")
        numbers = sorted({int(name.split(".")[1]) for name in own if name.startswith("codebooks.")})
        try:
            codebooks = [
                VladCodebook(*(torch.from_numpy(own[f"codebooks.{number}.{name}"]) for name in _CODEBOOK_BUFFERS))
                for number in numbers
            ]
            return cls(codebooks, **{name: torch.from_numpy(own[name]) for name in _BUFFERS}).eval()
        except KeyError as error:
            raise BundleError(f"tensor {PREFIX}{error.args[0]} is missing; build the bundle again") from error


_CODEBOOK_BUFFERS = ("mean", "std", "centroids", "scale")
_BUFFERS = ("pooled_mean", "pooled_std", "raw_mean", "projection", "local_whitening")


def check_channels(extractor: DescriptorExtractor, channels: list[int]) -> None:
    """Raise BundleError unless an extractor was fitted for features of so many channels (pooled, then per stage)."""
    if channels != extractor.feature_channels:
        raise BundleError(f"expected features of {extractor.feature_channels} channels, got {channels}")
