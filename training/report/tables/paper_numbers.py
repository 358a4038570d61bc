"""The paper's own numbers beside a table's row, marked as theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from training.report.formatting import NONE

# Name of a number, and how it reads. `mean_error_m` comes first and has no name: it is what the paper's tables compare.
_FORMATS: dict[str, tuple[str, Callable[[float], str]]] = {
    "mean_error_m": ("", lambda value: f"{value:.2f} m"),
    "median_error_m": ("median", lambda value: f"{value:.2f} m"),
    "max_error_m": ("max", lambda value: f"{value:.2f} m"),
    "effect_m": ("effect", lambda value: f"{value:+.1f} m"),
    "difference_m": ("difference", lambda value: f"{value:+.2f} m"),
    "within_10m_share": ("≤ 10 m", lambda value: f"{100.0 * value:.1f} %"),
    "night_mean_error_m": ("night", lambda value: f"{value:.2f} m"),
    "night_within_10m_share": ("night ≤ 10 m", lambda value: f"{100.0 * value:.1f} %"),
    "night_share_of_worst_25": ("night in worst 25", lambda value: f"{100.0 * value:.0f} %"),
    "parameters": ("parameters", lambda value: f"{value / 1e6:g} M"),
    "gap": ("gap", lambda value: f"{value:g}×"),
    "train_time_ratio": ("training time", lambda value: f"{value:g}×"),
    "train_photos": ("training photos", lambda value: f"{value:,.0f}"),
    "test_photos": ("test photos", lambda value: f"{value:,.0f}"),
    "beyond_50m_count": ("> 50 m", lambda value: f"{value:.0f} photos"),
    "beyond_50m_share": ("> 50 m", lambda value: f"{100.0 * value:.1f} %"),
}


def paper_cell(paper: Mapping[str, Any]) -> str:
    """The paper's numbers as "paper: 13.45 m, median 10.95 m"; NONE where it has none for the row."""
    known = [key for key in _FORMATS if paper.get(key) is not None]
    other = [key for key in paper if key not in _FORMATS and paper[key] is not None]
    parts = [_part(key, paper[key]) for key in (*known, *other)]
    return f"paper: {', '.join(parts)}" if parts else NONE


def _part(key: str, value: Any) -> str:
    name, number = _FORMATS.get(key, (key.replace("_", " "), lambda own: f"{own:g}"))
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return f"{name} {number(value) if is_number else value}".strip()
