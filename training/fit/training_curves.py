"""Training curves of a run (paper, figure 4), drawn from its metrics.csv."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from campus_visual_gps.io_utils import atomic_write
from training.fit.callbacks import read_metrics

# Two colours that differ in lightness, and two markers, for those who cannot tell colours apart.
_TRAINING, _VALIDATION, _STEP = "#e08214", "#0b3c8c", "#777777"
# Losses fall from hundreds to a few: on a linear axis the later epochs would be one line.
_LOG_FROM_RATIO = 10.0


def plot_curves(metrics_csv: Path, png: Path, title: str, loss_label: str = "loss") -> None:
    """Plot both losses, the learning rate steps, the best epoch, and the gap between the losses as a number.

    Args:
        metrics_csv: Of the run.
        png: The picture.
        title: Above it.
        loss_label: What the loss is, with its unit.
    """
    rows = read_metrics(metrics_csv).set_index("epoch")
    rows.index += 1
    figure = Figure(figsize=(8, 4.6), layout="constrained")
    axes = figure.subplots()
    # points where a line of few epochs would be short
    marker = "o" if len(rows) <= 30 else ""
    axes.plot(rows.index, rows["train_loss"], "--", label="training loss", color=_TRAINING, marker=marker, markersize=3)
    if rows["val_loss"].notna().any():
        axes.plot(rows.index, rows["val_loss"], label="validation loss", color=_VALIDATION, marker=marker, markersize=3)
        best = int(rows["val_loss"].idxmin())
        label = f"best: epoch {best}, validation loss {rows['val_loss'][best]:.3g}"
        axes.plot(best, rows["val_loss"][best], "*", markersize=13, color=_VALIDATION, label=label, clip_on=False)
        figure.supxlabel(_gap_text(rows, best), fontsize="small")
    _draw_steps(axes, rows["lr"])
    losses = rows[["train_loss", "val_loss"]].to_numpy()
    low, high = np.nanmin(losses, initial=np.inf), np.nanmax(losses, initial=-np.inf)
    if 0.0 < low < np.inf and high / low > _LOG_FROM_RATIO:
        axes.set_yscale("log")
    elif low >= 0.0:
        axes.set_ylim(0.0, 1.05 * float(high) if high > 0.0 else None)
    axes.set(title=title, xlabel="epoch", ylabel=loss_label, xlim=(0.5, rows.index[-1] + 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="best", framealpha=0.9, edgecolor="none")
    with atomic_write(png) as partial:
        figure.savefig(partial, dpi=120, format="png")


def learning_rate_steps(lr: pd.Series) -> list[int]:
    """Epochs that begin with a reduced learning rate; none for a schedule that changes it in every epoch.

    Args:
        lr: Learning rate by epoch, with the epochs as index.
    """
    reduced = (lr.diff() < 0.0) & ~np.isclose(lr, lr.shift())
    steady = np.isclose(lr, lr.shift())
    return list(lr.index[reduced]) if steady.sum() >= reduced.sum() else []


def _draw_steps(axes: Axes, lr: pd.Series) -> None:
    steps = learning_rate_steps(lr)
    for number, epoch in enumerate(steps):
        label = f"learning rate reduced: {lr.max():.2g} to {lr.iloc[-1]:.2g}" if number == 0 else None
        axes.axvline(epoch - 0.5, color=_STEP, linestyle=":", linewidth=1.2, label=label)


def _gap_text(rows: pd.DataFrame, best: int) -> str:
    gap, last = rows["gap"], int(rows.index[-1])
    if np.isnan(gap[best]):
        return ""
    return (
        f"validation loss / training loss: {gap[best]:.2f} at the best epoch, {gap[last]:.2f} at the last "
        "(training loss with augmentation and dropout)"
    )
