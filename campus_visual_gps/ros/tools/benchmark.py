"""What localizing costs on this computer: `python -m campus_visual_gps.ros.tools.benchmark [--model DIR] [--json]`.

- Node overhead: in the real node over DDS, from the image's arrival in its callback to the published fix, less the time
  of the SiteModel; the median of 75 images of 1280 x 720 that come one at a time.
- Tracking: the same overhead of untrained members with a grid, with tracking off and on.
- Ensemble: the SiteModel against a plain float32 loop over its members, in turns, so that both meet the same machine.
- Heads: three untrained members with the paper's head and three with a grid, in turns, up to position and covariance.
- Descriptor: what makes the descriptors of an image, whatever the number of reference photos.
- Retrieval: all that 10,000 reference photos cost per image: OOD score, search, matching, likelihood over the grid.
- Tracking step: the tracker alone, with odometry, first with an unknown yaw, then as it is after minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np

from campus_visual_gps.errors import VisualGpsError
from campus_visual_gps.io_utils import escape_unencodable_output
from campus_visual_gps.localizer import MODEL_VARIABLE, Localizer
from campus_visual_gps.ros.tools.benchmark_inputs import (
    IMAGE_SIZE_PX,
    RANDOM_BACKBONE,
    RANDOM_SEEDS,
    RANDOM_SIZE_PX,
    photo_like,
    random_bundle,
    random_extractor,
    square_grid,
    untrained_members,
    without_gates,
)
from campus_visual_gps.ros.tools.tracking_benchmark import CELLS, STEPS, tracking_ms

IMAGES = 60
WARM_UP_IMAGES = 15
ENSEMBLE_RUNS = 20
RETRIEVAL_PHOTOS, GRID_CELLS, RETRIEVAL_RUNS = 10_000, 1024, 50


def measure(model_dir: Path, images: int = IMAGES) -> dict[str, float]:
    """Milliseconds by name, as `_LABELS` has them. Raises VisualGpsError."""
    rgb = photo_like(*IMAGE_SIZE_PX)
    localizer = Localizer.load(model_dir)
    while localizer.engine.threads.measures:  # the first images choose the number of threads
        localizer.localize(rgb)
    return {
        "overhead_raw_ms": overhead_ms(model_dir, compressed=False, images=images),
        "overhead_jpeg_ms": overhead_ms(model_dir, compressed=True, images=images),
        **tracking_overheads_ms(images),
        **ensemble_and_loop_ms(localizer, rgb),
        **heads_ms(localizer, rgb),
        **descriptor_and_retrieval_ms(localizer, rgb),
        **tracking_ms(),
    }


def tracking_overheads_ms(images: int = IMAGES) -> dict[str, float]:
    """Overheads of a node with a grid of GRID_CELLS, without tracking and with."""
    with tempfile.TemporaryDirectory(prefix="campus_visual_gps_benchmark_") as scratch:
        model_dir = random_bundle(Path(scratch) / "bundle", square_grid(GRID_CELLS))
        return {
            "overhead_grid_ms": overhead_ms(model_dir, compressed=False, images=images),
            "overhead_tracking_ms": overhead_ms(model_dir, compressed=False, images=images, tracking="random_walk"),
        }


def overhead_ms(model_dir: Path, compressed: bool, images: int = IMAGES, tracking: str = "off") -> float:
    """Median of a running node's latency less its ensemble's time, over the warm-up and so many images."""
    from campus_visual_gps.ros.tools.node_harness import NodeHarness, NodeThread, jpeg_message, raw_message

    # two images in turns: one that repeats is compared with the last one as a whole, which a live camera's is not
    pictures = [photo_like(*IMAGE_SIZE_PX, seed=seed) for seed in (0, 1)]
    messages = [jpeg_message(rgb) if compressed else raw_message(rgb) for rgb in pictures]
    # the node's median is of its last 200 images, which the few first ones hardly move
    wanted = WARM_UP_IMAGES + images
    with NodeHarness(NodeThread, compressed, model_dir=str(model_dir), max_rate_hz=0.0, tracking=tracking) as node:
        attempts = 0
        while node.counts["fixes"] < wanted:
            node.send_and_wait(messages[attempts % 2])
            attempts += 1
            if attempts > 2 * wanted + 10:
                raise VisualGpsError(f"the node gives no fixes: {node.diagnostics.get('message', 'no diagnostics')}")
        done = str(node.counts["fixes"])
        if not node.spin_until(lambda: node.diagnostics.get("fixes") == done, timeout_s=10.0):
            raise VisualGpsError(f"no diagnostics of all {done} fixes; the last: {node.diagnostics}")
        return float(node.diagnostics["overhead_ms"])


def ensemble_and_loop_ms(localizer: Localizer, rgb: np.ndarray, runs: int = ENSEMBLE_RUNS) -> dict[str, float]:
    """Medians of the SiteModel as the node runs it, and of a float32 loop over the members on the same device."""
    import torch

    from campus_visual_gps.preprocess import normalise, prepare

    engine, bundle = localizer.engine, localizer.bundle
    inputs = prepare(rgb, bundle.image)[None]
    pixels = torch.from_numpy(inputs).to(engine.device)
    members = [
        (network.to(engine.device), normalise(pixels, member.image).contiguous())
        for network, member in zip(bundle.load_members(), bundle.members, strict=True)
    ]

    @torch.inference_mode()
    def loop() -> None:
        for network, normalised in members:
            network(normalised).mean_enu_m.cpu()  # the copy waits for the device

    return _medians_ms({"ensemble_ms": lambda: engine.run(inputs), "loop_ms": loop}, runs)


def heads_ms(localizer: Localizer, rgb: np.ndarray, runs: int = ENSEMBLE_RUNS) -> dict[str, float]:
    """Medians of three untrained members with the paper's head, and with a grid, up to position and covariance."""
    from campus_visual_gps.engines.torch_engine import TorchEngine
    from campus_visual_gps.estimation.calibration import Calibration
    from campus_visual_gps.estimation.grid import LocationGrid
    from campus_visual_gps.estimation.posterior import PosteriorEstimator
    from campus_visual_gps.models.site_model import SiteModel
    from campus_visual_gps.preprocess import prepare

    bundle, grid = localizer.bundle, LocationGrid(square_grid(GRID_CELLS), 6.0)
    inputs = prepare(rgb, bundle.image)[None]

    def task(head: str, own_grid: LocationGrid | None) -> Callable[[], object]:
        cells = None if own_grid is None else own_grid.centres_enu_m
        members = untrained_members(bundle.members[0].model, head, cells)
        engine = TorchEngine(SiteModel(members, bundle.image), str(localizer.engine.device))
        estimator = PosteriorEstimator(Calibration(5.0), own_grid)

        def run() -> None:
            posterior = estimator.estimate(engine.run(inputs))
            if own_grid is not None and posterior.grid_probs is not None:
                own_grid.modes(posterior.grid_probs[0])

        return run

    return _medians_ms({"point_heads_ms": task("mlp", None), "grid_heads_ms": task("probability_map", grid)}, runs)


