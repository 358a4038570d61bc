"""The last step of scripts/demo: its table, the paths of its reports, and demo_output/summary.json."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

REPORTS = {"photos": "evaluation", "drive": "drive_report"}
ROWS = {
    "": "ensemble (3 members)",
    "baseline.median_position.": "median training position",
    "baseline.nearest_pretrained.": "nearest photo, pretrained features",
    "baseline.nearest_trained.": "nearest photo, global descriptors",
}
ERROR_METRICS = ("mean_error_m", "mean_error_m_low", "mean_error_m_high", "median_error_m", "p90_error_m")
OTHER_METRICS = ("nees_mean", "coverage_50_share", "coverage_95_share", "ensemble_s_median")

Value = float | int | str | None


def main(out: Path) -> None:
    """Print the table and write summary.json from the reports below `out`."""
    reports = {
        name: json.loads((out / directory / "report.json").read_text(encoding="utf-8"))
        for name, directory in REPORTS.items()
    }
    summary = summarize(out, reports)
    part = out / ".summary.json.part"
    part.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    part.replace(out / "summary.json")
    sys.stdout.reconfigure(errors="backslashreplace")  # an ASCII terminal has no dash
    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(error_table(reports))
    for name in REPORTS:
        console.print(f"{name}: report {summary[f'{name}.report']}, map {summary[f'{name}.map']}", soft_wrap=True)
    console.print(f"all metrics: {out / 'summary.json'}")


def summarize(out: Path, reports: dict[str, dict]) -> dict[str, Value]:
    """The content of summary.json."""
    summary: dict[str, Value] = {}
    for name, report in reports.items():
        summary[f"{name}.n_photos"] = report["n_photos"]
        summary |= {
            f"{name}.{prefix}{metric}": report.get(prefix + metric) for prefix in ROWS for metric in ERROR_METRICS
        }
    for name, report in reports.items():
        summary |= {f"{name}.{metric}": report.get(metric) for metric in OTHER_METRICS}
    for name, directory in REPORTS.items():
        summary[f"{name}.report"] = str(out / directory / "report.md")
        summary[f"{name}.map"] = str(out / directory / "error_map.png")
    return summary


def error_table(reports: dict[str, dict]) -> Table:
    """Errors of the ensemble and of the baselines, for the photos and for the drive."""
    table = Table(title="Error in metres: photos of a day held out, and the live node along the drive")
    for column in ("scored", "answer", "photos", "mean", "95 % interval", "median", "90th pct"):
        table.add_column(column, justify="left" if column in ("scored", "answer") else "right")
    for name, report in reports.items():
        for prefix, title in ROWS.items():
            mean, low, high, median, p90 = (report.get(prefix + metric) for metric in ERROR_METRICS)
            cells = (_number(mean), _interval(low, high), _number(median), _number(p90))
            table.add_row(name, title, str(report["n_photos"]), *cells)
        table.add_section()
    return table


def _number(value: float | None) -> str:
    return "not computed" if value is None else f"{value:.1f}"


def _interval(low: float | None, high: float | None) -> str:
    return "–" if low is None or high is None else f"{low:.1f} to {high:.1f}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
