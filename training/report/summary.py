"""The rich table for the terminal, and the lines that it shares with report.md."""

from __future__ import annotations

from rich import box
from rich.table import Table

from campus_visual_gps.errors import printable
from training.evaluate.baselines import BASELINES
from training.evaluate.report_metrics import ReportMetrics
from training.metrics.consistency import ConsistencyMetrics
from training.report.formatting import NONE, number, percent, percent_with_interval, with_interval
from training.report.table_rows import BASELINE_TITLES, computed, headline_rows

_SHOWN_THRESHOLDS_M = (5, 10, 20)


def summary_table(metrics: ReportMetrics) -> Table:
    """The main table for a terminal of 80 columns: means with their intervals, the baselines. The rest: report.md."""
    run = metrics.run
    title = f"{run.model_id} on {run.split} of {run.dataset}: distance error in metres"
    table = Table(title=printable(title), title_justify="left", box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("")
    for column in ("photos", "mean [95 %]", "median", "p90", *(f"≤{m} m" for m in _SHOWN_THRESHOLDS_M)):
        table.add_column(column, justify="right", no_wrap=True)
    for row in headline_rows(metrics):
        errors = row.errors
        if errors is None:
            table.add_row(row.short_title, NONE, "not computed")
            continue
        spread = [number(item.value) for item in (errors.median_error_m, errors.p90_error_m)]
        shares = [percent(errors.within[threshold].share.value, 0) for threshold in _SHOWN_THRESHOLDS_M]
        table.add_row(row.short_title, str(errors.n_photos), with_interval(errors.mean_error_m), *spread, *shares)
    both = f"Warning: {metrics.on_both_sides.warning}." if metrics.on_both_sides else ""
    lines = (consistency_line(metrics.all.consistency), ratio_line(metrics), printable(both))
    table.caption, table.caption_justify = "\n".join(line for line in lines if line), "left"
    return table


def ratio_line(metrics: ReportMetrics) -> str:
    """The bundle's mean error over that of each comparison and baseline; empty where none was computed."""
    ratios = []
    for name in (*metrics.run.comparisons, *BASELINES):
        group = computed(metrics, name)
        if group is not None and group.mean_error_ratio is not None and group.mean_error_ratio.value is not None:
            ratios.append(f"{with_interval(group.mean_error_ratio, 2)} of {BASELINE_TITLES.get(name, name)}")
    return f"Mean error as a share of a baseline's (paired): {'; '.join(ratios)}." if ratios else ""


def consistency_line(metrics: ConsistencyMetrics) -> str:
    """Whether the covariance holds, in one line; empty where there is none."""
    if metrics.nees_interval is None:
        return ""
    low, high = metrics.nees_interval
    return (
        f"Covariance: mean NEES {with_interval(metrics.nees_mean, 2)} (consistent: {low:.2f} to {high:.2f}), truth in "
        f"the 95 % ellipse for {percent_with_interval(metrics.coverage[95])}, mean error at 80 % coverage "
        f"{number(metrics.risk_coverage.mean_error_at_80_coverage_m.value)} m, NLL {number(metrics.nll_mean.value, 2)}"
        f"{_grid_text(metrics)}."
    )


def _grid_text(metrics: ConsistencyMetrics) -> str:
    return "" if metrics.grid_nll_mean.value is None else f" (grid: {number(metrics.grid_nll_mean.value, 2)})"
