"""What is read from a photo's EXIF."""

import math

import pytest
from compatibility import Area, condition
from helpers import shared_data
from photo_helpers import blocks, make_exif, write_photo
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from training.photos.decode import DecodeTask, store_photo
from training.photos.exif import PhotoExif, position_problem, read_exif

GPS = ExifTags.GPS


def read_back(tmp_path, suffix=".jpg", **options) -> PhotoExif:
    path = write_photo(tmp_path / f"photo{suffix}", blocks(), make_exif(**options))
    with Image.open(path) as image:
        return read_exif(image)


@pytest.mark.parametrize("suffix", [".heic", ".jpg", ".png"])
@pytest.mark.parametrize("position", [(31.262, 34.8025), (-33.857, 151.2152), (39.05134, -94.28877), (-22.9, -43.2)])
def test_position_is_read_with_the_sign_of_its_reference(tmp_path, suffix, position):
    exif = read_back(tmp_path, suffix, position=position)
    assert (exif.latitude_deg, exif.longitude_deg) == pytest.approx(position, abs=1e-8)
    assert exif.position_problem == ""


def test_all_fields_of_a_phone_are_read_from_a_heic(tmp_path):
    tags = {
        GPS.GPSAltitude: 260.5,
        GPS.GPSAltitudeRef: b"\0",
        GPS.GPSHPositioningError: 4.75,
        GPS.GPSImgDirection: 348.0,
    }
    exif = read_back(tmp_path, ".heic", gps=tags)
    assert (exif.altitude_m, exif.gps_accuracy_m, exif.heading_deg) == (260.5, 4.75, 348.0)
    assert (exif.captured_at, exif.camera) == ("2025-12-22T09:47:11+02:00", "Acme Phone 1")


@condition(Area.EXIF, "altitude below sea level", "negative", since="2026-11-22")
def test_altitude_below_its_reference_is_negative(tmp_path):
    exif = read_back(tmp_path, gps={GPS.GPSAltitude: 392.0, GPS.GPSAltitudeRef: b"\1"})
    assert exif.altitude_m == -392.0


@condition(Area.EXIF, "no position", "rejected by name, unless a table has one", since="2026-11-22")
def test_photo_without_gps_says_so(tmp_path):
    exif = read_back(tmp_path, position=None)
    assert math.isnan(exif.latitude_deg)
    assert exif.position_problem == "no position in the EXIF"


@condition(Area.EXIF, "position without N/S or E/W", "rejected by name", since="2026-11-22")
@pytest.mark.parametrize("missing", [GPS.GPSLatitudeRef, GPS.GPSLongitudeRef])
def test_position_without_a_reference_is_an_error(tmp_path, missing):
    exif = read_back(tmp_path, gps={missing: None})
    assert math.isnan(exif.latitude_deg)
    assert "reference" in exif.position_problem


@pytest.mark.parametrize(
    ("tag", "value", "problem"),
    [
        (GPS.GPSLatitude, (IFDRational(0, 0), IFDRational(0, 0), IFDRational(0, 0)), "not a number"),
        (GPS.GPSLatitude, (31.0, 15.0), "not a number"),
        (GPS.GPSLatitude, None, "not a number"),
        (GPS.GPSLatitude, (95.0, 0.0, 0.0), "out of range"),
        (GPS.GPSLongitude, (181.0, 0.0, 0.0), "out of range"),
    ],
)
def test_degenerate_position_is_rejected_with_the_reason(tmp_path, tag, value, problem):
    exif = read_back(tmp_path, gps={tag: value})
    assert math.isnan(exif.latitude_deg)
    assert math.isnan(exif.longitude_deg)
    assert problem in exif.position_problem


@condition(Area.EXIF, "position 0, 0", "rejected: the camera had no fix", since="2026-11-22")
def test_null_island_is_a_camera_without_a_fix(tmp_path):
    assert "0, 0" in read_back(tmp_path, position=(0.0, 0.0)).position_problem
    assert position_problem(0.0, 34.8) == ""


@condition(Area.EXIF, "altitude, accuracy or heading 0/0", "unknown; the position is used", since="2026-11-22")
def test_degenerate_numbers_next_to_the_position_count_as_unknown(tmp_path):
    nothing = IFDRational(0, 0)
    tags = {GPS.GPSAltitude: nothing, GPS.GPSHPositioningError: nothing, GPS.GPSImgDirection: nothing}
    exif = read_back(tmp_path, gps=tags)
    assert all(math.isnan(value) for value in (exif.altitude_m, exif.gps_accuracy_m, exif.heading_deg))
    assert exif.position_problem == ""


