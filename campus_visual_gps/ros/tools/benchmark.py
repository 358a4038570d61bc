"""What a frame costs on this computer: `python -m campus_visual_gps.ros.tools.benchmark [--model DIR] [--json]`.

The node's overhead is measured in the real node over DDS: from the image's arrival in its callback to the published
fix, less the ensemble's own time, the median of 200 frames of 1280 x 720 that come one at a time. The ensemble is
measured beside a plain float32 loop over its members, in turns, so that both meet the same machine. The place is what
describes an image for the search, however many photos there are. The evidence is all that comes of the reference
photos, random ones of the bundle's size: the novelty of the image's appearance among them, the search for the likest
places, the comparison with those part by part, their density over a map's cells, and the product. Three members with
the paper's head and three with a map over as many cells answer in turns too, up to position and covariance, which tells
what a map costs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np
import yaml

from campus_visual_gps.errors import VisualGpsError
from campus_visual_gps.localizer import MODEL_VARIABLE

FRAMES = 200
WARM_UP_FRAMES = 20
ENSEMBLE_RUNS = 30
EVIDENCE_PHOTOS, EVIDENCE_CELLS, EVIDENCE_RUNS = 10_000, 1024, 50
IMAGE_SIZE_PX = (720, 1280)
# Without a bundle: the overhead does not depend on the network, and this one needs neither weights nor patience.
RANDOM_BACKBONE, RANDOM_SEEDS, RANDOM_SIZE_PX = "resnet18", (0, 1, 2), 320
# What training gives a place space; a bundle's own is taken where there is one.
RANDOM_WORDS, RANDOM_DESCRIPTOR_DIM, RANDOM_PART_DIM = 32, 256, 64


def measure(model_dir: Path, frames: int = FRAMES) -> dict[str, float]:
    """Milliseconds: overhead_raw_ms, overhead_jpeg_ms, ensemble_ms, naive_ms, points_ms, maps_ms, place_ms,
    evidence_10000_ms.

    Raises VisualGpsError.
    """
    rgb = photo_like(*IMAGE_SIZE_PX)
    return {
        "overhead_raw_ms": overhead_ms(model_dir, rgb, compressed=False, frames=frames),
        "overhead_jpeg_ms": overhead_ms(model_dir, rgb, compressed=True, frames=frames),
        **ensemble_and_naive_ms(model_dir, rgb),
        **points_and_maps_ms(model_dir, rgb),
        **place_and_evidence_ms(model_dir),
    }


def overhead_ms(model_dir: Path, rgb: np.ndarray, compressed: bool, frames: int = FRAMES) -> float:
    """Median of a running node's latency less its ensemble's time. `frames` is at most the 200 that it remembers."""
    from campus_visual_gps.ros.tools.node_harness import NodeHarness, NodeThread, jpeg_message, raw_message

    message = jpeg_message(rgb) if compressed else raw_message(rgb)
    # the node's figures are of its last 200 frames: those of the warm-up have left them by then
    wanted = WARM_UP_FRAMES + frames
    with NodeHarness(NodeThread, compressed, model_dir=str(model_dir), max_rate_hz=0.0) as node:
        attempts = 0
        while node.counts["fixes"] < wanted:
            node.send_and_wait(message)
            attempts += 1
            if attempts > 2 * wanted + 10:
                raise VisualGpsError(f"the node gives no fixes: {node.diagnostics.get('message', 'no diagnostics')}")
        done = str(node.counts["fixes"])
        if not node.spin_until(lambda: node.diagnostics.get("fixes") == done, timeout_s=10.0):
            raise VisualGpsError(f"no diagnostics of all {done} fixes; the last: {node.diagnostics}")
        return float(node.diagnostics["overhead_ms"])


def ensemble_and_naive_ms(model_dir: Path, rgb: np.ndarray, runs: int = ENSEMBLE_RUNS) -> dict[str, float]:
    """Medians of the ensemble as the node runs it, and of a float32 loop over the members on the same device."""
    import torch

    from campus_visual_gps.localizer import Localizer
    from campus_visual_gps.preprocess import normalise, prepare

    localizer = Localizer.load(model_dir)
    ensemble = localizer.ensemble
    members = [member.to(ensemble.device) for member in localizer.bundle.load_members()]
    pixels = torch.from_numpy(prepare(rgb, ensemble.image)).unsqueeze(0).to(ensemble.device)
    images = normalise(pixels, ensemble.image).contiguous()
    ensemble_s, naive_s = [], []
    with torch.inference_mode():
        for _ in range(runs + 2):
            ensemble_s.append(ensemble.predict(rgb).ensemble_s)
            start = perf_counter()
            for member in members:
                member(images).mean_enu_m.cpu()  # the copy waits for the device
            naive_s.append(perf_counter() - start)
    return {name: 1e3 * float(np.median(s[2:])) for name, s in (("ensemble_ms", ensemble_s), ("naive_ms", naive_s))}


def place_and_evidence_ms(model_dir: Path, runs: int = EVIDENCE_RUNS) -> dict[str, float]:
    """Medians of describing an image's place, and of its novelty and evidence among EVIDENCE_PHOTOS photos."""
    from campus_visual_gps.localizer import Localizer
    from campus_visual_gps.retrieval.descriptor import RetrievalIndex
    from campus_visual_gps.retrieval.ood import OodDetector
    from campus_visual_gps.retrieval.prior import TOP_K, RetrievalPriorConfig, density, log_linear_pool

    random = np.random.default_rng(0)
    localizer = Localizer.load(model_dir, warm_up=False)
    output = localizer.ensemble.predict(photo_like(*IMAGE_SIZE_PX))
    space = localizer.reference.space if localizer.reference else _random_space(output, random)
    place = space.place(output.statistics, output.local)
    photos = EVIDENCE_PHOTOS
    appearance = OodDetector(random.standard_normal((photos, len(output.appearance))))
    parts = random.integers(-50, 51, (photos, *place.parts.shape), dtype=np.int8)
    descriptors = random.standard_normal((photos, len(place.descriptor)), dtype=np.float32)
    index = RetrievalIndex(space, descriptors, parts, random.uniform(0.0, 200.0, (photos, 2)))
    cells = random.uniform(0.0, 200.0, (EVIDENCE_CELLS, 2))
    probabilities, config = random.dirichlet(np.ones(EVIDENCE_CELLS)), RetrievalPriorConfig(0.5, 10.0, 0.05)
    place_s, evidence_s = [], []
    for _ in range(runs):
        statistics = random.normal(output.statistics, 1.0).astype(np.float32)  # other neighbours each time
        start = perf_counter()
        place = space.place(statistics, output.local)
        described = perf_counter()
        appearance.distance(output.appearance)
        near = index.nearest(place, TOP_K)
        log_linear_pool(probabilities, density(near, cells, config), config.weight)
        place_s.append(described - start)
        evidence_s.append(perf_counter() - described)
    return {"place_ms": 1e3 * float(np.median(place_s)), f"evidence_{photos}_ms": 1e3 * float(np.median(evidence_s))}


