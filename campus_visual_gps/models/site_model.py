"""SiteModel: all members of an ensemble and the image descriptors as one nn.Module."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.models.backbone_group import BackboneGroup
from campus_visual_gps.models.position_model import PositionModel
from campus_visual_gps.models.stages import feature_stages, has_channels_last, local_features, pooled_features
from campus_visual_gps.preprocess import ImageSpec

# Names of the outputs; those of the descriptor are there with an extractor, the local features without.
MEMBER_MEANS, MEMBER_COVS, GRID_LOG_PROBS = "member_means_enu_m", "member_covs_enu_m2", "grid_log_probs"
OOD_FEATURES, POOLED_FEATURES = "ood_features", "pooled_features"
DESCRIPTORS, LOCAL_DESCRIPTORS = "descriptors", "local_descriptors"
LOCAL_FEATURES = ("local_features_fine", "local_features_coarse")


class SiteModel(nn.Module):
    """uint8 RGB images (B, S, S, 3) -> named tensors, on the device that the images are on.

    Members with one backbone and one normalisation form a group: leading stages that all of a group share (those that
    training froze) run once, and every other stage once per member. The members keep their own modules; nothing is set
    on them, so that several models may be built of the same members.

    Args:
        members: M members whose heads regress positions, or whose grids all have the same cells. Descriptors and OOD
            features are the first member's.
        image: Size of the images, and normalisation of members without one of their own.
        extractor: Turns pooled features (B, d) and two rasters of local features (B, g, g, C) into descriptors (B, p)
            and local descriptors (B, T, t) int8; without it the model returns the features themselves.
        shared_stages: How many leading stages the members of every group share; None compares their weights.
        member_images: The normalisation of each member; None takes `image` for all.

    Raises:
        ConfigError: the members' grids differ.
    """

    def __init__(
        self,
        members: Sequence[PositionModel],
        image: ImageSpec,
        extractor: nn.Module | None = None,
        shared_stages: int | None = None,
        member_images: Sequence[ImageSpec] | None = None,
    ):
        super().__init__()
        self.image = image
        for member in members:
            member.cpu()  # an engine may have moved some of them to its device
        self.cells_enu_m = common_cells(members)
        self.heads = nn.ModuleList(member.head for member in members)
        self.extractor = extractor
        # set by an engine that runs the backbones in bfloat16 or float16; heads and descriptors stay in float32
        self.autocast_dtype: torch.dtype | None = None
        images = [image] * len(members) if member_images is None else list(member_images)
        self._rows = member_groups([member.config.backbone for member in members], images)
        backbone = members[0].backbone
        self._channels_last = has_channels_last(backbone)
        self.groups = nn.ModuleList(
            BackboneGroup(
                [members[row].backbone for row in rows],
                images[rows[0]],
                feature_stages(backbone) if 0 in rows else (),
                shared_stages,
            )
            for rows in self._rows
        )
        self.eval()

    @property
    def member_count(self) -> int:
        """M."""
        return len(self.heads)

    @property
    def shared_stages(self) -> int:
        """How many leading stages the first member shares with the others of its backbone."""
        return int(self.groups[0].shared_stages)  # type: ignore[arg-type]  # torch types every attribute as a Tensor

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Run on uint8 images (B, S, S, 3).

        Returns:
            member_means_enu_m (B, M, 2), member_covs_enu_m2 (B, M, 2, 2), ood_features (B, c), pooled_features (B, d);
            grid_log_probs (B, M, K) of heads with a grid; descriptors (B, p) and local_descriptors (B, T, t) int8 with
            an extractor, local_features_fine and local_features_coarse (B, g, g, C) without.
        """
        with self._autocast(images.device.type):
            feature_maps, features = self._features(images)
        outputs = self._members(features)
        pooled = pooled_features(feature_maps)
        outputs[OOD_FEATURES], outputs[POOLED_FEATURES] = pooled[0], torch.cat(pooled, dim=1)
        local = local_features(feature_maps)
        if self.extractor is None:
            return outputs | dict(zip(LOCAL_FEATURES, local, strict=True))
        outputs[DESCRIPTORS], outputs[LOCAL_DESCRIPTORS] = self.extractor(outputs[POOLED_FEATURES], local)
        return outputs

    def _features(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Feature maps (B, C, s, s) of the first member's later stages, and every member's features (B, d)."""
        feature_maps: list[Tensor] = []
        by_member: dict[int, Tensor] = {}
        for rows, group in zip(self._rows, self.groups, strict=True):
            maps, features = group(images)
            feature_maps += maps
            by_member |= dict(zip(rows, features, strict=True))
        if self._channels_last:
            feature_maps = [feature_map.movedim(-1, 1) for feature_map in feature_maps]
        return feature_maps, [by_member[row] for row in range(len(by_member))]

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


def member_groups(backbones: Sequence[str], images: Sequence[ImageSpec]) -> list[list[int]]:
    """Indices of the members with one backbone and one normalisation, in the order of the first of each."""
    groups: dict[tuple, list[int]] = {}
    for row, (backbone, image) in enumerate(zip(backbones, images, strict=True)):
        groups.setdefault((backbone, image), []).append(row)
    return list(groups.values())


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
