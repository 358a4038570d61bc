"""Areas: the user's polygons, or compass cells of the site's outline."""

import json

import numpy as np
import pandas as pd
import pytest
from compatibility import Area, condition

from campus_visual_gps.errors import DatasetError
from campus_visual_gps.geodesy import LocalFrame
from training.photos.areas import find_areas, grid_areas

FRAME = LocalFrame.at(31.262, 34.802)
SITE = np.array([[-150.0, -50.0], [150.0, -50.0], [150.0, 50.0], [-150.0, 50.0]])


def write_areas(path, **polygons):
    lines = ["area,latitude_deg,longitude_deg"]
    for name, corners in polygons.items():
        for latitude, longitude in zip(*FRAME.to_geodetic(np.array(corners)), strict=True):
            lines.append(f"{name},{latitude:.9f},{longitude:.9f}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_photos_are_named_by_the_polygon_that_holds_them(tmp_path):
    square = [[-10, -10], [10, -10], [10, 10], [-10, 10]]
    path = write_areas(tmp_path / "mine.csv", plaza=square, walkway=[[0, 0], [40, 0], [40, 10]])
    areas = find_areas(path, tmp_path, FRAME, SITE)
    names = areas.name_of(np.array([[0.0, -5.0], [30.0, 3.0], [8.0, 1.0], [-40.0, 0.0]]))
    assert names == ["plaza", "walkway", "plaza", "elsewhere"]
    assert areas.source == "2 polygons of mine.csv"


def test_areas_of_the_data_set_are_taken_without_being_named(tmp_path):
    write_areas(tmp_path / "areas.csv", whole=[[-200, -200], [200, -200], [0, 300]])
    assert find_areas(None, tmp_path, FRAME, SITE).name_of(np.zeros((1, 2))) == ["whole"]


@condition(Area.TABLES, "areas.csv with semicolons and decimal commas", "read", since="2026-11-26")
def test_areas_of_a_spreadsheet_are_read(tmp_path):
    path = write_areas(tmp_path / "areas.csv", whole=[[-200, -200], [200, -200], [0, 300]])
    path.write_text(path.read_text(encoding="utf-8").replace(",", ";").replace(".", ","), encoding="cp1252")
    assert find_areas(None, tmp_path, FRAME, SITE).name_of(np.zeros((1, 2))) == ["whole"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("area,latitude_deg\n", "missing column longitude_deg"),
        ("area,latitude_deg,longitude_deg\na,31.262,34.802\na,31.263,34.802\n", "has 2 corners"),
        ("area,latitude_deg,longitude_deg\na,51.0,7.0\n", "line 2.*another site"),
    ],
)
def test_bad_areas_are_one_clear_error(tmp_path, text, message):
    (tmp_path / "areas.csv").write_text(text)
    with pytest.raises(DatasetError, match=message):
        find_areas(None, tmp_path, FRAME, SITE)


def test_wide_site_has_three_columns_and_a_tall_one_three_rows():
    points = np.array([[-149.0, -49.0], [0.0, 49.0], [149.0, 49.0], [0.0, -1.0]])
    assert grid_areas(SITE).name_of(points) == ["south-west", "north", "north-east", "south"]
    tall = grid_areas(SITE[:, ::-1])
    assert tall.name_of(points[:, ::-1]) == ["south-west", "east", "north-east", "west"]


def test_photo_outside_the_site_belongs_to_the_nearest_cell():
    assert grid_areas(SITE).name_of(np.array([[900.0, 0.0], [0.0, -900.0]])) == ["north-east", "south"]


def ring(*corners):
    """Corners in metres as GeoJSON coordinates, closed."""
    latitudes, longitudes = FRAME.to_geodetic(np.array([*corners, corners[0]], dtype=float))
    return [[float(lon), float(lat)] for lat, lon in zip(latitudes, longitudes, strict=True)]


def square(east_m, north_m, half_m):
    return ring(*[(east_m + x * half_m, north_m + y * half_m) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))])


def feature(geometry, **properties):
    return {"type": "Feature", "properties": properties, "geometry": geometry}


HOLED = {"type": "Polygon", "coordinates": [square(0, 0, 20), square(0, 0, 5)]}
TWO = {"type": "MultiPolygon", "coordinates": [[square(-60, 0, 10)], [square(60, 0, 10)]]}
POINTS = np.array([[0.0, 0.0], [10.0, 10.0], [-60.0, 5.0], [60.0, -5.0], [0.0, 45.0]])
NAMES = ["elsewhere", "library", "under 26", "under 26", "elsewhere"]