def _random_space(output, random: np.random.Generator):
    """A DescriptorExtractor as large as one that is fitted for such an EnsembleOutput."""
    from campus_visual_gps.retrieval.descriptor import DescriptorExtractor, VladCodebook

    codebooks = []
    for stage in output.local:
        channels = stage.shape[-1]
        zeros, ones = np.zeros(channels, np.float32), np.ones(channels, np.float32)
        words = random.standard_normal((RANDOM_WORDS, channels), dtype=np.float32)
        codebooks.append(VladCodebook(zeros, ones, words, ones[:1]))
    count, first = len(output.statistics), output.local[0].shape[-1]
    joined = count + sum(vocabulary.words.size for vocabulary in codebooks)
    return DescriptorExtractor(
        np.zeros(count, np.float32),
        np.ones(count, np.float32),
        tuple(codebooks),
        np.zeros(joined, np.float32),
        random.uniform(-1.0, 1.0, (joined, RANDOM_DESCRIPTOR_DIM)).astype(np.float16),
        random.standard_normal((first, RANDOM_PART_DIM), dtype=np.float32),
    )


def points_and_maps_ms(model_dir: Path, rgb: np.ndarray, runs: int = ENSEMBLE_RUNS) -> dict[str, float]:
    """Medians of three untrained members of the bundle's backbone with the paper's head, and with a map, in turns."""
    from campus_visual_gps.bundle import load_bundle
    from campus_visual_gps.engines.torch_engine import Ensemble
    from campus_visual_gps.estimation.grid import LocationGrid
    from campus_visual_gps.estimation.posterior import Calibration, believe

    bundle = load_bundle(model_dir)
    cells, calibration = LocationGrid(_square_of_cells(EVIDENCE_CELLS), 6.0), Calibration(5.0)
    ensembles = {
        f"{name}s_ms": Ensemble(_untrained(bundle.members[0].model, head, cells.centres_enu_m), bundle.image)
        for name, head in (("point", "mlp"), ("map", "probability_map"))
    }
    seconds: dict[str, list[float]] = {name: [] for name in ensembles}
    for _ in range(runs + 2):
        for name, ensemble in ensembles.items():
            start = perf_counter()
            output = ensemble.predict(rgb)
            own = None if output.grid_log_probs is None else cells
            belief = believe(
                output.means_enu_m, output.covs_enu_m2, output.grid_log_probs, own, calibration, calibration
            )
            if own is not None:
                cells.modes(belief.grid_probs)
            seconds[name].append(perf_counter() - start)
    return {name: 1e3 * float(np.median(times[2:])) for name, times in seconds.items()}


def _untrained(model, head: str, cells_enu_m: np.ndarray) -> list:
    import torch

    from campus_visual_gps.models.position_model import build_model

    config, cells = replace(model, head=head), torch.from_numpy(cells_enu_m)
    return [build_model(config, cells_enu_m=cells) for _ in RANDOM_SEEDS]


