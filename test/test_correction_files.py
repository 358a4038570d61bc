"""The files of corrections/: tables and maps of any program, and ids that a spreadsheet took for numbers."""

import json
import zipfile

import pytest
from compatibility import Area, condition
from table_helpers import IDS, MOVED, make_dataset, moved, write_batch

from campus_visual_gps.errors import DatasetError
from training.photos.corrections import apply_corrections
from training.photos.manifest import read_labels


@pytest.fixture
def dataset(tmp_path):
    return make_dataset(tmp_path)


def point(name="a.jpg", inner="", coordinates="34.8027,31.2622,0"):
    place = f"<Point><coordinates>\n {coordinates}\n</coordinates></Point>" if coordinates else ""
    return f"<Placemark><name>{name}</name>{inner}{place}</Placemark>"


def kml(body, head='<kml xmlns="http://www.opengis.net/kml/2.2">'):
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}\n<Document><name>Layer</name>{body}</Document></kml>'


def data(**values):
    return (
        "<ExtendedData>"
        + "".join(f'<Data name="{k}"><value>{v}</value></Data>' for k, v in values.items())
        + "</ExtendedData>"
    )


LINE = "<Placemark><name>Route 66</name><LineString><coordinates>34,31 35,32</coordinates></LineString></Placemark>"
POLYGON = (
    "<Placemark><name>Yard</name><Polygon><outerBoundaryIs><LinearRing><coordinates>34,31 35,32 34,31</coordinates>"
    "</LinearRing></outerBoundaryIs></Polygon></Placemark>"
)


WAY = {"type": "LineString", "coordinates": [[34, 31], [35, 32]]}
GEOJSON = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "properties": {"file": "a.jpg", "n": None},
            "geometry": {"type": "Point", "coordinates": [34.8027, 31.2622]},
        },
        {"type": "Feature", "properties": {"name": "way"}, "geometry": WAY},
    ],
}
GPX = (
    '<?xml version="1.0"?><gpx xmlns="http://www.topografix.com/GPX/1/1"><wpt lat="31.2622" lon="34.8027">'
    "<name>a.jpg</name></wpt><trk><name>t</name></trk></gpx>"
)
PREFIXED = '<kml xmlns:kml="http://www.opengis.net/kml/2.2">'
DESCRIBED = "<description><![CDATA[session: x<br>Datei: a.jpg<br>]]></description>"
OLD_POSITION = data(latitude_deg="31.262", longitude_deg="34.8025")
UNICODE_TEXT = f"\ufeffphoto_id\tlatitude\tlongitude\r\n{IDS['a.jpg']}\t31,2622\t34,8027\r\n".encode("utf-16-le")
READ = {
    "KML": ("m.kml", kml(point())),
    "KML with folders": ("m.KML", kml(f"<Folder><name>1</name><Folder>{point()}</Folder></Folder>")),
    "KML with names in CDATA": ("m.kml", kml(point("<![CDATA[a.jpg]]>"))),
    "KML without a namespace": ("m.kml", kml(point(), "<kml>")),
    "KML with prefixes that it does not declare": ("m.kml", kml(point() + "<gx:Tour><name>t</name></gx:Tour>")),
    "KML with prefixes": ("m.kml", kml(point().replace("Placemark", "kml:Placemark"), PREFIXED)),
    "My Maps layer with lines and polygons": ("m.kml", kml(LINE + point() + POLYGON)),
    "My Maps layer with translated column names": ("m.kml", kml(point("Punkt 1", data(Datei="a.jpg")))),
    "My Maps layer of numbered points, and photos with numbers for names": (
        "m.kml",
        kml(point("7", data(Datei="a.jpg"))),
    ),
    "My Maps layer with the photo_id in its data": ("m.kml", kml(point("1", data(photo_id=IDS["a.jpg"])))),
    "My Maps layer with data in the description": ("m.kml", kml(point("1", DESCRIBED))),
    "My Maps layer with the old position in its data": ("m.kml", kml(point(inner=OLD_POSITION))),
    "My Maps table with translated column names": (
        "m.csv",
        'WKT,nom,description\n"POINT (34.8027 31.2622)",a.jpg,\n',
    ),
    "My Maps table with a line": (
        "m.csv",
        'WKT,名前\n"POINT (34.8027 31.2622)",a.jpg\n"LINESTRING (34 31, 35 32)",Way\n',
    ),
    "WKT with SRID and more dimensions": ("m.csv", 'WKT,name\n"SRID=4326;POINT ZM (34.8027 31.2622 0 0)",a.jpg\n'),
    "GPX waypoints": ("m.gpx", GPX),
    "GeoJSON": ("m.geojson", json.dumps(GEOJSON)),
    "Unicode text of Excel": ("m.txt", UNICODE_TEXT),
    "table with tabs": ("m.tsv", "file\tlat\tlon\na.jpg\t31.2622\t34.8027\n"),
    "table with semicolons and decimal commas": (
        "m.csv",
        "photo_id;file;latitude_deg;longitude_deg;decision;;\n;A.JPG;31,2622;34,8027;LABEL;;\n",
    ),
    "table in degrees, minutes, seconds": (
        "m.csv",
        'file,lat,lon\na.jpg,"31°15\'43.92""N","34°48\'9.72""E"\n',
    ),
}