def write_kml(path):
    def text(corners):
        return " ".join(f"{lon:.9f},{lat:.9f},0" for lon, lat in corners)

    def side(name, corners):
        return f"<{name}><LinearRing><coordinates>\n{text(corners)}\n</coordinates></LinearRing></{name}>"

    outer, hole = (
        side(n, c) for n, c in zip(("outerBoundaryIs", "innerBoundaryIs"), HOLED["coordinates"], strict=True)
    )
    parts = "".join(f"<Polygon>{side('outerBoundaryIs', rings[0])}</Polygon>" for rings in TWO["coordinates"])
    path.write_text(
        '<?xml version="1.0"?><kml xmlns="http://www.opengis.net/kml/2.2"><Document>'
        f"<Placemark><name>library</name><Polygon>{outer}{hole}</Polygon></Placemark>"
        f"<Placemark><name>under 26</name><MultiGeometry>{parts}</MultiGeometry></Placemark>"
        "<Placemark><name>a point</name><Point><coordinates>34.8,31.2</coordinates></Point></Placemark>"
        "</Document></kml>"
    )
    return path


def write_wkt(path):
    def text(rings):
        return (
            "(" + ", ".join("(" + ", ".join(f"{lon:.9f} {lat:.9f}" for lon, lat in ring) + ")" for ring in rings) + ")"
        )

    path.write_text(
        f'WKT,name\n"POLYGON {text(HOLED["coordinates"])}",library\n'
        f'"MULTIPOLYGON ({", ".join(map(text, TWO["coordinates"]))})",under 26\n"POINT (34.8 31.2)",a point\n'
    )
    return path


@pytest.mark.parametrize("name", ["area", "Name", "TITLE", "label", "id"])
def test_polygons_with_holes_and_of_several_parts_are_read_from_geojson(tmp_path, name):
    features = [feature(HOLED, **{name: "library"}), feature(TWO, **{name: "under 26"}), feature(None, name="nothing")]
    path = tmp_path / "areas.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    areas = find_areas(None, tmp_path, FRAME, SITE)
    assert areas.name_of(POINTS) == NAMES
    assert areas.source == "2 polygons of areas.geojson"


def test_polygons_without_a_name_are_numbered(tmp_path):
    path = tmp_path / "mine.geojson"
    path.write_text(json.dumps(feature(HOLED, colour="red")))
    assert find_areas(path, None, FRAME, SITE).name_of(POINTS[1:2]) == ["area 1"]


@pytest.mark.parametrize(("name", "write"), [("areas.kml", write_kml), ("my-maps.csv", write_wkt)])
def test_polygons_of_a_map_are_read(tmp_path, name, write):
    assert find_areas(write(tmp_path / name), None, FRAME, SITE).name_of(POINTS) == NAMES


PHOTOS = pd.DataFrame({"photo_id": ["p1", "p2", "p3"], "file": ["a/IMG_1.HEIC", "a/IMG_2.HEIC", "b/IMG_3.HEIC"]})


def test_a_list_names_the_area_of_each_photo(tmp_path, caplog):
    path = tmp_path / "list.csv"
    path.write_text("image_name;area\nIMG_1;library\na_IMG_2.heic;under 26\nnone.jpg;x\n")
    areas = find_areas(path, None, FRAME, SITE)
    assert areas.names(PHOTOS, np.zeros((3, 2))) == ["library", "under 26", "elsewhere"]
    path.write_text("file,area\nnone.jpg,x\n")
    assert find_areas(path, None, FRAME, SITE).names(PHOTOS, np.zeros((3, 2))) == ["elsewhere"] * 3
    assert "names none of these 3 photos" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"type": "FeatureCollection", "features": []}', "holds no polygons"),
        ('{"type": "FeatureCollection"', "line 1: not valid JSON"),
        ('{"type": "Polygon", "coordinates": [[[34.8, 31.2], [34.9, 31.2]]]}', "'area 1' has 2 corners"),
        ('{"type": "Polygon", "coordinates": [[[0.1, 0.1], [0.2, 0.1], [0.1, 0.2]]]}', "another site"),
        ('{"type": "Polygon", "coordinates": [[[640000, 3450000], [1, 2], [3, 4]]]}', "out of range.*WGS 84"),
        ('{"type": "Polygon", "coordinates": [[[34.8], [1], [3]]]}', "expected a GeoJSON"),
        ("<kml><Placemark><Polygon><outerBoundaryIs><coordinates>a b</coordinates></outerBoundaryIs></Polygon>"
         "</Placemark></kml>", "line 1: area 'area 1': expected coordinates as longitude,latitude"),
        ('WKT,name\n"POLYGON ((34 31, 35",x\n', "line 2: .*expected POLYGON"),
    ],
)  # fmt: skip
def test_bad_polygons_are_one_clear_error(tmp_path, text, message):
    (tmp_path / "areas").write_text(text)
    with pytest.raises(DatasetError, match=message):
        find_areas(tmp_path / "areas", None, FRAME, SITE)
