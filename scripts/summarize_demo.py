"""The last step of scripts/demo: its table, the paths of its reports, and demo_output/summary.json."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

PARTS = {"photos": "evaluation", "drive": "drive_report"}
ROWS = {
    "": "ensemble (3 members)",
    "baseline.median_position.": "median training position",
    "baseline.nearest_pretrained.": "nearest photo, pretrained features",
    "baseline.nearest_trained.": "nearest photo, place descriptors",
}
FIGURES = ("mean_error_m", "mean_error_m_low", "mean_error_m_high", "median_error_m", "p90_error_m")


def main(out: Path) -> None:
    reports = {
        part: json.loads((out / directory / "report.json").read_text(encoding="utf-8"))
        for part, directory in PARTS.items()
    }
    table = Table(title="Error in metres: photos of a day held out, and the live node along the drive")
    for column in ("scored", "answer", "photos", "mean", "95 % interval", "median", "90th pct"):
        table.add_column(column, justify="left" if column in ("scored", "answer") else "right")
    summary: dict[str, float | int | str | None] = {}
    for part, report in reports.items():
        summary[f"{part}.n_photos"] = report["n_photos"]
        for prefix, title in ROWS.items():
            mean, low, high, median, p90 = (report.get(prefix + name) for name in FIGURES)
            table.add_row(part, title, str(report["n_photos"]), *map(_text, (mean, (low, high), median, p90)))
            summary |= {f"{part}.{prefix}{name}": report.get(prefix + name) for name in FIGURES}
        table.add_section()
    summary |= {
        f"{part}.{name}": report.get(name)
        for part, report in reports.items()
        for name in ("nees_mean", "coverage_50_share", "coverage_95_share", "ensemble_s_median")
    }
    for part, directory in PARTS.items():
        summary[f"{part}.report"] = str(out / directory / "report.md")
        summary[f"{part}.map"] = str(out / directory / "error_map.png")
    part = out / ".summary.json.part"
    part.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    part.replace(out / "summary.json")
    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(table)
    for name in PARTS:
        console.print(f"{name}: report {summary[f'{name}.report']}, map {summary[f'{name}.map']}", soft_wrap=True)
    console.print(f"all figures: {out / 'summary.json'}")


def _text(value: float | tuple | None) -> str:
    if value is None:
        return "not computed"
    if isinstance(value, tuple):
        return "–" if None in value else f"{value[0]:.1f} to {value[1]:.1f}"
    return f"{value:.1f}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