def cases(rows, outcome):
    return [
        pytest.param(*case, marks=condition(Area.TABLES, f"corrections: {text}", outcome, since="2026-11-26"), id=text)
        for text, case in rows.items()
    ]


@pytest.mark.parametrize(("name", "content"), cases(READ, "its points and rows are used"))
def test_file_of_corrections_of_every_kind_is_read(dataset, name, content):
    write_batch(dataset, name, content)
    assert moved(dataset) == {"a.jpg": pytest.approx(MOVED, abs=1e-9)}
    assert read_labels(dataset)["label_source"][0] == name


@condition(Area.TABLES, "KMZ packed by macOS (__MACOSX/._doc.kml)", "its points are used", since="2026-11-26")
def test_what_macos_packs_into_a_kmz_is_passed_over(dataset):
    with zipfile.ZipFile(dataset / "corrections" / "map.kmz", "w") as archive:
        archive.writestr("__MACOSX/._doc.kml", b"\0\x05\x16\x07")
        archive.writestr("doc.kml", kml(point("a.jpg")))
    apply_corrections(dataset, strict=True)
    assert moved(dataset) == {"a.jpg": pytest.approx(MOVED, abs=1e-9)}


@condition(Area.TABLES, "KMZ with several layers", "all points are used", since="2026-11-26")
def test_all_layers_of_a_kmz_are_read(dataset):
    with zipfile.ZipFile(dataset / "corrections" / "map.kmz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("doc.kml", kml(point("a.jpg")))
        archive.writestr("files/layer.kml", kml(point("walk/b.jpg")))
        archive.writestr("images/icon.png", b"\x89PNG")
    assert set(moved(dataset)) == {"a.jpg", "walk/b.jpg"}


def test_decisions_in_the_data_of_a_point_are_used(dataset):
    write_batch(
        dataset,
        "m.kml",
        kml(point("a.jpg", data(decision="exclude"), "") + point("ride/b.jpg", data(decision="train"))),
    )
    summary = apply_corrections(dataset)
    assert (summary.excluded, summary.to_train, summary.moved) == (1, 1, 1)


def test_lines_and_polygons_are_counted_and_named(dataset, caplog):
    write_batch(dataset, "m.kml", kml(LINE + point() + POLYGON))
    apply_corrections(dataset)
    assert "m.kml: lines, polygons and other shapes are not used (2): 'Route 66' (line 3), 'Yard'" in caplog.text


UNREAD = ["batch.xlsx", "batch.ods", "1.csv.bak", "1.csv~", "notes.txt", "old.json", "picture.png", "batch.CSV.zip"]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=condition(Area.TABLES, f"corrections/{name}", "named in one line", since="2026-11-26"))
        for name in UNREAD
    ],
)
def test_file_of_another_kind_is_named_and_stops_nothing(dataset, caplog, name):
    write_batch(dataset, name, b"{}" if name == "old.json" else b"some notes, of mine")
    write_batch(dataset, "0.csv", "file,lat,lon\na.jpg,31.2622,34.8027\n")
    assert len(moved(dataset)) == 1
    assert [line for line in caplog.messages if f"corrections/{name}: not read: " in line]


@condition(Area.TABLES, "lock files and hidden files in corrections/", "passed over", since="2026-11-26")
def test_hidden_files_are_passed_over_in_silence(dataset, caplog):
    for name in (".DS_Store", ".~lock.1.csv#", "~$batch.xlsx", "._1.csv", "Thumbs.db", "desktop.ini"):
        write_batch(dataset, name, b"\0\1")
    (dataset / "corrections" / "older").mkdir()
    assert moved(dataset) == {}
    assert caplog.messages == [
        f"{dataset / 'corrections' / 'older'}: not read: a folder; move its files into corrections/"
    ]


