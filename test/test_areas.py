"""Areas: the user's polygons, or compass cells of the site's outline."""

import numpy as np
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
