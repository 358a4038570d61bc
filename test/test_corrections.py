"""`apply-corrections`: files of corrections -> labels.csv, and the list of labels to review."""

import numpy as np
import pytest
from photo_helpers import SITE, make_exif, write_photo
from PIL import ExifTags

from campus_visual_gps.errors import DatasetError
from campus_visual_gps.geodesy import LocalFrame
from training.photos.corrections import apply_corrections
from training.photos.ingest import ingest
from training.photos.manifest import load_dataset, read_photos

HEADER = "photo_id,file,latitude_deg,longitude_deg,decision,note\n"


@pytest.fixture
def dataset(tmp_path):
    """Photos a, b, c and walk/d, ingested; the camera claims 5, 30, 25 and 20 m."""
    accuracies = {"a.jpg": 5.0, "b.jpg": 30.0, "c.jpg": 25.0, "walk/d.jpg": 20.0}
    for seed, (name, accuracy_m) in enumerate(accuracies.items()):
        gps = {ExifTags.GPS.GPSHPositioningError: accuracy_m}
        write_photo(tmp_path / "photos" / name, seed, make_exif(gps=gps))
    ingest(tmp_path / "photos", tmp_path / "dataset", progress=False, workers=1)
    return tmp_path / "dataset"


def write_batch(dataset, name, text):
    path = dataset / "corrections" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def labels_by_file(dataset, **options):
    return load_dataset(dataset, **options).set_index("file")


def moved_position(east_m, north_m):
    latitude, longitude = LocalFrame.at(*SITE).to_geodetic(np.array([east_m, north_m]))
    return float(latitude), float(longitude)


def test_correction_moves_the_label_and_reports_how_far(dataset):
    before = (dataset / "photos.csv").read_bytes()
    (lat_1, lon_1), (lat_2, lon_2) = moved_position(30, 40), moved_position(-10, 0)
    write_batch(dataset, "1.csv", f"{HEADER},a.jpg,{lat_1},{lon_1},,by map\n,b.jpg,{lat_2},{lon_2},label,\n")
    summary = apply_corrections(dataset)
    assert (summary.photos, summary.moved) == (4, 2)
    assert (summary.mean_moved_m, summary.median_moved_m, summary.max_moved_m) == pytest.approx((30, 30, 50), abs=1e-3)
    labels = labels_by_file(dataset)
    assert tuple(labels.loc["a.jpg", ["latitude_deg", "longitude_deg"]]) == (lat_1, lon_1)
    assert labels["label_source"].to_list() == ["1.csv", "1.csv", "exif", "exif"]
    assert labels["moved_m"].to_list() == pytest.approx([50, 10, 0, 0], abs=1e-3)
    assert labels["decision"].to_list() == ["label", "label", "", ""]
    assert (dataset / "photos.csv").read_bytes() == before


def test_photo_is_found_by_id_path_or_bare_name(dataset):
    first = read_photos(dataset)["photo_id"][0]
    lat, lon = moved_position(5, 0)
    rows = f"{first},,{lat},{lon},,\n,walk/d.jpg,{lat},{lon},,\n,b.jpg,{lat},{lon},,\n"
    write_batch(dataset, "1.csv", HEADER + rows)
    assert apply_corrections(dataset).moved == 3


def test_later_batch_wins_and_distance_counts_from_the_photos_own_position(dataset):
    for name, east_m in (("2.csv", 8), ("1.csv", 100)):
        lat, lon = moved_position(east_m, 0)
        write_batch(dataset, name, f"{HEADER},a.jpg,{lat},{lon},,\n")
    assert apply_corrections(dataset).max_moved_m == pytest.approx(8, abs=1e-3)
    assert labels_by_file(dataset).loc["a.jpg", "label_source"] == "2.csv"


def test_my_maps_export_is_read_by_its_wkt_and_name(dataset):
    lat, lon = moved_position(0, 20)
    export = (
        "WKT,name,description,latitude_deg,longitude_deg\n"
        f'"POINT ({lon:.7f} {lat:.7f})",a.jpg,,{SITE[0]},{SITE[1]}\n'
        f'"POINT Z ({SITE[1]:.7f} {SITE[0]:.7f} 0)",b.jpg,"not, touched",{SITE[0]},{SITE[1]}\n'
    )
    write_batch(dataset, "map.csv", "\ufeff" + export)
    summary = apply_corrections(dataset)
    assert summary.moved == 1  # a marker that nobody dragged is no move, though its digits are rounded
    assert summary.max_moved_m == pytest.approx(20, abs=0.02)
    assert labels_by_file(dataset)["label_source"].to_list() == ["map.csv", "exif", "exif", "exif"]


