"""What sections of report.md are made of."""

from __future__ import annotations

from training.evaluate.report_metrics import Report
from training.report.summary import ERROR_COLUMNS, NONE, number, with_bounds


def section(title: str, *parts: str) -> str:
    return "\n\n".join([f"## {title}", *(part for part in parts if part)])


def picture(pictures: dict[str, str], name: str) -> str:
    return f"![{name}]({pictures[name]})"


def table(header: list[str], rows: list[list[str]]) -> str:
    align = ["---", *["---:"] * (len(header) - 1)]
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, align, *escaped])


def error_table(report: Report, rows: list[tuple[str, str]], first: str = "") -> str:
    """Of (title, key prefix): number of photos, mean, median, 90th percentile and maximum."""
    return table([first, *ERROR_COLUMNS], [_error_row(report, title, prefix) for title, prefix in rows])


def _error_row(report: Report, title: str, prefix: str) -> list[str]:
    if f"{prefix}n_photos" not in report:
        return [title, "not computed", NONE, NONE, NONE, NONE]
    errors = [with_bounds(report, f"{prefix}{name}_error_m") for name in ("mean", "median", "p90")]
    return [title, str(report[f"{prefix}n_photos"]), *errors, number(report, f"{prefix}max_error_m")]
