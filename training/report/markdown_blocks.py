"""The blocks of report.md: sections, tables and pictures."""

from __future__ import annotations

from collections.abc import Sequence

from campus_visual_gps.errors import printable
from training.evaluate.report_metrics import ReportMetrics
from training.report.formatting import NONE, number, with_interval
from training.report.table_rows import BASELINE_TITLES, TableRow

ERROR_COLUMNS = ["photos", "mean, m", "median, m", "90th pct, m", "max, m"]


def section(title: str, *blocks: str) -> str:
    """A heading and those of its blocks that are not empty."""
    return "\n\n".join([f"## {title}", *(block for block in blocks if block)])


def picture(pictures: dict[str, str], name: str) -> str:
    """A picture; empty where there was nothing to draw."""
    return f"![{name}]({pictures[name]})" if name in pictures else ""


def table(header: list[str], rows: list[list[str]]) -> str:
    """The first column to the left, the others to the right."""
    align = ["---", *["---:"] * (len(header) - 1)]
    escaped = [[_cell(text) for text in row] for row in rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, align, *escaped])


def _cell(text: str) -> str:
    """On one line, with what would end the cell escaped; a backslash before a bar would take its escape away."""
    return printable(text).replace("\\", "\\\\").replace("|", "\\|")


def error_table(rows: Sequence[TableRow], first: str = "") -> str:
    """Number of photos, mean, median, 90th percentile and maximum; `first` is the heading of the titles."""
    return table([first, *ERROR_COLUMNS], [_error_row(row) for row in rows])


def _error_row(row: TableRow) -> list[str]:
    errors = row.errors
    if errors is None:
        return [row.title, "not computed", NONE, NONE, NONE, NONE]
    estimates = [with_interval(item) for item in (errors.mean_error_m, errors.median_error_m, errors.p90_error_m)]
    return [row.title, str(errors.n_photos), *estimates, number(errors.max_error_m)]


def reasons_list(metrics: ReportMetrics, names: Sequence[str]) -> str:
    """Why those of the baselines that are missing could not be computed; empty where none is."""
    reasons = {name: metrics.by_baseline[name].not_computed for name in names if name in metrics.by_baseline}
    return "\n".join(f"- {BASELINE_TITLES[n]}: not computed: {reason}" for n, reason in reasons.items() if reason)
