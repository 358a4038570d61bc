"""Any bytes in the place of a user's table or map: rows, or one line that names the file; never another error."""

import string

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from test_correction_files import GPX, kml, point

from campus_visual_gps.errors import DatasetError
from training.photos.label_table import match_files, read_label_table
from training.photos.map_files import read_feature_rows
from training.photos.photo_names import PhotoNames

NAMES = PhotoNames((name, name) for name in ["a.jpg", "walk/b.jpg", "ride/b.jpg", "é.HEIC"])
CELLS = st.sampled_from(["file", "lat", "lon", "WKT", "name", "a.jpg", "b.jpg", "31,2", "34.8", '"', "x", "", "31°5'N"])
SEPARATORS = st.sampled_from([",", ";", "\t", "|", "\n", "\r", "\r\n", '"', " ", "sep=;\n"])
TABLES = st.lists(CELLS | SEPARATORS, max_size=30).map(lambda parts: "".join(parts).encode("utf-8"))
ENCODED = st.sampled_from(["utf-8-sig", "utf-16", "cp1252", "mac_roman"])
LINE_ENDS = st.sampled_from(["\n", "\r", "\r\n"])
MAPS = [kml(point()), GPX, '{"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": {}}]}']


@st.composite
def cut_maps(draw):
    """A map in which a piece is replaced by another text."""
    text = draw(st.sampled_from(MAPS))
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + 40)))
    return (text[:start] + draw(st.text(string.printable, max_size=5)) + text[end:]).encode("utf-8")


@pytest.mark.parametrize("suffix", ["csv", "kml", "kmz", "geojson"])
def test_any_content_is_rows_or_one_line(tmp_path, suffix):
    path = tmp_path / f"file.{suffix}"

    @settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(TABLES | cut_maps() | st.binary(max_size=60))
    @example(b'{"type": "Feature", "geometry": {"type": "Point", "coordinates": []}}')
    @example(b'{"type": "Feature", "geometry": {"type": "Point", "coordinates": ["x", 1]}, "properties": []}')
    @example(b"file,lat,lon\na.jpg,1e999,2\nb.jpg,1" + 400 * b"0" + b",2\n")
    @example(b"[1, 2]")
    @example(b"<?xml version='1.0' encoding='klingon'?><kml/>")
    @example(b"\xff\xfe<\0k\0")
    def check(content):
        path.write_bytes(content)
        try:
            match_files(read_label_table(path, NAMES), NAMES, path)
            read_feature_rows(path, is_known=NAMES.knows)
        except DatasetError as error:
            assert str(path) in str(error) and "\n" not in str(error)

    check()


@settings(max_examples=100, deadline=None)
@given(st.floats(-90, 90), st.floats(-180, 180), st.sampled_from(";\t|,"), ENCODED, LINE_ENDS)
def test_no_form_of_a_table_changes_a_coordinate(tmp_path_factory, latitude, longitude, delimiter, encoding, end):
    path = tmp_path_factory.getbasetemp() / "coordinates.csv"
    cells = [f"{value:.9f}".replace(".", "," if delimiter != "," else ".") for value in (latitude, longitude)]
    lines = [["Datei", "LAT", "Lon"], ["é.HEIC", *cells]]
    path.write_bytes((end.join(map(delimiter.join, lines)) + end).encode(encoding))
    (label,) = read_label_table(path, NAMES)
    assert (label.latitude_deg, label.longitude_deg) == (round(latitude, 9), round(longitude, 9))
    assert match_files([label], NAMES, path)[0] == {"é.HEIC": label}
