"""site.json beside predictions.csv: the outline that the maps are drawn over."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from campus_visual_gps.errors import DatasetError
from training.evaluate.report_metrics import SiteOutline
from training.fit.site_data import site_polygon

SITE_JSON = "site.json"
_MARGIN_M = 10.0


def write_site(path: Path, site: SiteOutline) -> None:
    """Write the outline, the training positions and the margin, metres east and north."""
    content = {
        "polygon_enu_m": np.round(site.polygon_enu_m, 3).tolist(),
        "training_enu_m": np.round(site.training_enu_m, 3).tolist(),
        "margin_m": site.margin_m,
    }
    path.write_text(json.dumps(content) + "\n", encoding="utf-8")


def read_site(path: Path) -> SiteOutline:
    """Read what `write_site` wrote. Raises DatasetError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        polygon = np.array(content["polygon_enu_m"], dtype=np.float64).reshape(-1, 2)
        training = np.array(content["training_enu_m"], dtype=np.float64).reshape(-1, 2)
        margin_m = float(content["margin_m"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path}: not the outline of a site ({error}); delete it to draw without") from None
    if len(polygon) < 3 or not (np.isfinite(polygon).all() and np.isfinite(training).all()):
        raise DatasetError(f"{path}: expected three corners or more, all of them finite; delete it to draw without")
    return SiteOutline(polygon, training, margin_m)


def outline_of(truth_enu_m: np.ndarray) -> SiteOutline:
    """The hull of the photos' own positions (N, 2), metres, or a box around them, for predictions without a site."""
    truth_enu_m = truth_enu_m[np.isfinite(truth_enu_m).all(axis=1)]
    nothing = np.empty((0, 2))
    if not len(truth_enu_m):
        truth_enu_m = np.zeros((1, 2))
    low, high = truth_enu_m.min(axis=0) - _MARGIN_M, truth_enu_m.max(axis=0) + _MARGIN_M
    if (high - low > 3.0 * _MARGIN_M).all():
        return SiteOutline(site_polygon(truth_enu_m), nothing)
    return SiteOutline(np.array([low, (high[0], low[1]), high, (low[0], high[1])]), nothing)
