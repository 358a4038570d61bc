"""How long images, epochs and passes over photos take while other processes use the cores. Prints a table.

    python scripts/measure_contention.py --model BUNDLE [--dataset DATASET --recipe YAML] [--only localize,node,...]

Conditions: a quiet computer, one and two busy loops, a PyTorch process with its default threads. Jobs:

- localize, localize_1: `Localizer.localize` in a process of its own; with the default threads and with one.
- node: the node in a process of its own; JPEG images of 640 x 480 every 0.5 s over DDS; from sending an image to
  receiving its fix. Meanwhile the rate of another node's timer of 100 Hz.
- read: a pass of the networks over the stored photos of the data set, in batches. Milliseconds a photo.
- epoch: epochs of the recipe on the data set, seconds, after one that makes the feature cache.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, perf_counter, sleep

import numpy as np

PYTORCH = """
import torch
layers = torch.nn.Sequential(*[torch.nn.Conv2d(64, 64, 3, padding=1) for _ in range(8)])
images = torch.randn(8, 64, 80, 80)
with torch.inference_mode():
    print("running", flush=True)
    while True:
        layers(images)
"""
BUSY = "print('running', flush=True)\nwhile True: pass"
CONDITIONS = {"quiet": [], "one busy loop": [BUSY], "two busy loops": [BUSY, BUSY], "PyTorch process": [PYTORCH]}
JOBS = ("localize_1", "localize", "node", "read", "epoch")
# On two cores the number of threads is measured with the first 20 images.
WARM_UP, PERIOD_S, TIMER_HZ = 20, 0.5, 100.0


@contextmanager
def neighbours(programs: list[str]):
    """Other processes, which run until the end of the block."""
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for code in programs]
    try:
        for process in running:
            process.stdout.readline()
        sleep(1.0)
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def photos(count: int) -> list[np.ndarray]:
    """Images (480, 640, 3) uint8 that differ."""
    from campus_visual_gps.ros.tools.benchmark_inputs import photo_like

    return [photo_like(480, 640, seed=seed) for seed in range(count)]


def spread(seconds: list[float]) -> dict[str, float]:
    """Median and 95th percentile in milliseconds."""
    return {"median_ms": 1e3 * float(np.median(seconds)), "p95_ms": 1e3 * float(np.percentile(seconds, 95))}


def job_localize(options: argparse.Namespace, single: bool = False) -> dict[str, float]:
    """Localize images one after the other."""
    import torch

    from campus_visual_gps.localizer import Localizer

    if single:
        torch.set_num_threads(1)
    localizer, images, seconds = Localizer.load(options.model, device="cpu"), photos(4), []
    for run in range(WARM_UP + options.images):
        start_s = perf_counter()
        localizer.localize(images[run % 4])
        seconds.append(perf_counter() - start_s)
    return spread(seconds[WARM_UP:])


def job_node(options: argparse.Namespace) -> dict[str, float]:
    """Send images to the node; count the callbacks of another node's timer meanwhile."""
    from campus_visual_gps.ros.tools.benchmark_inputs import without_gates
    from campus_visual_gps.ros.tools.node_harness import NodeHarness, NodeProcess, jpeg_message

    messages, seconds = [jpeg_message(rgb) for rgb in photos(4)], []
    with (
        tempfile.TemporaryDirectory() as scratch,
        NodeHarness(
            NodeProcess,
            True,
            model_dir=str(without_gates(Path(options.model), Path(scratch))),
            max_rate_hz=0.0,
            device="cpu",
        ) as node,
    ):
        timer = subprocess.Popen([sys.executable, __file__, "--job", "timer", "--model", "-"], stdout=subprocess.PIPE)
        timer.stdout.readline()
        for run in range(WARM_UP + options.images):
            due_s = monotonic() + PERIOD_S
            start_s = perf_counter()
            if node.send_and_wait(messages[run % 4], timeout_s=20.0):
                seconds.append(perf_counter() - start_s)
            node.spin_until(lambda: False, due_s - monotonic())
        timer.terminate()
        rate_hz = float(timer.communicate()[0])
    return {**spread(seconds[WARM_UP:]), "timer_hz": rate_hz}


def job_timer(_: argparse.Namespace) -> None:
    """A node with a timer of 100 Hz; prints its rate when SIGTERM ends it."""
    import rclpy

    rclpy.init()
    node, count = rclpy.create_node("timer"), [0]

    def tick() -> None:
        count[0] += 1

    node.create_timer(1.0 / TIMER_HZ, tick)
    print("running", flush=True)
    start_s = monotonic()
    with suppress(Exception):  # a signal shuts the context down wherever the executor is
        rclpy.spin(node)
    print(count[0] / (monotonic() - start_s), flush=True)


def job_read(options: argparse.Namespace) -> dict[str, float]:
    """One pass over the stored photos."""
    from campus_visual_gps.localizer import Localizer
    from training.fit.calibration_set import read_photos

    engine = Localizer.load(options.model, device="cpu").engine
    paths = sorted((Path(options.dataset) / "images").glob("*.jpg"))
    read_photos(engine, paths[:32])
    start_s = perf_counter()
    read_photos(engine, paths)
    return {"ms_per_photo": 1e3 * (perf_counter() - start_s) / len(paths)}


def job_epoch(options: argparse.Namespace) -> dict[str, float]:
    """Train one member for some epochs."""
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch) / "run"
        command = [sys.executable, "-m", "training", "train", options.recipe, "--dataset", options.dataset]
        command += ["--out", str(run), "--set", "seeds=[42]", "--set", f"trainer.max_epochs={options.epochs}"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        metrics = run / "seed-42" / "metrics.csv"
        rows: list[dict[str, str]] = []
        while process.poll() is None and len(rows) < options.epochs:
            sleep(0.2)
            rows = list(csv.DictReader(metrics.open(encoding="utf-8"))) if metrics.is_file() else []
        process.kill()  # the bundle is not needed
        process.wait()
    seconds = [float(row["seconds"]) for row in rows[1:]]
    return {"median_s": float(np.median(seconds)), "longest_s": max(seconds)}


def main() -> None:
    """Run every job under every condition."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="bundle directory")
    parser.add_argument("--dataset", help="data set directory, for read and epoch")
    parser.add_argument("--recipe", default="config/training/sample.yaml", help="training configuration, for epoch")
    parser.add_argument("--images", type=int, default=60, help="images of localize and node")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--only", default=",".join(JOBS))
    parser.add_argument("--conditions", default=",".join(CONDITIONS))
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        job, single = options.job.removesuffix("_1"), {"single": True} if options.job.endswith("_1") else {}
        answer = globals()[f"job_{job}"](options, **single)
        if answer is not None:
            print(json.dumps(answer))
        return
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    for name in options.only.split(","):
        for condition in options.conditions.split(","):
            with neighbours(CONDITIONS[condition]):
                command = [sys.executable, __file__, "--job", name, *sys.argv[1:]]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
            answer = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"failed": done.returncode}
            values = "  ".join(f"{key} {value:.1f}" for key, value in answer.items())
            print(f"{name:11} {condition:16} {values}", flush=True)


if __name__ == "__main__":
    main()
