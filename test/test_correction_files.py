"""The files of corrections/: tables and maps of any program, and ids that a spreadsheet took for numbers."""

import json
import zipfile

import pandas as pd
import pytest
from compatibility import Area, condition

from campus_visual_gps.errors import DatasetError
from training.photos.corrections import apply_corrections
from training.photos.manifest import PHOTO_COLUMNS, read_labels
from training.photos.tables import write_table

IDS = {"a.jpg": "p0000000000000001", "walk/b.jpg": "pabcdefabcdefabcd", "ride/b.jpg": "p00000000000000aa"}
MOVED = (31.2622, 34.8027)


def make_dataset(tmp_path, ids=IDS):
    """A data set of photos that are all at 31.262, 34.8025, without their images."""
    rows = [
        dict.fromkeys(PHOTO_COLUMNS, "x") | {"photo_id": photo_id, "file": file, "night": pd.NA, "captured_at": ""}
        for file, photo_id in ids.items()
    ]
    numbers = {name: 1.0 for name, kind in PHOTO_COLUMNS.items() if "number" in kind}
    numbers |= {"latitude_deg": 31.262, "longitude_deg": 34.8025, "width_px": 4, "height_px": 3}
    table = pd.DataFrame(rows).assign(**numbers)
    (tmp_path / "corrections").mkdir()
    write_table(tmp_path / "photos.csv", table[list(PHOTO_COLUMNS)])
    return tmp_path


@pytest.fixture
def dataset(tmp_path):
    return make_dataset(tmp_path)


def write(dataset, name, content):
    path = dataset / "corrections" / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def moved(dataset):
    """Positions of the photos that were moved, by file."""
    apply_corrections(dataset)
    rows = read_labels(dataset)
    rows = rows[rows["moved_m"] > 0]
    return {row.file: (row.latitude_deg, row.longitude_deg) for row in rows.itertuples()}


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
POLYGON = "<Placemark><name>Yard</name><Polygon><outerBoundaryIs><LinearRing><coordinates>34,31 35,32 34,31</coordinates></LinearRing></outerBoundaryIs></Polygon></Placemark>"


