"""`evaluate`: a bundle and a data set -> predictions.csv, report.json, report.md and pictures."""

from __future__ import annotations

import logging
from collections import ChainMap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pandas as pd

from campus_visual_gps.bundle import Bundle
from campus_visual_gps.errors import DatasetError
from campus_visual_gps.localizer import Localizer
from training.evaluate.baselines import Baseline, Query, compute_baselines
from training.evaluate.comparisons import read_comparisons
from training.evaluate.covariance_baselines import covariance_baselines
from training.evaluate.posteriors import POSTERIORS, Posteriors, posteriors_of, write_posteriors
from training.evaluate.predict import (
    PREDICTIONS,
    covariance_columns,
    positions_m,
    predict,
    select_photos,
    true_positions_m,
    write_predictions,
)
from training.evaluate.report_metrics import RECORDED, ReportMetrics, RunInfo, SiteOutline
from training.evaluate.tta import predict_views
from training.evaluate.whole_sessions import seen_in_training, session_columns
from training.fit.folds import FOLDS, read_folds
from training.fit.site_data import site_polygon
from training.photos.areas import Areas, find_areas
from training.photos.manifest import image_path
from training.photos.stored_images import resizing_difference
from training.report.belief_sequence import stored_images
from training.report.evaluation_options import EvaluationOptions
from training.report.flatten import FlatJson
from training.report.sequence_addition import sequence_addition, tracking_calibrations
from training.report.site_file import SITE_JSON, write_site
from training.report.staging import staged_directory
from training.report.writer import REPORT_MD, MakeAddition, write_report

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluationSummary:
    """Where the report is and what it says: its metrics, the content of report.json, and text for the terminal."""

    out_dir: Path
    metrics: ReportMetrics
    report: FlatJson
    pictures: dict[str, Path]
    terminal: str = ""

    @property
    def predictions_path(self) -> Path:
        return self.out_dir / PREDICTIONS

    @property
    def report_path(self) -> Path:
        return self.out_dir / REPORT_MD


@dataclass(frozen=True)
class Subject:
    """What is scored, and with which localizer.

    `photos` has rows as of `load_dataset`, `paths` their image files; `dataset` and `split` are the names that the
    report gives them.
    """

    localizer: Localizer
    photos: pd.DataFrame
    paths: list[Path]
    dataset: str
    split: str
    dataset_dir: Path | None = None


def evaluate(
    bundle_dir: Path,
    dataset_dir: Path,
    split: str,
    out_dir: Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    areas_csv: Path | None = None,
    progress: bool = True,
    comparisons: Sequence[Path] = (),
    options: EvaluationOptions | None = None,
) -> EvaluationSummary:
    """Score a bundle on a subset of a data set.

    Args:
        bundle_dir: a bundle; or a directory of folds, of which each photo is scored with the one that has not seen the
            photo's session.
        dataset_dir: the data set.
        split: train, val, test, night_holdout, or `all` for the whole data set.
        out_dir: where the report appears, complete or not at all; by default next to the bundle.
        device: as of `Localizer.load`.
        precision: as of `Localizer.load`.
        areas_csv: named areas, by default those of the data set.
        progress: whether a progress bar is shown.
        comparisons: directories of other evaluations of the same photos, which get rows in the tables too.
        options: what is evaluated besides, and with which covariance.

    Raises:
        VisualGpsError: BundleError, DatasetError or ConfigError.
    """
    bundle_dir, dataset_dir, options = Path(bundle_dir), Path(dataset_dir), options or EvaluationOptions()
    photos = select_photos(dataset_dir, split)
    subjects = [
        Subject(
            Localizer.load(directory, device, precision, covariance=options.covariance),
            rows,
            [image_path(dataset_dir, photo_id) for photo_id in rows["photo_id"]],
            dataset=str(dataset_dir),
            split=split,
            dataset_dir=dataset_dir,
        )
        for directory, rows in _by_bundle(bundle_dir, photos)
    ]
    addition = None
    if options.sequences:
        calibrations = tracking_calibrations(bundle_dir, [own.localizer for own in subjects], dataset_dir)
        images = [stored_images(own.photos, own.paths) for own in subjects]
        addition = sequence_addition(calibrations, dict(ChainMap(*images)))
    for stored_px in sorted({subject.localizer.bundle.image.stored_px for subject in subjects}):
        if difference := resizing_difference(dataset_dir, stored_px):
            log.warning("%s", difference)
    out_dir = out_dir or default_out_dir(bundle_dir, dataset_dir, split)
    return score(subjects, out_dir, areas_csv, progress, None, addition, comparisons, options)


