"""Colours, sizes and steps that the pictures share."""

from __future__ import annotations

import numpy as np

# The paper's scheme (figure 5) in tones that also differ in lightness, for those who do not tell red from green.
GOOD_M, POOR_M = 10.0, 20.0
CLASSES = {
    f"≤ {GOOD_M:.0f} m": "#1b9e77",
    f"{GOOD_M:.0f} to {POOR_M:.0f} m": "#f5a623",
    f"> {POOR_M:.0f} m": "#b2182b",
}
COLOURS = np.array(list(CLASSES.values()))
NICE = np.array([1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000])
DPI = 120

# Curves of the bundle and of what it is compared with: colour and line style, told apart without colour too.
OURS = "#0b3c8c"
BASELINE_LOOKS = {
    "median_position": ("#777777", ":"),
    "nearest_pretrained": ("#e08214", "-."),
    "nearest_trained": ("#1b9e77", "--"),
    "retrieval_topk": ("#7b3fb5", (0, (7, 2, 1, 2, 1, 2))),
    "constant_covariance": ("#777777", (0, (1, 1))),
    "members_spread": ("#c51b7d", (0, (4, 1.5))),
}
# of other evaluations beside this one, in turn
BESIDE_COLOURS = ("#2166ac", "#b2182b", "#4d9221", "#8c510a")
LIMIT = "#444444"  # what can not be passed: an oracle, chance


def look_of(name: str, beside: list[str]) -> tuple[str, object]:
    """Colour and line style of a baseline, or of another evaluation."""
    if name in BASELINE_LOOKS:
        return BASELINE_LOOKS[name]
    return BESIDE_COLOURS[beside.index(name) % len(BESIDE_COLOURS)], "-"


def error_class(errors_m: np.ndarray) -> np.ndarray:
    """0, 1 or 2 for green, orange, red; an error that is not finite is red."""
    errors_m = np.asarray(errors_m)
    return np.where(errors_m <= GOOD_M, 0, np.where(errors_m <= POOR_M, 1, 2))


def plain(axes) -> None:
    """Axes of matplotlib without a frame on top and on the right."""
    axes.spines[["top", "right"]].set_visible(False)
