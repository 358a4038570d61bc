"""Pictures of images in time order: errors over time, and each sequence on the map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from campus_visual_gps.errors import printable
from training.evaluate.predict import positions_m
from training.evaluate.report_metrics import SiteOutline
from training.evaluate.sequence_table import SINGLE, SMOOTHED, TRACKED, WITH_ODOMETRY
from training.metrics.sequences import FOUND_M
from training.report.palette import DPI, OURS, THRESHOLD, plain

# Beyond, a picture is too tall to look at; the tables have all sessions.
_MOST_SESSIONS = 12
_STYLES = {
    SINGLE: ("#b4b4b4", 1.2),
    SMOOTHED: ("#1b9e77", 1.4),
    TRACKED: (OURS, 1.8),
    WITH_ODOMETRY: ("#e08214", 1.8),
}
_GAP_S = 20.0  # shown between two sequences of a session


def draw_sequences(table: pd.DataFrame, site: SiteOutline, directory: Path) -> dict[str, str]:
    """Write the PNGs into a directory -> name and file name of each."""
    figures = {"sequences": errors_over_time(table), "sequence_maps": sequence_maps(table, site)}
    for name, figure in figures.items():
        figure.savefig(directory / f"{name}.png", dpi=DPI)
    return {name: f"{name}.png" for name in figures}


def errors_over_time(table: pd.DataFrame) -> Figure:
    """One panel for each session: errors of single images, tracked and smoothed, over the time of the walk."""
    sessions = list(table["session"].unique())[:_MOST_SESSIONS]
    figure = Figure(figsize=(11, 1.2 + 2.1 * len(sessions)), layout="constrained")
    panels = figure.subplots(len(sessions), 1, squeeze=False)[:, 0]
    for axes, session in zip(panels, sessions, strict=True):
        own, start_s = table[table["session"] == session], 0.0
        styles = {name: style for name, style in _STYLES.items() if f"{name}_error_m" in own}
        means = {name: own[f"{name}_error_m"].mean() for name in styles}
        for index, (_, part) in enumerate(own.groupby("sequence")):
            times_s = start_s + part["time_s"].to_numpy()
            for name, (colour, width) in styles.items():
                label = f"{name.replace('_', ' with ')} (mean {means[name]:.1f} m)" if index == 0 else None
                axes.plot(times_s, part[f"{name}_error_m"], color=colour, lw=width, marker=".", ms=3, label=label)
            start_s = times_s[-1] + _GAP_S
            if start_s - _GAP_S > times_s[0] and index + 1 < own["sequence"].nunique():
                axes.axvline(start_s - _GAP_S / 2.0, color=THRESHOLD, lw=1.0, ls=":")
        axes.axhline(FOUND_M, color=THRESHOLD, lw=0.9, zorder=0)
        largest_m = float(np.nanmax(own[[f"{name}_error_m" for name in styles]].to_numpy()))
        axes.set_ylim(0.0, max(2.0 * FOUND_M, 1.05 * largest_m))
        axes.set_title(printable(str(session)), loc="left", fontsize="medium")
        axes.set_ylabel("error, m")
        axes.legend(loc="upper right", ncols=3, fontsize="small", frameon=False)
        plain(axes)
    panels[-1].set_xlabel("time since the first image, s")
    return figure


def sequence_maps(table: pd.DataFrame, site: SiteOutline) -> Figure:
    """One map for each session: truth, single-image positions and the tracked path."""
    sessions = list(table["session"].unique())[:_MOST_SESSIONS]
    columns = min(2, len(sessions))
    rows = -(-len(sessions) // columns)
    width_m, height_m = np.ptp(site.polygon_enu_m, axis=0)
    panel_in = float(np.clip(6.5 * height_m / max(width_m, 1.0), 1.2, 6.5))
    figure = Figure(figsize=(7.5 * columns, 0.5 + (panel_in + 1.0) * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(sessions) :]:
        axes.set_visible(False)
    for axes, session in zip(panels, sessions, strict=False):
        own = table[table["session"] == session]
        truth, tracked = positions_m(own, "true_"), positions_m(own, f"{TRACKED}_")
        axes.fill(*site.polygon_enu_m.T, fc="#f4f4f4", ec="#9a9a9a", lw=0.8, zorder=0)
        axes.plot(*np.stack([truth, tracked], axis=-1).transpose(1, 2, 0), color="#b2182b", lw=0.5, alpha=0.5, zorder=1)
        axes.scatter(*positions_m(own, f"{SINGLE}_").T, s=7, color="#b4b4b4", lw=0, label="single image", zorder=2)
        for number, (_, part) in enumerate(own.groupby("sequence")):
            path = positions_m(part, f"{TRACKED}_")
            axes.plot(*path.T, color=OURS, lw=1.2, label="tracked" if number == 0 else None, zorder=3)
        axes.scatter(*truth.T, s=10, color="#000000", lw=0, label="truth", zorder=4)
        axes.set(aspect="equal", xlabel="east, m", ylabel="north, m")
        axes.set_title(printable(str(session)), loc="left", fontsize="medium")
        axes.legend(loc="best", fontsize="small", frameon=False)
        plain(axes)
    return figure