def _by_bundle(directory: Path, photos: pd.DataFrame) -> list[tuple[Path, pd.DataFrame]]:
    """The bundle with all photos, or each fold of a directory of folds with the photos of its session."""
    if not (directory / FOLDS).is_file():
        return [(directory, photos)]
    by_session = [(fold.bundle_dir, photos[photos["session"] == fold.session]) for fold in read_folds(directory)]
    found = [(bundle_dir, rows.reset_index(drop=True)) for bundle_dir, rows in by_session if len(rows)]
    scored = sum(len(rows) for _, rows in found)
    if scored < len(photos):
        raise DatasetError(
            f"{directory}: expected a fold that has held out each photo's session, got one for {scored} of "
            f"{len(photos)} photos; score the others with a bundle"
        )
    return found


def score(
    subjects: Sequence[Subject],
    out_dir: Path,
    areas_csv: Path | None = None,
    progress: bool = True,
    replace_answers: Callable[[pd.DataFrame], pd.DataFrame] | None = None,
    make_addition: MakeAddition | None = None,
    comparisons: Sequence[Path] = (),
    options: EvaluationOptions | None = None,
) -> EvaluationSummary:
    """Localize each subject's photos, compute the baselines, write one report to `out_dir`.

    Args:
        subjects: one, or the folds of one data set.
        out_dir: directory of the report.
        areas_csv: named areas, by default those of the data set.
        progress: whether a progress bar is shown.
        replace_answers: puts other answers, such as those that a node has published, in place of the localizers'.
        make_addition: makes what the report says beyond that of photos.
        comparisons: directories of other evaluations of the same photos.
        options: what is evaluated besides.
    """
    options = options or EvaluationOptions()
    bundles, out_dir = [subject.localizer.bundle for subject in subjects], Path(out_dir)
    if any(bundle.frame != bundles[0].frame for bundle in bundles):
        raise DatasetError("the folds have different local frames: train them again together")
    site = _site(bundles)
    areas = find_areas(areas_csv, subjects[0].dataset_dir, bundles[0].frame, site.polygon_enu_m)
    for subject in subjects:  # photos of another site are an error before any is localized
        true_positions_m(subject.photos, subject.localizer.bundle.frame)
    others = read_comparisons(comparisons, [name for subject in subjects for name in subject.photos["photo_id"]])
    with staged_directory(out_dir) as staging:
        predictions, reasons, posteriors = _predictions(subjects, areas, progress, options)
        predictions = with_baselines(predictions, others)
        if options.sequences:
            write_posteriors(staging / POSTERIORS, posteriors)
        write_predictions(staging / PREDICTIONS, replace_answers(predictions) if replace_answers else predictions)
        run = _run_info(subjects, areas.source, reasons, [other.name for other in others], options)
        covariance = RECORDED if replace_answers else run.covariance
        run = replace(run, n_seen_in_training=seen_in_training(predictions), covariance=covariance)
        write_site(staging / SITE_JSON, site)
        written = write_report(staging, run, site, make_addition)
    pictures = {name: out_dir / file for name, file in written.pictures.items()}
    return EvaluationSummary(out_dir, written.metrics, written.flat, pictures, written.terminal)