def descriptor_and_retrieval_ms(localizer: Localizer, rgb: np.ndarray, runs: int = RETRIEVAL_RUNS) -> dict[str, float]:
    """Medians of describing an image, and of its OOD score and retrieval among RETRIEVAL_PHOTOS random photos."""
    from campus_visual_gps.engines.torch_engine import TorchEngine
    from campus_visual_gps.estimation.calibration import Calibration
    from campus_visual_gps.estimation.grid import LocationGrid
    from campus_visual_gps.estimation.posterior import PosteriorEstimator
    from campus_visual_gps.models.site_model import SiteModel
    from campus_visual_gps.preprocess import prepare
    from campus_visual_gps.retrieval.index import RetrievalIndex
    from campus_visual_gps.retrieval.ood import OodDetector
    from campus_visual_gps.retrieval.prior import RetrievalPriorConfig

    random, bundle = np.random.default_rng(0), localizer.bundle
    grid = LocationGrid(square_grid(GRID_CELLS), 6.0)
    members = untrained_members(bundle.members[0].model, "probability_map", grid.centres_enu_m)
    bare = SiteModel(members, bundle.image)
    extractor = bundle.load_reference().extractor or random_extractor(bare)
    outputs = TorchEngine(bare, "cpu").run(prepare(rgb, bundle.image)[None])
    pooled, local = outputs.pooled_features, outputs.local_features or ()
    described = extractor.describe(pooled, local)
    photos, (dim, local_shape) = RETRIEVAL_PHOTOS, (described[0].shape[1], described[1].shape[1:])
    index = RetrievalIndex(
        random.standard_normal((photos, dim), dtype=np.float32),
        random.uniform(0.0, 200.0, (photos, 2)),
        random.integers(-50, 51, (photos, *local_shape), dtype=np.int8),
    )
    detector = OodDetector(random.standard_normal((photos, outputs.ood_features.shape[1])))
    prior = RetrievalPriorConfig(0.5, 10.0, 0.05)
    estimator = PosteriorEstimator(Calibration(5.0, retrieval_prior=prior), grid)

    def retrieval() -> None:
        detector.score(outputs.ood_features)
        query = random.standard_normal((1, dim), dtype=np.float32)  # other photos each time
        found = index.search(query, described.local_descriptors, prior.k)
        estimator.pooled_grid(outputs, found)

    tasks: dict[str, Callable[[], object]] = {
        "descriptor_ms": lambda: extractor.describe(pooled, local),
        f"retrieval_{photos}_ms": retrieval,
    }
    return _medians_ms(tasks, runs)


