"""Writes config/localizer.yaml and the README's parameter table from the metadata of NodeParameters.

`python -m campus_visual_gps.ros.tools.parameter_docs` writes both, `--check` tells whether they are current.
"""

from __future__ import annotations

import argparse
import math
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.ros.parameter_spec import YAML_OFF, spec_of
from campus_visual_gps.ros.parameters import NodeParameters

ROOT = Path(__file__).resolve().parents[3]
PARAMETER_FILE = Path("config/localizer.yaml")
README = Path("README.md")
BEGIN, END = "<!-- parameters:begin -->", "<!-- parameters:end -->"
LINE_LENGTH = 120

_HEADER = """\
# Parameters of the node `visual_gps`, which are read when the node is configured.
# Written by `python -m campus_visual_gps.ros.tools.parameter_docs` from campus_visual_gps/ros/parameters.py.
# localize.launch.py sets model_dir, image_transport, output, camera_frame, gps_frame, map_frame, autostart and
# use_sim_time from its arguments, also from their default values; these parameters have no effect in a file that is
# given to it.
/**:
  visual_gps:
    ros__parameters:
"""
_INDENT = "      "


def parameter_file() -> str:
    """Content of config/localizer.yaml: every parameter that the launch file does not always set, with its default."""
    lines, previous = [], None
    for declared in fields(NodeParameters):
        spec = spec_of(declared)
        if not spec.in_file:
            continue
        if spec.group is not None and spec.group is not previous and spec.group.comment:
            lines += ["", *_comment(spec.group.comment)]
        previous = spec.group
        unit = f"Unit: {spec.unit}." if spec.unit else ""
        limits = "" if spec.limits is None or spec.allows_nan else f"Range: {spec.limits[0]:g} to {spec.limits[1]:g}."
        choices = f"Choices: {', '.join(spec.choices)}." if spec.choices else ""
        lines += _comment(" ".join(filter(None, (spec.description, spec.comment, unit, limits, choices))))
        lines.append(f"{_INDENT}{declared.name}: {_yaml_value(declared.default)}")
    return _HEADER + "\n".join(lines) + "\n"


def parameter_table() -> str:
    """The README's table: one row for each parameter, or for each group of parameters."""
    lines = ["| parameter | default | meaning |", "|---|---|---|"]
    for row in _rows():
        names = ", ".join(f"`{declared.name}`" for declared in row)
        defaults = list(dict.fromkeys(_markdown_value(declared.default) for declared in row))
        if len(defaults) > 1:
            defaults = [_markdown_value(declared.default) for declared in row]
        spec = spec_of(row[0])
        meaning = spec.group.description if spec.group else spec.description.removesuffix(".")
        lines.append(f"| {names} | {', '.join(defaults)} | {meaning} |")
    return "\n".join(lines)


def with_table(text: str) -> str:
    """The README's text with the table between its markers.

    Raises:
        ConfigError: The markers are missing.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ConfigError(f"expected the markers {BEGIN} and {END} in {README}")
    return f"{before}{BEGIN}\n{parameter_table()}\n{END}{after}"


def outdated(root: Path) -> dict[Path, str]:
    """Files below `root` that are not current, with the content that they should have.

    Raises:
        ConfigError: A file is missing, or the README lacks the markers.
    """
    try:
        contents = {
            PARAMETER_FILE: parameter_file(),
            README: with_table((root / README).read_text(encoding="utf-8")),
        }
        return {file: text for file, text in contents.items() if (root / file).read_text(encoding="utf-8") != text}
    except OSError as error:
        raise ConfigError(f"run this from a checkout: {error.filename}: {error.strerror}") from error


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or check them; 1 with one line on standard error if a file is not current."""
    parser = argparse.ArgumentParser(
        prog="python -m campus_visual_gps.ros.tools.parameter_docs", description=str(__doc__).splitlines()[0]
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file is not current")
    options = parser.parse_args(arguments)
    try:
        files = outdated(ROOT)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.check and files:
        print(f"not current: {', '.join(map(str, files))}; run {parser.prog}", file=sys.stderr)
        return 1
    for file, text in files.items():
        (ROOT / file).write_text(text, encoding="utf-8")
    return 0


def _rows() -> Iterator[list[Field]]:
    """Fields by row of the table; consecutive fields of one group are one row."""
    row: list[Field] = []
    for declared in fields(NodeParameters):
        group = spec_of(declared).group
        if row and (group is None or group is not spec_of(row[-1]).group):
            yield row
            row = []
        row.append(declared)
    yield row


def _comment(text: str) -> list[str]:
    prefix = f"{_INDENT}# "
    return textwrap.wrap(text, LINE_LENGTH, initial_indent=prefix, subsequent_indent=prefix, break_on_hyphens=False)


def _yaml_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and math.isnan(value):
        return ".nan"
    if isinstance(value, tuple):
        return f"[{', '.join(value)}]"
    return str(value) if value not in ("", YAML_OFF) else f'"{value}"'


def _markdown_value(value: Any) -> str:
    if isinstance(value, float) and not math.isnan(value):
        return f"{value:g}"
    return _yaml_value(value) if not isinstance(value, str) else f"`{value}`" if value else ""


if __name__ == "__main__":
    sys.exit(main())
