"""Writes one picture, whole or not at all."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.io_utils import atomic_write
from training.report.palette import DPI


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG. Raises ConfigError for another kind of file, DatasetError where it cannot be written."""
    if path.suffix.lower() != ".png":
        raise ConfigError(f"--out {path}: expected the name of a .png file")
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=DPI, format="png")
