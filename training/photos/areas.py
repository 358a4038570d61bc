"""Named areas of a site: the user's polygons, or a grid of six made from the site's outline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from campus_visual_gps.errors import DatasetError, GeodesyError
from campus_visual_gps.estimation.integrity import distance_outside_m
from campus_visual_gps.geodesy import LocalFrame
from training.photos.tables import Row
from training.photos.user_tables import read_user_rows

AREAS_CSV = "areas.csv"
ELSEWHERE = "elsewhere"
# rows from south to north, columns from west to east
_WIDE = (("south-west", "south", "south-east"), ("north-west", "north", "north-east"))
_TALL = (("south-west", "south-east"), ("west", "east"), ("north-west", "north-east"))


@dataclass(frozen=True)
class Areas:
    """How a site is divided: `source` describes it, `name_of` maps positions (N, 2) metres to N names."""

    source: str
    name_of: Callable[[np.ndarray], list[str]]


def find_areas(
    areas_csv: Path | None, dataset_dir: Path | None, frame: LocalFrame, site_polygon_enu_m: np.ndarray
) -> Areas:
    """The areas of the file given, else of the data set's areas.csv, else a grid over the site's outline."""
    if areas_csv is None and dataset_dir is not None and (dataset_dir / AREAS_CSV).is_file():
        areas_csv = dataset_dir / AREAS_CSV
    return grid_areas(site_polygon_enu_m) if areas_csv is None else read_areas(Path(areas_csv), frame)


def read_areas(path: Path, frame: LocalFrame) -> Areas:
    """Polygons from a table `area, latitude_deg, longitude_deg` whose rows are the corners in order.

    Where areas overlap the first one counts; a photo in none is ELSEWHERE. Raises DatasetError.
    """
    corners: dict[str, list[np.ndarray]] = {}
    for row in read_user_rows(path, required=("area", "latitude_deg", "longitude_deg")):
        corners.setdefault(row.text("area", required=True), []).append(_corner(row, frame))
    for name, points in corners.items():
        if len(points) < 3:
            raise DatasetError(f"{path}: area {name!r} has {len(points)} corners; give it three or more")
    polygons = {name: np.stack(points) for name, points in corners.items()}

    def name_of(positions_enu_m: np.ndarray) -> list[str]:
        return [_first_containing(polygons, point) for point in positions_enu_m]

    return Areas(f"{len(polygons)} polygons of {path.name}", name_of)


def _corner(row: Row, frame: LocalFrame) -> np.ndarray:
    latitude, longitude = (row.number(name, required=True) for name in ("latitude_deg", "longitude_deg"))
    try:
        return frame.to_local(latitude, longitude)
    except GeodesyError as error:
        raise row.error(f"{error}; is this the areas file of another site?") from error


def _first_containing(polygons: dict[str, np.ndarray], point_enu_m: np.ndarray) -> str:
    inside = (name for name, polygon in polygons.items() if distance_outside_m(point_enu_m, polygon) <= 0.0)
    return next(inside, ELSEWHERE)


def grid_areas(site_polygon_enu_m: np.ndarray) -> Areas:
    """Six cells named by compass: the box around the site, in thirds along its longer side and halves across.

    The outline is the bundle's, so that a cell is the same area for every data set. A photo outside
    the box belongs to the nearest cell.
    """
    low, high = site_polygon_enu_m.min(axis=0), site_polygon_enu_m.max(axis=0)
    names = np.array(_WIDE if high[0] - low[0] >= high[1] - low[1] else _TALL)
    rows, columns = names.shape

    def name_of(positions_enu_m: np.ndarray) -> list[str]:
        cells = np.floor((positions_enu_m - low) / (high - low) * (columns, rows)).astype(int)
        column, row = np.clip(cells, 0, (columns - 1, rows - 1)).T
        return names[row, column].tolist()

    return Areas(f"a grid of {columns} x {rows} cells over the site, named by compass", name_of)
