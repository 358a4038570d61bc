"""`evaluate`: a bundle and a data set -> predictions.csv, report.json, report.md and pictures."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pandas as pd

from campus_visual_gps.bundle import Bundle
from campus_visual_gps.errors import DatasetError
from campus_visual_gps.localizer import Localizer
from training.evaluate.areas import find_areas
from training.evaluate.baselines import Baseline, Query, compute_baselines
from training.evaluate.comparisons import read_comparisons
from training.evaluate.covariance_baselines import covariance_baselines
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
from training.evaluate.report_metrics import Report, RunInfo, TrainingSite, compute_figures
from training.fit.cross_validation import FOLDS, read_folds
from training.fit.site_data import site_polygon
from training.photos.manifest import image_path
from training.report.markdown import markdown
from training.report.summary import summary_table

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
MakeAddition = Callable[[pd.DataFrame, TrainingSite, Path], Addition]


def evaluate(
    bundle_dir: Path,
    dataset_dir: Path,
    split: str,
    out_dir: Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    areas_csv: Path | None = None,
    progress: bool = True,
    beside: Sequence[Path] = (),
) -> EvaluationSummary:
    """Score a bundle on a subset of a data set (train, val, test, night_holdout, or `all` for the whole).

    A directory of folds in the place of the bundle is scored photo by photo with the fold that has not seen the photo's
    session. Answers of the evaluations in `beside`, of the same photos, stand in the tables too. The report goes to
    `out_dir`, by default beside the bundle; it appears there complete or not at all.
    Raises VisualGpsError (BundleError, DatasetError, ConfigError).
    """
    bundle_dir, dataset_dir = Path(bundle_dir), Path(dataset_dir)
    photos = select_photos(dataset_dir, split)
    parts = [
        (
            Localizer.load(directory, device, precision),
            Subject(
                rows,
                [image_path(dataset_dir, photo_id) for photo_id in rows["photo_id"]],
                dataset=str(dataset_dir),
                split=split,
                dataset_dir=dataset_dir,
            ),
        )
        for directory, rows in _by_bundle(bundle_dir, photos)
    ]
    out_dir = out_dir or default_out_dir(bundle_dir, dataset_dir, split)
    return score_parts(parts, out_dir, areas_csv, progress, beside=beside)


def _by_bundle(directory: Path, photos: pd.DataFrame) -> list[tuple[Path, pd.DataFrame]]:
    """The bundle with all photos, or each fold of a directory of folds with the photos of its session."""
    if not (directory / FOLDS).is_file():
        return [(directory, photos)]
    by_session = [(fold.bundle_dir, photos[photos["session"] == fold.session]) for fold in read_folds(directory)]
    found = [(bundle_dir, rows.reset_index(drop=True)) for bundle_dir, rows in by_session if len(rows)]
    if sum(len(rows) for _, rows in found) < len(photos):
        raise DatasetError(
            f"{directory}: some of the photos are of sessions that no fold has left out; score those with a bundle"
        )
    return found


def score(localizer: Localizer, subject: Subject, *arguments, **options) -> EvaluationSummary:
    """`score_parts` with one localizer."""
    return score_parts([(localizer, subject)], *arguments, **options)


def score_parts(
    parts: Sequence[tuple[Localizer, Subject]],
    out_dir: Path,
    areas_csv: Path | None = None,
    progress: bool = True,
    answers: Callable[[pd.DataFrame], pd.DataFrame] | None = None,
    addition: MakeAddition | None = None,
    beside: Sequence[Path] = (),
) -> EvaluationSummary:
    """Localize each subject's photos with its localizer, compute the baselines, write one report to `out_dir`.

    `answers` may put other answers, such as those that a node has published, in the place of the localizers';
    `addition` makes what the report says beyond that of photos.
    """
    bundles, out_dir = [localizer.bundle for localizer, _ in parts], Path(out_dir)
    if any(bundle.frame != bundles[0].frame for bundle in bundles):
        raise DatasetError("the folds have different local frames: train them again together")
    site, subject = _site(bundles), parts[0][1]
    areas = find_areas(areas_csv, subject.dataset_dir, bundles[0].frame, site.polygon_enu_m)
    for localizer, own in parts:  # another site's photos are refused before any is localized
        true_positions_m(own.photos, localizer.bundle.frame)
    others = read_comparisons(beside, [photo_id for _, own in parts for photo_id in own.photos["photo_id"]])
    with _appearing_whole(out_dir) as staging:
        predictions, reasons = _predictions(parts, areas.name_of, progress)
        predictions = with_baselines(predictions, others)
        write_predictions(staging / PREDICTIONS, answers(predictions) if answers else predictions)
        run = _run_info(parts, areas.source, predictions, reasons | {other.name: "" for other in others})
        run = replace(run, beside=[other.name for other in others])
        report, pictures = write_report(staging, run, site, addition)
    return EvaluationSummary(out_dir, report, {name: out_dir / file for name, file in pictures.items()})


def _predictions(
    parts: Sequence[tuple[Localizer, Subject]], area_of: Callable[[np.ndarray], list[str]], progress: bool
) -> tuple[pd.DataFrame, dict[str, str]]:
    """The rows of all parts, and of every baseline "" or why it was not computed."""
    tables, reasons, pretrained = [], {}, {}
    for localizer, subject in parts:
        table, features = predict(localizer, subject.photos, subject.paths, progress)
        table.insert(table.columns.get_loc("subset") + 1, "area", area_of(positions_m(table, "true_")))
        query = Query(table["photo_id"].tolist(), subject.paths, features, subject.dataset_dir, pretrained)
        baselines = compute_baselines(localizer.bundle, localizer.ensemble, query, progress)
        baselines += covariance_baselines(table, localizer.bundle)
        tables.append(with_baselines(table, baselines))
        for baseline in baselines:
            reasons[baseline.name] = reasons.get(baseline.name) or baseline.reason
    return pd.concat(tables, ignore_index=True), reasons


def _run_info(
    parts: Sequence[tuple[Localizer, Subject]], area_source: str, predictions: pd.DataFrame, reasons: dict[str, str]
) -> RunInfo:
    localizer, subject = parts[0]
    bundle = localizer.bundle
    seen = [
        photo_id
        for fold, own in parts
        for photo_id in set(own.photos["photo_id"]) & set(fold.bundle.training.get("photo_ids") or [])
    ]
    several = f", {len(parts)} folds" if len(parts) > 1 else ""
    return RunInfo(
        model_id=bundle.model_id + several,
        bundle=str(bundle.path) + several,
        dataset=subject.dataset,
        split=subject.split,
        device=str(localizer.ensemble.device),
        precision=localizer.ensemble.precision,
        evaluated_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        member_seeds=[member.seed for member in bundle.members],
        area_source=area_source,
        n_seen_in_training=len(seen),
        baselines=reasons,
    )


def default_out_dir(bundle_dir: Path, dataset_dir: Path, split: str) -> Path:
    """Beside the bundle, by data set and split, so that reports of several days stand side by side."""
    bundle_dir = bundle_dir.expanduser().absolute()
    return bundle_dir.parent / f"{bundle_dir.name}-evaluation-{dataset_dir.absolute().name}-{split}"


def write_report(
    directory: Path, run: RunInfo, site: TrainingSite, addition: MakeAddition | None = None
) -> tuple[Report, dict[str, str]]:
    """report.json, the pictures and report.md from the predictions.csv that lies in a directory.

    Returns the report and the pictures' file names.
    """
    from training.report.plots import draw_pictures

    predictions = read_predictions(directory / PREDICTIONS)
    more = addition(predictions, site, directory) if addition else Addition({}, "", {})
    report = compute_figures(predictions, run, site) | more.figures
    (directory / REPORT_JSON).write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    pictures = draw_pictures(predictions, report, site, directory)
    text = markdown(report, pictures, more.section)
    # file and session names need not be valid Unicode
    (directory / REPORT_MD).write_text(text, encoding="utf-8", errors="surrogateescape")
    return report, pictures | more.pictures


def with_baselines(predictions: pd.DataFrame, baselines: list[Baseline]) -> pd.DataFrame:
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


def _site(bundles: Sequence[Bundle]) -> TrainingSite:
    references = [np.asarray(bundle.load_reference().positions_enu_m, dtype=np.float64) for bundle in bundles]
    training_enu_m = np.unique(np.concatenate(references), axis=0)
    outline = np.concatenate([bundle.site_polygon_enu_m for bundle in bundles])
    polygon = bundles[0].site_polygon_enu_m if len(bundles) == 1 else site_polygon(outline)
    return TrainingSite(polygon, training_enu_m, bundles[0].gates.site_margin_m or 0.0)


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
