"""Points of a map with the names of photos: KML, KMZ, GPX, GeoJSON, or a table with a column WKT (Google My Maps).

All become rows as of a table: the data of a point by column, and its position as latitude_deg and longitude_deg. Lines
and polygons are named in the log and left out.
"""

from __future__ import annotations

import html
import json
import logging
import math
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar
from xml.etree.ElementTree import Element

from campus_visual_gps.errors import DatasetError
from training.photos.column_names import canonical_name
from training.photos.map_xml import child_text, kml_members, parse_xml, read_kmz
from training.photos.row_errors import OnError, RowError, report_or_raise
from training.photos.tables import read_bytes
from training.photos.text_encoding import decode_text
from training.photos.user_tables import IsKnown, UserRow, read_user_rows

_log = logging.getLogger(__name__)
_Item = TypeVar("_Item")

KMZ, XML, JSON = "kmz", "xml", "json"
MAP_SUFFIXES = (".kml", ".kmz", ".gpx", ".geojson", ".json")
_NUMBER = r"([-+]?[\d.]+(?:[eE][-+]?\d+)?)"
_POINT = re.compile(
    rf"(?:SRID=4326;)?\s*(?:MULTI)?POINT\s*(?:ZM?|M)?\s*\(+\s*{_NUMBER}\s+{_NUMBER}(?:\s+{_NUMBER}){{0,2}}\s*\)+",
    re.IGNORECASE,
)
_OTHER_GEOMETRY = re.compile(
    r"(?:SRID=\d+;)?\s*(MULTI)?(LINESTRING|POLYGON|CURVE|SURFACE|GEOMETRYCOLLECTION|LINEARRING|TRIANGLE|TIN)\b",
    re.IGNORECASE,
)
_WGS84 = re.compile(r"CRS84|4326|4979|WGS ?84(?! ?/)", re.IGNORECASE)
_HAS_LETTER = re.compile(r"[^\W\d]")
_LINES = ("LineString", "LinearRing", "Polygon", "Track", "MultiTrack", "Model")
_OTHER_FEATURES = ("GroundOverlay", "PhotoOverlay", "ScreenOverlay", "Tour")
_POSITION = ("latitude_deg", "longitude_deg")


def read_feature_rows(
    path: Path,
    required: Sequence[str] = (),
    headerless: Sequence[str] = (),
    is_known: IsKnown = lambda text: False,
    on_error: OnError | None = None,
) -> list[UserRow]:
    """The rows of a user's table (`read_user_rows`), or the points of a map. The content decides, not the suffix.

    `on_error` takes each invalid row, which is left out; None raises the error.

    Raises:
        DatasetError: The file cannot be read as either, or a row is invalid.
    """
    data = read_bytes(path)
    kind = kind_of_map(path, data)
    if kind == KMZ:
        rows = _kmz_rows(path, data, on_error)
    elif kind == XML:
        rows = _xml_rows(path, data, on_error)
    elif kind == JSON:
        rows = _geojson_rows(path, data, on_error)
    else:
        table = read_user_rows(path, required, headerless, is_known, on_error)
        rows = _each(table, _placed, on_error)
    return _only_points(path, rows, is_map=bool(kind))


def _each(items: Iterable[_Item], read: Callable[[_Item], UserRow], on_error: OnError | None) -> list[UserRow]:
    rows = []
    for item in items:
        try:
            rows.append(read(item))
        except RowError as error:
            report_or_raise(error, on_error)
    return rows


def kind_of_map(path: Path, data: bytes) -> str:
    """KMZ, XML or JSON, by the content; "" for a table. Raises DatasetError for a damaged archive."""
    start = data.lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n\0")[:1]
    if data.startswith(b"PK\x03\x04") and kml_members(path, data):
        return KMZ
    return {b"<": XML, b"{": JSON, b"[": JSON}.get(start, "")


