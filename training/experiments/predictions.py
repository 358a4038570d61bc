"""Predictions of a bundle for a subset of a data set, as a row of a table needs them: no baselines and no pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd

from campus_visual_gps.geodesy import LocalFrame
from campus_visual_gps.localizer import Localizer
from training.evaluate.predict import positions_m, predict, select_photos
from training.evaluate.tta import TtaMode, TtaSettings, predict_views
from training.metrics.errors import position_errors_m
from training.photos.manifest import image_path

# Of the photo itself, without its views.
_OF_ONE_VIEW = ("member_", "mode", "radius", "match_score", "ensemble_spread_m")


@dataclass(frozen=True)
class Predictions:
    """Rows of predictions.csv, and the mean time of a photo, its decoding and loading included."""

    table: pd.DataFrame
    seconds_per_photo: float


def predict_split(bundle_dir: Path, dataset_dir: Path, split: str, tta: TtaMode | None = None) -> Predictions:
    """Localize the photos of a subset, with test-time augmentation where a mode is given.

    Raises VisualGpsError: BundleError, ConfigError or DatasetError.
    """
    photos = select_photos(dataset_dir, split)
    paths = [image_path(dataset_dir, photo_id) for photo_id in photos["photo_id"]]
    localizer = Localizer.load(bundle_dir)
    started_s = perf_counter()
    table = predict(localizer, photos, paths, progress=False).table
    seconds = perf_counter() - started_s
    if tta is not None:
        settings = TtaSettings(tta)
        started_s = perf_counter()
        columns = predict_views(localizer, photos["photo_id"].tolist(), paths, settings, progress=False)
        seconds = perf_counter() - started_s
        views = {name.removeprefix(settings.prefix): values for name, values in columns.items()}
        table = with_views(table, views, localizer.bundle.frame)
    return Predictions(table, seconds / len(photos))


def with_views(table: pd.DataFrame, views: dict[str, np.ndarray], frame: LocalFrame) -> pd.DataFrame:
    """The table with the position and covariance of the averaged views, and without what is of one view.

    The verdict of the gates, which look at the photo itself, stays.
    """
    table = table.drop(columns=[name for name in table if name.startswith(_OF_ONE_VIEW)])
    table = table.assign(**{name: values for name, values in views.items() if name in table})
    found = positions_m(table)
    geodetic = np.full_like(found, np.nan)
    known = np.isfinite(found).all(axis=1)
    geodetic[known] = np.stack(frame.to_geodetic(found[known]), axis=-1)
    return table.assign(
        latitude_deg=geodetic[:, 0],
        longitude_deg=geodetic[:, 1],
        error_m=position_errors_m(found, positions_m(table, "true_")),
    )
