"""Named areas of a site: the user's polygons or list of photos, or a grid of six made from the site's outline."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from campus_visual_gps.errors import DatasetError, GeodesyError
from campus_visual_gps.geodesy import LocalFrame
from training.photos.area_list import AREAS_BY_PHOTO_CSV, is_area_list, read_area_list
from training.photos.area_polygons import AreaOutline, read_outlines
from training.photos.photo_names import PhotoNames
from training.photos.photo_references import row_photos
from training.photos.user_tables import UserRow

_log = logging.getLogger(__name__)

# In a data set, the first of these that exists counts.
AREAS_FILES = ("areas.csv", "areas.geojson", "areas.json", "areas.kml", "areas.kmz")
ELSEWHERE = "elsewhere"
# rows from south to north, columns from west to east
_WIDE = (("south-west", "south", "south-east"), ("north-west", "north", "north-east"))
_TALL = (("south-west", "south-east"), ("west", "east"), ("north-west", "north-east"))


@dataclass(frozen=True)
class Areas:
    """How a site is divided.

    Attributes:
        source: What divides it, for the report.
        name_of: Positions (N, 2) metres -> N names.
        listed: Rows of a list of photos with their areas; such a list goes before positions.
    """

    source: str
    name_of: Callable[[np.ndarray], list[str]]
    listed: tuple[UserRow, ...] = ()

    def names(self, photos: pd.DataFrame, positions_enu_m: np.ndarray) -> list[str]:
        """The area of each photo.

        Args:
            photos: Table with the columns photo_id and file.
            positions_enu_m: Where they were taken (N, 2), metres.
        """
        names = self.name_of(positions_enu_m)
        if not self.listed:
            return names
        known = PhotoNames(zip(photos["photo_id"], photos["file"], strict=True))
        by_photo: dict[str, str] = {}
        for row in self.listed:
            found = row_photos(row, known)
            if len(found) == 1:
                by_photo.setdefault(found.pop(), row.text("area"))
        if not by_photo:
            _log.warning("%s: names none of these %d photos: all are %s", self.source, len(photos), ELSEWHERE)
        return [by_photo.get(photo_id) or name for photo_id, name in zip(photos["photo_id"], names, strict=True)]


def find_areas(
    areas_file: Path | None, dataset_dir: Path | None, frame: LocalFrame, site_polygon_enu_m: np.ndarray
) -> Areas:
    """The areas of the file given, else of the data set, else a grid over the site's outline.

    The data set's areas are those of AREAS_FILES, else those that `ingest` took from folders or from the table of
    labels. Raises DatasetError.
    """
    if areas_file is None and dataset_dir is not None:
        candidates = [Path(dataset_dir) / name for name in (*AREAS_FILES, AREAS_BY_PHOTO_CSV)]
        areas_file = next((path for path in candidates if path.is_file()), None)
    return grid_areas(site_polygon_enu_m) if areas_file is None else read_areas(Path(areas_file), frame)


def read_areas(path: Path, frame: LocalFrame) -> Areas:
    """Areas from a file of the user; the content decides what it is.

    - A list of photos: a table with a column `area` and the name of the photo, `file` or `photo_id`.
    - Polygons of GeoJSON, KML, KMZ or of a table with a column WKT, such as a layer of Google My Maps.
    - Corners: a table `area, latitude_deg, longitude_deg` whose rows are the corners in order.

    Where areas overlap the first one counts; a photo in none is ELSEWHERE. Raises DatasetError.
    """
    if is_area_list(path):
        rows = tuple(read_area_list(path))
        count = len({row.text("area") for row in rows})
        return Areas(f"{count} areas of the photos listed in {path.name}", _elsewhere, rows)
    outlines = read_polygons(path, frame)
    count = len({outline.name for outline in outlines})

    def name_of(positions_enu_m: np.ndarray) -> list[str]:
        return [_first_containing(outlines, point) for point in np.atleast_2d(positions_enu_m)]

    return Areas(f"{count} polygons of {path.name}", name_of)


def read_polygons(path: Path, frame: LocalFrame) -> list[AreaOutline]:
    """All polygons of a file of GeoJSON, KML, KMZ, WKT or corners, in metres. Raises DatasetError."""
    return [_in_metres(path, outline, frame) for outline in read_outlines(path)]


def _elsewhere(positions_enu_m: np.ndarray) -> list[str]:
    return [ELSEWHERE] * len(positions_enu_m)


def _in_metres(path: Path, outline: AreaOutline, frame: LocalFrame) -> AreaOutline:
    try:
        return outline.map(lambda corners: frame.to_local(corners[:, 0], corners[:, 1])).check(path)
    except GeodesyError as error:
        raise DatasetError(
            f"{path}, {outline.place}: {error}; is this the areas file of another site, or are latitude and longitude "
            "swapped?"
        ) from error


def _first_containing(outlines: list[AreaOutline], point_enu_m: np.ndarray) -> str:
    return next((outline.name for outline in outlines if outline.contains(point_enu_m)), ELSEWHERE)


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
