"""A clone with core.autocrlf, the default of Git for Windows, has scripts that bash runs and files as they were."""

import shutil
import subprocess

import pytest
from compatibility import Area, condition
from helpers import ROOT

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(*arguments, cwd):
    command = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def clone(tmp_path):
    """A clone, with core.autocrlf, of a repository with the scripts, the attributes and a binary file."""
    origin = tmp_path / "origin"
    shutil.copytree(ROOT / "scripts", origin / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".gitattributes", origin)
    shutil.copy(ROOT / "resource" / "campus_visual_gps", origin)
    (origin / "drive.mcap").write_bytes(b"line\nline\r\nline\n")  # git would take it for text
    git("init", "--quiet", cwd=origin)
    git("add", ".", cwd=origin)
    git("commit", "--quiet", "-m", "all", cwd=origin)
    git("clone", "--quiet", "-c", "core.autocrlf=true", origin, tmp_path / "clone", cwd=tmp_path)
    return tmp_path / "clone"


@condition(
    Area.BUNDLES,
    "checkout cloned with core.autocrlf (Git for Windows, WSL)",
    "scripts keep their line ends and run; binary files are the same",
    since="2026-11-26",
)
def test_scripts_run_and_binary_files_are_the_same_in_a_clone_with_autocrlf(clone):
    scripts = sorted(path for path in (clone / "scripts").iterdir() if path.is_file())
    assert scripts
    for script in scripts:
        assert script.read_bytes() == (ROOT / "scripts" / script.name).read_bytes()
        if script.suffix != ".py":
            subprocess.run(["bash", "-n", str(script)], check=True)
    assert (clone / "drive.mcap").read_bytes() == b"line\nline\r\nline\n"
