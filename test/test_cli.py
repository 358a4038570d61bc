"""The command line: one clear line and exit code 1 for bad input, and the stages run one after the other.

A process that imports torch takes as long as all else here: commands run in this one, but for one that shows the exit
code and one that is interrupted.
"""

import signal
import subprocess
import sys
import time

import pytest
import yaml
from compatibility import Area, condition
from helpers import ROOT, make_bundle
from photo_helpers import make_exif, write_photo

from training import cli

pytestmark = pytest.mark.slow


class CommandLine:
    """Runs `python -m training ARGUMENTS` in this process."""

    def __init__(self, monkeypatch, capsys):
        self._monkeypatch, self._capsys = monkeypatch, capsys
        monkeypatch.setattr(cli, "wait_passively", lambda: None)  # sets environment variables

    def run(self, *arguments) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        self._monkeypatch.setattr(sys, "argv", ["training", *map(str, arguments)])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0, *self._capsys.readouterr()

    def fails(self, *arguments) -> str:
        """stderr of a call that must end in one line and code 1."""
        code, out, error = self.run(*arguments)
        assert_one_line(code, out, error)
        return error

    def succeeds(self, *arguments) -> str:
        """stdout of a call that must end well."""
        code, out, error = self.run(*arguments)
        assert code == 0, out + error
        return out


def assert_one_line(code: int, out: str, error: str) -> None:
    assert code == 1, out + error
    assert error.count("\n") == 1 and error.startswith("error: "), error


@pytest.fixture
def command(monkeypatch, capsys):
    return CommandLine(monkeypatch, capsys)


@pytest.fixture(scope="module")
def photo_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for index in range(12):
        exif = make_exif((31.262 + 1e-4 * (index % 4), 34.802 + 1e-4 * (index // 4)))
        write_photo(folder / f"walk-{index % 3}" / f"{index}.HEIC", index, exif)
    return folder


def test_bad_input_is_one_line(tmp_path, photo_dir, command):
    (tmp_path / "bad.csv").write_text("file,latitude,longitude\na.jpg,31.2,34.8\nb.jpg,north,34.8\n")
    (tmp_path / "bad.yaml").write_text("learning_rate: 1\n")
    assert "bad.csv" in command.fails("ingest", photo_dir, tmp_path / "set", "--labels", tmp_path / "bad.csv")
    assert "learning_rate" in command.fails("train", tmp_path / "bad.yaml")
    assert "photos.csv" in command.fails("evaluate", tmp_path / "none", tmp_path / "none")
    bundle = make_bundle(tmp_path / "bundle")
    assert "no bag" in command.fails("replay", tmp_path / "none", "--bundle", bundle)
    assert not (tmp_path / "set" / "photos.csv").exists()


def test_a_process_ends_with_the_line_and_the_code(tmp_path):
    call = [sys.executable, "-m", "training", "ingest", str(tmp_path), str(tmp_path / "set")]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    assert_one_line(done.returncode, done.stdout, done.stderr)
    assert str(tmp_path) in done.stderr


def test_the_stages_run_one_after_the_other(tmp_path, photo_dir, command):
    dataset, out = tmp_path / "set", tmp_path / "run"
    settings = {
        "model": {"backbone": "efficientnet_lite0", "head": "linear"},
        "weights": "none",
        "size_px": 64,
        "seeds": [1],
        "trainer": {"max_epochs": 1, "accelerator": "cpu", "batch_size": 4},
    }
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(settings))
    for call in (
        ("ingest", photo_dir, dataset),
        ("apply-corrections", dataset),
        ("split", dataset, "--test", "walk-0", "--val", "walk-1"),
        ("train", tmp_path / "tiny.yaml", "--dataset", dataset, "--out", out),
        ("evaluate", out / "bundle", dataset, "--out", tmp_path / "report"),
    ):
        said = command.succeeds(*call)
    assert "training position" in said
    assert {"predictions.csv", "report.json", "report.md"} <= {path.name for path in (tmp_path / "report").iterdir()}


@condition(Area.BUNDLES, "Ctrl-C while a network trains", "one line: run it again to resume", since="2026-11-22")
def test_an_interrupted_training_says_how_to_go_on(tmp_path, photo_dir, command):
    dataset = tmp_path / "set"
    command.succeeds("ingest", photo_dir, dataset)
    command.succeeds("split", dataset, "--val", "walk-1")
    settings = {
        "model": {"backbone": "efficientnet_lite0", "head": "linear"},
        "weights": "none",
        "size_px": 64,
        "seeds": [1],
        "trainer": {"max_epochs": 10000, "accelerator": "cpu", "early_stopping_patience_epochs": 10000},
    }
    (tmp_path / "long.yaml").write_text(yaml.safe_dump(settings))
    call = [sys.executable, "-m", "training", "train", tmp_path / "long.yaml", "--dataset", dataset]
    # a test run in the background of a shell hands down an ignored SIGINT
    process = subprocess.Popen(
        [*map(str, call), "--out", str(tmp_path / "run")],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    metrics = tmp_path / "run" / "seed-1" / "metrics.csv"
    deadline = time.monotonic() + 600
    while not metrics.exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "run the same command again to resume" in said and "Traceback" not in said
