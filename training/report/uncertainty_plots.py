"""Pictures of the predicted uncertainty: error against sigma, and error against coverage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from campus_visual_gps.estimation.calibration import sigma_m
from training.evaluate.covariance_baselines import CHOICE_SPREAD
from training.evaluate.predict import covariances_m2, positions_m
from training.evaluate.report_metrics import ReportMetrics
from training.metrics.consistency import usable
from training.metrics.risk_coverage import COVERAGE, Ranking
from training.report.palette import LIMIT, OURS, LineStyle, plain, style_of
from training.report.table_rows import label_of, with_covariance

_MAX_BINS, _PHOTOS_PER_BIN = 10, 20


def _p95(errors_m: np.ndarray) -> float:
    return float(np.quantile(errors_m, 0.95))


# Of a distance whose two axes are Gaussian with sigma 1 (Rayleigh): name, value, colour, line, marker, statistic.
_RAYLEIGH = (
    ("95th percentile", np.sqrt(-2.0 * np.log(0.05)), "#b2182b", ":", "^", _p95),
    ("mean", np.sqrt(np.pi / 2.0), "black", "-", "o", np.mean),
    ("median", np.sqrt(2.0 * np.log(2.0)), OURS, "--", "s", np.median),
)


@dataclass(frozen=True)
class _Predicted:
    """Sigmas (N,) per axis and errors (N,), metres, of the photos with a covariance."""

    sigmas_m: np.ndarray
    errors_m: np.ndarray


def _predicted(predictions: pd.DataFrame, prefix: str = "") -> _Predicted:
    offsets = positions_m(predictions, prefix) - positions_m(predictions, "true_")
    covs = covariances_m2(predictions, prefix)
    known = usable(offsets, covs)
    return _Predicted(sigma_m(covs[known]), np.hypot(*offsets[known].T))


def error_by_sigma(predictions: pd.DataFrame) -> Figure:
    """Every photo's error over its predicted sigma; mean and quantiles of bins against those of a Gaussian."""
    predicted = _predicted(predictions)
    figure = Figure(figsize=(9, 5.4), layout="constrained")
    axes = figure.add_subplot()
    if len(predicted.errors_m):
        _photos_and_bins(axes, predicted)
    axes.set(xlabel="predicted sigma per axis, m", ylabel="distance error, m")
    axes.set_title("Distance error against predicted sigma: lines as expected, markers as measured in bins", loc="left")
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    plain(axes)
    return figure


def _photos_and_bins(axes: Axes, predicted: _Predicted) -> None:
    sigmas_m, errors_m = predicted.sigmas_m, predicted.errors_m
    span = np.array([0.0, 1.08 * np.quantile(sigmas_m, 0.99)])
    axes.plot(sigmas_m, errors_m, ".", ms=4, color="#b4b4b4", zorder=1, label="one photo")
    for name, factor, colour, style, marker, statistic in _RAYLEIGH:
        axes.plot(span, factor * span, color=colour, ls=style, lw=1.4, zorder=2, label=f"{name}, expected")
        bins = [
            (np.mean(predicted.sigmas_m[rows]), statistic(predicted.errors_m[rows]))
            for rows in _bins(predicted.sigmas_m)
        ]
        axes.plot(
            *np.transpose(bins),
            ls="",
            marker=marker,
            ms=7,
            mfc=colour,
            mec="white",
            mew=0.8,
            zorder=4,
            label=f"{name}, measured",
        )
    top = max(1.05 * _RAYLEIGH[0][1] * span[1], 1.1 * _p95(errors_m))
    axes.set(xlim=span, ylim=(0.0, top))


def _bins(values: np.ndarray) -> list[np.ndarray]:
    """Rows of bins of about equal size; equal values share a bin."""
    count = int(np.clip(len(values) // _PHOTOS_PER_BIN, 1, _MAX_BINS))
    edges = np.unique(np.quantile(values, np.linspace(0.0, 1.0, count + 1)))
    bin_of = np.searchsorted(edges[1:-1], values, side="left")
    return [np.flatnonzero(bin_of == index) for index in np.unique(bin_of)]


def risk_coverage(predictions: pd.DataFrame, metrics: ReportMetrics) -> Figure:
    """Mean error over coverage, the photos of greatest sigma rejected first, between chance and an oracle."""
    figure = Figure(figsize=(9, 5.4), layout="constrained")
    axes = figure.add_subplot()
    predicted = _predicted(predictions)
    if len(predicted.errors_m):
        _curve(axes, _Predicted(predicted.errors_m, predicted.errors_m), "oracle", LIMIT, "-", 1.0)
        _curve(
            axes,
            _Predicted(np.zeros(len(predicted.errors_m)), predicted.errors_m),
            "rejection at random",
            LIMIT,
            "--",
            1.0,
        )
    _curve(axes, predicted, "this bundle", OURS, "-", 3.2)
    comparisons = metrics.run.comparisons
    for name in with_covariance(metrics):
        if name == CHOICE_SPREAD:  # with a floor, which changes no order: the curve of the spread without one
            continue
        other = _predicted(predictions, f"baseline_{name}_")
        _curve(axes, other, label_of(name, comparisons), *style_of(name, comparisons), 1.6)
    axes.axvline(COVERAGE, color="#bbbbbb", lw=0.8, zorder=0)
    axes.set(
        xlim=(0.0, 1.0),
        xlabel="coverage: share of photos kept, least sigma first",
        ylabel="mean distance error of the photos kept, m",
    )
    axes.set_ylim(bottom=0.0)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_title("Risk-coverage curves (area under each curve)", loc="left")
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    axes.grid(color="#dddddd", lw=0.7)
    plain(axes)
    return figure


def _curve(axes: Axes, predicted: _Predicted, label: str, colour: str, style: LineStyle, width: float) -> None:
    """Drawn from 5 % coverage on: the mean of the first few photos is noise."""
    if not len(predicted.errors_m):
        return
    shares, means_m = Ranking(predicted.sigmas_m, predicted.errors_m).curve()
    shown = shares >= min(0.05, shares[-1])
    label = f"{label} ({means_m.mean():.1f} m)"
    axes.plot(shares[shown], means_m[shown], color=colour, ls=style, lw=width, label=label)
