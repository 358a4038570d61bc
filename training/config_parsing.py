"""Parsing for training/config.py: types, YAML, KEY=VALUE settings, and validation errors in one line."""

from __future__ import annotations

import dataclasses
import re
import reprlib
import typing
from collections.abc import Sequence
from typing import Annotated, Any

import yaml
from pydantic import ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from campus_visual_gps.errors import ConfigError

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class _Loader(yaml.SafeLoader):
    """YAML 1.1, but 1e-4 is a number as in YAML 1.2; 1.1 wants 1.0e-4 and takes the other for text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def parse_yaml(text: str) -> Any:
    """The value of a YAML text. Raises yaml.YAMLError."""
    return yaml.load(text, Loader=_Loader)


def set_key(data: dict[str, Any], setting: str) -> None:
    """Set one key of nested tables from a text such as "model.head=gaussian". Raises ConfigError."""
    keys, equals, text = setting.partition("=")
    *sections, last = keys.strip().split(".")
    if not equals or not last:
        raise ConfigError(f"setting {setting!r}: expected KEY=VALUE, such as trainer.max_epochs=12")
    for section in sections:
        data = data.setdefault(section, {})
        if not isinstance(data, dict):
            raise ConfigError(f"setting {setting!r}: expected a table of keys in {section}, got {data!r}")
    try:
        data[last] = parse_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"setting {setting!r}: expected a YAML value, got {text!r}") from error


_EXPECTED = {
    "bool_type": "true or false",
    "dataclass_type": "a table of keys",
    "float_type": "a number",
    "greater_than": "a number greater than {gt:g}",
    "greater_than_equal": "a number of at least {ge:g}",
    "int_type": "an integer",
    "less_than": "a number less than {lt:g}",
    "less_than_equal": "a number of at most {le:g}",
    "missing": "one more item",
    "string_type": "text",
    "too_long": "at most {max_length} items",
    "tuple_type": "a list",
}


def one_line(error: ValidationError, config: type) -> str:
    """All problems of a validation: the key, what was expected and what came.

    Args:
        error: What pydantic raised for JSON input.
        config: The dataclass that was validated; its sections are dataclasses too.
    """
    problems: dict[str, tuple[list[str], Any]] = {}
    unknown = []
    for details in error.errors():
        if details["type"] == "unexpected_keyword_argument":
            unknown.append(_unknown_key(details, config))
            continue
        # a value that fits none of several types is one problem
        problems.setdefault(_key(details, config), ([], details["input"]))[0].append(_expected(details))
    wrong = [
        f"{key or 'top level'}: expected {' or '.join(expected)}, got {'nothing' if got is None else reprlib.repr(got)}"
        for key, (expected, got) in problems.items()
    ]
    return "; ".join([*unknown, *wrong])


def _expected(details: ErrorDetails) -> str:
    if details["type"] in _EXPECTED:
        return _EXPECTED[details["type"]].format(**details.get("ctx", {}))
    return details["msg"].removeprefix("Input should be ")


def _unknown_key(details: ErrorDetails, config: type) -> str:
    *sections, key = map(str, details["loc"])
    where = f" in {'.'.join(sections)}" if sections else ""
    known = (item.name for item in dataclasses.fields(_section(config, sections)))
    return f"unknown key {key}{where} (known: {', '.join(known)})"


def _section(config: Any, names: Sequence[str]) -> Any:
    for name in names:
        config = typing.get_type_hints(config)[name]
    return config


def _key(details: ErrorDetails, config: Any) -> str:
    """`section.key` or `section.key[index]`; what follows in pydantic's location names a member of a union."""
    key = ""
    for part in details["loc"]:
        if isinstance(part, int):
            key += f"[{part}]"
        elif dataclasses.is_dataclass(config):
            key = f"{key}.{part}".lstrip(".")
            config = typing.get_type_hints(config)[part]
    return key