def test_map_that_was_added_makes_the_labels_stale(dataset):
    apply_corrections(dataset)
    write_batch(dataset, "m.kml", kml(point()))
    with pytest.raises(DatasetError, match="run `apply-corrections"):
        read_labels(dataset)


LINK = "<NetworkLink><name>x</name><Link><href>https://www.google.com/maps/d/kml?mid=1</href></Link></NetworkLink>"
TWO_PHOTOS = f"photo_id,file,decision\n{IDS['a.jpg']},ride/b.jpg,exclude\n"
BROKEN_FILES = {
    "KML that is only a network link": ("m.kml", kml(LINK), r"only a link to https://www\.google\.com"),
    "KML that was cut": ("m.kml", kml(point())[:-9], r"line \d: not valid XML"),
    "web page named .kml": ("m.kml", "<html><body>Sign in</body></html>", r"expected KML, GPX.*, got <html>"),
    "XML with entities of its own": (
        "m.kml",
        '<!DOCTYPE x [<!ENTITY a "b">]>' + kml(point())[39:],
        r"XML with entities",
    ),
    "KMZ that was cut": ("m.kmz", b"PK\x03\x04 cut", r"damaged archive"),
    "GeoJSON that was cut": ("m.geojson", '{"type": "FeatureCollection"', r"line 1: not valid JSON"),
    "GeoJSON in Web Mercator": (
        "m.geojson",
        json.dumps(GEOJSON | {"crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::3857"}}}),
        r"coordinates are in .*3857.*WGS 84",
    ),
    "workbook named .csv": ("m.csv", "PK\x03\x04", r"a workbook of a spreadsheet"),
}
BROKEN_ROWS = {
    "point of a map that names no photo": ("m.kml", kml(point("z.jpg")), r"line 3: no photo 'z\.jpg'"),
    "point that two photos could be": (
        "m.kml",
        kml(point("b.jpg")),
        r"line 3: 2 photos are named 'b\.jpg': ride/b\.jpg, walk/b\.jpg",
    ),
    "KML point with decimal commas": ("m.kml", kml(point(coordinates="34,8,31,2")), r"line 3: .*'34,8,31,2'"),
    "GeoJSON feature without numbers": (
        "m.geojson",
        json.dumps(GEOJSON).replace("[34.8027, 31.2622]", "[null, []]"),
        r"feature 1: .*expected a Point",
    ),
    "GeoJSON feature whose point is empty": (
        "m.geojson",
        json.dumps(GEOJSON).replace("[34.8027, 31.2622]", "[]"),
        r"feature 1: .*expected a Point",
    ),
    "GeoJSON feature whose properties are a list": (
        "m.geojson",
        json.dumps(GEOJSON).replace('{"file": "a.jpg", "n": null}', "[1]"),
        r"feature 1: names no photo",
    ),
    "point with one coordinate": ("m.kml", kml(point(coordinates="34.8")), r"line 3: .*expected longitude,latitude"),
    "latitude and longitude swapped in KML": (
        "m.kml",
        kml(point(coordinates="31.2622,34.8027")),
        r"line 3: moves the label too far",
    ),
    "WKT without its end": ("m.csv", 'WKT,name\n"POINT (34.8 31.2",a.jpg\n', r"line 2: .*expected POINT"),
    "photo_id and file of different photos": ("m.csv", TWO_PHOTOS, r"is a\.jpg, file 'ride/b\.jpg' is ride/b\.jpg"),
}
FILE_OUTCOME = "one line that names the place; the last labels stay"
ROW_OUTCOME = "one line that names the place; the row is left out, or with --strict the last labels stay"


@pytest.mark.parametrize(
    ("name", "content", "message"), [*cases(BROKEN_FILES, FILE_OUTCOME), *cases(BROKEN_ROWS, ROW_OUTCOME)]
)
def test_broken_file_is_one_clear_line_and_the_last_labels_stay(dataset, name, content, message):
    apply_corrections(dataset)
    before = (dataset / "labels.csv").read_bytes()
    write_batch(dataset, name, content)
    with pytest.raises(DatasetError, match=message) as caught:
        apply_corrections(dataset, strict=True)
    assert name in str(caught.value) and "\n" not in str(caught.value)
    assert (dataset / "labels.csv").read_bytes() == before