def naming_cell(row: UserRow, is_known: IsKnown) -> str:
    """The cell that names the photo: `file`, else `name`, else the one other text that does, in a translated column.

    A name that is only a number may be the point's own, not that of a photo 1.jpg: the other text goes before it.
    """
    file, name = row.text("file"), row.text("name")
    if file or (_HAS_LETTER.search(name) and is_known(name)):
        return file or name
    others = {
        cell
        for column, cell in row.values.items()
        if (canonical_name(column) is None or column == "photo_id") and _HAS_LETTER.search(cell) and is_known(cell)
    }
    return others.pop() if len(others) == 1 else name


def warn_if_rounded(path: Path, positions: Sequence[tuple[float, float]]) -> None:
    """Log a warning where all positions are rounded to 100 m or more, as a column of a spreadsheet may be."""
    degrees = [value * 1e3 for position in positions for value in position if not math.isnan(value)]
    if len(degrees) > 2 and all(abs(value - round(value)) < 1e-6 for value in degrees):
        _log.warning("%s: no position has more than three decimals (100 m); did a spreadsheet round them?", path)


def _placed(row: UserRow) -> UserRow:
    """The row with the position of its WKT; a line or polygon stays in the WKT."""
    wkt = row.text("WKT")
    if not wkt or _OTHER_GEOMETRY.match(wkt):
        return row
    point = _POINT.fullmatch(wkt)
    if not point:
        raise row.error(f"column 'WKT' holds '{wkt}', expected POINT (longitude latitude)")
    return _at(row, point[1], point[2])


def _at(row: UserRow, longitude: str, latitude: str) -> UserRow:
    values = row.values | {"longitude_deg": longitude, "latitude_deg": latitude, "WKT": ""}
    return UserRow(row.path, row.line, values, row.decimal_comma, row.inside)


def _only_points(path: Path, rows: list[UserRow], is_map: bool) -> list[UserRow]:
    others = [row for row in rows if row.text("WKT")]
    if others:
        names = [f"'{row.text('name') or row.text('file') or row.text('WKT')[:30]}' ({row.place})" for row in others]
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        _log.warning(
            "%s: lines, polygons and other shapes are not used (%d): %s%s",
            path,
            len(others),
            ", ".join(names[:5]),
            more,
        )
    points = [row for row in rows if not row.text("WKT")]
    if is_map:
        _log.info("%s: points used: %d", path, len(points))
    return points


def _kmz_rows(path: Path, data: bytes, on_error: OnError | None) -> list[UserRow]:
    return [row for name, content in read_kmz(path, data) for row in _xml_rows(path, content, on_error, name)]


def _xml_rows(path: Path, data: bytes, on_error: OnError | None, inside: str = "") -> list[UserRow]:
    root = parse_xml(path, data, inside)
    if root.tag == "gpx":
        return _gpx_rows(path, root)
    if root.tag != "kml" and next(root.iter("Placemark"), None) is None:
        raise DatasetError(
            f"{path}: expected KML, GPX, GeoJSON or a table, got <{root.tag}>; export it as one of these"
        )
    places = list(root.iter("Placemark"))
    rows = _each(places, lambda place: _placemark(path, place, int(place.attrib.get("line", 0)), inside), on_error)
    links = [child_text(link, "href") for link in root.iter("NetworkLink")]
    if links and not places:
        raise DatasetError(
            f"{path}: holds only a link to {links[0]}, no points; export the layer itself (My Maps: without 'Keep "
            "data up to date with network link')"
        )
    other = [f"{tag} '{child_text(item, 'name')}'" for tag in _OTHER_FEATURES for item in root.iter(tag)]
    other += [f"link to {link}" for link in links]
    if other:
        _log.warning("%s: not used: %s", path, ", ".join(other))
    if not places:
        _log.warning("%s%s: holds no points", path, f" ({inside})" if inside else "")
    return rows


