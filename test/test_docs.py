"""What the documentation names exists: files, links, commands and their options; and it stays short."""

import re
from pathlib import Path

import pytest
import typer
from helpers import ROOT

from training.cli import app

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
README_WORDS = 1500
LINE_LENGTH = 120
FIX_FILES = 8
FOLDERS = "campus_visual_gps|training|config|docs|launch|sample|scripts|test"
NAMED_PATH = re.compile(rf"`((?:{FOLDERS})/[\w./-]*)`")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def commands_in(text: str) -> list[list[str]]:
    """Words after `python -m training` of every call in a page, continued lines joined, comments removed."""
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    found = [line.split("python -m training ", 1)[1] for line in lines if "python -m training " in line]
    return [re.split(r"[`#|]", call)[0].split() for call in found]


pages = pytest.mark.parametrize("page", PAGES, ids=relative)


@pages
def test_every_file_that_a_page_names_exists(page):
    named = set(NAMED_PATH.findall(page.read_text(encoding="utf-8")))
    assert not sorted(path for path in named if not (ROOT / path).exists())


@pages
def test_every_relative_link_leads_to_a_file(page):
    links = {link for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link}
    assert not sorted(link for link in links if not (page.parent / link).exists())


@pages
def test_every_command_and_option_that_a_page_shows_exists(page):
    known = typer.main.get_command(app).commands
    for name, *arguments in commands_in(page.read_text(encoding="utf-8")):
        if name == "COMMAND":
            continue
        assert name in known, f"{name} is none of {', '.join(known)}"
        options = {option for parameter in known[name].params for option in parameter.opts}
        unknown = {word for word in arguments if word.startswith("--")} - options - {"--help"}
        assert not unknown, f"{name} has no {', '.join(sorted(unknown))}"


@pages
def test_lines_are_short_except_in_tables(page):
    lines = page.read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if len(line) > LINE_LENGTH and not line.startswith("|")]


def test_the_readme_can_be_read_in_a_few_minutes():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= README_WORDS


def test_the_path_from_image_to_fix_has_few_files():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    path = text.split("## Path 1: image to fix")[1].split("\n## ")[0]
    assert 0 < len(set(NAMED_PATH.findall(path))) <= FIX_FILES


def test_the_changelog_follows_the_convention_of_ros():
    changelog = pytest.importorskip("catkin_pkg.changelog", reason="catkin_pkg is not installed")
    parsed = changelog.get_changelog_from_path(str(ROOT / "CHANGELOG.rst"), package_name="campus_visual_gps")
    assert parsed.rst.startswith("^^^")
    assert [str(entry.mark) for entry in parsed.foreach_version()] or "Forthcoming\n-----------" in parsed.rst
