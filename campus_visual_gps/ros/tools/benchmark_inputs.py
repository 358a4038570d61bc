"""Images and bundles for the benchmark and the soak: they need no trained model and no photo."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import yaml

from campus_visual_gps.errors import BundleError

if TYPE_CHECKING:
    from campus_visual_gps.models.position_model import ModelConfig, PositionModel
    from campus_visual_gps.models.site_model import SiteModel
    from campus_visual_gps.retrieval.descriptor import DescriptorExtractor

IMAGE_SIZE_PX = (720, 1280)
# Without a bundle: the node's overhead does not depend on the network, and this one needs no weights.
RANDOM_BACKBONE, RANDOM_SEEDS, RANDOM_SIZE_PX = "resnet18", (0, 1, 2), 320
# The sizes that training gives an extractor.
CENTROIDS, DESCRIPTOR_DIM, LOCAL_DESCRIPTOR_DIM = 32, 256, 64


def photo_like(height: int, width: int, seed: int = 0) -> np.ndarray:
    """(H, W, 3) uint8 RGB with coarse shapes and fine grain, which costs JPEG about what a photo does."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(0.0, 255.0, (9, 16, 3)).astype(np.float32)
    shapes = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return (shapes + random.normal(0.0, 6.0, shapes.shape)).clip(0.0, 255.0).astype(np.uint8)


def without_gates(model_dir: Path, scratch: Path) -> Path:
    """The same bundle with every gate off, in `scratch`: the images above are of no site. Raises BundleError."""
    from campus_visual_gps.bundle import MANIFEST, load_bundle

    load_bundle(model_dir)  # its errors name the user's own files
    copy = scratch / "bundle"
    copy.mkdir()
    for file in Path(model_dir).expanduser().resolve().iterdir():
        (copy / file.name).symlink_to(file)
    manifest = yaml.safe_load((copy / MANIFEST).read_text(encoding="utf-8"))
    manifest["gates"] = dict.fromkeys(manifest["gates"])
    (copy / MANIFEST).unlink()
    (copy / MANIFEST).write_text(yaml.safe_dump(manifest), encoding="utf-8")
    return copy


def random_bundle(directory: Path, cells_enu_m: np.ndarray | None = None) -> Path:
    """A bundle of untrained members in a new directory; with cells (K, 2) metres, of heads with that grid."""
    from campus_visual_gps.bundle import Altitude, ReferenceFeatures, save_bundle
    from campus_visual_gps.estimation.calibration import Calibration
    from campus_visual_gps.estimation.integrity import Gates
    from campus_visual_gps.geodesy import LocalFrame
    from campus_visual_gps.models.backbones import get_backbone
    from campus_visual_gps.models.position_model import ModelConfig
    from campus_visual_gps.preprocess import ImageSpec

    model, backbone = ModelConfig(RANDOM_BACKBONE), get_backbone(RANDOM_BACKBONE)
    head = model.head if cells_enu_m is None else "probability_map"
    half_m = 1000.0
    save_bundle(
        directory,
        model_id=f"random-{RANDOM_BACKBONE}",
        frame=LocalFrame.at(0.0, 0.0),
        image=ImageSpec(RANDOM_SIZE_PX, backbone.mean, backbone.std),
        altitude=Altitude(),
        members=list(zip(RANDOM_SEEDS, untrained_members(model, head, cells_enu_m), strict=True)),
        calibration=Calibration(10.0),
        gates=Gates(site_margin_m=None),
        site_polygon_enu_m=np.array([[-half_m, -half_m], [half_m, -half_m], [0.0, half_m]]),
        reference=ReferenceFeatures(np.zeros((0, backbone.feature_dim)), np.zeros((0, 1)), np.zeros((0, 2))),
        training={"weights": "none"},
        model_card="# Untrained: for measuring only\n",
    )
    return directory


def untrained_members(
    model: ModelConfig, head: str, cells_enu_m: np.ndarray | None = None, seeds: tuple[int, ...] = RANDOM_SEEDS
) -> list[PositionModel]:
    """Members of the architecture with another head; cells (K, 2) metres for a head with a grid."""
    import torch

    from campus_visual_gps.models.position_model import build_model

    cells = None if cells_enu_m is None else torch.from_numpy(cells_enu_m)
    members = []
    for seed in seeds:
        torch.manual_seed(seed)
        members.append(build_model(replace(model, head=head), cells_enu_m=cells).eval())
    return members


def random_extractor(model: SiteModel) -> DescriptorExtractor:
    """An extractor as large as one that training fits for the features of a model without extractor."""
    import torch

    from campus_visual_gps.models.site_model import LOCAL_FEATURES, POOLED_FEATURES
    from campus_visual_gps.retrieval.descriptor import DescriptorExtractor, VladCodebook

    if model.extractor is not None:
        raise BundleError("expected a model without a descriptor extractor")
    size = model.image.size_px
    with torch.inference_mode():
        outputs = model(torch.full((1, size, size, 3), 127, dtype=torch.uint8))
    channels = [outputs[name].shape[-1] for name in LOCAL_FEATURES]
    pooled = outputs[POOLED_FEATURES].shape[1]
    random = torch.Generator().manual_seed(0)
    codebooks = [
        VladCodebook(torch.zeros(c), torch.ones(c), torch.randn(CENTROIDS, c, generator=random), torch.ones(1))
        for c in channels
    ]
    raw = pooled + CENTROIDS * sum(channels)
    return DescriptorExtractor(
        codebooks,
        pooled_mean=torch.zeros(pooled),
        pooled_std=torch.ones(pooled),
        raw_mean=torch.zeros(raw),
        projection=torch.rand(DESCRIPTOR_DIM, raw, generator=random) * 2.0 - 1.0,
        local_whitening=torch.randn(channels[0], LOCAL_DESCRIPTOR_DIM, generator=random),
    ).eval()


def square_grid(count: int, cell_m: float = 6.0) -> np.ndarray:
    """Cells (count, 2) metres of a square raster."""
    side = int(np.ceil(np.sqrt(count)))
    return np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2)[:count] * cell_m