def _placemark(path: Path, place: Element, line: int, inside: str) -> UserRow:
    values = _described(child_text(place, "description"))
    for data in (*place.iter("Data"), *place.iter("SimpleData")):
        value = child_text(data, "value") or (data.text or "").strip()
        _add(values, data.attrib.get("name", ""), value)
    values["name"] = child_text(place, "name")
    row = UserRow(path, line, values, inside=inside)
    points = [(child_text(point, "coordinates"), point) for point in place.iter("Point")]
    shapes = [shape for tag in _LINES for shape in place.iter(tag)]
    if len(points) == 1:
        numbers = re.split(r"[,\s]+", points[0][0])
        if not 2 <= len(numbers) <= 3:  # four are two with decimal commas
            raise row.error(
                f"point '{values['name']}' has the coordinates '{points[0][0]}', expected longitude,latitude"
            )
        return _at(row, numbers[0], numbers[1])
    if points or shapes:
        values["WKT"] = f"{len(points)} points" if points else shapes[0].tag
    return row


def _described(description: str) -> dict[str, str]:
    """Lines `column: value` of a description, which may be HTML, and each line as it is."""
    values: dict[str, str] = {}
    text = html.unescape(re.sub(r"<[^>]*>", "\n", description))
    for number, line in enumerate(filter(None, map(str.strip, text.splitlines()))):
        values[f"description {number + 1}"] = line
        name, colon, value = line.partition(":")
        if colon and value.strip():
            _add(values, name, value.strip())
    return values


def _add(values: dict[str, str], name: str, value: str) -> None:
    values[canonical_name(name) or name.strip()] = value


def _gpx_rows(path: Path, root: Element) -> list[UserRow]:
    rows = []
    for tag in ("wpt", "trk", "rte"):
        for item in root.iter(tag):
            values = {"name": child_text(item, "name")}
            values |= {column: child_text(item, column) for column in ("cmt", "desc")} if tag == "wpt" else {"WKT": tag}
            row = UserRow(path, int(item.attrib["line"]), values)
            rows.append(_at(row, item.attrib.get("lon", ""), item.attrib.get("lat", "")) if tag == "wpt" else row)
    return rows


def _geojson_rows(path: Path, data: bytes, on_error: OnError | None) -> list[UserRow]:
    text, _ = decode_text(data, path)
    try:
        content = json.loads(text)
        features = content["features"] if content["type"] == "FeatureCollection" else [content]
        if any(feature["type"] != "Feature" for feature in features):
            raise TypeError
    except json.JSONDecodeError as error:
        raise DatasetError(f"{path}, line {error.lineno}: not valid JSON: {error.msg}; export it again") from error
    except (KeyError, TypeError, ValueError, RecursionError):
        raise DatasetError(
            f"{path}: expected a GeoJSON FeatureCollection, got other JSON; export it as GeoJSON"
        ) from None
    crs = content.get("crs")
    if crs and not _WGS84.search(json.dumps(crs)):
        raise DatasetError(f"{path}: coordinates are in {json.dumps(crs):.100}; export it in WGS 84 (EPSG:4326)")
    return _each(enumerate(features, start=1), lambda item: _feature(path, *item), on_error)


def _feature(path: Path, number: int, feature: dict[str, Any]) -> UserRow:
    values: dict[str, str] = {}
    properties = feature.get("properties")
    for name, value in properties.items() if isinstance(properties, dict) else ():
        _add(values, name, "" if value is None else str(value))
    row = UserRow(path, 0, values, inside=f"feature {number}")
    geometry = feature.get("geometry")
    if geometry is None:
        return row
    try:
        if geometry["type"] != "Point":
            return UserRow(path, 0, values | {"WKT": str(geometry["type"])}, inside=row.inside)
        longitude, latitude = (float(value) for value in geometry["coordinates"][:2])
    except (KeyError, TypeError, ValueError, OverflowError):
        raise row.error(f"geometry {geometry!r:.60}: expected a Point [longitude, latitude]") from None
    return _at(row, repr(longitude), repr(latitude))
