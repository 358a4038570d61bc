"""Small fakes shared by the tests: a tiny bundle, pictures, and where the real photos are."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent


def shared_data(*parts: str) -> Path:
    """A path below the shared real photos, or a skip where they are not on this machine."""
    base = Path(os.environ.get("CAMPUS_VISUAL_GPS_SHARED_DATA", ROOT.parent / "shared" / "data"))
    path = base.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs the real photos at {path}; set CAMPUS_VISUAL_GPS_SHARED_DATA")
    return path


# Channels of the middle stage, and length of the pooled features, of the backbones that tests use.
MIDDLE_CHANNELS = {"resnet18": 128, "efficientnet_lite0": 80}
FEATURES = {"resnet18": 2 * (128 + 256), "efficientnet_lite0": 2 * (80 + 112 + 192)}


def make_bundle(
    directory: Path,
    *,
    seeds: tuple[int, ...] = (42, 123),
    backbone: str = "resnet18",
    size_px: int = 64,
    site_half_m: float = 200.0,
    output_scale_m: float = 20.0,
    cells_enu_m: np.ndarray | None = None,
    **overrides,
) -> Path:
    """A valid bundle of small untrained members whose outputs differ from image to image; with cells, of grid heads."""
    from campus_visual_gps import bundle as bundles
    from campus_visual_gps.estimation.calibration import Calibration
    from campus_visual_gps.estimation.integrity import Gates
    from campus_visual_gps.geodesy import LocalFrame
    from campus_visual_gps.models.backbones import get_backbone
    from campus_visual_gps.preprocess import ImageSpec

    described = get_backbone(backbone)
    side = site_half_m
    content = {
        "model_id": "tiny",
        "frame": LocalFrame.at(31.262, 34.802),
        "image": ImageSpec(size_px, described.mean, described.std),
        "altitude": bundles.Altitude(300.0, 5.0),
        "members": make_members(seeds, backbone, output_scale_m, cells_enu_m),
        "calibration": Calibration(5.0),
        "gates": Gates(),
        "site_polygon_enu_m": np.array([[-side, -side], [side, -side], [side, side], [-side, side]]),
        "reference": bundles.ReferenceFeatures(
            np.random.default_rng(0).normal(size=(6, FEATURES[backbone])),
            np.random.default_rng(2).normal(size=(6, MIDDLE_CHANNELS[backbone])),
            np.random.default_rng(1).uniform(-side, side, (6, 2)),
        ),
        "training": {"weights": "none", "dataset": "", "photo_ids": [f"{i:016x}" for i in range(6)]},
        "model_card": "# tiny\n",
    }
    return bundles.save_bundle(directory, **(content | overrides))


def make_members(
    seeds: tuple[int, ...] = (42, 123),
    backbone: str = "resnet18",
    output_scale_m: float = 20.0,
    cells_enu_m: np.ndarray | None = None,
):
    """Untrained members (seed, network), as `save_bundle` takes them."""
    import torch

    from campus_visual_gps.models.position_model import ModelConfig, build_model

    head = "linear" if cells_enu_m is None else "probability_map"
    config = ModelConfig(backbone=backbone, head=head, output_scale_m=output_scale_m)
    cells = None if cells_enu_m is None else torch.from_numpy(cells_enu_m)
    members = []
    for seed in seeds:
        torch.manual_seed(seed)
        members.append((seed, build_model(config, cells_enu_m=cells).eval()))
    return members


def textured_rgb(height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    """(H, W, 3) uint8 RGB: smooth coloured blobs, which JPEG and resizing treat like a photo."""
    import cv2

    coarse = np.random.default_rng(seed).uniform(0, 255, (6, 8, 3)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def make_reference(members, image, positions_enu_m: np.ndarray, image_seeds: tuple[int, ...] = tuple(range(12))):
    """ReferenceFeatures of textured images as the first member sees them, with a fitted descriptor extractor.

    Image number i stands at positions_enu_m[i]; members are (seed, network).
    """
    from campus_visual_gps.bundle import ReferenceFeatures
    from campus_visual_gps.engines.torch_engine import TorchEngine
    from campus_visual_gps.models.site_model import SiteModel
    from campus_visual_gps.preprocess import prepare
    from campus_visual_gps.retrieval.index import neighbourhood_similarity
    from training.config import DescriptorSettings
    from training.fit.descriptor_fit import fit_descriptor_extractor

    engine = TorchEngine(SiteModel([members[0][1]], image), "cpu", "fp32")
    outputs = engine.run(np.stack([prepare(textured_rgb(seed=seed), image) for seed in image_seeds]))
    positions = np.asarray(positions_enu_m, dtype=np.float64)[: len(image_seeds)]
    settings = DescriptorSettings(dim=16, centroids=4, local_dim=8)
    extractor = fit_descriptor_extractor(outputs.pooled_features, outputs.local_features, positions, settings)
    described = extractor.describe(outputs.pooled_features, outputs.local_features)
    descriptors = described.global_descriptors.astype(np.float16)
    return ReferenceFeatures(
        descriptors,
        outputs.ood_features,
        positions,
        described.local_descriptors,
        extractor,
        neighbourhood_similarity(descriptors),
    )
