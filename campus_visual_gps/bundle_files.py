"""The files of a bundle: members, shared stages and reference features, written and checked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from campus_visual_gps.errors import BundleError
from campus_visual_gps.io_utils import sha256_of
from campus_visual_gps.models.position_model import PositionModel
from campus_visual_gps.models.site_model import member_groups
from campus_visual_gps.models.stages import SHARED_STAGES, shared_stage_count, stage_names, stage_tensors
from campus_visual_gps.preprocess import ImageSpec
from campus_visual_gps.retrieval.descriptor import DescriptorExtractor
from campus_visual_gps.retrieval.index import RetrievalIndex

if TYPE_CHECKING:
    from torch import Tensor

# Areas, each its outline (V, 2) in metres and then its holes.
Areas = tuple[tuple[np.ndarray, ...], ...]


@dataclass(frozen=True)
class ReferenceFeatures:
    """The training photos as the first member sees them.

    Attributes:
        descriptors: (N, p) float16 of `extractor`; the pooled features (N, d) where there is no extractor.
        ood_features: (N, c) float32.
        positions_enu_m: (N, 2) metres.
        local_descriptors: (N, T, t) int8; None without an extractor.
        extractor: Turns the features of an image into descriptors; None where it could not be fitted.
        neighbourhood_similarity: (N,) float32 of the descriptors, for local scaling; None without an extractor and in
            bundles before version 6.
    """

    descriptors: np.ndarray
    ood_features: np.ndarray
    positions_enu_m: np.ndarray
    local_descriptors: np.ndarray | None = None
    extractor: DescriptorExtractor | None = None
    neighbourhood_similarity: np.ndarray | None = None

    def index(self) -> RetrievalIndex | None:
        """For searching photos of the same place; None without an extractor."""
        if self.extractor is None or not len(self.descriptors):
            return None
        return RetrievalIndex(
            self.descriptors, self.positions_enu_m, self.local_descriptors, self.neighbourhood_similarity
        )


def save_members(
    directory: Path, members: Sequence[tuple[int, PositionModel]], names: Sequence[str], images: Sequence[ImageSpec]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The manifest's entries of the shared stages of each group of members, and of the members (seed, network)."""
    shared_entries: list[dict[str, Any]] = []
    stored: dict[str, set[str]] = {}
    for rows in member_groups([network.config.backbone for _, network in members], images):
        backbones = [members[row][1].backbone for row in rows]
        count, own_names = shared_stage_count(backbones), [names[row] for row in rows]
        if not count:
            continue
        shared: dict[str, Tensor] = {}
        for stage in stage_names(backbones[0])[:count]:
            shared |= {f"backbone.{name}": tensor for name, tensor in stage_tensors(backbones[0], stage).items()}
        file = SHARED_STAGES if not shared_entries else f"shared_stages-{len(shared_entries) + 1}.safetensors"
        digest = save_tensors(directory / file, shared)
        shared_entries.append({"count": count, "members": own_names, "file": file, "sha256": digest})
        stored |= {name: set(shared) for name in own_names}
    entries = []
    for (seed, network), member, image in zip(members, names, images, strict=True):
        kept = stored.get(member, set())
        own = {name: tensor for name, tensor in network.state_dict().items() if name not in kept}
        file = f"member-{member}.safetensors"
        described = {"name": member, "seed": seed, "file": file, "sha256": save_tensors(directory / file, own)}
        entries.append(described | asdict(network.config) | {"mean": image.mean, "std": image.std})
    return shared_entries, entries


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> str:
    """Write tensors, in float16 where that loses nothing, and return the file's SHA-256."""
    from safetensors.torch import save_file

    compact = {name: _compact(tensor.detach().cpu()).contiguous() for name, tensor in tensors.items()}
    save_file(compact, path)
    return sha256_of(path)


def _compact(tensor: Tensor) -> Tensor:
    import torch

    half = tensor.half()
    return half if tensor.dtype == torch.float32 and torch.equal(half.float(), tensor) else tensor