def _medians_ms(tasks: dict[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Median milliseconds of tasks that run in turns; the first two turns do not count."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(runs + 2):
        for name, task in tasks.items():
            start = perf_counter()
            task()
            seconds[name].append(perf_counter() - start)
    return {name: 1e3 * float(np.median(times[2:])) for name, times in seconds.items()}


def main(arguments: list[str] | None = None) -> int:
    """Print the table, or one JSON object; 1 with one line where it cannot be measured."""
    parser = argparse.ArgumentParser(
        prog="python -m campus_visual_gps.ros.tools.benchmark", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--model", help=f"bundle directory; else ${MODEL_VARIABLE}, else untrained {RANDOM_BACKBONE}s")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    options = parser.parse_args(arguments)
    escape_unencodable_output()
    model = options.model or os.environ.get(MODEL_VARIABLE)
    try:
        with tempfile.TemporaryDirectory(prefix="campus_visual_gps_benchmark_") as scratch:
            own = Path(scratch)
            results = measure(without_gates(Path(model), own) if model else random_bundle(own / "bundle"))
    except ImportError as error:
        return _fail(f"the benchmark runs the node, which needs ROS ({error}); source it or pip install '.[ros]'")
    except VisualGpsError as error:
        return _fail(str(error))
    rounded = {name: round(value, 3) for name, value in results.items()}
    print(json.dumps(rounded) if options.json else _table(rounded, model))
    return 0


_HEIGHT, _WIDTH = IMAGE_SIZE_PX
_LABELS = {
    "overhead_raw_ms": f"node overhead, {_WIDTH} x {_HEIGHT} rgb8",
    "overhead_jpeg_ms": f"node overhead, {_WIDTH} x {_HEIGHT} JPEG",
    "overhead_grid_ms": f"node overhead, grid of {GRID_CELLS} cells, tracking off",
    "overhead_tracking_ms": f"node overhead, grid of {GRID_CELLS} cells, tracking on",
    "ensemble_ms": "ensemble (SiteModel)",
    "loop_ms": "plain float32 loop over the members",
    "point_heads_ms": "three untrained members, point heads",
    "grid_heads_ms": f"three untrained members, grids of {GRID_CELLS} cells",
    "descriptor_ms": "descriptors of an image",
    f"retrieval_{RETRIEVAL_PHOTOS}_ms": f"retrieval among {RETRIEVAL_PHOTOS} photos, with OOD score",
    f"tracking_{CELLS}_ms": f"tracking step, {CELLS} cells, yaw unknown",
    f"tracking_late_{CELLS}_ms": f"tracking step, {CELLS} cells, after {STEPS} steps",
}


def _table(results: dict[str, float], model: str | None) -> str:
    rows = [f"{text:50} {results[name]:9.2f} ms" for name, text in _LABELS.items()]
    of = model or f"untrained: {len(RANDOM_SEEDS)} x {RANDOM_BACKBONE} at {RANDOM_SIZE_PX} px"
    runs = f"ensemble and heads of {ENSEMBLE_RUNS} in turns, descriptor and retrieval of {RETRIEVAL_RUNS}"
    return "\n".join([f"model {of}; medians of {WARM_UP_IMAGES + IMAGES} images, {runs}", *rows])


def _fail(text: str) -> int:
    print(f"error: {text}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
