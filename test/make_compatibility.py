"""Writes docs/compatibility.md from the conditions that the tests are marked with (compatibility.py).

python test/make_compatibility.py             writes the page
python test/make_compatibility.py --check     exit 1 if the page differs from what it would write
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from compatibility import MARK, Area

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "compatibility.md"
HEADER = """\
# Compatibility

What happens with the inputs, receivers, cameras, bags, files and neighbours that users really have. Every row is a test
of `scripts/test`: this page is written by `python test/make_compatibility.py` from the tests' own parameters, and a
test fails when the two differ. {count} conditions.
"""


class _Collector:
    """A plugin of pytest: the tests that were collected."""

    def __init__(self) -> None:
        self.items: list[pytest.Item] = []

    def pytest_collection_finish(self, session) -> None:
        self.items = session.items


def marked_modules() -> list[Path]:
    """The test modules with conditions: those that import compatibility.py, or a helper that does."""
    test = ROOT / "test"
    sources = {path: path.read_text(encoding="utf-8") for path in sorted(test.glob("*.py"))}
    makers = {path.stem for path, text in sources.items() if "from compatibility import" in text}
    imports = tuple(f"from {name} import" for name in sorted({"compatibility", *makers} - {Path(__file__).stem}))
    return [path for path, text in sources.items() if path.name.startswith("test_") and any(i in text for i in imports)]


def rows_of(items: list[pytest.Item]) -> dict[str, dict[tuple[str, str], str]]:
    """Rows of the table of collected tests: area -> (condition, outcome) -> date."""
    table: dict[str, dict[tuple[str, str], str]] = {area.value: {} for area in Area}
    for item in items:
        for mark in item.iter_markers(MARK):
            row = mark.kwargs
            rows, key = table[row["area"].value], (row["text"], row["outcome"])
            rows[key] = min(row["since"], rows.get(key, row["since"]))
    return table


def collect_rows() -> dict[str, dict[tuple[str, str], str]]:
    """Rows of the table of all tests.

    Raises:
        RuntimeError: A test module cannot be collected.
    """
    plugin = _Collector()
    null = os.open(os.devnull, os.O_WRONLY)
    stdout = os.dup(1)
    os.dup2(null, 1)  # pytest lists every test that it collects
    try:
        arguments = ["--collect-only", "-q", "-p", "no:cacheprovider", *map(str, marked_modules())]
        code = pytest.main(arguments, plugins=[plugin])
    finally:
        sys.stdout.flush()
        os.dup2(stdout, 1)
    if code != pytest.ExitCode.OK:
        raise RuntimeError(f"expected all test modules to be collected, pytest ended with {code!r}")
    return rows_of(plugin.items)


def render(rows: dict[str, dict[tuple[str, str], str]]) -> str:
    """The page in Markdown."""
    parts = [HEADER.format(count=sum(map(len, rows.values())))]
    for area, conditions in rows.items():
        if conditions:
            lines = [f"\n## {area}\n", "| condition | what happens | tested since |", "|---|---|---|"]
            lines += [
                f"| {_cell(text)} | {_cell(outcome)} | {since} |" for (text, outcome), since in conditions.items()
            ]
            parts.append("\n".join(lines) + "\n")
    return "".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", "\\n").replace("\r", "\\r")


def main() -> int:
    """Write or check the page."""
    page = render(collect_rows())
    if "--check" in sys.argv[1:]:
        return int(page != (PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""))
    PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
