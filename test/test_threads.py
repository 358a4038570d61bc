"""The number of threads: limited where regions are small, measured for the networks, reduced beside other processes."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from compatibility import Area, condition
from helpers import textured_rgb

from campus_visual_gps import threads
from campus_visual_gps.engines.thread_count import ThreadCount, candidates, choose
from campus_visual_gps.localizer import Localizer
from campus_visual_gps.threads import max_threads, torch_threads, wait_passively

REPORT = """
import os
from campus_visual_gps.threads import limit_threads, wait_passively
wait_passively()
limit_threads(1)
import cv2, numpy, scipy.linalg, torch
from threadpoolctl import threadpool_info
blas = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
print(cv2.getNumThreads(), torch.get_num_threads(), blas, os.environ["OMP_WAIT_POLICY"])
"""


def child(code: str, **environment: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if name not in threads._ENVIRONMENT}
    inherited.pop("OMP_NUM_THREADS", None)
    done = subprocess.run(
        [sys.executable, "-c", code], env=inherited | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@condition(
    Area.NODE, "other processes use the cores", "one thread for OpenCV, BLAS and small regions", since="2026-11-26"
)
def test_every_library_is_limited_to_one_thread():
    assert child(REPORT) == "1 1 {1} PASSIVE"


def test_the_users_own_wait_policy_is_kept():
    assert child(REPORT, OMP_WAIT_POLICY="ACTIVE").endswith("ACTIVE")


def test_child_processes_inherit_the_settings(monkeypatch):
    for name in threads._ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    wait_passively()
    code = "import os, cv2; print(os.environ['OMP_WAIT_POLICY'], cv2.getNumThreads())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "PASSIVE 1"


@pytest.mark.parametrize(
    ("quota", "variable", "expected"),
    [
        pytest.param("max 100000", "", 8, id="no quota"),
        pytest.param(
            "250000 100000",
            "",
            2,
            marks=condition(
                Area.NODE, "container with a CPU quota of 2.5 cores", "at most 2 threads", since="2026-11-26"
            ),
            id="quota of 2.5 cores",
        ),
        pytest.param("50000 100000", "", 1, id="quota of half a core"),
        pytest.param("garbage", "", 8, id="unreadable quota"),
        pytest.param(
            "max 100000",
            "3",
            3,
            marks=condition(Area.NODE, "OMP_NUM_THREADS is set", "at most so many threads", since="2026-11-26"),
            id="OMP_NUM_THREADS",
        ),
        pytest.param("max 100000", "4,2", 4, id="OMP_NUM_THREADS of nested regions"),
        pytest.param("max 100000", "many", 8, id="OMP_NUM_THREADS that is no number"),
    ],
)
def test_threads_are_limited_by_affinity_quota_and_openmp(tmp_path, monkeypatch, quota, variable, expected):
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(threads, "_CGROUP_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert max_threads() == expected


def test_the_number_of_torch_threads_is_restored_also_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="inside"), torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise ValueError("inside")
    assert torch.get_num_threads() == before


def test_candidates_are_powers_of_two_and_all_cores():
    assert [candidates(cores) for cores in (1, 2, 6, 64)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8, 16]]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({1: 0.100}, 1),
        ({1: 0.098, 2: 0.086}, 1),  # measured on two cores: too small a gain for what it costs beside others
        ({1: 0.100, 2: 0.055}, 2),
        ({1: 0.100, 2: 0.055, 4: 0.030, 8: 0.029}, 4),
        ({1: 0.100, 2: 0.400, 4: 0.030}, 1),  # neighbours delay the second thread
        ({1: 0.400, 4: 0.100, 6: 0.090}, 4),
    ],
)
def test_more_threads_are_chosen_only_for_a_clear_gain(seconds, expected):
    assert choose(seconds) == expected


def measured(seconds: dict[int, float], **options) -> tuple[ThreadCount, list[int]]:
    """The numbers of threads of the first images, which take so long, until one is chosen."""
    count, runs = ThreadCount(list(seconds), **options), []
    while count.measures:
        runs.append(count.current)
        count.record(seconds[count.current])
    return count, runs


def test_the_first_images_take_the_counts_in_turns():
    count, runs = measured({1: 0.1, 2: 0.06})
    assert runs == [1, 2] * 10 and count.current == 2
    count, runs = measured({1: 0.1, 2: 0.09})
    assert runs == [1, 2] * 10 and count.current == 1


def test_a_measurement_with_slow_images_ends_after_whole_turns():
    assert measured({1: 0.6, 2: 0.7})[1] == [1, 2, 1, 2]
    assert measured({1: 1.0, 2: 5.0})[1] == [1, 2]


def test_threads_that_other_processes_delay_are_given_up_and_tried_again_later():
    now = [0.0]
    count, _ = measured({1: 0.1, 4: 0.03}, clock=lambda: now[0])
    for _ in range(100):
        count.record(0.03)
    assert count.current == 4
    for _ in range(10):
        count.record(0.3)
    assert count.current == 1
    count.record(0.1)
    assert count.current == 1
    now[0] = 61.0
    count.record(0.1)
    assert count.current == 4
    for _ in range(10):
        count.record(0.3)
    now[0] = 61.0 + 61.0
    count.record(0.1)
    assert count.current == 1, "the pause doubles"


def test_a_given_number_of_threads_is_kept_however_slow_they_are():
    count = ThreadCount([4])
    for _ in range(100):
        count.record(10.0)
    assert count.current == 4


@pytest.mark.slow
def test_one_image_runs_with_the_given_threads_and_a_large_batch_with_as_many(bundle_dir, monkeypatch):
    localizer = Localizer.load(bundle_dir, device="cpu", num_threads=3)
    seen, model, before = [], localizer.engine.model, torch.get_num_threads()
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda images: (seen.append(torch.get_num_threads()), forward(images))[1])
    rgb = textured_rgb(48, 64)
    localizer.localize(rgb)
    localizer.localize_batch([rgb] * 4)
    localizer.on_cpu().localize(rgb)
    assert set(seen) == {3}
    assert torch.get_num_threads() == before


@pytest.mark.slow
def test_the_first_images_measure_the_number_of_threads_and_it_changes_no_answer(bundle_dir, monkeypatch):
    monkeypatch.setattr("campus_visual_gps.engines.torch_engine.max_threads", lambda: 4)
    measuring, single = (Localizer.load(bundle_dir, device="cpu", num_threads=count) for count in (0, 1))
    assert measuring.engine.threads.measures and not single.engine.threads.measures
    rgb, seen = textured_rgb(48, 64), []
    expected = single.localize(rgb).mean_enu_m
    for _ in range(3):
        seen.append(measuring.engine.threads.current)
        np.testing.assert_allclose(measuring.localize(rgb).mean_enu_m, expected, atol=1e-3)
    assert seen == [1, 2, 4]