def _square_of_cells(count: int) -> np.ndarray:
    """(count, 2) metres."""
    side = int(np.ceil(np.sqrt(count)))
    return np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2)[:count] * 6.0


def photo_like(height: int, width: int, seed: int = 0) -> np.ndarray:
    """(H, W, 3) uint8 RGB with coarse shapes and fine grain, which costs JPEG about what a photo does."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(0.0, 255.0, (9, 16, 3)).astype(np.float32)
    shapes = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return (shapes + random.normal(0.0, 6.0, shapes.shape)).clip(0.0, 255.0).astype(np.uint8)


def without_gates(model_dir: Path, scratch: Path) -> Path:
    """The same bundle with every gate off, in `scratch`: the picture above is of no site. Raises BundleError."""
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


def random_bundle(directory: Path) -> Path:
    """A bundle of untrained members in a new directory, for measuring without a trained one."""
    import torch
    from safetensors.torch import save_file

    from campus_visual_gps import bundle
    from campus_visual_gps.estimation.integrity import Gates
    from campus_visual_gps.estimation.posterior import Calibration
    from campus_visual_gps.geodesy import LocalFrame
    from campus_visual_gps.models.backbones import get_backbone
    from campus_visual_gps.models.position_model import ModelConfig, build_model
    from campus_visual_gps.preprocess import ImageSpec

    model, backbone = ModelConfig(RANDOM_BACKBONE), get_backbone(RANDOM_BACKBONE)
    weights = directory.with_name(f"{directory.name}-weights")
    weights.mkdir(parents=True)
    members = []
    for seed in RANDOM_SEEDS:
        torch.manual_seed(seed)
        save_file(build_model(model).state_dict(), weights / f"{seed}.safetensors")
        members.append((seed, model, weights / f"{seed}.safetensors"))
    half_m = 1000.0
    bundle.save_bundle(
        directory,
        model_id=f"random-{RANDOM_BACKBONE}",
        frame=LocalFrame.at(0.0, 0.0),
        image=ImageSpec(RANDOM_SIZE_PX, backbone.mean, backbone.std),
        altitude=bundle.Altitude(),
        members=members,
        calibration=Calibration(10.0),
        gates=Gates(site_margin_m=None),
        site_polygon_enu_m=np.array([[-half_m, -half_m], [half_m, -half_m], [0.0, half_m]]),
        reference=bundle.ReferenceFeatures(np.zeros((0, backbone.feature_dim)), np.zeros((0, 1)), np.zeros((0, 2))),
        training={"weights": "none"},
        model_card="# Untrained: for measuring only\n",
    )
    shutil.rmtree(weights)
    return directory


def main(arguments: list[str] | None = None) -> int:
    """Print the table, or one JSON object; 1 with one line where it cannot be measured."""
    parser = argparse.ArgumentParser(
        prog="python -m campus_visual_gps.ros.tools.benchmark", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--model", help=f"bundle directory; else ${MODEL_VARIABLE}, else untrained {RANDOM_BACKBONE}s")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    options = parser.parse_args(arguments)
    model = options.model or os.environ.get(MODEL_VARIABLE)
    try:
        with tempfile.TemporaryDirectory(prefix="campus_visual_gps_benchmark_") as scratch:
            own = Path(scratch)
            results = measure(without_gates(Path(model), own) if model else random_bundle(own / "bundle"))
    except ImportError as error:
        return _fail(
            f"the benchmark runs the node and needs ROS ({error}); source a distribution or pip install '.[ros]'"
        )
    except VisualGpsError as error:
        return _fail(str(error))
    rounded = {name: round(value, 3) for name, value in results.items()}
    print(json.dumps(rounded) if options.json else _table(rounded, model))
    return 0


def _table(results: dict[str, float], model: str | None) -> str:
    height, width = IMAGE_SIZE_PX
    texts = {
        "overhead_raw_ms": f"node overhead, {width} x {height} rgb8",
        "overhead_jpeg_ms": f"node overhead, {width} x {height} JPEG",
        "ensemble_ms": "ensemble",
        "naive_ms": "plain float32 loop over the members",
        "points_ms": "three untrained members, points",
        "maps_ms": f"three untrained members, maps of {EVIDENCE_CELLS} cells",
        "place_ms": "describing an image's place",
        f"evidence_{EVIDENCE_PHOTOS}_ms": f"evidence of {EVIDENCE_PHOTOS} reference photos",
    }
    rows = [f"{text:46} {results[name]:9.2f} ms" for name, text in texts.items()]
    of = model or f"untrained: {len(RANDOM_SEEDS)} x {RANDOM_BACKBONE} at {RANDOM_SIZE_PX} px"
    runs = f"ensemble and loop of {ENSEMBLE_RUNS} in turns, place and evidence of {EVIDENCE_RUNS}"
    return "\n".join([f"model {of}; medians of {FRAMES} frames, {runs}", *rows])


def _fail(text: str) -> int:
    print(f"error: {text}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
