"""The paper's own numbers beside a table's row, marked as theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from training.report.formatting import NONE

Format = Callable[[float], str]


def _metres(name: str) -> Format:
    return lambda value: f"{name}{value:.2f} m"


def _percent(name: str) -> Format:
    return lambda value: f"{name}{100.0 * value:.1f} %"


def _times(name: str) -> Format:
    return lambda value: f"{name} {value:g}×"


def _count(name: str) -> Format:
    return lambda value: f"{name} {value:,.0f}"


# `mean_error_m` comes first and has no name: it is what every table of the paper compares
_FORMATS: dict[str, Format] = {
    "mean_error_m": _metres(""),
    "median_error_m": _metres("median "),
    "max_error_m": _metres("max "),
    "effect_m": lambda value: f"{value:+.2f} m",
    "difference_m": lambda value: f"{value:+.2f} m",
    "within_10m_share": _percent("≤ 10 m "),
    "night_mean_error_m": _metres("night "),
    "night_within_10m_share": _percent("night ≤ 10 m "),
    "night_share_of_worst_25": _percent("night in worst 25 "),
    "parameters": lambda value: f"{value / 1e6:g} M parameters",
    "gap": _times("gap"),
    "train_time_ratio": _times("time"),
    "train_photos": _count("train"),
    "test_photos": _count("test"),
    "beyond_50m_count": _count("> 50 m:"),
    "beyond_50m_share": _percent("> 50 m "),
}


def paper_cell(paper: Mapping[str, Any]) -> str:
    """ "paper: 13.45 m, median 10.95 m"; NONE where the paper has no number for the row."""
    known = [key for key in _FORMATS if paper.get(key) is not None]
    other = [key for key in paper if key not in _FORMATS and paper[key] is not None]
    parts = [_part(key, paper[key]) for key in (*known, *other)]
    return f"paper: {', '.join(parts)}" if parts else NONE


def _part(key: str, value: Any) -> str:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if key in _FORMATS and is_number:
        return _FORMATS[key](value)
    return str(value) if key in _FORMATS else f"{key.replace('_', ' ')} {value}"
