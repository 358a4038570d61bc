"""Rows of corrections that cannot be applied are listed and stop nothing; counts of each file; the list to review."""

import pytest
from table_helpers import IDS, MOVED, make_dataset, moved, write_batch
from typer.testing import CliRunner

from campus_visual_gps.errors import DatasetError
from training.cli import app
from training.photos.corrections import REJECTED_CSV, apply_corrections
from training.photos.manifest import read_labels
from training.photos.tables import read_rows

BAD = (
    "name,lat,lon,decision\n"
    "a.jpg,31.2622,34.8027,\n"
    "nowhere.jpg,31.2622,34.8027,\n"
    "b.jpg,31.2622,34.8027,\n"
    "walk/b.jpg,north,34.8027,\n"
    "7.jpg,31.2622\n"
    "ride/b.jpg,34.8027,31.2622,\n"
    "ride_b,31.2622,34.8027,maybe\n"
)
REASONS = [
    ("line 6", "2 fields, expected 4"),
    ("line 3", "no photo 'nowhere.jpg' in the data set; correct the name or delete the row"),
    ("line 4", "2 photos are named 'b.jpg': ride/b.jpg, walk/b.jpg; give the path or the photo_id"),
    ("line 5", "column 'latitude_deg' holds 'north'"),
    ("line 8", "unknown decision 'maybe'"),
    ("line 7", "moves the label too far"),
]


@pytest.fixture
def dataset(tmp_path):
    return make_dataset(tmp_path)


def test_a_row_that_cannot_be_applied_is_listed_and_stops_nothing(dataset, caplog):
    write_batch(dataset, "1.csv", BAD)
    write_batch(dataset, "2.csv", "file,decision\nwalk/b.jpg,keep\n")
    summary = apply_corrections(dataset)
    assert read_labels(dataset)["decision"].to_list() == ["label", "keep", "", ""]
    listed = [(row.text("place"), row.text("reason")) for row in read_rows(dataset / REJECTED_CSV)]
    assert [place for place, _ in listed] == [place for place, _ in REASONS]
    for (place, reason), line, (_, found) in zip(REASONS, summary.not_applied, listed, strict=True):
        assert found.startswith(reason)
        assert line == f"{dataset / 'corrections' / '1.csv'}, {place}: {found}"
    first, second = summary.by_batch
    assert (first.name, first.rows, first.moved, first.unknown, first.invalid) == ("1.csv", 7, 1, 1, 5)
    assert (second.rows, second.decisions["keep"], second.unknown, second.invalid) == (1, 1, 0, 0)
    assert "6 rows of corrections are not applied" in caplog.text


def test_strict_stops_at_the_first_such_row_and_writes_nothing(dataset):
    write_batch(dataset, "1.csv", BAD)
    with pytest.raises(DatasetError, match=r"1\.csv, line 6: 2 fields"):
        apply_corrections(dataset, strict=True)
    assert not (dataset / "labels.csv").exists()


def test_a_row_that_was_mended_leaves_the_list(dataset):
    write_batch(dataset, "1.csv", "file,decision\nnowhere.jpg,keep\n")
    apply_corrections(dataset)
    write_batch(dataset, "1.csv", "file,decision\na.jpg,keep\n")
    assert apply_corrections(dataset).not_applied == ()
    assert read_rows(dataset / REJECTED_CSV) == []


def test_points_of_a_map_that_cannot_be_applied_stop_no_other(dataset):
    def point(name, coordinates):
        place = f"<Point><coordinates>{coordinates}</coordinates></Point>"
        return f"<Placemark><name>{name}</name>{place}</Placemark>"

    points = point("a.jpg", "34.8027,31.2622,0") + point("7.jpg", "34.8027") + point("x.jpg", "34.8,31.2")
    write_batch(dataset, "m.kml", f"<kml><Document>{points}</Document></kml>")
    assert moved(dataset) == {"a.jpg": pytest.approx(MOVED, abs=1e-9)}
    assert len(apply_corrections(dataset).not_applied) == 2


def test_rows_that_contradict_each_other_are_both_left_out_and_equal_ones_count_once(dataset):
    rows = "a.jpg,31.2622,34.8027\nA.JPG,31.2622,34.8027\n7.jpg,31.2622,34.8027\n7.jpg,31.2623,34.8027\n"
    write_batch(dataset, "1.csv", "file,lat,lon\n" + rows)
    summary = apply_corrections(dataset)
    assert summary.moved == 1 and len(summary.not_applied) == 2
    assert "line 4: contradicts line 5 on the same photo" in summary.not_applied[0]


@pytest.mark.parametrize("header", ["filename", "image_name", "name", "file", "photo_id", "Photo ID", "image"])
@pytest.mark.parametrize("axes", ["lat,lon", "latitude,longitude", "latitude_deg,longitude_deg", "Lat,Lng"])
def test_columns_as_people_name_them(dataset, header, axes):
    write_batch(dataset, "1.csv", f"{header},{axes}\nwalk_b.jpeg,31.2622,34.8027\nA,31.2622,34.8027\n")
    assert set(moved(dataset)) == {"a.jpg", "walk/b.jpg"}


def test_what_was_decided_leaves_the_review_list_and_what_was_only_looked_at_stays(dataset):
    path = dataset / "photos.csv"
    lines = path.read_text().splitlines()
    index = lines[0].split(",").index("gps_accuracy_m")
    poor = [",".join([*row.split(",")[:index], "35.0", *row.split(",")[index + 1 :]]) for row in lines[1:]]
    path.write_text("\n".join([lines[0], *poor]) + "\n")
    assert len(apply_corrections(dataset).review) == 4
    exported = "name,lat,lon\n" + "".join(f"{file},31.262,34.8025\n" for file in IDS)
    write_batch(dataset, "1.csv", exported.replace("a.jpg,31.262,34.8025", "a.jpg,31.2622,34.8027"))
    summary = apply_corrections(dataset)
    assert (summary.by_batch[0].moved, summary.by_batch[0].not_moved) == (1, 3)
    assert summary.review == ("7.jpg", "ride/b.jpg", "walk/b.jpg")
    write_batch(dataset, "2.csv", "name,decision\n7.jpg,keep\nride/b.jpg,ambiguous\n")
    assert apply_corrections(dataset).review == ("walk/b.jpg",)


def test_the_command_prints_counts_of_each_file_and_the_rows(dataset):
    write_batch(dataset, "first.csv", BAD)
    done = CliRunner().invoke(app, ["apply-corrections", str(dataset)])
    assert done.exit_code == 0, done.output
    assert "first.csv" in done.output and "line 3: no photo 'nowhere.jpg'" in done.output
    strict = CliRunner().invoke(app, ["apply-corrections", str(dataset), "--strict"])
    assert isinstance(strict.exception, DatasetError)
