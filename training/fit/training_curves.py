"""The training curves of a run (paper, figure 4), drawn from its metrics.csv."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from campus_visual_gps.io_utils import atomic_write


def plot_curves(metrics_csv: Path, picture: Path, title: str) -> None:
    """Losses and learning-rate reductions by epoch, as a PNG."""
    rows = pd.read_csv(metrics_csv).set_index("epoch")
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(rows.index + 1, rows["train_loss"], label="training", color="tab:blue")
    axes.plot(rows.index + 1, rows["val_loss"], label="validation", color="tab:orange")
    if rows["val_loss"].notna().any():
        best = rows["val_loss"].idxmin()
        axes.plot(best + 1, rows["val_loss"][best], "o", color="tab:orange", label=f"best: epoch {best + 1}")
    for epoch in rows.index[rows["lr"].diff() < -0.25 * rows["lr"].shift()]:
        axes.axvline(epoch + 1, color="0.6", linestyle=":", linewidth=1)
    axes.set(title=f"{title} (dotted: learning rate reduced)", xlabel="epoch", ylabel="loss")
    axes.set_ylim(bottom=0)
    axes.legend()
    with atomic_write(picture) as part:
        figure.savefig(part, dpi=120, format="png")
