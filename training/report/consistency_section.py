"""The sections of report.md about the covariance: one overview, and its consistency with the errors."""

from __future__ import annotations

from training.evaluate.covariance_baselines import COVARIANCE_BASELINES
from training.evaluate.report_metrics import CONFORMAL_PERCENT, ReportMetrics
from training.metrics.consistency import IDEAL_NEES, ConformalMetrics, ConsistencyMetrics
from training.metrics.estimate import UNKNOWN
from training.metrics.risk_coverage import RiskCoverageMetrics
from training.report.formatting import NONE, number, percent_with_interval, with_interval
from training.report.markdown_blocks import picture, reasons_list, section, table
from training.report.table_rows import (
    TableRow,
    baseline_consistency_rows,
    baseline_row,
    headline_rows,
    own_consistency_rows,
    with_covariance,
)

_COLUMNS = [
    "",
    f"mean NEES (ideal {IDEAL_NEES:.0f})",
    "its 95 % interval if consistent",
    "in 50 % ellipse",
    "in 90 %",
    "in 95 %",
    "NLL",
    "NLL of the grid",
    "median sigma, m",
    "AURC, m",
    "mean error at 80 % coverage, m",
]
_OVERVIEW_COLUMNS = [
    "",
    "photos",
    "mean, m",
    "median, m",
    f"mean NEES (ideal {IDEAL_NEES:.0f})",
    "in 50 % ellipse",
    "in 95 %",
    "NLL",
    "AURC, m",
    "error at 80 % coverage, share of the mean",
]


def overview(metrics: ReportMetrics) -> str:
    """One table of every answer, with its accuracy and the consistency of its covariance."""
    rows = [
        row for row in headline_rows(metrics) if row.errors is not None and row.errors is not metrics.accepted.errors
    ]
    for name in with_covariance(metrics):
        if name in COVARIANCE_BASELINES:  # their positions, and so their errors, are the bundle's own
            row = baseline_row(metrics, name)
            rows.append(TableRow(row.title, metrics.all.errors, row.consistency))
    return section("Overview", table(_OVERVIEW_COLUMNS, [_overview_cells(row) for row in rows]))


def _overview_cells(row: TableRow) -> list[str]:
    assert row.errors is not None
    consistency = row.consistency or ConsistencyMetrics(row.errors.n_photos)
    return [
        row.title,
        str(row.errors.n_photos),
        with_interval(row.errors.mean_error_m),
        with_interval(row.errors.median_error_m),
        with_interval(consistency.nees_mean, 2),
        *_coverage_cells(consistency, (50, 95)),
        with_interval(consistency.nll_mean, 2),
        with_interval(consistency.risk_coverage.aurc_m),
        with_interval(consistency.risk_coverage.error_ratio_at_80_coverage, 2),
    ]


def _coverage_cells(consistency: ConsistencyMetrics, levels: tuple[int, ...]) -> list[str]:
    return [percent_with_interval(consistency.coverage.get(percent, UNKNOWN)) for percent in levels]


def consistency_section(metrics: ReportMetrics, pictures: dict[str, str]) -> str:
    """Tables, pictures and notes about the covariance of every group and baseline."""
    rows = own_consistency_rows(metrics) + baseline_consistency_rows(metrics)
    if not any(row.consistency and row.consistency.nees_interval for row in rows):
        return section("Consistency of the covariance", "Nothing to report: no photo has a covariance.")
    return section(
        "Consistency of the covariance",
        table(_COLUMNS, [_cells(row) for row in rows]),
        reasons_list(metrics, COVARIANCE_BASELINES),
        _risk_coverage_line(metrics.all.consistency.risk_coverage),
        _conformal_table(metrics),
        picture(pictures, "by_sigma"),
        picture(pictures, "risk_coverage"),
        picture(pictures, "ellipses"),
        _NOTE,
    )


def _cells(row: TableRow) -> list[str]:
    consistency = row.consistency or ConsistencyMetrics(0)
    return [
        row.title,
        with_interval(consistency.nees_mean, 2),
        _nees_interval(consistency),
        *_coverage_cells(consistency, (50, 90, 95)),
        with_interval(consistency.nll_mean, 2),
        with_interval(consistency.grid_nll_mean, 2),
        number(consistency.sigma_median_m),
        with_interval(consistency.risk_coverage.aurc_m),
        with_interval(consistency.risk_coverage.mean_error_at_80_coverage_m),
    ]


def _nees_interval(consistency: ConsistencyMetrics) -> str:
    if consistency.nees_interval is None:
        return NONE
    low, high = consistency.nees_interval
    return f"{low:.2f} to {high:.2f}: {'inside' if consistency.nees_in_interval else '**outside**'}"


def _risk_coverage_line(curve: RiskCoverageMetrics) -> str:
    if curve.aurc_m.value is None:
        return ""
    return (
        "**At 80 % coverage, with the 20 % of greatest sigma rejected, "
        f"{with_interval(curve.error_ratio_at_80_coverage, 2)} of the mean error is left.** The area under the "
        f"risk-coverage curve (AURC) is {number(curve.aurc_m.value)} m; an oracle that knows the errors has "
        f"{number(curve.aurc_oracle_m)} m, rejection at random {number(curve.aurc_random_m)} m."
    )


def _conformal_table(metrics: ReportMetrics) -> str:
    everything = metrics.all.consistency.conformal
    levels = [level for level in CONFORMAL_PERCENT if level in everything and everything[level].share.value is not None]
    if not levels:
        return ""
    header = [""]
    for level in levels:
        header += [f"in {level} % circle", "its median radius, m"]
    rows = [[row.title, *_conformal_cells(row, levels)] for row in own_consistency_rows(metrics)]
    return "Conformal circles, which assume no distribution:\n\n" + table(header, rows)


def _conformal_cells(row: TableRow, levels: list[int]) -> list[str]:
    cells = []
    for level in levels:
        circles = row.consistency.conformal.get(level) if row.consistency else None
        circles = circles or ConformalMetrics(UNKNOWN, None)
        cells += [percent_with_interval(circles.share), number(circles.radius_median_m)]
    return cells


_NOTE = (
    "- NEES is the squared error normalised by the predicted covariance: above 2 the covariance is too small on "
    "average, below 2 too large. Its interval holds the mean in 95 of 100 such runs if the covariance is right "
    "(chi-square, with the stretches drawn for the intervals as the number of independent errors). Sigma is per axis, "
    "√(trace / 2).\n"
    "- NLL is the negative natural logarithm of the predicted density (1/m²) at the truth; of two covariances that "
    "both hold the sharper has the lower. That of the grid takes the probability of the truth's cell over its area, "
    "before an ellipse is made of it; a truth outside of all cells counts with the nearest one, times a Gaussian of "
    "7 m of the distance to it. The difference is what one Gaussian cannot say.\n"
    "- AURC is the mean, over all coverages (shares of photos kept), of the mean error of the photos kept, those of "
    "greatest sigma rejected first; 80 % coverage is one point of that curve. A constant covariance can do no better "
    "than its mean error.\n"
    "- The nearest photo's covariance is the spread of its five nearest with the labels' error, that of the ten "
    "nearest photos their weighted spread; the constant covariance has the mean error of the validation photos, the "
    "ensemble spread is the sample covariance of the members' positions, both at the ensemble's own positions."
)
