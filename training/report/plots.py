"""The report's pictures, drawn from predictions.csv and the metrics, without pyplot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, PercentFormatter

from training.evaluate.baselines import BASELINES
from training.evaluate.report_metrics import NIGHT, ReportMetrics, SiteOutline, baseline_errors_m
from training.metrics.errors import CATASTROPHIC_M, ErrorMetrics
from training.report.formatting import percent
from training.report.group_plots import error_areas, error_groups, label_text, night_errors, worst_errors
from training.report.histogram import error_histogram
from training.report.maps import ellipse_map, error_map
from training.report.palette import DPI, OURS, THRESHOLD, LineStyle, plain, style_of
from training.report.table_rows import computed, label_of
from training.report.uncertainty_plots import error_by_sigma, risk_coverage

_NEAR_M, _FAR_M = 1e-3, 1e9  # beyond the axes on both sides
_FEW_DECADES_M = 2000.0  # up to here there is room for labels between powers of ten
_LONGEST_LABEL = 40  # characters of a curve's name: two columns of the legend fit the width


def draw_pictures(
    predictions: pd.DataFrame, metrics: ReportMetrics, site: SiteOutline, directory: Path
) -> dict[str, str]:
    """Write the PNGs into a directory -> name and file name of each."""
    figures = {
        "histogram": error_histogram(predictions, metrics.all.errors),
        "map": error_map(predictions, site),
        "cdf": error_cdf(predictions, metrics),
        "worst": worst_errors(metrics),
        "groups": error_groups(metrics),
    }
    if NIGHT in metrics.by_light:
        figures["night"] = night_errors(predictions, metrics)
    if metrics.by_area:
        figures["areas"] = error_areas(metrics)
    files = {name: f"error_{name}.png" for name in figures}
    if metrics.all.consistency.nees_interval is not None:
        uncertainty = {
            "by_sigma": error_by_sigma(predictions),
            "risk_coverage": risk_coverage(predictions, metrics),
            "ellipses": ellipse_map(predictions, site),
        }
        files |= {name: f"uncertainty_{name}.png" for name in uncertainty}
        figures |= uncertainty
    for name, figure in figures.items():
        figure.savefig(directory / files[name], dpi=DPI)
    return files


def error_cdf(predictions: pd.DataFrame, metrics: ReportMetrics) -> Figure:
    """Share of photos within a distance, the ensemble and the baselines, on a logarithmic axis of distance."""
    comparisons = metrics.run.comparisons
    curves: list[tuple[str, np.ndarray, str, LineStyle, float]] = [
        ("this bundle", predictions["error_m"].to_numpy(), OURS, "-", 2.8)
    ]
    for name in (*comparisons, *BASELINES):
        if computed(metrics, name) is not None:
            errors_m = baseline_errors_m(predictions, name)
            curves.append((label_of(name, comparisons), errors_m, *style_of(name, comparisons), 2.0))
    figure = Figure(figsize=(9, 5.8), layout="constrained")
    axes = figure.add_subplot()
    reach = 1.0
    for label, errors_m, colour, style, width in curves:
        known = np.sort(errors_m[np.isfinite(errors_m)])
        share = np.arange(len(known) + 1) / len(errors_m)
        mean = f" (mean {known.mean():.1f} m)" if len(known) else ""
        name = label_text(label, _LONGEST_LABEL) + mean
        # from nothing to beyond the axes: one photo makes a curve too
        steps, heights = [_NEAR_M, *np.maximum(known, _NEAR_M), _FAR_M], [*share, share[-1]]
        axes.step(steps, heights, where="post", color=colour, ls=style, lw=width, label=name)
        reach = max([reach, *known[-1:]])
    _mark_thresholds(axes, metrics.all.errors)
    right = max(60.0, 1.05 * min(reach, _FAR_M))
    axes.set(xscale="log", xlim=(1.0, right), ylim=(0, 1.02), xlabel="distance error, m (log scale)")
    axes.xaxis.set_major_locator(FixedLocator(_log_ticks(right)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylabel("share of photos within that distance")
    axes.set_title(_cdf_title(metrics.all.errors), loc="left", fontsize="medium")
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    plain(axes)
    return figure


def _log_ticks(right_m: float) -> list[float]:
    """1, 2, 5, 10 and so on; whole powers of ten where the axis is so long that the labels would touch."""
    steps = (1.0, 2.0, 5.0) if right_m < _FEW_DECADES_M else (1.0,)
    return [step * 10.0**decade for decade in range(10) for step in steps]


def _mark_thresholds(axes: Axes, errors: ErrorMetrics) -> None:
    """The distances of the paper's table 2: a thin line each, and a marker on the bundle's curve."""
    shares = {threshold: counted.share.value or 0.0 for threshold, counted in errors.within.items()}
    beyond = errors.catastrophic.share.value or 0.0
    for threshold in (*shares, CATASTROPHIC_M):
        axes.axvline(threshold, color=THRESHOLD, lw=0.9, zorder=0)
    points = {**shares, CATASTROPHIC_M: 1.0 - beyond}
    label = f"at {', '.join(map(str, shares))} and {CATASTROPHIC_M} m"
    axes.plot(list(points), list(points.values()), ls="", marker="o", ms=6, mfc="white", mec=OURS, mew=1.8, label=label)


def _cdf_title(errors: ErrorMetrics) -> str:
    listed = " / ".join(percent(counted.share.value).removesuffix(" %") for counted in errors.within.values())
    return (
        f"Cumulative distance error of {errors.n_photos} photos: within {' / '.join(map(str, errors.within))} m "
        f"{listed} %,\nbeyond {CATASTROPHIC_M} m {percent(errors.catastrophic.share.value)}"
    )
