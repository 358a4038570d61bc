"""Writes all tables of a directory of experiments: <name>.md and <name>.csv each, and one page with all of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from campus_visual_gps.io_utils import atomic_write
from training.photos.tables import write_table
from training.report.tables.experiment_csv import experiment_csv
from training.report.tables.experiment_files import find_experiments, read_experiment
from training.report.tables.experiment_markdown import experiment_markdown
from training.report.tables.row_metrics import compute_rows

TABLES = "tables"
ALL_TABLES_MD = "tables.md"


@dataclass(frozen=True)
class WrittenTables:
    """The page with all tables; the rows of each table by name, and how many of them have numbers."""

    page: Path
    rows: dict[str, int]
    with_numbers: dict[str, int]


def write_experiment_tables(directory: Path, out: Path | None = None) -> WrittenTables:
    """Write the tables of a directory of experiments, as far as they have run.

    Args:
        directory: The output of `experiment`, or the directory of one of its tables.
        out: Where the tables go; by default to `tables` in the directory.

    Raises:
        DatasetError: There is no table, its experiment.yaml is damaged, or a file cannot be written.
    """
    directory = Path(directory)
    out = directory / TABLES if out is None else Path(out)
    sections: list[str] = []
    rows, with_numbers = {}, {}
    for path in find_experiments(directory):
        experiment = read_experiment(path)
        computed = compute_rows(experiment)
        section = experiment_markdown(experiment, computed)
        _write_text(out / f"{experiment.name}.md", section)
        write_table(out / f"{experiment.name}.csv", experiment_csv(experiment, computed))
        sections.append(section)
        rows[experiment.name] = len(computed)
        with_numbers[experiment.name] = sum(metrics.errors is not None for metrics in computed)
    page = out / ALL_TABLES_MD
    _write_text(page, "# Tables of experiments\n\n" + "\n".join(sections))
    return WrittenTables(page, rows, with_numbers)


def _write_text(path: Path, text: str) -> None:
    with atomic_write(path) as partial:
        # file and session names need not be valid Unicode
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")
