"""Pictures that prove the claimed uncertainty: error against sigma, and error against the share kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from campus_visual_gps.estimation.posterior import sigma_m
from training.evaluate.predict import covariances_m2, positions_m
from training.evaluate.report_metrics import Report
from training.metrics.consistency import usable
from training.metrics.risk_coverage import KEPT_SHARE, Ranking
from training.report.palette import LIMIT, OURS, look_of, plain
from training.report.summary import claiming

_MAX_BINS, _PHOTOS_PER_BIN = 10, 20
# Of a distance whose two axes are Gaussian with sigma 1 (Rayleigh): name, value, colour, line, marker, statistic.
_RAYLEIGH = (
    ("95 %", np.sqrt(-2.0 * np.log(0.05)), "#b2182b", ":", "^", lambda errors_m: np.quantile(errors_m, 0.95)),
    ("mean", np.sqrt(np.pi / 2.0), "black", "-", "o", np.mean),
    ("50 %", np.sqrt(2.0 * np.log(2.0)), OURS, "--", "s", np.median),
)


@dataclass(frozen=True)
class _Claim:
    """Sigmas (N,) per axis and errors (N,), metres, of the photos with a covariance."""

    sigmas_m: np.ndarray
    errors_m: np.ndarray


def _claim(predictions: pd.DataFrame, prefix: str = "") -> _Claim:
    offsets = positions_m(predictions, prefix) - positions_m(predictions, "true_")
    covs = covariances_m2(predictions, prefix)
    known = usable(offsets, covs)
    return _Claim(sigma_m(covs[known]), np.hypot(*offsets[known].T))


def error_by_sigma(predictions: pd.DataFrame) -> Figure:
    """Every photo's error over its claimed sigma; mean and quantiles of bins over what a true sigma would give."""
    claim = _claim(predictions)
    figure = Figure(figsize=(9, 5.4), layout="constrained")
    axes = figure.add_subplot()
    if len(claim.errors_m):
        _photos_and_bins(axes, claim)
    axes.set(xlabel="claimed sigma per axis, m", ylabel="distance error, m")
    axes.set_title("Error against claimed sigma: lines if the claim is true, marks as it is", loc="left")
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    plain(axes)
    return figure


def _photos_and_bins(axes: Axes, claim: _Claim) -> None:
    span = np.array([0.0, 1.08 * np.quantile(claim.sigmas_m, 0.99)])
    axes.plot(claim.sigmas_m, claim.errors_m, ".", ms=4, color="#b4b4b4", zorder=1, label="photo")
    for name, factor, colour, style, marker, statistic in _RAYLEIGH:
        axes.plot(span, factor * span, color=colour, ls=style, lw=1.4, zorder=2, label=f"{name} if true")
        bins = [(np.mean(claim.sigmas_m[rows]), statistic(claim.errors_m[rows])) for rows in _bins(claim.sigmas_m)]
        marks = {"ls": "", "marker": marker, "ms": 7, "mfc": colour, "mec": "white", "mew": 0.8}
        axes.plot(*np.transpose(bins), **marks, zorder=4, label=f"{name} of a bin")
    top = max(1.05 * _RAYLEIGH[0][1] * span[1], 1.1 * float(np.quantile(claim.errors_m, 0.95)))
    axes.set(xlim=span, ylim=(0.0, top))


def _bins(values: np.ndarray) -> list[np.ndarray]:
    """Rows of bins of about equal size; equal values share a bin."""
    count = int(np.clip(len(values) // _PHOTOS_PER_BIN, 1, _MAX_BINS))
    edges = np.unique(np.quantile(values, np.linspace(0.0, 1.0, count + 1)))
    bin_of = np.searchsorted(edges[1:-1], values, side="left")
    return [np.flatnonzero(bin_of == index) for index in np.unique(bin_of)]


def risk_coverage(predictions: pd.DataFrame, report: Report) -> Figure:
    """Mean error of the photos kept, the least certain refused first, between chance and an oracle."""
    figure = Figure(figsize=(9, 5.4), layout="constrained")
    axes = figure.add_subplot()
    claim = _claim(predictions)
    if len(claim.errors_m):
        _curve(axes, _Claim(claim.errors_m, claim.errors_m), "oracle", LIMIT, "-", 1.0)
        _curve(axes, _Claim(np.zeros(len(claim.errors_m)), claim.errors_m), "refused at random", LIMIT, "--", 1.0)
    _curve(axes, claim, "this bundle", OURS, "-", 3.2)
    for name, title in claiming(report).items():
        other = _claim(predictions, f"baseline_{name}_")
        _curve(axes, other, title, *look_of(name, report["beside"]), 1.6)
    axes.axvline(KEPT_SHARE, color="#bbbbbb", lw=0.8, zorder=0)
    axes.set(xlim=(0.0, 1.0), xlabel="photos kept, the surest first", ylabel="mean distance error of those kept, m")
    axes.set_ylim(bottom=0.0)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_title("What refusing the least certain is worth (area under each curve)", loc="left")
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    axes.grid(color="#dddddd", lw=0.7)
    plain(axes)
    return figure


def _curve(axes: Axes, claim: _Claim, label: str, colour: str, style: str | tuple, width: float) -> None:
    """Drawn from the twentieth part on: the mean of the first few photos is noise."""
    if not len(claim.errors_m):
        return
    shares, means_m = Ranking(claim.sigmas_m, claim.errors_m).curve()
    shown = shares >= min(0.05, shares[-1])
    label = f"{label} ({means_m.mean():.1f} m)"
    axes.plot(shares[shown], means_m[shown], color=colour, ls=style, lw=width, label=label)
