"""The one on-disk model format: a directory with bundle.yaml and tensors, saved and loaded here.

Nothing is ever unpickled. A missing file, a hash that differs, or an unknown format version is a BundleError.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from campus_visual_gps.errors import BundleError, VisualGpsError
from campus_visual_gps.estimation.integrity import Gates
from campus_visual_gps.estimation.posterior import Calibration
from campus_visual_gps.geodesy import LocalFrame
from campus_visual_gps.io_utils import sha256_of, to_builtin
from campus_visual_gps.models.backbones import get_backbone
from campus_visual_gps.models.position_model import ModelConfig, PositionModel, build_from_state
from campus_visual_gps.preprocess import ImageSpec
from campus_visual_gps.retrieval.descriptor import DescriptorExtractor, RetrievalIndex

FORMAT_VERSION = 3
MANIFEST = "bundle.yaml"
MODEL_CARD = "MODEL_CARD.md"
REFERENCE = "reference_features.safetensors"


@dataclass(frozen=True)
class Altitude:
    """The site's altitude over the ellipsoid and its standard deviation, metres (design.md section 5)."""

    altitude_m: float = 0.0
    sigma_m: float = 5.0

    def __post_init__(self):
        if not (np.isfinite(self.altitude_m) and np.isfinite(self.sigma_m) and self.sigma_m > 0):
            raise BundleError("altitude must be finite metres and its sigma positive: an EKF drops NaN")


@dataclass(frozen=True)
class Member:
    """One network of the ensemble: its seed, its architecture and its file."""

    seed: int
    model: ModelConfig
    file: str
    sha256: str


@dataclass(frozen=True)
class ReferenceFeatures:
    """What the training photos look like to the first member: features (N, d) float16, channel means of its middle
    stage (N, c) float32, positions (N, 2) metres.

    Features are the descriptors of `space`, `parts` (N, T, t) int8 what is compared beside them; where a network has
    none that can be used, features are its bare statistics, and there is neither.
    """

    features: np.ndarray
    appearances: np.ndarray
    positions_enu_m: np.ndarray
    parts: np.ndarray | None = None
    space: DescriptorExtractor | None = None

    def index(self) -> RetrievalIndex | None:
        """For searching photos of the same place; None where the network has no space for it."""
        if self.space is None or not len(self.features):
            return None
        return RetrievalIndex(self.space, self.features, self.parts, self.positions_enu_m)


@dataclass(frozen=True)
class Bundle:
    """A bundle's content, but for the tensors, which `load_members` and `load_reference` read from `path`."""

    path: Path
    model_id: str
    frame: LocalFrame
    image: ImageSpec
    altitude: Altitude
    members: tuple[Member, ...]
    calibration: Calibration
    gates: Gates
    site_polygon_enu_m: np.ndarray
    reference_sha256: str
    training: dict[str, Any] = field(default_factory=dict)

    def load_members(self) -> list[PositionModel]:
        """The members' networks with their weights, in evaluation mode. Raises BundleError."""
        return [_load_member(self.path, member) for member in self.members]

    def load_reference(self) -> ReferenceFeatures:
        """The training photos' features, appearances and positions. Raises BundleError."""
        from safetensors.numpy import load_file

        path = _checked(self.path / REFERENCE, self.reference_sha256)
        tensors = load_file(path)
        try:
            positions_enu_m = tensors["positions_enu_m"].astype(np.float64)
            space = DescriptorExtractor.from_tensors(tensors)
            parts = None if space is None else tensors["parts"]
            return ReferenceFeatures(tensors["features"], tensors["appearances"], positions_enu_m, parts, space)
        except KeyError as error:
            raise BundleError(f"{path}: tensor {error} is missing") from error