def _predictions(
    subjects: Sequence[Subject], areas: Areas, progress: bool, options: EvaluationOptions
) -> tuple[pd.DataFrame, dict[str, str], list[Posteriors]]:
    """The rows of all subjects, of every baseline "" or why it was not computed; posteriors of heads with grids."""
    tables, posteriors = [], []
    reasons: dict[str, str] = {}
    pretrained: dict[Path, np.ndarray] = {}
    for subject in subjects:
        localizer = subject.localizer
        table, descriptors, grid_probs = predict(localizer, subject.photos, subject.paths, progress)
        if grid_probs is not None and localizer.grid is not None:
            reference = localizer.bundle.calibration.reference_match_score
            posteriors.append(posteriors_of(table, grid_probs, localizer.grid, reference))
        table = table.assign(**session_columns(subject.photos, subject.dataset_dir, localizer.bundle))
        table.insert(table.columns.get_loc("subset") + 1, "area", areas.names(table, positions_m(table, "true_")))
        query = Query(table["photo_id"].tolist(), subject.paths, descriptors, subject.dataset_dir, pretrained)
        baselines = compute_baselines(localizer.bundle, query, localizer.engine.device, progress)
        baselines += covariance_baselines(table, localizer.bundle, localizer.covariance)
        for tta in options.tta:
            table = table.assign(**predict_views(localizer, query.photo_ids, subject.paths, tta, progress))
        tables.append(with_baselines(table, baselines))
        for baseline in baselines:
            reasons[baseline.name] = reasons.get(baseline.name) or baseline.reason
    return pd.concat(tables, ignore_index=True), reasons, posteriors


def _run_info(
    subjects: Sequence[Subject],
    area_source: str,
    reasons: dict[str, str],
    comparisons: list[str],
    options: EvaluationOptions,
) -> RunInfo:
    first, several = subjects[0], f", {len(subjects)} folds" if len(subjects) > 1 else ""
    bundle, engine = first.localizer.bundle, first.localizer.engine
    return RunInfo(
        model_id=bundle.model_id + several,
        bundle=str(bundle.path) + several,
        dataset=first.dataset,
        split=first.split,
        device=str(engine.device),
        precision=engine.precision,
        evaluated_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        member_names=[member.name for member in bundle.members],
        area_source=area_source,
        n_seen_in_training=0,
        baselines=reasons | dict.fromkeys(comparisons, ""),
        comparisons=comparisons,
        covariance=first.localizer.covariance,
        tta=[tta.mode for tta in options.tta],
        tta_views=options.tta[0].views if options.tta else 0,
        tta_original_weight=options.tta[0].original_weight if options.tta else 0.0,
        impossible_over_m=options.impossible_over_m,
    )


def default_out_dir(bundle_dir: Path, dataset_dir: Path, split: str) -> Path:
    """Next to the bundle, named after it, the data set and the split."""
    bundle_dir = bundle_dir.expanduser().absolute()
    return bundle_dir.parent / f"{bundle_dir.name}-evaluation-{dataset_dir.absolute().name}-{split}"


def with_baselines(predictions: pd.DataFrame, baselines: list[Baseline]) -> pd.DataFrame:
    """The table with columns baseline_<name>_ for every baseline that was computed."""
    columns: dict[str, np.ndarray] = {}
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


def _site(bundles: Sequence[Bundle]) -> SiteOutline:
    references = [np.asarray(bundle.load_reference().positions_enu_m, dtype=np.float64) for bundle in bundles]
    training_enu_m = np.unique(np.concatenate(references), axis=0)
    outline = np.concatenate([bundle.site_polygon_enu_m for bundle in bundles])
    polygon = bundles[0].site_polygon_enu_m if len(bundles) == 1 else site_polygon(outline)
    return SiteOutline(polygon, training_enu_m, bundles[0].gates.site_margin_m or 0.0)
