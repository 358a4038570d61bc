"""SiteModel: all members of an ensemble and the image descriptors as one nn.Module."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.models.folding import fold_batch_norms
from campus_visual_gps.models.position_model import PositionModel
from campus_visual_gps.models.stages import (
    feature_map_extractor,
    feature_stages,
    has_channels_last,
    local_features,
    pooled_features,
    shared_stage_count,
    without_stages,
)
from campus_visual_gps.preprocess import ImageSpec, standardise

# Names of the outputs; those of the descriptor are there with an extractor, the local features without.
MEMBER_MEANS, MEMBER_COVS, GRID_LOG_PROBS = "member_means_enu_m", "member_covs_enu_m2", "grid_log_probs"
OOD_FEATURES, POOLED_FEATURES = "ood_features", "pooled_features"
DESCRIPTORS, LOCAL_DESCRIPTORS = "descriptors", "local_descriptors"
LOCAL_FEATURES = ("local_features_fine", "local_features_coarse")


class SiteModel(nn.Module):
    """uint8 RGB images (B, S, S, 3) -> named tensors, on the device that the images are on.

    Leading stages that all members share (those that training froze) run once, and every other stage once per member.
    Batch norms are folded into copies of the convolutions. The members keep their own modules; nothing is set on them,
    so that several models may be built of the same members.

    Args:
        members: M members with heads of one kind, whose grids, if any, have the same cells.
        image: Size and normalisation of the images.
        extractor: Turns pooled features (B, d) and two rasters of local features (B, g, g, C) into descriptors (B, p)
            and local descriptors (B, T, t) int8; without it the model returns the features themselves.
        shared_stages: How many leading stages the members share; None compares their weights.

    Raises:
        ConfigError: the members' grids differ.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        members: Sequence[PositionModel],
        image: ImageSpec,
        extractor: nn.Module | None = None,
        shared_stages: int | None = None,
    ):
        super().__init__()
        self.image = image
        backbones = [member.backbone for member in members]
        self.shared_stages = shared_stage_count(backbones) if shared_stages is None else shared_stages
        backbones = [fold_batch_norms(backbone) for backbone in backbones]
        self.cells_enu_m = common_cells(members)
        self.heads = nn.ModuleList(member.head for member in members)
        self.extractor = extractor
        # set by an engine that runs the backbones in bfloat16 or float16; heads and descriptors stay in float32
        self.autocast_dtype: torch.dtype | None = None
        self._channels_last = has_channels_last(backbones[0])
        self._stages = feature_stages(backbones[0])
        self.shared, self.first, self.others = self._split(backbones)
        self.register_buffer("mean", torch.tensor(image.mean), persistent=False)
        self.register_buffer("std", torch.tensor(image.std), persistent=False)
        self.eval()

    @property
    def member_count(self) -> int:
        """M."""
        return len(self.heads)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Run on uint8 images (B, S, S, 3).

        Returns:
            member_means_enu_m (B, M, 2), member_covs_enu_m2 (B, M, 2, 2), ood_features (B, c), pooled_features (B, d);
            grid_log_probs (B, M, K) of heads with a grid; descriptors (B, p) and local_descriptors (B, T, t) int8 with
            an extractor, local_features_fine and local_features_coarse (B, g, g, C) without.
        """
        with self._autocast(images.device.type):
            feature_maps, features = self._features(standardise(images, self.mean, self.std))
        outputs = self._members(features)
        pooled = pooled_features(feature_maps)
        outputs[OOD_FEATURES], outputs[POOLED_FEATURES] = pooled[0], torch.cat(pooled, dim=1)
        local = local_features(feature_maps)
        if self.extractor is None:
            return outputs | dict(zip(LOCAL_FEATURES, local, strict=True))
        outputs[DESCRIPTORS], outputs[LOCAL_DESCRIPTORS] = self.extractor(outputs[POOLED_FEATURES], local)
        return outputs

    def _split(self, backbones: list[nn.Module]) -> tuple[nn.Module | None, nn.Module, nn.ModuleList]:
        """The shared stages, the rest of the first member with its feature maps, and the rest of the others."""
        count, first = self.shared_stages, backbones[0]
        later = [index for index in self._stages if index >= count]
        rest = feature_map_extractor(first, later, skip=count, with_output=True)
        if not count:
            return None, rest, nn.ModuleList(backbones[1:])
        earlier = sorted({*(index for index in self._stages if index < count), count - 1})
        shared = feature_map_extractor(first, earlier, skip=0, with_output=False)
        return shared, rest, nn.ModuleList(without_stages(backbone, count) for backbone in backbones[1:])

    def _features(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Feature maps (B, C, s, s) of the first member's later stages, and every member's features (B, d)."""
        found: dict[str, Tensor] = {}
        if self.shared is not None:
            found = self.shared(images)
            images = found[f"stage_{self.shared_stages - 1}"]
        found = found | self.first(images)
        feature_maps = [found[f"stage_{index}"] for index in self._stages]
        if self._channels_last:
            feature_maps = [feature_map.movedim(-1, 1) for feature_map in feature_maps]
        return feature_maps, [found["features"], *(other(images) for other in self.others)]

    def _members(self, features: list[Tensor]) -> dict[str, Tensor]:
        answers = [head(own.float()) for head, own in zip(self.heads, features, strict=True)]
        outputs = {
            MEMBER_MEANS: torch.stack([answer.mean_enu_m for answer in answers], dim=1),
            MEMBER_COVS: torch.stack([answer.cov_enu_m2 for answer in answers], dim=1),
        }
        if self.cells_enu_m is not None:
            outputs[GRID_LOG_PROBS] = torch.stack([answer.grid_log_probs for answer in answers], dim=1)
        return outputs

    def _autocast(self, device_type: str):
        if self.autocast_dtype is None:
            return nullcontext()
        return torch.autocast(device_type, dtype=self.autocast_dtype)


def common_cells(members: Sequence[PositionModel]) -> Tensor | None:
    """The cells (K, 2) that the grids of all members have, metres; None if no head has a grid.

    Raises:
        ConfigError: the members' grids differ.
    """
    cells = [member.cells_enu_m for member in members]
    first = cells[0]
    if all(own is None for own in cells):
        return None
    if first is None or any(own is None or not torch.equal(own, first) for own in cells):
        raise ConfigError("the members' grids have different cells; train them together")
    return first.double().cpu()