UTC_STAMP = {GPS.GPSDateStamp: "2025:12:22", GPS.GPSTimeStamp: (7.0, 47.0, 9.24)}


@pytest.mark.parametrize(
    ("taken", "offset", "gps", "expected"),
    [
        ("2025:12:22 09:47:11", "+02:00", UTC_STAMP, "2025-12-22T09:47:11+02:00"),
        ("2025:12:22 09:47:11", "-03:30", {}, "2025-12-22T09:47:11-03:30"),
        ("2025:12:22 09:47:11", "Z", {}, "2025-12-22T09:47:11+00:00"),
        ("2025:12:22 09:47:11", None, UTC_STAMP, "2025-12-22T09:47:11+02:00"),
        (None, None, UTC_STAMP, "2025-12-22T07:47:09+00:00"),
        ("2025:12:22 09:47:11", None, {}, "2025-12-22T09:47:11"),
        ("2025:12:22 09:47:11", "   :  ", {}, "2025-12-22T09:47:11"),
        ("0000:00:00 00:00:00", "+02:00", {}, ""),
        (None, None, {GPS.GPSTimeStamp: (7.0, 47.0, 9.24)}, ""),
    ],
)
def test_capture_time_has_the_offset_of_the_exif_or_else_of_the_gps_or_none(tmp_path, taken, offset, gps, expected):
    assert read_back(tmp_path, taken=taken, offset=offset, gps=gps).captured_at == expected


def test_camera_does_not_repeat_the_make(tmp_path):
    assert read_back(tmp_path, camera=("NIKON", "NIKON COOLPIX")).camera == "NIKON COOLPIX"


@pytest.mark.filterwarnings("error")
def test_damaged_exif_counts_as_missing_without_a_warning(tmp_path):
    path = tmp_path / "photo.jpg"
    blocks().save(path, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff garbage")
    photo = store_photo(DecodeTask(path, "photo.jpg", True, tmp_path / "images"))
    assert photo.exif.position_problem == "no position in the EXIF"
    assert (photo.is_new, photo.reject_reason) == (True, "")


# Read by hand from the raw tags: degrees + minutes / 60 + seconds / 3600, the sign by the reference.
KNOWN_POSITIONS = {
    "heic/IMG_5195.HEIC": (39 + 3 / 60 + 4.84 / 3600, -(94 + 17 / 60 + 19.58 / 3600)),
    "heic/mobile/HMD_Nokia_8.3_5G.heif": (40 + 47 / 60 + 19.266792 / 3600, -(4 + 18.50706 / 3600)),
    "heic/mobile/HMD_Nokia_8.3_5G_hdr.heif": (40 + 39 / 60 + 46.7766 / 3600, -(3 + 45 / 60 + 49.465836 / 3600)),
    "jpg/gps/DSCN0010.jpg": (43 + 28 / 60 + 2.814 / 3600, 11 + 53 / 60 + 6.45599999 / 3600),
    "jpg/gps/DSCN0042.jpg": (43 + 27 / 60 + 52.038 / 3600, 11 + 52 / 60 + 53.322 / 3600),
    "jpg/mobile/HMD_Nokia_8.3_5G.jpg": (60 + 8 / 60 + 48.14 / 3600, 24 + 54 / 60 + 24.38 / 3600),
}


@pytest.mark.shared_data
@pytest.mark.parametrize("file", KNOWN_POSITIONS)
def test_positions_of_real_camera_files_are_read_right(file):
    with Image.open(shared_data("exif_samples", file)) as image:
        exif = read_exif(image)
    assert (exif.latitude_deg, exif.longitude_deg) == pytest.approx(KNOWN_POSITIONS[file], abs=1e-9)


@pytest.mark.shared_data
def test_iphone_heic_gives_accuracy_altitude_direction_and_time():
    with Image.open(shared_data("exif_samples", "heic", "IMG_5195.HEIC")) as image:
        exif = read_exif(image)
    assert exif.gps_accuracy_m == pytest.approx(38.813, abs=1e-3)
    assert exif.altitude_m == pytest.approx(260.5606, abs=1e-3)
    assert exif.heading_deg == pytest.approx(348.0553, abs=1e-3)
    assert exif.captured_at == "2021-04-11T15:47:53-05:00"
    assert exif.camera == "Apple iPhone 11 Pro Max"
