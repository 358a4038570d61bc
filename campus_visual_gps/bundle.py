"""The one on-disk model format: a directory with bundle.yaml and tensors, saved and loaded here.

Nothing is ever unpickled. A missing file, a hash that differs, or an unknown format version is a BundleError.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from campus_visual_gps.bundle_files import (
    Areas,
    ReferenceFeatures,
    areas_entry,
    checked,
    from_version_4,
    load_tensors,
    polygon,
    read_areas,
    read_reference,
    save_members,
    save_reference,
    swap,
)
from campus_visual_gps.errors import BundleError, VisualGpsError
from campus_visual_gps.estimation.calibration import Calibration
from campus_visual_gps.estimation.integrity import Gates
from campus_visual_gps.geodesy import LocalFrame
from campus_visual_gps.io_utils import make_ordinary, sha256_of, to_builtin
from campus_visual_gps.models.backbones import get_backbone
from campus_visual_gps.models.position_model import ModelConfig, PositionModel, build_from_state
from campus_visual_gps.models.site_model import SiteModel
from campus_visual_gps.preprocess import ImageSpec
from campus_visual_gps.retrieval.descriptor import DescriptorExtractor

if TYPE_CHECKING:
    from torch import Tensor

FORMAT_VERSION = 6
# Version 4 knew members of one backbone only; up to version 5 similarities were plain cosines.
READABLE_VERSIONS = (4, 5, FORMAT_VERSION)
MANIFEST = "bundle.yaml"
MODEL_CARD = "MODEL_CARD.md"
REFERENCE = "reference_features.safetensors"


@dataclass(frozen=True)
class Altitude:
    """The site's altitude over the ellipsoid and its standard deviation, metres. Raises BundleError for NaN."""

    altitude_m: float = 0.0
    sigma_m: float = 5.0

    def __post_init__(self):
        if not (np.isfinite(self.altitude_m) and np.isfinite(self.sigma_m) and self.sigma_m > 0):
            raise BundleError(
                f"expected a finite altitude and a positive sigma in metres, got {self.altitude_m} and {self.sigma_m}"
            )


@dataclass(frozen=True)
class Member:
    """One network of the ensemble: its name, which no other has, its seed, architecture, normalisation and file."""

    name: str
    seed: int
    model: ModelConfig
    image: ImageSpec
    file: str
    sha256: str


@dataclass(frozen=True)
class SharedStages:
    """How many leading stages some members (their names) share, and the file that holds them once."""

    count: int
    members: tuple[str, ...]
    file: str
    sha256: str


@dataclass(frozen=True)
class Bundle:
    """A bundle's content, but for the tensors, which `load_site_model` and `load_reference` read from `path`."""

    path: Path
    model_id: str
    frame: LocalFrame
    image: ImageSpec
    altitude: Altitude
    members: tuple[Member, ...]
    shared_stages: tuple[SharedStages, ...]
    calibration: Calibration
    gates: Gates
    site_polygon_enu_m: np.ndarray
    reference_sha256: str
    training: dict[str, Any] = field(default_factory=dict)
    unreachable_enu_m: Areas = ()  # where nobody can be, for the tracker

    def load_members(self) -> list[PositionModel]:
        """The members' networks with their weights, in evaluation mode. Raises BundleError."""
        shared: dict[str, dict[str, Tensor]] = {}
        for stages in self.shared_stages:
            tensors = load_tensors(checked(self.path / stages.file, stages.sha256))
            shared |= dict.fromkeys(stages.members, tensors)
        return [_load_member(self.path, member, shared.get(member.name, {})) for member in self.members]

    def load_site_model(self, extractor: DescriptorExtractor | None = None) -> SiteModel:
        """All members as one module, with the extractor of `load_reference` if there is one. Raises BundleError."""
        images = [member.image for member in self.members]
        return SiteModel(self.load_members(), self.image, extractor, member_images=images)

    def load_reference(self) -> ReferenceFeatures:
        """The training photos' descriptors, OOD features and positions. Raises BundleError."""
        return read_reference(checked(self.path / REFERENCE, self.reference_sha256))


def save_bundle(
    path: Path,
    *,
    model_id: str,
    frame: LocalFrame,
    image: ImageSpec,
    altitude: Altitude,
    members: Sequence[tuple[int, PositionModel]],
    calibration: Calibration,
    gates: Gates,
    site_polygon_enu_m: np.ndarray,
    reference: ReferenceFeatures,
    training: dict[str, Any],
    model_card: str,
    names: Sequence[str] | None = None,
    member_images: Sequence[ImageSpec] | None = None,
    unreachable_enu_m: Areas = (),
) -> Path:
    """Write a bundle whole or not at all; members are (seed, network).

    `names` of the members are by default those of `member_names`; `member_images`, their normalisations, are by default
    `image`. Leading stages that members share are stored once, and weights in float16 where that changes none of them.
    An existing bundle at `path` is replaced only once the new one is complete.

    Raises:
        BundleError: something else than a bundle is at `path`.
    """
    path = Path(path)
    if path.exists() and not (path / MANIFEST).is_file():
        raise BundleError(f"{path} exists and is no model bundle; choose another directory")
    staging = path.with_name(f".{path.name}.partial-{os.getpid()}")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        named = names or member_names([(seed, network.config.backbone) for seed, network in members])
        shared, entries = save_members(staging, members, named, member_images or [image] * len(members))
        save_reference(staging / REFERENCE, reference)
        manifest = {
            "format_version": FORMAT_VERSION,
            "model_id": model_id,
            "frame": asdict(frame),
            "image": asdict(image),
            "altitude": asdict(altitude),
            "shared_stages": shared,
            "members": entries,
            "calibration": calibration.to_dict(),
            "gates": asdict(gates),
            "site_polygon_enu_m": np.round(np.asarray(site_polygon_enu_m, dtype=float), 3).tolist(),
            **({"unreachable_enu_m": areas_entry(unreachable_enu_m)} if unreachable_enu_m else {}),
            "reference_sha256": sha256_of(staging / REFERENCE),
            "training": training,
        }
        # names of data sets and bags need not be valid Unicode
        (staging / MODEL_CARD).write_text(model_card, encoding="utf-8", errors="backslashreplace")
        (staging / MANIFEST).write_text(yaml.safe_dump(to_builtin(manifest), sort_keys=False), encoding="utf-8")
        for file in staging.iterdir():
            make_ordinary(file)
        swap(staging, path)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return path


