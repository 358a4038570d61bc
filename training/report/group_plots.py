"""Pictures of groups of photos: by light, session and area, the night photos, and the worst photos."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from campus_visual_gps.errors import printable
from training.evaluate.report_metrics import DAY, NIGHT, ReportMetrics
from training.evaluate.worst import WorstPhoto, light_of
from training.metrics.errors import ErrorMetrics
from training.metrics.estimate import Estimate
from training.report.formatting import number, percent
from training.report.palette import THRESHOLD, plain
from training.report.paper_tables import night_line
from training.report.table_rows import TableRow, areas_by_error, group_rows, light_rows

_GROUP_COLOURS = {"light": "#4c72b0", "session": "#8c8c8c", "area": "#55a3a3"}
# Night is also hatched and dashed: light alone must not tell it from day.
_LIGHT_STYLES = {
    NIGHT: {"color": "#1f3b73", "hatch": "///", "ls": "--"},
    DAY: {"color": "#f2b134", "hatch": "", "ls": "-"},
    "light unknown": {"color": "#b4b4b4", "hatch": "...", "ls": ":"},
}
_MOST_BARS = 60
_LONGEST = 38
_LONGEST_PHOTO = 48


def error_groups(metrics: ReportMetrics) -> Figure:
    """Mean error with its interval by light and session."""
    rows = [(row, "light") for row in light_rows(metrics)]
    rows += [(row, "session") for row in group_rows(metrics, "session")]
    return _bars(rows[:_MOST_BARS], metrics, f"Mean distance error by light and session{_shown(rows)} (photos)")


def error_areas(metrics: ReportMetrics) -> Figure:
    """Mean error with its interval by area, the best area first (paper, table 4)."""
    rows = [(row, "area") for row in areas_by_error(metrics)]
    title = f"Mean distance error by area{_shown(rows)} (photos, maximum)"
    return _bars(rows[-_MOST_BARS:], metrics, title, with_maximum=True)


def _shown(rows: Sequence[tuple[TableRow, str]]) -> str:
    """Where there are more groups than bars: the tables have all of them."""
    return f", {_MOST_BARS} of {len(rows)}" if len(rows) > _MOST_BARS else ""


def _bars(
    rows: Sequence[tuple[TableRow, str]], metrics: ReportMetrics, title: str, with_maximum: bool = False
) -> Figure:
    bars = [(row.title, row.errors, kind) for row, kind in rows if row.errors and _known(row.errors.mean_error_m)]
    figure = Figure(figsize=(9, 1.9 + 0.36 * len(bars)), layout="constrained")
    axes = figure.add_subplot()
    for y, (_, errors, kind) in enumerate(bars):
        mean = errors.mean_error_m
        axes.barh(y, mean.value or 0.0, color=_GROUP_COLOURS[kind], height=0.68)
        if mean.low is not None and mean.high is not None:
            axes.plot([mean.low, mean.high], [y, y], color="black", lw=1.6, marker="|", ms=7)
        axes.plot(errors.median_error_m.value or 0.0, y, marker="D", ms=6, mfc="white", mec="black", ls="")
    axes.set_yticks(range(len(bars)), [_bar_label(name, errors, with_maximum) for name, errors, _ in bars])
    axes.set_ylim(max(len(bars), 1) - 0.5, -0.5)
    axes.set_xlim(left=0.0)
    overall = metrics.all.errors.mean_error_m.value
    if overall is not None:
        axes.axvline(overall, color="black", ls="--", lw=1.2, zorder=0)
    kinds = list(dict.fromkeys(kind for _, _, kind in bars))
    figure.legend(handles=_group_handles(kinds), loc="outside lower center", ncols=3, frameon=False)
    axes.set_xlabel("mean distance error, m")
    figure.suptitle(title, x=0.01, ha="left")  # over the labels too: beside them there may be little room
    plain(axes)
    return figure


def _bar_label(name: str, errors: ErrorMetrics, with_maximum: bool) -> str:
    maximum = f", max {number(errors.max_error_m)} m" if with_maximum else ""
    return f"{label_text(name)} ({errors.n_photos}{maximum})"


def label_text(name: str, longest: int = _LONGEST) -> str:
    """A name as matplotlib draws it: on one line, a dollar sign begins no formula, a long one without its middle."""
    text = printable(name)
    if len(text) > longest:
        head = (longest - 1) // 2
        text = f"{text[:head]}…{text[-(longest - 1 - head) :]}"
    return text.replace("$", r"\$")


def _known(estimate: Estimate) -> bool:
    return estimate.value is not None


def _group_handles(kinds: Sequence[str]) -> list[Artist]:
    return [
        *(Patch(color=_GROUP_COLOURS[kind], label=kind) for kind in kinds),
        Line2D([], [], color="black", lw=1.6, marker="|", ms=7, label="95 % interval"),
        Line2D([], [], marker="D", ms=6, mfc="white", mec="black", ls="", label="median"),
        Line2D([], [], color="black", ls="--", lw=1.2, label="mean of all photos"),
    ]


def night_errors(predictions: pd.DataFrame, metrics: ReportMetrics) -> Figure:
    """Share of the night photos within a distance, beside the day photos (paper, table 3)."""
    errors_m, light = predictions["error_m"].to_numpy(dtype=np.float64), light_of(predictions)
    figure = Figure(figsize=(9, 5.0), layout="constrained")
    axes = figure.add_subplot()
    reach = 20.0
    for name, flag in ((NIGHT, 1.0), (DAY, 0.0)):
        group = metrics.by_light.get(name)
        if group is None:
            continue
        own = errors_m[light == flag]
        known = np.sort(own[np.isfinite(own)])
        style = _LIGHT_STYLES[name]
        axes.step(
            np.concatenate([[0.0], known]),
            np.arange(len(known) + 1) / len(own),
            where="post",
            color=style["color"],
            ls=style["ls"],
            lw=2.6,
            label=_light_label(name, group.errors),
        )
        reach = max(reach, _shown_reach(known))
    for threshold_m in (10.0, 20.0):
        axes.axvline(threshold_m, color=THRESHOLD, lw=0.9, zorder=0)
    axes.set(xlim=(0.0, 1.05 * reach), ylim=(0.0, 1.02), xlabel="distance error, m")
    axes.set_ylabel("share of photos within that distance")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_title("Distance error of night photos (thin lines: 10 m and 20 m)", loc="left")
    figure.legend(loc="outside lower center", ncols=1, frameon=False)
    plain(axes)
    return figure


def _shown_reach(errors_m: np.ndarray) -> float:
    """The greatest error, unless a few are so great that the others would not be seen."""
    if not len(errors_m):
        return 0.0
    return float(min(errors_m[-1], 5.0 * max(10.0, np.quantile(errors_m, 0.9))))


def _light_label(name: str, errors: ErrorMetrics) -> str:
    within = [f"≤ {threshold} m {percent(errors.within[threshold].share.value)}" for threshold in (10, 20)]
    return (
        f"{name}: {errors.n_photos} photos, mean {number(errors.mean_error_m.value)} m, "
        f"{', '.join(within)}, max {number(errors.max_error_m)} m"
    )


def worst_errors(metrics: ReportMetrics) -> Figure:
    """The errors of the worst photos by light, with the share of night photos among them (paper, section 4.5)."""
    photos = metrics.worst.photos
    figure = Figure(figsize=(9, 2.2 + 0.26 * len(photos)), layout="constrained")
    axes = figure.add_subplot()
    reach = max([photo.error_m for photo in photos if photo.error_m is not None], default=1.0)
    for y, photo in enumerate(photos):
        _worst_bar(axes, y, photo, reach)
    axes.set_yticks(range(len(photos)), [f"{y + 1}  {_photo_label(photo)}" for y, photo in enumerate(photos)])
    axes.set_ylim(len(photos) - 0.4, -0.6)
    axes.set(xlim=(0.0, 1.12 * max(reach, 1e-6)), xlabel="distance error, m")
    figure.suptitle(f"The worst {len(photos)} of {metrics.all.errors.n_photos} photos", x=0.01, ha="left")
    shown = list(dict.fromkeys(_light_name(photo) for photo in photos))
    handles = [Patch(fc=_LIGHT_STYLES[n]["color"], ec="white", hatch=_LIGHT_STYLES[n]["hatch"], label=n) for n in shown]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, title=night_line(metrics))
    plain(axes)
    return figure


def _worst_bar(axes: Axes, y: int, photo: WorstPhoto, reach_m: float) -> None:
    style = _LIGHT_STYLES[_light_name(photo)]
    length_m = reach_m if photo.error_m is None else photo.error_m
    alpha = 0.35 if photo.error_m is None else 1.0
    axes.barh(y, length_m, color=style["color"], hatch=style["hatch"], ec="white", height=0.72, alpha=alpha)
    text = "no position" if photo.error_m is None else f"{photo.error_m:.1f}"
    axes.annotate(text, (length_m, y), (4, 0), textcoords="offset points", va="center", fontsize=8)


def _light_name(photo: WorstPhoto) -> str:
    return "light unknown" if photo.night is None else NIGHT if photo.night else DAY


def _photo_label(photo: WorstPhoto) -> str:
    """The session too: phones give the same file names on every walk."""
    file = photo.name.replace("\\", "/").rsplit("/", 1)[-1]
    return label_text(" / ".join(part for part in (photo.session, file) if part), _LONGEST_PHOTO)
