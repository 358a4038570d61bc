"""Outlines of areas from files: GeoJSON, KML and KMZ, tables with a column WKT, tables of corners."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from campus_visual_gps.errors import DatasetError
from campus_visual_gps.estimation.integrity import distance_outside_m
from training.photos.exif import position_problem
from training.photos.map_files import JSON, KMZ, XML, kind_of_map
from training.photos.map_xml import child_text, parse_xml, read_kmz
from training.photos.tables import read_bytes
from training.photos.text_encoding import decode_text
from training.photos.user_tables import UserRow, read_user_rows

# Names of the property with the area's name in GeoJSON, the first that is there counts; in any letter case.
_NAME_PROPERTIES = ("area", "area_name", "name", "title", "label", "id")
_RING = re.compile(r"\(([^()]*)\)")
_WKT_POLYGON = re.compile(r"\(\s*(\([^()]*\)(?:\s*,\s*\([^()]*\))*)\s*\)")  # its rings


@dataclass(frozen=True)
class AreaOutline:
    """A polygon: `outer` (V, 2) and its `holes`, as latitude and longitude in degrees, or in metres after `map`.

    `place` says where in its file it stands.
    """

    name: str
    outer: np.ndarray
    holes: tuple[np.ndarray, ...]
    place: str

    def map(self, to_other: Callable[[np.ndarray], np.ndarray]) -> AreaOutline:
        """The outline in other coordinates."""
        return replace(self, outer=to_other(self.outer), holes=tuple(map(to_other, self.holes)))

    def check(self, path: Path) -> AreaOutline:
        """The outline without holes that have no area. Raises DatasetError where it has none itself."""
        count = len(np.unique(self.outer, axis=0))
        if count < 3:
            raise DatasetError(f"{path}, {self.place}: area {self.name!r} has {count} corners; give it three or more")
        return replace(self, holes=tuple(hole for hole in self.holes if len(np.unique(hole, axis=0)) >= 3))

    def contains(self, point: np.ndarray) -> bool:
        """Whether a point is in the outline or on its edge, and in no hole."""
        return distance_outside_m(point, self.outer) <= 0.0 and all(
            distance_outside_m(point, hole) >= 0.0 for hole in self.holes
        )


def read_outlines(path: Path) -> list[AreaOutline]:
    """All polygons of a file, with latitude and longitude in degrees. An area may have several.

    Raises:
        DatasetError: The file cannot be read, holds no polygon, or one with corners outside the range of degrees.
    """
    path = Path(path)
    data = read_bytes(path)
    kind = kind_of_map(path, data)
    if kind == KMZ:
        outlines = [outline for name, content in read_kmz(path, data) for outline in _of_kml(path, content, name)]
    elif kind == XML:
        outlines = _of_kml(path, data)
    elif kind == JSON:
        outlines = _of_geojson(path, data)
    else:
        outlines = _of_table(path)
    if not outlines:
        raise DatasetError(f"{path}: holds no polygons; draw the areas as closed shapes, not as lines or points")
    return outlines


def _outline(path: Path, name: str, place: str, rings: Sequence[Sequence[Sequence[float]]]) -> AreaOutline:
    """A polygon from its rings of (longitude, latitude), the outer one first. Raises DatasetError."""
    corners = [np.array([[float(corner[1]), float(corner[0])] for corner in ring]).reshape(-1, 2) for ring in rings]
    for ring in corners:
        problem = next(filter(None, (position_problem(*corner) for corner in ring.tolist())), "")
        if problem:
            raise DatasetError(f"{path}, {place}: area {name!r}: {problem}; export it as WGS 84 degrees")
    return AreaOutline(name, corners[0] if corners else np.empty((0, 2)), tuple(corners[1:]), place)


def _of_table(path: Path) -> list[AreaOutline]:
    rows = read_user_rows(path)
    if rows and "WKT" in rows[0].values:
        return [outline for row in rows for outline in _of_wkt(path, row)]
    rows = read_user_rows(path, required=("area", "latitude_deg", "longitude_deg"))
    corners: dict[str, list[tuple[float, float]]] = {}
    first: dict[str, str] = {}
    for row in rows:
        name = row.text("area", required=True)
        first.setdefault(name, row.place)
        latitude, longitude = (row.number(axis, required=True) for axis in ("latitude_deg", "longitude_deg"))
        corners.setdefault(name, []).append((longitude, latitude))
    return [_outline(path, name, first[name], [ring]) for name, ring in corners.items()]


def _of_wkt(path: Path, row: UserRow) -> list[AreaOutline]:
    wkt = row.text("WKT")
    if not re.match(r"(SRID=4326;)?\s*(MULTI)?POLYGON", wkt, re.IGNORECASE):
        return []
    name = row.text("area") or row.text("name") or row.place
    polygons = [_RING.findall(rings) for rings in _WKT_POLYGON.findall(wkt)]
    try:
        corners = [[[_numbers(pair) for pair in ring.split(",")] for ring in rings] for rings in polygons]
        if not corners:
            raise ValueError
        return [_outline(path, name, row.place, rings) for rings in corners]
    except (ValueError, IndexError):
        raise row.error(f"column 'WKT' holds '{wkt[:60]}', expected POLYGON ((longitude latitude, ...))") from None


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.split()]


def _of_geojson(path: Path, data: bytes) -> list[AreaOutline]:
    text, _ = decode_text(data, path)
    outlines: list[AreaOutline] = []
    try:
        content = json.loads(text)
        features = content["features"] if content["type"] == "FeatureCollection" else [content]
        for number, feature in enumerate(features, start=1):
            properties = feature.get("properties") or {} if feature["type"] == "Feature" else {}
            geometry = feature.get("geometry") if feature["type"] == "Feature" else feature
            name = _name_of(properties, number)
            for rings in _polygons(geometry or {"type": ""}):
                outlines.append(_outline(path, name, f"feature {number}", rings))
    except json.JSONDecodeError as error:
        raise DatasetError(f"{path}, line {error.lineno}: not valid JSON: {error.msg}; export it again") from error
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError):
        raise DatasetError(
            f"{path}: expected a GeoJSON FeatureCollection of polygons, got other JSON; export it as GeoJSON"
        ) from None
    return outlines


def _name_of(properties: dict[str, Any], number: int) -> str:
    folded = {str(key).strip().lower(): value for key, value in reversed(properties.items())}
    named = (folded.get(name) for name in _NAME_PROPERTIES)
    return next((str(value).strip() for value in named if value not in (None, "")), f"area {number}")


def _polygons(geometry: dict[str, Any]) -> list[Any]:
    """The rings of each polygon of a geometry; points and lines have none."""
    if geometry["type"] == "Polygon":
        return [geometry["coordinates"]]
    if geometry["type"] == "MultiPolygon":
        return list(geometry["coordinates"])
    if geometry["type"] == "GeometryCollection":
        return [rings for member in geometry["geometries"] for rings in _polygons(member)]
    return []


def _of_kml(path: Path, data: bytes, inside: str = "") -> list[AreaOutline]:
    outlines = []
    for number, place in enumerate(parse_xml(path, data, inside).iter("Placemark"), start=1):
        name = child_text(place, "name") or f"area {number}"
        line = f"line {place.attrib.get('line', '?')}" + (f" of {inside}" if inside else "")
        for polygon in place.iter("Polygon"):
            rings = [ring for side in ("outerBoundaryIs", "innerBoundaryIs") for ring in polygon.iter(side)]
            try:
                outlines.append(_outline(path, name, line, [_kml_corners(ring) for ring in rings]))
            except (ValueError, IndexError):
                raise DatasetError(
                    f"{path}, {line}: area {name!r}: expected coordinates as longitude,latitude; export it again"
                ) from None
    return outlines


def _kml_corners(ring: Element) -> list[list[float]]:
    return [[float(number) for number in corner.split(",")] for corner in child_text(ring, "coordinates").split()]
