"""Tables of positions as spreadsheets, map programs and exiftool write them: read, or one line of what was found."""

import unicodedata

import pytest
from compatibility import Area, condition
from photo_helpers import write_photo
from table_helpers import LATITUDE, LONGITUDE, Folder

from campus_visual_gps.errors import DatasetError

HERE = {"a.jpg": (LATITUDE, LONGITUDE), "b.jpg": (31.262, 34.8025)}
NEW = "2026-11-26"
PLAIN = "file,latitude,longitude\na.jpg,31.262145,34.802533\nb.jpg,31.262,34.8025\n"
SEMICOLONS = PLAIN.replace(",", ";").replace(".jpg", "_jpg").replace(".", ",").replace("_jpg", ".jpg")


def row(content, text, outcome="read", since="2026-11-26"):
    return pytest.param(content, marks=condition(Area.TABLES, f"label table: {text}", outcome, since=since), id=text)


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path, "a.jpg", "b.jpg")


@pytest.mark.parametrize(
    "content",
    [
        row(PLAIN, "comma-separated UTF-8", since="2026-11-22"),
        row("a.jpg, 31.262145, 34.802533\nb.jpg, 31.262, 34.8025\n", "without a header line", since="2026-11-22"),
        row(PLAIN.replace(",", ";"), "semicolons"),
        row(SEMICOLONS, "semicolons and decimal commas"),
        row("sep=;\r\n" + SEMICOLONS, "first line sep=; of Excel"),
        row(PLAIN.replace(",", "\t"), "tabs"),
        row(PLAIN.replace(",", "|"), "vertical bars"),
        row(
            'file,latitude,longitude\n"a.jpg","31,262145","34,802533"\nb.jpg,"31,262","34,8025"\n',
            "quoted decimal commas",
        ),
        row(PLAIN.replace("\n", "\r"), "carriage returns alone as line ends"),
        row(PLAIN.replace("\n", "\r\n"), "CRLF line ends", since="2026-11-22"),
        row("\ufeff" + PLAIN, "UTF-8 with a byte order mark", since="2026-11-22"),
        row(("\ufeff" + PLAIN.replace(",", "\t")).encode("utf-16-le"), "UTF-16 with tabs (Unicode text of Excel)"),
        row(("\ufeff" + PLAIN).encode("utf-16-be"), "UTF-16, big endian"),
        row(PLAIN.encode("utf-16-le"), "UTF-16 without a byte order mark"),
        row(PLAIN.replace("\n", ",,\n"), "empty columns at the end"),
        row(
            "file,latitude,longitude,note\na.jpg,31.262145,34.802533\nb.jpg,31.262,34.8025,x\n",
            "empty cells left out at the end",
        ),
        row(PLAIN.replace("\n", "\n\n  ,,\n"), "blank lines"),
        row("Positions of the campus\n\n" + PLAIN, "title above the header"),
        row(PLAIN.replace("\nb", "\nfile,latitude,longitude\nb"), "header repeated"),
        row(PLAIN.replace("\na", "\n,deg,deg\na"), "row of units under the header"),
        row(
            PLAIN.replace("file,latitude,longitude", '"File Name","Latitude (deg)"," LNG "'),
            "header with blanks, units, capitals",
        ),
        row(PLAIN.replace("file,latitude,longitude", "Datei,Breite,Länge"), "translated header"),
        row(PLAIN.replace("file,latitude,longitude", "tiedosto,lat,lon"), "column of the photos with an unknown name"),
        row(
            PLAIN.replace("file,latitude", "SourceFile,GPSLatitude").replace("a.jpg", "./a.jpg"),
            "exiftool's names of columns",
        ),
        row(PLAIN.replace("a.jpg", "A.JPG"), "other letter case of a file name"),
        row(PLAIN.replace("a.jpg", "a"), "file name without its suffix"),
        row(
            PLAIN.replace("a.jpg", "C:\\Users\\me\\DCIM\\100APPLE\\a.jpg"),
            "Windows path with folders that are not there",
        ),
        row(PLAIN.replace("31.262145", '"31°15\'43.722""N"'), "degrees, minutes, seconds"),
        row(
            PLAIN.replace("31.262145", '31 deg 15\' 43.722"" N').replace("31 deg", '"31 deg').replace("N,", 'N",'),
            "degrees as exiftool prints them",
        ),
        row(PLAIN.replace("31.262145", "31.262145° N"), "degree sign and letter of the hemisphere"),
        row(PLAIN.replace("34.802533", "\u00a034.802533 E"), "no-break space"),
        row(PLAIN.replace("a.jpg,", '="a.jpg",'), 'cells written as ="..."'),
        row('"' + PLAIN.strip().replace("\n", '"\n"') + '"\n', "every line in quotation marks"),
        row(PLAIN.replace("\n", "\r\r\n"), "line ends that were converted twice"),
    ],
)
def test_table_of_every_form_is_read(folder, content):
    assert folder.ingest(content) == HERE


