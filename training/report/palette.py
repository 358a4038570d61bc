"""Colours, sizes and steps that the pictures share."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

# The paper's scheme (figure 5) in tones that also differ in lightness, for those who cannot distinguish red from green.
GOOD_M, POOR_M = 10.0, 20.0
CLASSES = {
    f"≤ {GOOD_M:.0f} m": "#1b9e77",
    f"{GOOD_M:.0f} to {POOR_M:.0f} m": "#f5a623",
    f"> {POOR_M:.0f} m": "#b2182b",
}
COLOURS = np.array(list(CLASSES.values()))
TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000)
DPI = 120

LineStyle = str | tuple[int, tuple[float, ...]]
# Curves of the bundle and of what it is compared with: colour and line style, distinguishable without colour too.
OURS = "#0b3c8c"
BASELINE_STYLES: dict[str, tuple[str, LineStyle]] = {
    "median_position": ("#777777", ":"),
    "nearest_pretrained": ("#e08214", "-."),
    "nearest_trained": ("#1b9e77", "--"),
    "retrieval_topk": ("#7b3fb5", (0, (7, 2, 1, 2, 1, 2))),
    "constant_covariance": ("#777777", (0, (1, 1))),
    "ensemble_spread": ("#c51b7d", (0, (4, 1.5))),
    "choice_calibrated": ("#000000", (0, (6, 1.5, 1, 1.5, 1, 1.5))),
}
# of the evaluations to compare with, in turn
COMPARISON_COLOURS = ("#2166ac", "#b2182b", "#4d9221", "#8c510a")
THRESHOLD = "#bbbbbb"  # thin lines at distances that tables name
LIMIT = "#444444"  # bounds that no method passes: an oracle, chance


def style_of(name: str, comparisons: list[str]) -> tuple[str, LineStyle]:
    """Colour and line style of a baseline, or of another evaluation."""
    if name in BASELINE_STYLES:
        return BASELINE_STYLES[name]
    return COMPARISON_COLOURS[comparisons.index(name) % len(COMPARISON_COLOURS)], "-"


def error_class(errors_m: np.ndarray) -> np.ndarray:
    """0, 1 or 2 for green, orange, red; an error that is not finite is red."""
    errors_m = np.asarray(errors_m)
    return np.where(errors_m <= GOOD_M, 0, np.where(errors_m <= POOR_M, 1, 2))


def plain(axes: Axes) -> None:
    """Axes without a border on top and on the right."""
    axes.spines[["top", "right"]].set_visible(False)
