"""Strict, typed settings from YAML: types, parsing, KEY=VALUE settings, and validation errors in one line."""

from __future__ import annotations

import dataclasses
import json
import re
import reprlib
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from campus_visual_gps.errors import ConfigError

Config = TypeVar("Config")

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
_INT, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"


class _Loader(yaml.SafeLoader):
    """YAML 1.1 with the numbers of Python and YAML 1.2.

    1.1 takes 1e-4 for text (it wants 1.0e-4), 010 for 8 and 1:30 for 90.
    """


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_INT, _FLOAT)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_DIGITS = r"\d(_?\d)*"
_FIRST = list("-+.0123456789")
_Loader.add_implicit_resolver(_INT, re.compile(rf"[-+]?({_DIGITS}|0x[0-9a-fA-F]+|0o[0-7]+|0b[01]+)$"), _FIRST)
_Loader.add_implicit_resolver(
    _FLOAT,
    re.compile(
        rf"[-+]?(({_DIGITS}\.?({_DIGITS})?|\.{_DIGITS})[eE][-+]?{_DIGITS}"  # with an exponent
        rf"|{_DIGITS}\.({_DIGITS})?|\.{_DIGITS}"  # with a point
        r"|\.(inf|Inf|INF))$|\.(nan|NaN|NAN)$"
    ),
    _FIRST,
)


def _integer(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    based = text.lstrip("+-")[:2].lower() in ("0x", "0o", "0b")
    return int(text, 0) if based else int(text)


_Loader.add_constructor(_INT, _integer)


def parse_yaml(text: str) -> Any:
    """The value of a YAML text. Raises yaml.YAMLError."""
    return yaml.load(text, Loader=_Loader)


def read_settings(path: Path) -> dict[str, Any]:
    """The table of keys in a YAML file. Raises ConfigError."""
    try:
        data = parse_yaml(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a table of keys at the top level, got {reprlib.repr(data)}")
    return data


def validated(data: dict[str, Any], config: type[Config], where: object) -> Config:
    """Settings as a strict dataclass of pydantic. Raises ConfigError: one line that begins with `where`."""
    try:
        # in JSON, strict validation takes lists for tuples and tables for dataclasses
        return TypeAdapter(config).validate_json(json.dumps(data, default=str))
    except ValidationError as error:
        raise ConfigError(f"{where}: {one_line(error, config)}") from error
    except (ConfigError, TypeError) as error:  # TypeError: a key that JSON cannot have, such as a date
        raise ConfigError(f"{where}: {error}") from error


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
        config = _item(config) if name.isdecimal() else typing.get_type_hints(config)[name]
    return config


def _item(config: Any) -> Any:
    """The type of a list's items; of any other type, itself."""
    return next(iter(typing.get_args(config)), config)


def _key(details: ErrorDetails, config: Any) -> str:
    """`section.key` or `section.key[index]`; what follows in pydantic's location names a member of a union."""
    key = ""
    for part in details["loc"]:
        if isinstance(part, int):
            key += f"[{part}]"
            config = _item(config)
        elif dataclasses.is_dataclass(config):
            key = f"{key}.{part}".lstrip(".")
            config = typing.get_type_hints(config)[part]
    return key