def save_bundle(
    path: Path,
    *,
    model_id: str,
    frame: LocalFrame,
    image: ImageSpec,
    altitude: Altitude,
    members: list[tuple[int, ModelConfig, Path]],
    calibration: Calibration,
    gates: Gates,
    site_polygon_enu_m: np.ndarray,
    reference: ReferenceFeatures,
    training: dict[str, Any],
    model_card: str,
) -> Path:
    """Write a bundle whole or not at all; members are (seed, architecture, safetensors file).

    An existing bundle at `path` is replaced only once the new one is complete. Raises BundleError if something else
    stands there.
    """
    from safetensors.numpy import save_file

    path = Path(path)
    if path.exists() and not (path / MANIFEST).is_file():
        raise BundleError(f"{path} exists and is no model bundle; choose another directory")
    staging = path.with_name(f".{path.name}.partial-{os.getpid()}")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        entries = []
        for seed, model, source in members:
            name = f"member-{seed}.safetensors"
            shutil.copyfile(source, staging / name)
            entries.append({"seed": seed, "file": name, "sha256": sha256_of(staging / name), **asdict(model)})
        save_file(
            {
                "features": np.ascontiguousarray(reference.features, dtype=np.float16),
                "appearances": np.ascontiguousarray(reference.appearances, dtype=np.float32),
                "positions_enu_m": np.ascontiguousarray(reference.positions_enu_m, dtype=np.float64),
                **_place_tensors(reference),
            },
            staging / REFERENCE,
        )
        manifest = {
            "format_version": FORMAT_VERSION,
            "model_id": model_id,
            "frame": asdict(frame),
            "image": to_builtin(asdict(image)),
            "altitude": asdict(altitude),
            "members": entries,
            "calibration": asdict(calibration),
            "gates": asdict(gates),
            "site_polygon_enu_m": np.round(np.asarray(site_polygon_enu_m, dtype=float), 3).tolist(),
            "reference_sha256": sha256_of(staging / REFERENCE),
            "training": training,
        }
        (staging / MODEL_CARD).write_text(model_card, encoding="utf-8")
        (staging / MANIFEST).write_text(yaml.safe_dump(manifest, sort_keys=False), encoding="utf-8")
        _swap(staging, path)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return path


def _place_tensors(reference: ReferenceFeatures) -> dict[str, np.ndarray]:
    if reference.space is None:
        return {}
    return {"parts": np.ascontiguousarray(reference.parts, dtype=np.int8), **reference.space.tensors()}


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
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BundleError(f"{manifest} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict) or "format_version" not in data:
        raise BundleError(f"{manifest} is no bundle manifest: format_version is missing")
    if data["format_version"] != FORMAT_VERSION:
        raise BundleError(
            f"{manifest} has format version {data['format_version']}, this program reads {FORMAT_VERSION}; "
            "train the bundle again or install the matching version"
        )
    try:
        return _from_manifest(path, data)
    except VisualGpsError as error:
        raise BundleError(f"{manifest}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"{manifest} is damaged ({type(error).__name__}: {error}); copy the bundle again") from error


def _from_manifest(path: Path, data: dict) -> Bundle:
    members = []
    for entry in data["members"]:
        entry = dict(entry)
        seed, file, digest = entry.pop("seed"), entry.pop("file"), entry.pop("sha256")
        if Path(file).name != file:
            raise BundleError(f"member file {file!r} must lie in the bundle's directory")
        model = ModelConfig(**entry)
        get_backbone(model.backbone)  # a name that this version does not know is told here, not on first use
        members.append(Member(int(seed), model, file, digest))
    if not members:
        raise BundleError("the bundle has no members")
    polygon = np.asarray(data["site_polygon_enu_m"], dtype=np.float64)
    if polygon.ndim != 2 or polygon.shape[1] != 2 or len(polygon) < 3 or not np.all(np.isfinite(polygon)):
        raise BundleError("site_polygon_enu_m must be three or more [east, north] pairs in metres")
    return Bundle(
        path=path,
        model_id=str(data["model_id"]),
        frame=LocalFrame(**data["frame"]),
        image=ImageSpec(**data["image"]),
        altitude=Altitude(**data["altitude"]),
        members=tuple(members),
        calibration=Calibration.from_dict(data["calibration"]),
        gates=Gates(**data["gates"]),
        site_polygon_enu_m=polygon,
        reference_sha256=data["reference_sha256"],
        training=data.get("training") or {},
    )


def _load_member(directory: Path, member: Member) -> PositionModel:
    from safetensors.torch import load_file

    path = _checked(directory / member.file, member.sha256)
    try:
        model = build_from_state(member.model, load_file(path))
    except VisualGpsError as error:
        raise BundleError(f"{path}: {error}") from error
    except Exception as error:  # torch and safetensors each raise types of their own
        first_line = str(error).splitlines()[0]
        raise BundleError(f"{path} does not fit {member.model.backbone}/{member.model.head}: {first_line}") from error
    return model.eval()


def _checked(path: Path, digest: str) -> Path:
    if not path.is_file():
        raise BundleError(f"{path} is missing; copy the whole bundle directory again")
    found = sha256_of(path)
    if found != digest:
        raise BundleError(f"{path} is damaged: SHA-256 {found[:12]}..., expected {str(digest)[:12]}...; copy it again")
    return path


def _swap(staging: Path, path: Path) -> None:
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
