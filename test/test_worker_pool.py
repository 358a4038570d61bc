"""Decoding processes that are killed, crash or hang: their photo is named, and all others are decoded."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from compatibility import Area, condition
from photo_helpers import write_photo
from pool_tasks import work

from campus_visual_gps.errors import DatasetError
from training.photos.ingest import ingest
from training.photos.manifest import read_photos, read_rejected
from training.photos.worker_pool import Failure, run_tasks

ROOT = Path(__file__).resolve().parents[1]
SINCE = "2026-11-26"


def outcomes(tasks, workers=2, limit_s=60.0) -> list:
    return [outcome for _, outcome in sorted(run_tasks(work, tasks, workers, limit_s), key=lambda pair: pair[0])]


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        pytest.param(
            "killed",
            "killed twice",
            marks=condition(
                Area.CONTAINERS,
                "decoding process killed by the system (out of memory)",
                "photo tried again alone, then rejected by name; the others taken",
                since=SINCE,
            ),
        ),
        pytest.param(
            "crash",
            "killed twice",
            marks=condition(
                Area.CONTAINERS, "decoder that crashes", "photo rejected by name; the others taken", since=SINCE
            ),
        ),
        pytest.param(
            "hang",
            "not decoded within 3 s",
            marks=condition(
                Area.CONTAINERS, "decoder that never ends", "photo rejected after 120 s; the others taken", since=SINCE
            ),
        ),
    ],
)
def test_task_that_ends_its_process_fails_by_name_and_stops_nothing(what, reason):
    tasks = [("fine", i) for i in range(9)]
    tasks[4] = (what, "")
    found = outcomes(tasks, limit_s=3.0)
    assert isinstance(found[4], Failure)
    assert reason in found[4].reason
    assert [outcome for i, outcome in enumerate(found) if i != 4] == ["fine"] * 8


def test_task_whose_process_was_killed_by_chance_is_done_the_second_time(tmp_path):
    found = outcomes([("fine", ""), ("killed once", str(tmp_path / "first")), ("fine", "")])
    assert found == ["fine", "killed once", "fine"]


def test_every_task_may_kill_its_process():
    assert all(isinstance(outcome, Failure) for outcome in outcomes([("killed", "")] * 2))


@condition(Area.CONTAINERS, "decoder that asks for more than 4 GiB", "photo rejected, out of memory", since=SINCE)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit of memory is enforced on Linux")
def test_memory_of_a_process_is_bounded():
    assert outcomes([("memory", "")], workers=1) == ["no memory"]


def test_full_disk_ends_all():
    with pytest.raises(DatasetError, match="no space left"):
        outcomes([("fine", ""), ("disk", ""), ("fine", "")])
    assert not [child for child in multiprocessing.active_children() if child.is_alive()]


def test_no_tasks_start_no_process():
    assert outcomes([]) == []


def test_script_without_a_main_guard_gets_one_clear_line(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from training.photos.worker_pool import run_tasks\n"
        "from campus_visual_gps.errors import DatasetError\n"
        "try:\n    print(list(run_tasks(abs, [1, 2], 1)))\n"
        "except DatasetError as error:\n    print('one line:', error)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("one line: a decoding process could not be started")


@condition(Area.CONTAINERS, "one decoding process killed during an ingest", "every photo taken", since=SINCE)
def test_ingest_goes_on_after_a_process_was_killed(tmp_path):
    for seed in range(60):
        write_photo(tmp_path / "photos" / f"{seed:02}.jpg", seed)
    killed = []

    def kill_one():
        images = tmp_path / "dataset" / "images"
        while not killed:
            children = multiprocessing.active_children()
            if children and images.is_dir() and any(images.iterdir()):
                os.kill(children[0].pid, signal.SIGKILL)
                killed.append(children[0].pid)
            time.sleep(0.001)

    thread = threading.Thread(target=kill_one, daemon=True)
    thread.start()
    summary = ingest(tmp_path / "photos", tmp_path / "dataset", progress=False, workers=2)
    thread.join(10.0)
    assert killed
    assert (summary.photos, summary.rejected) == (60, 0)
    assert len(read_photos(tmp_path / "dataset")) == 60
    assert len(read_rejected(tmp_path / "dataset")) == 0
