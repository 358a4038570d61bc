"""predictions.csv -> report.json, report.md and pictures. No inference is run here."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from training.evaluate.agreement import impossible_photos
from training.evaluate.predict import PREDICTIONS, read_predictions
from training.evaluate.report_metrics import ReportMetrics, RunInfo, SiteOutline, compute_metrics
from training.photos.tables import write_table
from training.report.flatten import FlatJson, to_flat_json
from training.report.markdown import markdown

REPORT_JSON = "report.json"
REPORT_MD = "report.md"
IMPOSSIBLE_CSV = "impossible.csv"


@dataclass(frozen=True)
class Addition:
    """What a kind of data, such as a drive, adds to the report.

    `flat` are keys of report.json, `section` is a section of report.md, `pictures` maps names to files that were
    written, `terminal` is text for the terminal.
    """

    flat: FlatJson = field(default_factory=dict)
    section: str = ""
    pictures: dict[str, str] = field(default_factory=dict)
    terminal: str = ""


# predictions as read back, the bundle's site, the directory for pictures
MakeAddition = Callable[[pd.DataFrame, SiteOutline, Path], Addition]


def joined_additions(
    makers: Sequence[MakeAddition], predictions: pd.DataFrame, site: SiteOutline, directory: Path
) -> Addition:
    """What several additions say, one after the other."""
    made = [make(predictions, site, directory) for make in makers]
    return Addition(
        {key: value for own in made for key, value in own.flat.items()},
        "\n\n".join(own.section for own in made if own.section),
        {name: file for own in made for name, file in own.pictures.items()},
        "\n".join(own.terminal for own in made if own.terminal),
    )


@dataclass(frozen=True)
class WrittenReport:
    """The metrics, the content of report.json, the files of the pictures by name, and text for the terminal."""

    metrics: ReportMetrics
    flat: FlatJson
    pictures: dict[str, str]
    terminal: str = ""


def write_report(
    directory: Path, run: RunInfo, site: SiteOutline, make_addition: MakeAddition | None = None
) -> WrittenReport:
    """Write report.json, the pictures, report.md and impossible.csv from the predictions.csv in a directory."""
    predictions = read_predictions(directory / PREDICTIONS)
    addition = make_addition(predictions, site, directory) if make_addition else Addition()
    return write_report_of(predictions, directory, run, site, addition)


def write_report_of(
    predictions: pd.DataFrame, directory: Path, run: RunInfo, site: SiteOutline, addition: Addition | None = None
) -> WrittenReport:
    """Write report.json, the pictures and report.md of predictions into a directory."""
    from training.report.plots import draw_pictures

    addition = addition or Addition()
    metrics = compute_metrics(predictions, run, site)
    if metrics.agreement is not None:
        impossible = impossible_photos(predictions, run.member_names, run.impossible_over_m)
        write_table(directory / IMPOSSIBLE_CSV, impossible)
    flat = to_flat_json(metrics) | addition.flat
    (directory / REPORT_JSON).write_text(json.dumps(flat, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    pictures = draw_pictures(predictions, metrics, site, directory)
    text = markdown(metrics, pictures, addition.section)
    # file and session names need not be valid Unicode
    (directory / REPORT_MD).write_text(text, encoding="utf-8", errors="backslashreplace")
    return WrittenReport(metrics, flat, pictures | addition.pictures, addition.terminal)
