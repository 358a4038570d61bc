"""The review list goes to Google My Maps and comes back as corrections."""

import csv
import io
import re

import pytest
from table_helpers import MOVED, make_dataset, write_batch
from typer.testing import CliRunner

import training.photos.review_export as module
from campus_visual_gps.errors import DatasetError
from training.cli import app
from training.photos.corrections import apply_corrections
from training.photos.manifest import read_labels, read_photos
from training.photos.review_export import export_review
from training.photos.tables import write_table

NAMES = {"a.jpg": "p0000000000000001", "walk/b.jpg": "pabcdefabcdefabcd", "ride/b & c.jpg": "p00000000000000aa"}


@pytest.fixture
def dataset(tmp_path):
    """Three photos whose phone reported 35 m; the list to review has all."""
    make_dataset(tmp_path, NAMES)
    write_table(tmp_path / "photos.csv", read_photos(tmp_path).assign(gps_accuracy_m=35.0))
    assert len(apply_corrections(tmp_path).review) == 3
    return tmp_path


def of_my_maps(csv_text):
    """What My Maps exports of an imported table: the point as WKT, the column of the title first, all others after."""
    rows = list(csv.DictReader(io.StringIO(csv_text)))
    out = io.StringIO()
    writer = csv.DictWriter(out, ["WKT", *rows[0]])
    writer.writeheader()
    for row in rows:
        writer.writerow({"WKT": f"POINT ({row['longitude_deg']} {row['latitude_deg']})"} | row)
    return out.getvalue()


@pytest.mark.parametrize("suffix", [".csv", ".kml"])
def test_a_point_that_is_dragged_comes_back_as_a_correction(dataset, tmp_path, suffix):
    out = tmp_path / f"to-my-maps{suffix}"
    assert export_review(dataset, out).photos == 3
    text = out.read_text(encoding="utf-8")
    assert "images/pabcdefabcdefabcd.jpg" in text
    if suffix == ".csv":
        back = of_my_maps(text).replace("POINT (34.80250000 31.26200000)", f"POINT ({MOVED[1]} {MOVED[0]})", 1)
    else:
        assert "ride/b &amp; c.jpg" in text
        back = re.sub(r"<coordinates>[^<]*", f"<coordinates>{MOVED[1]},{MOVED[0]},0", text, count=1)
    write_batch(dataset, f"reviewed{suffix}", back)
    summary = apply_corrections(dataset, strict=True)
    (batch,) = summary.by_batch
    assert (batch.rows, batch.moved, batch.not_moved) == (3, 1, 2)
    labels = read_labels(dataset)
    (row,) = labels[labels["moved_m"] > 0].to_dict("records")
    assert (row["latitude_deg"], row["longitude_deg"]) == pytest.approx(MOVED, abs=1e-9)
    assert (row["file"], row["gps_accuracy_m"]) == ("a.jpg", 7.0), "the phone's 35 m are not the correction's"
    assert summary.review == ("ride/b & c.jpg", "walk/b.jpg")


def test_decisions_and_accuracies_that_are_filled_in_come_back(dataset, tmp_path):
    export_review(dataset, tmp_path / "list.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "list.csv").read_text(encoding="utf-8"))))
    for row, decision in zip(rows, ["keep", "move_to_training", ""], strict=True):
        row["decision"] = decision
    rows[2]["accuracy_m"] = "3"
    out = io.StringIO()
    writer = csv.DictWriter(out, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    write_batch(dataset, "reviewed.csv", of_my_maps(out.getvalue()))
    assert apply_corrections(dataset, strict=True).review == ()
    labels = read_labels(dataset).set_index("file")
    assert labels["decision"].to_dict() == {"a.jpg": "keep", "ride/b & c.jpg": "train", "walk/b.jpg": "label"}
    assert labels["gps_accuracy_m"].to_dict() == {"a.jpg": 35.0, "ride/b & c.jpg": 35.0, "walk/b.jpg": 3.0}


def test_more_photos_than_a_layer_holds_make_several_files(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ROWS_PER_LAYER", 2)
    files = export_review(dataset, tmp_path / "list.csv").files
    assert [file.name for file in files] == ["list-1.csv", "list-2.csv"]
    assert [len(file.read_text().splitlines()) for file in files] == [3, 2]


def test_another_list_is_exported_and_its_unknown_rows_are_named(dataset, tmp_path):
    (tmp_path / "blind.csv").write_text("photo_id,file,error_m\n,walk_b,90\np0000000000000001,,70\n,x.jpg,60\n")
    done = CliRunner().invoke(
        app,
        ["export-review", str(dataset), "--out", str(tmp_path / "x.kml"), "--photos", str(tmp_path / "blind.csv")],
    )
    assert done.exit_code == 0, done.output
    assert "line 4: no single photo" in done.output and "2 photos: " in done.output
    names = re.findall(r"<Placemark><name>([^<]*)", (tmp_path / "x.kml").read_text())
    assert names == ["walk/b.jpg", "a.jpg"]


def test_a_file_of_the_user_is_not_replaced_without_being_asked(dataset, tmp_path):
    (tmp_path / "list.csv").write_text("mine")
    with pytest.raises(DatasetError, match=r"list\.csv: exists already.*--overwrite"):
        export_review(dataset, tmp_path / "list.csv")
    assert (tmp_path / "list.csv").read_text() == "mine"
    assert export_review(dataset, tmp_path / "list.csv", overwrite=True).photos == 3
    with pytest.raises(DatasetError, match=r"expected a name that ends in \.csv or \.kml"):
        export_review(dataset, tmp_path / "list.xlsx")


def test_an_empty_list_is_one_clear_line(dataset, tmp_path):
    write_batch(dataset, "1.csv", "file,decision\na.jpg,keep\nwalk/b.jpg,keep\nride/b & c.jpg,ambiguous\n")
    apply_corrections(dataset)
    with pytest.raises(DatasetError, match=r"review\.csv: no photo to export"):
        export_review(dataset, tmp_path / "list.csv")


def test_names_that_xml_cannot_hold_still_find_their_photo(tmp_path):
    make_dataset(tmp_path, {"a\x01\udce9.jpg": "p0000000000000001"})
    (tmp_path / "list.csv").write_text("photo_id\np0000000000000001\n")
    export_review(tmp_path, tmp_path / "x.kml", tmp_path / "list.csv")
    text = (tmp_path / "x.kml").read_text(encoding="utf-8")
    write_batch(tmp_path, "x.kml", text.replace("31.26200000", "31.26220000"))
    assert apply_corrections(tmp_path, strict=True).moved == 1
