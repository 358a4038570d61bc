"""docs/paper.md: everything that the paper numbers is on it, and what it names exists."""

import re

import pytest
import typer
import yaml
from helpers import ROOT

from training.cli import app
from training.config import TrainConfig, to_dict

PAGE = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
# section of the first level: number of its sub-sections
SUB_SECTIONS = {1: 0, 2: 0, 3: 5, 4: 6, 5: 9, 6: 7, 7: 2, 8: 0, 9: 0}
SECTIONS = [
    name
    for section, count in SUB_SECTIONS.items()
    for name in (str(section), *(f"{section}.{number}" for number in range(1, count + 1)))
]
NUMBERED = {
    "Sections": SECTIONS,
    "Equations": [f"({number})" for number in range(1, 5)],
    "Tables": [str(number) for number in range(1, 15)],
    "Figures": [str(number) for number in range(1, 6)],
}
CODE = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL))


def rows_of(heading):
    """Cells of every row of the table under a heading, without its header."""
    text = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize("heading", NUMBERED)
def test_everything_that_the_paper_numbers_has_one_row_that_says_where_it_is(heading):
    rows = rows_of(heading)
    assert [row[0].split(" ")[0] for row in rows] == NUMBERED[heading]
    assert all(all(row) for row in rows)


def test_findings_name_sections_of_the_paper():
    for _, sections, here in rows_of("Findings"):
        assert set(sections.split(", ")) <= set(SECTIONS) and here


def test_every_command_that_is_named_alone_exists():
    known = typer.main.get_command(app).commands
    named = {text for text in CODE if re.fullmatch(r"[a-z]+(-[a-z]+)*", text)}
    settings = {key.rsplit(".", 1)[-1] for key in keys(to_dict(TrainConfig()))}
    unknown = named - set(known) - settings - {"site", "run", "runs", "evaluation", "v2", "ambiguous", "area_zscore"}
    assert not unknown, f"{sorted(unknown)} are neither commands nor settings"


def keys(settings, prefix=""):
    for key, value in settings.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from keys(value, f"{prefix}{key}.")


def test_every_key_that_is_named_is_one_of_a_configuration_and_defaults_are_true():
    defaults = to_dict(TrainConfig())
    known = {key: value for key, value in flat(defaults)}
    named = [text for text in CODE if re.match(r"[a-z_]+(\.[a-z0-9_]+)+(: |$)", text)]
    named = [text for text in named if not text.endswith((".csv", ".yaml", ".py", ".png", ".cff", ".md"))]
    assert len(named) > 10
    for text in named:
        assert text.split(": ")[0] in known, f"{text} is no key of a configuration"
    for line in PAGE.split("\n## Findings\n")[1].splitlines():
        if "default `" in line:
            for key, value in re.findall(r"`([a-z_.0-9]+): ([^`]+)`", line):
                assert known[key] == yaml.safe_load(value), f"{key} is {known[key]!r} by default"


def flat(settings, prefix=""):
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def test_every_table_of_comparisons_is_on_the_page():
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "config/training/experiments").glob("*.yaml")}
    named = set(re.findall(r"config/training/experiments/[\w]+\.yaml", PAGE))
    assert named <= files, f"{sorted(named - files)} do not exist"
    assert all(path in named or path.endswith("_lite.yaml") for path in files)