def save_reference(path: Path, reference: ReferenceFeatures) -> None:
    """Write the reference photos' tensors."""
    from safetensors.numpy import save_file

    tensors: dict[str, np.ndarray] = {
        "descriptors": np.ascontiguousarray(reference.descriptors, dtype=np.float16),
        "ood_features": np.ascontiguousarray(reference.ood_features, dtype=np.float32),
        "positions_enu_m": np.ascontiguousarray(reference.positions_enu_m, dtype=np.float64),
    }
    if reference.extractor is not None and reference.local_descriptors is not None:
        tensors["local_descriptors"] = np.ascontiguousarray(reference.local_descriptors, dtype=np.int8)
        tensors |= reference.extractor.tensors()
        if reference.neighbourhood_similarity is not None:
            tensors["neighbourhood_similarity"] = np.ascontiguousarray(
                reference.neighbourhood_similarity, dtype=np.float32
            )
    save_file(tensors, path)


def read_reference(path: Path) -> ReferenceFeatures:
    """What `save_reference` wrote. Raises BundleError where a tensor is missing."""
    from safetensors.numpy import load_file

    tensors = load_file(path)
    try:
        extractor = DescriptorExtractor.from_tensors(tensors)
        return ReferenceFeatures(
            tensors["descriptors"],
            tensors["ood_features"],
            tensors["positions_enu_m"].astype(np.float64),
            None if extractor is None else tensors["local_descriptors"],
            extractor,
            tensors.get("neighbourhood_similarity"),
        )
    except KeyError as error:
        raise BundleError(f"{path}: tensor {error} is missing; build the bundle again") from error


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a file, those in float16 as float32. Raises BundleError."""
    import torch
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except Exception as error:  # safetensors raises types of its own
        raise BundleError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    return {name: tensor.float() if tensor.dtype == torch.float16 else tensor for name, tensor in tensors.items()}


def checked(path: Path, digest: str) -> Path:
    """The path, if its file is whole. Raises BundleError, also where it may not be read."""
    if not path.is_file():
        raise BundleError(f"{path} is missing; copy the whole bundle directory again")
    try:
        found = sha256_of(path)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}; mend its permissions") from error
    if found != digest:
        raise BundleError(f"{path} is damaged: SHA-256 {found[:12]}..., expected {str(digest)[:12]}...; copy it again")
    return path


def swap(staging: Path, path: Path) -> None:
    """Put the complete new directory in the old one's place, keeping the old one if that fails."""
    if not path.exists():
        staging.rename(path)
        return
    previous = path.with_name(f".{path.name}.previous-{os.getpid()}")
    path.rename(previous)
    try:
        staging.rename(path)
    except OSError:
        previous.rename(path)
        raise
    shutil.rmtree(previous)


def polygon(corners: Any, name: str) -> np.ndarray:
    """(V, 2) metres of a polygon in a manifest. Raises BundleError that names it."""
    try:
        result = np.asarray(corners, dtype=np.float64)
    except (TypeError, ValueError):
        result = np.empty(0)
    if result.ndim != 2 or result.shape[1] != 2 or len(result) < 3 or not np.all(np.isfinite(result)):
        raise BundleError(f"{name} must be three or more [east, north] pairs in metres")
    return result


def read_areas(entry: Any, name: str) -> Areas:
    """Areas of a manifest, none where it has no entry for them. Raises BundleError that names them."""
    areas = [] if entry is None else entry
    if not isinstance(areas, list) or not all(isinstance(rings, list) and rings for rings in areas):
        raise BundleError(f"{name} must be a list of areas, each a list of its outline and its holes")
    return tuple(tuple(polygon(ring, name) for ring in rings) for rings in areas)


def areas_entry(areas: Sequence[Sequence[np.ndarray]]) -> list[list[list[list[float]]]]:
    """What `read_areas` reads, in millimetres."""
    return [[np.round(np.asarray(ring, dtype=float), 3).tolist() for ring in rings] for rings in areas]


def from_version_4(data: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a bundle of version 4 as version 5 has it."""
    normalisation = {key: data["image"][key] for key in ("mean", "std")}
    members = [{"name": str(entry["seed"]), **entry, **normalisation} for entry in data["members"]]
    shared = data["shared_stages"]
    every = [entry["name"] for entry in members]
    return data | {"members": members, "shared_stages": [] if shared is None else [{**shared, "members": every}]}
