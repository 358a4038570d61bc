"""`figures`: the report of an evaluation, its tables and pictures once more, from what `evaluate` has written."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from campus_visual_gps.errors import DatasetError
from training.evaluate.predict import BAG_COLUMNS, PREDICTIONS, members_in, positions_m, read_predictions
from training.evaluate.report_metrics import RunInfo, SiteOutline
from training.evaluate.tta_columns import column_prefix
from training.photos.areas import grid_areas
from training.photos.manifest import capture_times_s
from training.report.evaluation import EvaluationSummary
from training.report.sequence_addition import recorded_sequence_addition
from training.report.site_file import SITE_JSON, outline_of, read_site, write_site
from training.report.staging import staged_directory
from training.report.writer import REPORT_JSON, write_report_of

_UNKNOWN = "not recorded"
_COVARIANCE = ("cov_ee_m2", "cov_en_m2", "cov_nn_m2")
_BASELINE = re.compile(r"baseline_(.+)_east_m")


def redraw(evaluation: Path, out: Path | None = None) -> EvaluationSummary:
    """Write report.md, report.json and the pictures of an evaluation again. No inference is run.

    Args:
        evaluation: Output of `evaluate`, a row of an experiment, or any directory with a predictions.csv, or the file.
        out: Where the report goes; by default to the same directory.

    Raises:
        DatasetError: There is no predictions.csv, it has no photos, or it is that of a drive and `out` is not given:
            the report of a drive has sections that are made from the bag.
    """
    evaluation = Path(evaluation)
    path = evaluation if evaluation.suffix == ".csv" else evaluation / PREDICTIONS
    directory = path.parent
    predictions = read_predictions(path)
    if predictions.empty:
        raise DatasetError(f"{path}: no photos in it; there is nothing to draw")
    if out is None and BAG_COLUMNS[0] in predictions:
        raise DatasetError(
            f"{directory}: the report of a drive, of which the bag is needed too; run `replay` again, or draw what is "
            "known of its images elsewhere: --out DIRECTORY"
        )
    site = _site(directory, predictions, path)
    content = _report_json(directory)
    predictions, area_source = _completed(predictions, site, path)
    run = _run_info(content, predictions, directory, area_source)
    out = directory if out is None else Path(out)
    with staged_directory(out) as staging:
        make_addition = recorded_sequence_addition(directory)
        addition = make_addition(predictions, site, staging) if make_addition else None
        written = write_report_of(predictions, staging, run, site, addition)
        if not (out / PREDICTIONS).exists():  # the report links to it
            shutil.copyfile(path, staging / PREDICTIONS)
            write_site(staging / SITE_JSON, site)
    pictures = {name: out / file for name, file in written.pictures.items()}
    return EvaluationSummary(out, written.metrics, written.flat, pictures)


def _site(directory: Path, predictions: pd.DataFrame, path: Path) -> SiteOutline:
    if (directory / SITE_JSON).is_file():
        return read_site(directory / SITE_JSON)
    truth = positions_m(predictions, "true_")
    if not np.isfinite(truth).all():
        raise DatasetError(f"{path}: a photo without a true position; delete its row")
    return outline_of(truth)


def _completed(predictions: pd.DataFrame, site: SiteOutline, path: Path) -> tuple[pd.DataFrame, str]:
    """With the columns that the report needs and this table lacks, unknown or empty; and where its areas are from."""
    numbers = ["east_m", "north_m", *_COVARIANCE, "transform_s", "ensemble_s"]
    texts = ["file", "captured_at", "camera", "subset"]
    missing: dict[str, Any] = {name: np.nan for name in numbers if name not in predictions}
    missing |= {name: "" for name in texts if name not in predictions}
    if "night" not in predictions:
        missing["night"] = pd.array([pd.NA] * len(predictions), dtype="boolean")
    area_source = ""
    if "area" not in predictions:
        areas = grid_areas(site.polygon_enu_m)
        missing["area"], area_source = areas.name_of(positions_m(predictions, "true_")), areas.source
    predictions = predictions.assign(**missing)
    try:
        capture_times_s(predictions["captured_at"])
    except ValueError as error:
        raise DatasetError(f"{path}: column 'captured_at' holds no time ({error}); correct or empty it") from None
    return predictions, area_source


def _report_json(directory: Path) -> dict[str, Any]:
    """What `evaluate` has recorded of the run; nothing where it is missing or damaged."""
    try:
        content = json.loads((directory / REPORT_JSON).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _run_info(content: dict[str, Any], predictions: pd.DataFrame, directory: Path, area_source: str) -> RunInfo:
    columns = list(predictions.columns)
    baselines = dict.fromkeys((found[1] for found in map(_BASELINE.fullmatch, columns) if found), "")
    for key, value in content.items():
        if key.startswith("baseline.") and key.endswith(".not_computed"):
            baselines[key.split(".")[1]] = str(value)
    subsets = sorted(set(predictions["subset"]) - {""})
    known: dict[str, Any] = {
        "model_id": directory.resolve().name,
        "split": " + ".join(subsets) or _UNKNOWN,
        "member_names": list(members_in(predictions)),
        "area_source": area_source or _UNKNOWN,
        "n_seen_in_training": 0,
        "comparisons": [],
    }
    defaults = {item.name: _default(item) for item in dataclasses.fields(RunInfo)} | known
    recorded = {name: content[name] for name in defaults if type(content.get(name)) is type(defaults[name])}
    recorded["member_names"] = known["member_names"]
    recorded["tta"] = [mode for mode in recorded.get("tta", []) if f"{column_prefix(mode)}s" in columns]
    recorded["comparisons"] = [name for name in recorded.get("comparisons", []) if name in baselines]
    return RunInfo(**(defaults | recorded | {"baselines": baselines}))


def _default(item: dataclasses.Field) -> Any:
    """Of a field of RunInfo; what has none of its own is unknown."""
    if item.default is not dataclasses.MISSING:
        return item.default
    return _UNKNOWN if item.default_factory is dataclasses.MISSING else item.default_factory()
