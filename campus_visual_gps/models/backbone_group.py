"""BackboneGroup: the backbones of an ensemble that have one architecture and one normalisation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from campus_visual_gps.models.folding import fold_batch_norms
from campus_visual_gps.models.stages import StagedBackbone, shared_stage_count
from campus_visual_gps.preprocess import ImageSpec, standardise


class BackboneGroup(nn.Module):
    """uint8 images (B, S, S, 3) -> features (B, d) of every backbone, and feature maps of the first one.

    Leading stages with the same weights run once, and every other stage once per backbone. Batch norms are folded into
    copies of the convolutions; the backbones themselves are not changed.

    Args:
        backbones: Of one architecture.
        image: The normalisation that they were trained with.
        feature_stages: Indices of the stages whose feature maps are returned.
        shared_stages: How many leading stages have the same weights; None compares them.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbones: Sequence[nn.Module],
        image: ImageSpec,
        feature_stages: Sequence[int] = (),
        shared_stages: int | None = None,
    ):
        super().__init__()
        self.shared_stages = shared_stage_count(backbones) if shared_stages is None else shared_stages
        self._stages = list(feature_stages)
        self.shared, self.first, self.others = self._split([fold_batch_norms(backbone) for backbone in backbones])
        self.register_buffer("mean", torch.tensor(image.mean), persistent=False)
        self.register_buffer("std", torch.tensor(image.std), persistent=False)

    def forward(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Feature maps of the first backbone's `feature_stages`, and the features (B, d) of every backbone."""
        found: dict[str, Tensor] = {}
        images = standardise(images, self.mean, self.std)
        if self.shared is not None:
            found = self.shared(images)
            images = found[f"stage_{self.shared_stages - 1}"]
        found = found | self.first(images)
        features = [found["features"], *(other(images)["features"] for other in self.others)]
        return [found[f"stage_{index}"] for index in self._stages], features

    def _split(self, backbones: list[nn.Module]) -> tuple[nn.Module | None, nn.Module, nn.ModuleList]:
        """The shared stages, the rest of the first backbone with its feature maps, and the rest of the others."""
        count = self.shared_stages
        later = [index for index in self._stages if index >= count]
        first, *others = (
            StagedBackbone(backbone, later if row == 0 else (), skip=count, with_output=True)
            for row, backbone in enumerate(backbones)
        )
        shared = None
        if count:
            earlier = {*(index for index in self._stages if index < count), count - 1}
            shared = StagedBackbone(backbones[0], sorted(earlier), skip=0, with_output=False)
        return shared, first, nn.ModuleList(others)