def test_southern_and_western_letters_and_minus_signs_are_the_same_place(folder):
    text = 'file,latitude,longitude\na.jpg,"33°51\'24""S","70°40\'12""W"\nb.jpg,\u221233.8566667,-70.67\n'
    assert folder.ingest(text) == dict.fromkeys(("a.jpg", "b.jpg"), (-33.8566667, -70.67))


def test_hemisphere_in_a_column_of_its_own_is_used(folder):
    text = "SourceFile,GPSLatitude,GPSLatitudeRef,GPSLongitude,GPSLongitudeRef\n"
    assert folder.ingest(text + "a.jpg,33.5,South,70.5,West\nb.jpg,-33.5,S,-70.5,W\n") == dict.fromkeys(
        ("a.jpg", "b.jpg"), (-33.5, -70.5)
    )


TEXT, TWICE = "31.262145", "31.262145,34.802533"
AMBIGUOUS = {
    "decimal commas in a comma-separated table": ("a.jpg,31,262145,34,802533\n", r"line 1: .*decimal commas"),
    "decimal comma in one row of a comma-separated table": (
        PLAIN.replace(TEXT, "31,262145"),
        r"line 2: 4 fields, expected 3",
    ),
    "whole degrees that may be halves of numbers": (
        "file,lat,lon,altitude_m\na.jpg,31,26,34\n",
        r"line 2: .*two meanings",
    ),
    "decimal point that a spreadsheet took for thousands": (
        PLAIN.replace(TEXT, "31.262.145"),
        r"line 2: .*thousands separators",
    ),
    "altitude 1,234": (
        'file,lat,lon,altitude_m\na.jpg,31.2,34.8,"1,234"\n',
        r"line 2: .*may be 1\.234 or 1234",
    ),
    "letter O for east or west": (PLAIN.replace("34.802533", "34.8 O"), r"line 2: .*letter O"),
    "longitude with its letter in the column of latitudes": (PLAIN.replace(TEXT, "34.8 E"), r"line 2: .*swapped"),
    "sign and letter that contradict each other": (PLAIN.replace(TEXT, "-31.2 N"), r"line 2: .*contradict"),
    "latitude and longitude swapped in one row": (
        PLAIN.replace(TWICE, "34.802533,31.262145") + "c.jpg,31.2,34.8\n",
        r"line 2: .*swapped",
    ),
    "latitude and longitude swapped in every row": (
        "file,lat,lon\na.jpg,121.5,31.2\nb.jpg,121.6,31.3\n",
        r"every latitude is beyond 90",
    ),
    "two rows for one photo": (
        PLAIN + "A.JPG,31.2,34.8\n",
        r"line 4: 'A.JPG' is the photo a.jpg, as is 'a.jpg' of line 2",
    ),
    "letters of an encoding that cannot be told": (
        PLAIN.encode().replace(b"a.jpg", b"\xf1\xf2\xf3\xf4.jpg"),
        r"not UTF-8.*save it as CSV UTF-8",
    ),
    "workbook of a spreadsheet named .csv": (b"PK\x03\x04 xl/workbook.xml", r"got a workbook"),
    "old workbook of Excel named .csv": (b"\xd0\xcf\x11\xe0 Excel 97", r"got a workbook of Excel"),
    "table with NUL bytes": (PLAIN.encode().replace(b"\n", b"\0"), r"binary data"),
    "table separated by blanks": (PLAIN.replace(",", " "), r"line 1: missing column .*delimiter comma"),
    "quotation mark without an end": (PLAIN.replace("a.jpg", '"a.jpg'), r"line \d: .*quoted cell"),
    "empty table": ("sep=;\n", r"the table is empty"),
    "row with more cells than the header": (PLAIN + "c.jpg,1,2,3\n", r"line 4: 4 fields, expected 3"),
    "unit other than degrees": (PLAIN.replace("latitude", "Latitude (rad)"), r"missing column latitude_deg"),
}
DAY_ALONE = "file,lat,lon,captured_at\na.jpg,1,2,2025-12-22\n"
AMBIGUOUS["captured_at with a day alone"] = (DAY_ALONE, r"line 2: .*'2025-12-22', expected date and time")
NOTHING_WRITTEN = "one line that names the file and the line; nothing is written"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(*case, marks=condition(Area.TABLES, f"label table: {text}", NOTHING_WRITTEN, since=NEW), id=text)
        for text, case in AMBIGUOUS.items()
    ],
)
def test_table_with_two_meanings_is_one_clear_line(folder, content, message):
    with pytest.raises(DatasetError, match=message) as caught:
        folder.ingest(content)
    assert "table.csv" in str(caught.value) and "\n" not in str(caught.value)
    assert not folder.dataset.exists()