def row(name, content, text, outcome="the points are used"):
    return pytest.param(name, content, marks=condition(Area.TABLES, text, outcome, since="2026-11-26"), id=text)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        row("m.kml", kml(point()), "corrections as KML"),
        row("m.KML", kml("<Folder><name>1</name><Folder>" + point() + "</Folder></Folder>"), "KML with folders"),
        row("m.kml", kml(point("<![CDATA[a.jpg]]>")), "KML with names in CDATA"),
        row("m.kml", kml(point(), "<kml>"), "KML without a namespace"),
        row("m.kml", kml(point() + "<gx:Tour><name>t</name></gx:Tour>"), "KML with prefixes that it does not declare"),
        row("m.kml", kml(point().replace("Placemark", "kml:Placemark"), '<kml xmlns:kml="http://www.opengis.net/kml/2.2">'), "KML with prefixes"),
        row("m.kml", kml(LINE + point() + POLYGON), "My Maps layer with lines and polygons", ),
        row("m.kml", kml(point("Punkt 1", data(Datei="a.jpg"))), "My Maps layer with translated column names"),
        row("m.kml", kml(point("1", data(photo_id=IDS["a.jpg"]))), "My Maps layer with the photo_id in its data"),
        row("m.kml", kml(point("1", "<description><![CDATA[session: x<br>Datei: a.jpg<br>]]></description>")), "My Maps layer with data in the description"),
        row("m.kml", kml(point(inner=data(latitude_deg="31.262", longitude_deg="34.8025"))), "My Maps layer with the old position in its data"),
        row("m.csv", 'WKT,nom,description\n"POINT (34.8027 31.2622)",a.jpg,\n', "My Maps table with translated column names"),
        row("m.csv", 'WKT,名前\n"POINT (34.8027 31.2622)",a.jpg\n"LINESTRING (34 31, 35 32)",Way\n', "My Maps table with a line"),
        row("m.csv", 'WKT,name\n"SRID=4326;POINT ZM (34.8027 31.2622 0 0)",a.jpg\n', "WKT with SRID and more dimensions"),
        row("m.gpx", '<?xml version="1.0"?><gpx xmlns="http://www.topografix.com/GPX/1/1"><wpt lat="31.2622" lon="34.8027"><name>a.jpg</name></wpt><trk><name>t</name></trk></gpx>', "corrections as GPX waypoints"),
        row("m.geojson", json.dumps({"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {"file": "a.jpg", "n": None}, "geometry": {"type": "Point", "coordinates": [34.8027, 31.2622]}}, {"type": "Feature", "properties": {"name": "way"}, "geometry": {"type": "LineString", "coordinates": [[34, 31], [35, 32]]}}]}), "corrections as GeoJSON"),
        row("m.txt", ("\ufeffphoto_id\tlatitude\tlongitude\r\n" + IDS["a.jpg"] + "\t31,2622\t34,8027\r\n").encode("utf-16-le"), "corrections as Unicode text of Excel", "read"),
        row("m.tsv", "file\tlat\tlon\na.jpg\t31.2622\t34.8027\n", "corrections with tabs", "read"),
        row("m.csv", "photo_id;file;latitude_deg;longitude_deg;decision;;\n;A.JPG;31,2622;34,8027;LABEL;;\n", "corrections with semicolons and decimal commas", "read"),
        row("m.csv", 'file,lat,lon\na.jpg,"31°15\'43.92""N","34°48\'9.72""E"\n', "corrections in degrees, minutes, seconds", "read"),
    ],
)  # fmt: skip
def test_file_of_corrections_of_every_kind_is_read(dataset, name, content):
    write(dataset, name, content)
    assert moved(dataset) == {"a.jpg": pytest.approx(MOVED, abs=1e-9)}
    assert read_labels(dataset)["label_source"][0] == name


@condition(Area.TABLES, "KMZ with several layers", "all points are used", since="2026-11-26")
def test_all_layers_of_a_kmz_are_read(dataset):
    with zipfile.ZipFile(dataset / "corrections" / "map.kmz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("doc.kml", kml(point("a.jpg")))
        archive.writestr("files/layer.kml", kml(point("walk/b.jpg")))
        archive.writestr("images/icon.png", b"\x89PNG")
    assert set(moved(dataset)) == {"a.jpg", "walk/b.jpg"}


def test_decisions_in_the_data_of_a_point_are_used(dataset):
    write(
        dataset,
        "m.kml",
        kml(point("a.jpg", data(decision="exclude"), "") + point("ride/b.jpg", data(decision="train"))),
    )
    summary = apply_corrections(dataset)
    assert (summary.excluded, summary.to_train, summary.moved) == (1, 1, 1)


def test_lines_and_polygons_are_counted_and_named(dataset, caplog):
    write(dataset, "m.kml", kml(LINE + point() + POLYGON))
    apply_corrections(dataset)
    assert (
        "m.kml: 2 lines, polygons or other shapes are not used, only points: 'Route 66' (line 3), 'Yard'" in caplog.text
    )


UNREAD = ["batch.xlsx", "batch.ods", "1.csv.bak", "1.csv~", "notes.txt", "old.json", "picture.png", "batch.CSV.zip"]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=condition(Area.TABLES, f"corrections/{name}", "named in one line", since="2026-11-26"))
        for name in UNREAD
    ],
)
def test_file_of_another_kind_is_named_and_stops_nothing(dataset, caplog, name):
    write(dataset, name, b"{}" if name == "old.json" else b"some notes, of mine")
    write(dataset, "0.csv", "file,lat,lon\na.jpg,31.2622,34.8027\n")
    assert len(moved(dataset)) == 1
    assert [line for line in caplog.messages if f"corrections/{name}: not read: " in line]


@condition(Area.TABLES, "lock files and hidden files in corrections/", "passed over", since="2026-11-26")
def test_hidden_files_are_passed_over_in_silence(dataset, caplog):
    for name in (".DS_Store", ".~lock.1.csv#", "~$batch.xlsx", "._1.csv", "Thumbs.db", "desktop.ini"):
        write(dataset, name, b"\0\1")
    (dataset / "corrections" / "older").mkdir()
    assert moved(dataset) == {}
    assert caplog.messages == [
        f"{dataset / 'corrections' / 'older'}: not read: a folder; move its files into corrections/"
    ]


def test_map_that_was_added_makes_the_labels_stale(dataset):
    apply_corrections(dataset)
    write(dataset, "m.kml", kml(point()))
    with pytest.raises(DatasetError, match="run `apply-corrections"):
        read_labels(dataset)


def error(name, content, message, text):
    outcome = "one line that names the place; the last labels stay"
    return pytest.param(
        name, content, message, marks=condition(Area.TABLES, text, outcome, since="2026-11-26"), id=text
    )