def member_names(members: Sequence[tuple[int, str]]) -> list[str]:
    """Names of members (seed, backbone) that no two share: the seeds, or seed-backbone, numbered where that is needed.

    Of ensembles with several backbones the name says which one a member has.
    """
    seeds, backbones = [seed for seed, _ in members], {backbone for _, backbone in members}
    if len(backbones) == 1 and len(set(seeds)) == len(seeds):
        return [str(seed) for seed in seeds]
    counts: dict[str, int] = {}
    names = []
    for seed, backbone in members:
        name = f"{seed}-{backbone}"
        counts[name] = counts.get(name, 0) + 1
        names.append(name if counts[name] == 1 else f"{name}-{counts[name]}")
    return names


def load_bundle(path: Path | str) -> Bundle:
    """Read and check a bundle's manifest. Raises BundleError with the file and what to do about it."""
    path = Path(path).expanduser()
    manifest = path / MANIFEST
    if not path.is_dir():
        raise BundleError(f"no model bundle at {path}: the directory does not exist")
    if not manifest.is_file():
        raise BundleError(f"no model bundle at {path}: {MANIFEST} is missing; train one or name its directory")
    try:
        data = yaml.safe_load(manifest.read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleError(f"{manifest} cannot be read: {error.strerror or error}; mend its permissions") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise BundleError(f"{manifest} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict) or "format_version" not in data:
        raise BundleError(f"{manifest} is no bundle manifest: format_version is missing")
    if data["format_version"] not in READABLE_VERSIONS:
        known = "{}, {} and {}".format(*READABLE_VERSIONS)
        raise BundleError(
            f"{manifest} has format version {data['format_version']}, this program reads {known}; "
            "train the bundle again or install the matching version"
        )
    try:
        return _from_manifest(path, from_version_4(data) if data["format_version"] == 4 else data)
    except VisualGpsError as error:
        raise BundleError(f"{manifest}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"{manifest} is damaged ({type(error).__name__}: {error}); copy the bundle again") from error


def _from_manifest(path: Path, data: dict[str, Any]) -> Bundle:
    image = ImageSpec(**data["image"])
    members = [_member(entry, image) for entry in data["members"]]
    if not members:
        raise BundleError("the bundle has no members")
    if len({member.name for member in members}) != len(members):
        raise BundleError("two members have the same name")
    shared = tuple(
        SharedStages(int(own["count"]), tuple(map(str, own["members"])), _file_name(own["file"]), own["sha256"])
        for own in data["shared_stages"]
    )
    return Bundle(
        path=path,
        model_id=str(data["model_id"]),
        frame=LocalFrame(**data["frame"]),
        image=image,
        altitude=Altitude(**data["altitude"]),
        members=tuple(members),
        shared_stages=shared,
        calibration=Calibration.from_dict(data["calibration"]),
        gates=Gates(**data["gates"]),
        site_polygon_enu_m=polygon(data["site_polygon_enu_m"], "site_polygon_enu_m"),
        reference_sha256=data["reference_sha256"],
        training=data.get("training") or {},
        unreachable_enu_m=read_areas(data.get("unreachable_enu_m"), "unreachable_enu_m"),
    )


def _member(entry: dict[str, Any], image: ImageSpec) -> Member:
    entry = dict(entry)
    name, seed, file, digest = (entry.pop(key) for key in ("name", "seed", "file", "sha256"))
    own_image = ImageSpec(image.size_px, entry.pop("mean"), entry.pop("std"), image.stored_px)
    get_backbone(entry["backbone"])  # a name that this version does not know is reported here, not on first use
    return Member(str(name), int(seed), ModelConfig(**entry), own_image, _file_name(file), digest)


def _file_name(file: str) -> str:
    if Path(file).name != file:
        raise BundleError(f"file {file!r} must lie in the bundle's directory")
    return file


def _load_member(directory: Path, member: Member, shared: dict[str, Tensor]) -> PositionModel:
    path = checked(directory / member.file, member.sha256)
    own = load_tensors(path)
    try:
        return build_from_state(member.model, shared | own).eval()
    except VisualGpsError as error:
        raise BundleError(f"{path}: {error}") from error
    except Exception as error:  # torch raises types of its own
        what = f"{path} does not fit {member.model.backbone}/{member.model.head}"
        raise BundleError(f"{what}: {str(error).splitlines()[0]}") from error