@pytest.mark.parametrize(("written", "stored"), [("NFC", "NFD"), ("NFD", "NFC")])
@condition(Area.TABLES, "file name in the other Unicode form (macOS)", "finds its photo", since="2026-11-26")
def test_composed_and_decomposed_names_are_one_name(tmp_path, written, stored):
    folder = Folder(tmp_path, unicodedata.normalize(stored, "Café/é.jpg"))
    name = unicodedata.normalize(written, "Café/é.jpg")
    assert len(folder.ingest(f"file,lat,lon\n{name},31.2,34.8\n")) == 1


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("Café.jpg", "cp1252"),
        ("Café.jpg", "mac_roman"),
        ("Straße.jpg", "latin-1"),
        ("Žluť.jpg", "cp1250"),
        ("מסלול.jpg", "cp1255"),
        ("тропа.jpg", "cp1251"),
        ("写真.jpg", "cp932"),
        ("caf\udce9.jpg", "utf-8"),
    ],
)
@condition(Area.TABLES, "label table in a code page", "the encoding that spells names of photos", since="2026-11-26")
def test_encoding_is_the_one_that_spells_names_of_photos(tmp_path, name, encoding, caplog):
    folder = Folder(tmp_path, "a.jpg")
    (folder.photos / "a.jpg").rename(folder.photos / name)
    text = f"file,lat,lon\n{name},31.2,34.8\n"
    assert folder.ingest(text.encode(encoding, "surrogateescape")) == {name: (31.2, 34.8)}
    assert "not UTF-8, read as" in caplog.text


def test_western_text_that_names_no_photo_is_read_and_said(folder, caplog):
    folder.ingest(
        PLAIN.replace("\n", ",session\n", 1).replace("5\n", "5,Allée\n").replace("3\n", "3,\n").encode("cp1252")
    )
    assert "read as Windows-1252" in caplog.text


@condition(Area.TABLES, "file name that photos of two folders have", "one line that names both", since="2026-11-26")
def test_name_in_two_folders_is_one_line_with_both(tmp_path):
    folder = Folder(tmp_path, "walk/a.jpg", "ride/a.jpg")
    with pytest.raises(DatasetError, match=r"2 photos are named A.JPG: ride/a.jpg, walk/a.jpg; write the path"):
        folder.ingest("file,lat,lon\nA.JPG,31.2,34.8\n")
    text = "file,lat,lon\nRIDE\\A.JPG,31.2,34.8\n/home/me/walk/a.jpg,31.3,34.9\n"
    assert folder.ingest(text) == {"ride/a.jpg": (31.2, 34.8), "walk/a.jpg": (31.3, 34.9)}


@condition(Area.TABLES, "label table with rows at 0, 0", "these photos are rejected", since="2026-11-26")
def test_rows_without_a_fix_are_rejected_and_stop_nothing(folder):
    assert folder.ingest("file,lat,lon,altitude_m\na.jpg,0,0,0\nb.jpg,31.262,34.8025,300\n") == {"b.jpg": HERE["b.jpg"]}
    assert folder.rejected()["a.jpg"].startswith("position 0, 0")


@condition(Area.TABLES, "label table without rows", "said in one line", since="2026-11-26")
def test_table_without_rows_is_said(folder, caplog):
    caplog.set_level("INFO", logger="training")
    with pytest.raises(DatasetError, match="none of 2 photos can be used"):
        folder.ingest("file,lat,lon\n")
    assert "table.csv: no rows below the header" in caplog.text


@condition(Area.TABLES, "label whose swapped position is that of the EXIF", "one line", since="2026-11-26")
def test_table_with_swapped_columns_is_told_by_the_exif(tmp_path):
    folder = Folder(tmp_path, "a.jpg")
    write_photo(folder.photos / "b.jpg", 1)
    with pytest.raises(DatasetError, match=r"line 2: .* of b\.jpg are swapped: its EXIF"):
        folder.ingest("file,lat,lon\nb.jpg,34.8,31.26\n")


@condition(Area.TABLES, "label table with three decimals or fewer", "used; said in one line", since="2026-11-26")
def test_positions_that_a_spreadsheet_rounded_are_said(folder, caplog):
    folder.ingest("file,lat,lon\na.jpg,31.26,34.80\nb.jpg,31.262,34.803\n")
    assert "table.csv: no position has more than three decimals (100 m)" in caplog.text
    caplog.clear()
    folder.ingest(PLAIN)
    assert "decimals" not in caplog.text


def test_altitude_with_a_point_is_ambiguous_beside_decimal_commas(folder):
    with pytest.raises(DatasetError, match=r"line 2: .*'1\.234' may be 1,234 or 1234"):
        folder.ingest("file;lat;lon;altitude_m\na.jpg;31,2;34,8;1.234\n")


def test_exiftool_table_with_two_names_of_the_photo_is_read(folder):
    text = "SourceFile,FileName,Directory,GPSLatitude,GPSLongitude\n./a.jpg,a.jpg,.,31.262145,34.802533\n"
    assert folder.ingest(text) == {"a.jpg": HERE["a.jpg"]}


def test_what_is_not_ordinary_is_said_in_one_line(folder, caplog):
    caplog.set_level("INFO", logger="training")
    folder.ingest("Title\n" + SEMICOLONS + ";;\n")
    assert "table.csv: semicolon-separated, decimal commas, lines above the header skipped: 1" in caplog.text
