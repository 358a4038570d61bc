"""The benchmark and the soak measure a real node over DDS."""

import json
import os
import subprocess
import sys

import pytest
from helpers import ROOT, make_bundle

from campus_visual_gps.bundle import load_bundle
from campus_visual_gps.estimation.integrity import Gates
from campus_visual_gps.ros.tools import benchmark
from campus_visual_gps.ros.tools.benchmark_inputs import RANDOM_SEEDS, random_bundle


@pytest.mark.ros
@pytest.mark.slow
def test_all_times_are_measured_of_a_bundle_whose_gates_would_reject_the_image(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "IMAGES", 3)
    monkeypatch.setattr(benchmark.measure, "__defaults__", (3,))
    bundle_dir = make_bundle(tmp_path / "bundle", gates=Gates(max_ensemble_spread_m=1e-9, min_brightness=254.0))
    assert benchmark.main(["--model", str(bundle_dir), "--json"]) == 0
    results = json.loads(capsys.readouterr().out.splitlines()[-1])
    expected = ["overhead_raw_ms", "overhead_jpeg_ms", "overhead_grid_ms", "overhead_tracking_ms"]
    expected += ["ensemble_ms", "loop_ms", "point_heads_ms", "grid_heads_ms"]
    assert list(results) == [
        *expected,
        "descriptor_ms",
        "retrieval_10000_ms",
        "tracking_10000_ms",
        "tracking_late_10000_ms",
    ]
    assert all(value > 0.0 for value in results.values())


def test_a_missing_bundle_is_one_line(tmp_path, capsys):
    assert benchmark.main(["--model", str(tmp_path / "nowhere")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and str(tmp_path / "nowhere") in error


@pytest.mark.slow
def test_without_a_bundle_there_is_an_untrained_one(tmp_path):
    bundle = load_bundle(random_bundle(tmp_path / "bundle"))
    assert len(bundle.load_members()) == len(RANDOM_SEEDS)


@pytest.mark.ros
@pytest.mark.slow
def test_the_soak_counts_and_weighs(tmp_path):
    bundle_dir = make_bundle(tmp_path / "bundle")
    command = [sys.executable, "scripts/soak_node.py", "--minutes", "0.05", "--model", str(bundle_dir), "--json"]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout.splitlines()[-1])
    assert 0 < results["fixes_published"] <= results["images_received"] <= results["images_sent"]
    assert results["resident_end_mb"] > 50.0


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}
