"""Commands on terminals that lack characters: a run that went well ends well, and tables are UTF-8 all the same."""

import os
import subprocess
import sys

import pytest
from compatibility import Area, condition
from helpers import ROOT, make_bundle
from photo_helpers import write_photo

from campus_visual_gps.bundle import MODEL_CARD, load_bundle
from training.photos.manifest import read_photos, read_splits

pytestmark = pytest.mark.slow

SESSION = "Café [/b] $x$ 写"
POSIX = {"LC_ALL": "POSIX", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def terminal(environment, text):
    outcome = "commands end well; characters that it lacks are escapes"
    return pytest.param(environment, marks=condition(Area.TABLES, text, outcome, since="2026-11-26"), id=text)


def run(*arguments, environment=None, code=0):
    """stdout and stderr of a command as bytes: they go into pipes, as on a machine without a display."""
    command = [sys.executable, "-m", "training", *map(str, arguments)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, check=False, env={**os.environ, **(environment or {})}
    )
    said = (done.stdout + done.stderr).decode("utf-8", "replace")
    assert done.returncode == code and "Traceback" not in said and "Error" not in said, said
    return done


@pytest.mark.parametrize(
    "environment",
    [
        terminal(POSIX, "terminal and file names in ASCII (LC_ALL=POSIX)"),
        terminal({"PYTHONIOENCODING": "ascii"}, "terminal in ASCII"),
        terminal({"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}, "output of Windows in a file (Windows-1252)"),
    ],
)
def test_commands_end_well_and_write_the_names_of_the_disk(tmp_path, environment):
    for seed in range(4):
        write_photo(tmp_path / "photos" / f"{SESSION}{seed % 2}" / f"é{seed}.jpg", seed)
    write_photo(tmp_path / "photos" / "new\rline" / "a.jpg", 9)
    table = tmp_path / "labels.csv"
    table.write_text(f"file,lat,lon\n{SESSION}0/é0.jpg,31.262,34.8025\n", encoding="utf-8")
    dataset = tmp_path / "set"
    said = run("ingest", tmp_path / "photos", dataset, "--labels", table, environment=environment).stdout
    assert b"5 photos at 320 px (5 read now), 0 rejected" in said and rb"new\rline" in said
    run("split", dataset, "--val", f"{SESSION}1", environment=environment)
    files = [*(f"{SESSION}{i % 2}/é{i}.jpg" for i in (0, 2, 1, 3)), "new\rline/a.jpg"]
    assert read_photos(dataset)["file"].to_list() == files
    assert read_splits(dataset)["subset"].to_list() == ["train", "train", "val", "val", "train"]
    failed = run("split", dataset, "--test", "é", environment=environment, code=1)
    assert failed.stderr.startswith(b"error: unknown session") and failed.stderr.count(b"\n") == 1


def test_help_is_printed_on_an_ascii_terminal():
    assert b"--labels" in run("ingest", "--help", environment=POSIX | {"PYTHONIOENCODING": "ascii:strict"}).stdout


def test_names_that_are_no_unicode_do_not_stop_the_writing_of_a_bundle(tmp_path):
    training = {"weights": "none", "dataset": "caf\udce9", "photo_ids": []}
    bundle = load_bundle(make_bundle(tmp_path / "bundle", model_card="# caf\udce9\n", training=training))
    assert bundle.training["dataset"] == "caf\udce9"
    assert (bundle.path / MODEL_CARD).read_text(encoding="utf-8") == "# caf\\udce9\n"
