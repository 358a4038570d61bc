"""The columns of test-time augmentation in predictions.csv; apart from what makes them, which loads the networks."""

from __future__ import annotations

from typing import Literal

TtaMode = Literal["matched", "photometric", "original"]


def column_prefix(mode: str) -> str:
    """Of a mode's columns in predictions.csv."""
    return f"tta_{mode}_"
