"""`evaluate`: a bundle and a data set -> predictions.csv, report.json, report.md and pictures."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pandas as pd

from campus_visual_gps.bundle import Bundle
from campus_visual_gps.errors import DatasetError
from campus_visual_gps.localizer import Localizer
from training.evaluate.areas import find_areas
from training.evaluate.baselines import Baseline, Query, compute_baselines
from training.evaluate.claims import own_position_claims
from training.evaluate.figures import Report, RunInfo, Site, compute_figures
from training.evaluate.markdown import markdown
from training.evaluate.predict import (
    PREDICTIONS,
    covariance_columns,
    positions_m,
    predict,
    read_predictions,
    select_photos,
    true_positions_m,
    write_predictions,
)
from training.evaluate.summary import summary_table
from training.photos.manifest import image_path

__all__ = ["EvaluationSummary", "Subject", "evaluate", "score", "summary_table", "write_report"]

REPORT_JSON = "report.json"
REPORT_MD = "report.md"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluationSummary:
    """Where the report lies and what it says; `report` is the content of report.json."""

    out_dir: Path
    report: Report
    pictures: dict[str, Path]

    @property
    def predictions_path(self) -> Path:
        return self.out_dir / PREDICTIONS

    @property
    def report_path(self) -> Path:
        return self.out_dir / REPORT_MD


@dataclass(frozen=True)
class Subject:
    """What is scored: rows as of `load_dataset`, their image files, and the names that the report gives them."""

    photos: pd.DataFrame
    paths: list[Path]
    dataset: str
    split: str
    dataset_dir: Path | None = None


@dataclass(frozen=True)
class Addition:
    """What a kind of subject adds to the report: figures, a section of report.md, pictures (name -> file written)."""

    figures: Report
    section: str
    pictures: dict[str, str]


# predictions as read back, the bundle's site, the directory for pictures
MakeAddition = Callable[[pd.DataFrame, Site, Path], Addition]


def evaluate(
    bundle_dir: Path,
    dataset_dir: Path,
    split: str,
    out_dir: Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    areas_csv: Path | None = None,
    progress: bool = True,
) -> EvaluationSummary:
    """Score a bundle on a subset of a data set (train, val, test, night_holdout, or `all` for the whole).

    The report goes to `out_dir`, by default beside the bundle; it appears there complete or not at all.
    Raises VisualGpsError (BundleError, DatasetError, ConfigError).
    """
    bundle_dir, dataset_dir = Path(bundle_dir), Path(dataset_dir)
    photos = select_photos(dataset_dir, split)
    localizer = Localizer.load(bundle_dir, device, precision)
    subject = Subject(
        photos,
        [image_path(dataset_dir, photo_id) for photo_id in photos["photo_id"]],
        dataset=str(dataset_dir),
        split=split,
        dataset_dir=dataset_dir,
    )
    return score(localizer, subject, out_dir or default_out_dir(bundle_dir, dataset_dir, split), areas_csv, progress)


def score(
    localizer: Localizer,
    subject: Subject,
    out_dir: Path,
    areas_csv: Path | None = None,
    progress: bool = True,
    answers: Callable[[pd.DataFrame], pd.DataFrame] | None = None,
    addition: MakeAddition | None = None,
) -> EvaluationSummary:
    """Localize the subject's photos, compute the baselines, write the report to `out_dir`.

    `answers` may put other answers, such as those that a node has published, in the place of the localizer's;
    `addition` makes what the report says beyond that of photos.
    """
    bundle, out_dir = localizer.bundle, Path(out_dir)
    areas = find_areas(areas_csv, subject.dataset_dir, bundle.frame, bundle.site_polygon_enu_m)
    true_positions_m(subject.photos, bundle.frame)  # another site's photos are refused before any is localized
    with _appearing_whole(out_dir) as staging:
        predictions, features = predict(localizer, subject.photos, subject.paths, progress)
        after_subset = predictions.columns.get_loc("subset") + 1
        predictions.insert(after_subset, "area", areas.name_of(positions_m(predictions, "true_")))
        query = Query(subject.photos["photo_id"].tolist(), subject.paths, features, subject.dataset_dir)
        baselines = compute_baselines(bundle, localizer.ensemble, query, progress)
        baselines += own_position_claims(predictions, bundle)
        predictions = _with_baselines(predictions, baselines)
        write_predictions(staging / PREDICTIONS, answers(predictions) if answers else predictions)
        run = RunInfo(
            model_id=bundle.model_id,
            bundle=str(bundle.path),
            dataset=subject.dataset,
            split=subject.split,
            device=str(localizer.ensemble.device),
            precision=localizer.ensemble.precision,
            evaluated_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            member_seeds=[member.seed for member in bundle.members],
            area_source=areas.source,
            n_seen_in_training=len(set(query.photo_ids) & set(bundle.training.get("photo_ids") or [])),
            baselines={baseline.name: baseline.reason for baseline in baselines},
        )
        report, pictures = write_report(staging, run, _site(bundle), addition)
    return EvaluationSummary(out_dir, report, {name: out_dir / file for name, file in pictures.items()})


def default_out_dir(bundle_dir: Path, dataset_dir: Path, split: str) -> Path:
    """Beside the bundle, by data set and split, so that reports of several days stand side by side."""
    bundle_dir = bundle_dir.expanduser().absolute()
    return bundle_dir.parent / f"{bundle_dir.name}-evaluation-{dataset_dir.absolute().name}-{split}"


def write_report(
    directory: Path, run: RunInfo, site: Site, addition: MakeAddition | None = None
) -> tuple[Report, dict[str, str]]:
    """report.json, the pictures and report.md from the predictions.csv that lies in a directory.

    Returns the report and the pictures' file names.
    """
    from training.evaluate.plots import draw_pictures

    predictions = read_predictions(directory / PREDICTIONS)
    more = addition(predictions, site, directory) if addition else Addition({}, "", {})
    report = compute_figures(predictions, run, site) | more.figures
    (directory / REPORT_JSON).write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    pictures = draw_pictures(predictions, report, site, directory)
    text = markdown(report, pictures, more.section)
    # file and session names need not be valid Unicode
    (directory / REPORT_MD).write_text(text, encoding="utf-8", errors="surrogateescape")
    return report, pictures | more.pictures


def _with_baselines(predictions: pd.DataFrame, baselines: list[Baseline]) -> pd.DataFrame:
    columns = {}
    for baseline in baselines:
        if baseline.positions_enu_m is None:
            log.warning("baseline %s not computed: %s", baseline.name, baseline.reason)
            continue
        prefix = f"baseline_{baseline.name}_"
        for axis, values in zip(("east", "north"), baseline.positions_enu_m.T, strict=True):
            columns[f"{prefix}{axis}_m"] = values
        if baseline.covs_enu_m2 is not None:
            columns |= covariance_columns(prefix, baseline.covs_enu_m2)
    return predictions.assign(**columns)


def _site(bundle: Bundle) -> Site:
    training_enu_m = np.asarray(bundle.load_reference().positions_enu_m, dtype=np.float64)
    return Site(bundle.site_polygon_enu_m, training_enu_m, bundle.gates.site_margin_m or 0.0)


@contextlib.contextmanager
def _appearing_whole(out_dir: Path) -> Iterator[Path]:
    """A directory beside `out_dir` to write to; its files move to `out_dir` once all are there.

    Files of other names in `out_dir` stay. Raises DatasetError where the disk refuses, leaving the old report.
    """
    staging = out_dir.with_name(f".{out_dir.name}.partial-{os.getpid()}")
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        yield staging
        out_dir.mkdir(exist_ok=True)
        for file in sorted(staging.iterdir()):
            file.replace(out_dir / file.name)
    except OSError as error:
        where = error.filename or out_dir
        raise DatasetError(f"{where}: {error.strerror or error}; make room for the report and run again") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