def test_excluded_photo_is_left_out_of_the_data_set(dataset):
    write_batch(dataset, "1.csv", f"{HEADER},a.jpg,,,exclude,a face\n")
    write_batch(dataset, "2.csv", f"{HEADER},a.jpg,,,keep,\n")
    assert apply_corrections(dataset).excluded == 1
    assert list(labels_by_file(dataset).index) == ["b.jpg", "c.jpg", "walk/d.jpg"]
    assert labels_by_file(dataset, include_excluded=True).loc["a.jpg", "decision"] == "exclude"


def test_photo_sent_to_training_stays_there_when_its_label_is_corrected_later(dataset):
    lat, lon = moved_position(5, 0)
    write_batch(dataset, "1.csv", f"{HEADER},a.jpg,,,train,\n")
    write_batch(dataset, "2.csv", f"{HEADER},a.jpg,{lat},{lon},label,\n")
    summary = apply_corrections(dataset)
    assert (summary.to_train, summary.moved) == (1, 1)
    assert labels_by_file(dataset).loc["a.jpg", "decision"] == "train"


def test_keep_uses_no_position(dataset):
    write_batch(dataset, "1.csv", f"{HEADER},a.jpg,31.3,34.9,keep,\n")
    assert apply_corrections(dataset).moved == 0


def test_review_list_has_the_poor_accuracies_worst_first(dataset):
    write_batch(dataset, "1.csv", f"{HEADER},b.jpg,,,keep,\n")
    summary = apply_corrections(dataset)
    assert summary.review == ("c.jpg",)  # 20 m itself is not worse than 20 m, and b is decided
    assert (dataset / "review.csv").read_text().splitlines()[0].startswith("photo_id,file,session,gps_accuracy_m")


def test_correct_without_corrections_keeps_every_label(dataset):
    summary = apply_corrections(dataset)
    assert (summary.moved, summary.max_moved_m, summary.batches) == (0, 0.0, ())


def test_running_again_gives_the_same_file(dataset):
    write_batch(dataset, "1.csv", f"{HEADER},a.jpg,31.2621,34.8026,,\n")
    apply_corrections(dataset)
    before = (dataset / "labels.csv").read_bytes()
    apply_corrections(dataset)
    assert (dataset / "labels.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (",z.jpg,31.2,34.8,,", r"line 2: no photo 'z.jpg' in the data set"),
        (",,31.2,34.8,,", r"line 2: names no photo"),
        (",a.jpg,,,,", r"line 2: gives no position"),
        (",a.jpg,31.2,,,", r"line 2: position is not a number"),
        (",a.jpg,91,34.8,,", r"line 2: position out of range"),
        (
            ",a.jpg,31.2,34.8,maybe,",
            r"line 2: unknown decision 'maybe', expected one of label, keep, ",
        ),
        (",a.jpg,34.8,31.2,,", r"line 2: moves the label too far"),
        (",a.jpg,31.2", r"line 2: 3 fields, expected 6"),
        (",a.jpg,,,keep,\n,a.jpg,,,keep,", r"line 3: repeats the photo of line 2"),
    ],
)
def test_broken_row_is_one_clear_line_and_the_last_labels_stay(dataset, row, message):
    apply_corrections(dataset)
    before = (dataset / "labels.csv").read_bytes()
    write_batch(dataset, "1.csv", HEADER + row + "\n")
    with pytest.raises(DatasetError, match=message) as error:
        apply_corrections(dataset, strict=True)
    assert "1.csv" in str(error.value)
    assert (dataset / "labels.csv").read_bytes() == before


def test_polygon_of_a_map_export_moves_nothing_and_is_named(dataset, caplog):
    write_batch(dataset, "map.csv", 'WKT,name\n"POLYGON ((34 31, 35 31, 35 32, 34 31))",a.jpg\n')
    assert apply_corrections(dataset).moved == 0
    assert "map.csv: lines, polygons and other shapes are not used (1): 'a.jpg' (line 2)" in caplog.text


def test_name_that_several_photos_have_is_an_error(tmp_path):
    for seed, name in enumerate(["walk/a.jpg", "ride/a.jpg"]):
        write_photo(tmp_path / "photos" / name, seed)
    ingest(tmp_path / "photos", tmp_path / "dataset", progress=False, workers=1)
    write_batch(tmp_path / "dataset", "1.csv", f"{HEADER},a.jpg,,,keep,\n")
    with pytest.raises(DatasetError, match=r"2 photos are named 'a.jpg'"):
        apply_corrections(tmp_path / "dataset", strict=True)


def test_table_of_the_users_own_is_not_replaced(dataset):
    (dataset / "labels.csv").write_text("file,latitude,longitude\na.jpg,31,34\n")
    with pytest.raises(DatasetError, match=r"labels\.csv: expected a table"):
        apply_corrections(dataset, strict=True)
    assert (dataset / "labels.csv").read_text().startswith("file,latitude")