LINK = "<NetworkLink><name>x</name><Link><href>https://www.google.com/maps/d/kml?mid=1</href></Link></NetworkLink>"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        error("m.kml", kml(LINK), r"only a link to https://www\.google\.com", "KML that is only a network link"),
        error("m.kml", kml(point())[:-9], r"line \d: not valid XML", "KML that was cut"),
        error("m.kml", "<html><body>Sign in</body></html>", r"expected KML, GPX, GeoJSON or a table, got <html>", "web page named .kml"),
        error("m.kml", '<!DOCTYPE x [<!ENTITY a "b">]>' + kml(point())[39:], r"XML with entities", "XML with entities of its own"),
        error("m.kml", kml(point("z.jpg")), r"line 3: no photo 'z\.jpg'", "point of a map that names no photo"),
        error("m.kml", kml(point("b.jpg")), r"line 3: 2 photos are named 'b\.jpg': ride/b\.jpg, walk/b\.jpg", "point that two photos could be"),
        error("m.kml", kml(point(coordinates="34.8")), r"line 3: .*expected longitude,latitude", "point with one coordinate"),
        error("m.kml", kml(point(coordinates="31.2622,34.8027")), r"line 3: moves the label too far", "latitude and longitude swapped in KML"),
        error("m.kmz", b"PK\x03\x04 cut", r"damaged archive", "KMZ that was cut"),
        error("m.geojson", '{"type": "FeatureCollection"', r"line 1: not valid JSON", "GeoJSON that was cut"),
        error("m.csv", 'WKT,name\n"POINT (34.8 31.2",a.jpg\n', r"line 2: .*expected POINT \(longitude latitude\)", "WKT without its end"),
        error("m.csv", "PK\x03\x04", r"a workbook of a spreadsheet", "workbook named .csv in corrections/"),
        error("m.csv", "photo_id,file,decision\n" + IDS["a.jpg"] + ",ride/b.jpg,exclude\n", r"is a\.jpg, file 'ride/b\.jpg' is ride/b\.jpg", "photo_id and file of different photos"),
    ],
)  # fmt: skip
def test_broken_file_is_one_clear_line_and_the_last_labels_stay(dataset, name, content, message):
    apply_corrections(dataset)
    before = (dataset / "labels.csv").read_bytes()
    write(dataset, name, content)
    with pytest.raises(DatasetError, match=message) as caught:
        apply_corrections(dataset)
    assert name in str(caught.value) and "\n" not in str(caught.value)
    assert (dataset / "labels.csv").read_bytes() == before


NUMBERS = {
    "big.jpg": "9942507299e11605",
    "zeros.jpg": "0012345678901234",
    "long.jpg": "7234567890123456",
    "twin1.jpg": "5555551111111111",
    "twin2.jpg": "5555552222222222",
    "short.jpg": "1234e00000000005",
    "other.jpg": "ab34567890123456",
}


def mangled(written, file, text):
    outcome = "finds its photo"
    return pytest.param(written, file, marks=condition(Area.TABLES, text, outcome, since="2026-11-26"), id=text)


@pytest.mark.parametrize(
    ("written", "file"),
    [
        mangled("9.942507299E+11614", "big.jpg", "photo_id that became a number with an exponent"),
        mangled("INF", "big.jpg", "photo_id that became infinite"),
        mangled("12345678901234", "zeros.jpg", "photo_id that lost its leading zeros"),
        mangled("1.23457E+13", "zeros.jpg", "photo_id without leading zeros, to six digits"),
        mangled("7.23457E+15", "long.jpg", "photo_id of digits, to six digits"),
        mangled('"7,23457E+15"', "long.jpg", "photo_id of digits, with a decimal comma"),
        mangled("7234567890123450", "long.jpg", "photo_id that lost its last digit"),
        mangled("123400000", "short.jpg", "photo_id whose exponent was worked out"),
        mangled("5.55555111111111E+15", "twin1.jpg", "photo_id that enough digits tell from another"),
        mangled("AB34567890123456", "other.jpg", "photo_id in capitals"),
        mangled("pab34567890123456", "other.jpg", "photo_id of a newer data set for an older one"),
    ],
)
def test_id_that_a_spreadsheet_changed_finds_its_photo(tmp_path, written, file):
    dataset = make_dataset(tmp_path, {name: photo_id for name, photo_id in NUMBERS.items()})
    write(dataset, "1.csv", f"photo_id,latitude_deg,longitude_deg\n{written},31.2622,34.8027\n")
    assert set(moved(dataset)) == {file}


@condition(Area.TABLES, "photo_id that may be two photos after rounding", "one line with both", since="2026-11-26")
def test_id_that_may_be_two_photos_is_one_line_unless_the_file_decides(tmp_path):
    dataset = make_dataset(tmp_path, NUMBERS)
    write(dataset, "1.csv", "photo_id,file,decision\n5.55555E+15,,exclude\n")
    with pytest.raises(DatasetError, match=r"line 2: 2 photos are named '5\.55555E\+15': twin1\.jpg, twin2\.jpg"):
        apply_corrections(dataset)
    write(dataset, "1.csv", "photo_id,file,decision\n5.55555E+15,twin2.jpg,exclude\n")
    assert apply_corrections(dataset).excluded == 1
    assert "twin2.jpg" not in set(load_labels_without_images(dataset)["file"])


def load_labels_without_images(dataset):
    labels = read_labels(dataset)
    return labels[labels["decision"] != "exclude"]


def test_spreadsheet_error_in_an_id_is_no_photo(tmp_path):
    dataset = make_dataset(tmp_path, NUMBERS)
    write(dataset, "1.csv", "photo_id,decision\n#NAME?,exclude\n")
    with pytest.raises(DatasetError, match=r"line 2: no photo '#NAME\?'"):
        apply_corrections(dataset)
