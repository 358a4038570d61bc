"""Training curves of a run (paper, figure 4), drawn from its metrics.csv."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from campus_visual_gps.io_utils import atomic_write
from training.fit.callbacks import read_metrics


def plot_curves(metrics_csv: Path, png: Path, title: str) -> None:
    """Plot the losses and the learning rate reductions by epoch."""
    rows = read_metrics(metrics_csv).set_index("epoch")
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
    with atomic_write(png) as partial:
        figure.savefig(partial, dpi=120, format="png")
