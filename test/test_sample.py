"""The sample in the repository: what its photos and its drives hold."""

import csv
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
import pytest
from PIL import ExifTags, Image
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore

from training.synthetic import capture, drive, generate, site

SAMPLE = Path(__file__).parents[1] / "sample"
MAX_SAMPLE_BYTES = 15 * 1024 * 1024
MAX_BUNDLE_BYTES = 16_000_000


@pytest.fixture(scope="module")
def plan():
    return generate.plan_photos()


@pytest.fixture(scope="module")
def truth():
    with (SAMPLE / "truth.csv").open(encoding="utf-8") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def messages():
    return messages_of(drive.DRIVE)


def messages_of(day):
    """As `messages_in`, of the bag of a drive."""
    return messages_in(day.name)


def messages_in(name):
    """Messages of a drive by topic: (time of recording in ns, message)."""
    types = get_typestore(Stores.ROS2_HUMBLE)
    found = {}
    with Reader(SAMPLE / name) as reader:
        for connection, time_ns, data in reader.messages():
            message = types.deserialize_cdr(data, connection.msgtype)
            found.setdefault(connection.topic, []).append((time_ns, message))
    return found


def stamp_s(message) -> float:
    return message.header.stamp.sec + message.header.stamp.nanosec * 1e-9


def test_the_sample_keeps_to_its_size():
    sizes = {file: file.stat().st_size for file in SAMPLE.rglob("*") if file.is_file()}
    of_bundle = sum(size for file, size in sizes.items() if SAMPLE / "bundle" in file.parents)
    assert of_bundle <= MAX_BUNDLE_BYTES and sum(sizes.values()) - of_bundle <= MAX_SAMPLE_BYTES


def test_the_sample_is_what_this_code_would_make(plan, truth):
    """A changed route or seed without a new sample would leave pictures that belong to other places."""
    assert list(truth) == [photo.file for photo in plan]
    for photo in plan:
        latitude_deg, longitude_deg = site.SITE_FRAME.to_geodetic(photo.view.position_m[:2])
        assert float(truth[photo.file]["latitude_deg"]) == pytest.approx(latitude_deg, abs=1e-7)
        assert float(truth[photo.file]["longitude_deg"]) == pytest.approx(longitude_deg, abs=1e-7)
        assert truth[photo.file]["area"] == site.area_of(photo.view.position_m)


def test_the_areas_file_holds_the_five_polygons():
    with (SAMPLE / "areas.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(dict.fromkeys(row["area"] for row in rows)) == list(site.AREAS)
    corner = site.SITE_FRAME.to_local(float(rows[0]["latitude_deg"]), float(rows[0]["longitude_deg"]))
    assert corner == pytest.approx(site.AREAS["library"][0], abs=0.01)


def test_the_photos_carry_place_time_direction_and_camera(plan):
    pillow_heif.register_heif_opener()
    for photo in plan[::25]:
        with Image.open(SAMPLE / "photos" / photo.file) as image:
            exif = image.getexif()
        gps, details = exif.get_ifd(ExifTags.IFD.GPSInfo), exif.get_ifd(ExifTags.IFD.Exif)
        measured = site.SITE_FRAME.to_local(_degrees(gps, 1, 2), _degrees(gps, 3, 4))
        assert measured == pytest.approx(photo.measured_m, abs=0.01)
        assert float(gps[ExifTags.GPS.GPSHPositioningError]) == pytest.approx(photo.accuracy_m, abs=1e-3)
        assert float(gps[ExifTags.GPS.GPSImgDirection]) == pytest.approx(photo.measured_heading_deg, abs=0.01)
        taken = f"{details[ExifTags.Base.DateTimeOriginal]}{details[ExifTags.Base.OffsetTimeOriginal]}"
        assert datetime.strptime(taken, "%Y:%m:%d %H:%M:%S%z") == photo.captured_at
        assert exif[ExifTags.Base.Model] == photo.session.camera.model


def _degrees(gps, reference_tag: int, value_tag: int) -> float:
    degrees, minutes, seconds = (float(part) for part in gps[value_tag])
    return (degrees + minutes / 60 + seconds / 3600) * (-1 if gps[reference_tag] in "SW" else 1)


def test_portraits_stand_upright_when_opened(plan):
    pillow_heif.register_heif_opener()
    portraits = [photo for photo in plan if photo.portrait]
    assert 0.1 * len(plan) < len(portraits) < 0.3 * len(plan)
    sky, ground = [], []
    for photo in portraits[:12]:
        with Image.open(SAMPLE / "photos" / photo.file) as image:
            assert image.size == (capture.SHORT_SIDE_PX, capture.LONG_SIDE_PX)
            picture = np.asarray(image.convert("RGB"), float)
        blueness = picture[..., 2] - picture[..., 0]
        sky.append(blueness[:40].mean())
        ground.append(blueness[-40:].mean())
    assert np.mean(sky) > np.mean(ground)


def test_photos_are_neither_black_nor_blown_out(plan):
    pillow_heif.register_heif_opener()
    for photo in plan[::20]:
        with Image.open(SAMPLE / "photos" / photo.file) as image:
            grey = np.asarray(image.convert("L"), float)
        assert 25 < grey.mean() < 215, photo.file
        assert grey.std() > 12, photo.file


def test_some_photos_are_for_the_review_list(plan):
    wrong = [photo for photo in plan if photo.accuracy_m > 20.0]
    off_m = [np.hypot(*np.subtract(photo.measured_m, photo.view.position_m[:2])) for photo in wrong]
    assert 3 <= len(wrong) <= 30
    assert min(off_m) > 20.0


def test_the_drive_has_its_topics_with_increasing_stamps(messages):
    assert {"/camera/image_raw/compressed", "/gps/fix", "/odom", "/ground_truth/fix", "/tf_static"} <= set(messages)
    for topic in set(messages) - {"/tf_static"}:
        assert np.all(np.diff([time_ns for time_ns, _ in messages[topic]]) > 0), topic
        assert np.all(np.diff([stamp_s(message) for _, message in messages[topic]]) > 0), topic
        assert all(stamp_s(message) * 1e9 <= time_ns + 1e3 for time_ns, message in messages[topic]), topic


def test_the_receiver_is_lost_under_the_roof_for_about_forty_seconds(messages):
    fixes = [message for _, message in messages["/gps/fix"]]
    good = [stamp_s(fix) for fix in fixes if fix.status.status >= 0]
    assert 35.0 < max(np.diff(good)) < 45.0
    assert any(fix.status.status == -1 and np.isnan(fix.latitude) for fix in fixes)
    assert max(np.diff([stamp_s(fix) for fix in fixes])) > 20.0, "at last it says nothing at all"
    sigma_m = [np.sqrt(fix.position_covariance[0]) for fix in fixes if fix.status.status >= 0]
    assert min(sigma_m) < 2.0 and max(sigma_m) > 6.0


@pytest.mark.parametrize("day", drive.DRIVES, ids=lambda day: day.name)
def test_the_receivers_covariance_is_honest(day):
    motion = drive.drive_motion()
    fixes = drive.gps_fixes(day, motion)
    normalised = (fixes.measured_m - motion.at(fixes.times_s).positions_m) / fixes.sigma_m[:, None]
    assert 0.5 < np.nanmean(normalised**2) < 1.7


def test_ground_truth_covers_every_image_of_the_drive(messages):
    true_s = [stamp_s(message) for _, message in messages["/ground_truth/fix"]]
    image_s = [stamp_s(message) for _, message in messages["/camera/image_raw/compressed"]]
    assert true_s[0] <= image_s[0] and image_s[-1] <= true_s[-1] + 0.1
    areas = {
        site.area_of(site.SITE_FRAME.to_local(message.latitude, message.longitude))
        for _, message in messages["/ground_truth/fix"]
    }
    assert areas == set(site.AREAS)


def test_the_drives_images_are_readable_pictures(messages):
    for _, message in messages["/camera/image_raw/compressed"][::30]:
        picture = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape == (240, 320, 3)
        assert 25 < picture.mean() < 215
        assert message.header.frame_id == "camera_optical_frame"


def test_the_drive_of_two_cameras_is_the_drive_with_a_second_topic_of_the_same_stamps(messages):
    both = messages_in(generate.TWO_CAMERAS)
    rear = drive.SECOND_CAMERAS["rear"]
    assert set(both) == {*messages, rear.topic}
    front = [message for _, message in messages[drive.FRONT.topic]][:: drive.TWO_CAMERAS_EVERY]
    kept = [message for _, message in both[drive.FRONT.topic]]
    assert [stamp_s(message) for message in kept] == [stamp_s(message) for message in front]
    assert all(np.array_equal(one.data, other.data) for one, other in zip(kept, front, strict=True))
    seen = [message for _, message in both[rear.topic]]
    assert [stamp_s(message) for message in seen] == [stamp_s(message) for message in front]
    assert {message.header.frame_id for message in seen} == {rear.frame_id}
    for message in seen[::10]:
        picture = cv2.imdecode(np.asarray(message.data), cv2.IMREAD_GRAYSCALE)
        assert picture.shape == (240, 320) and 25 < picture.mean() < 215 and picture.std() > 12
    mounts = {own.child_frame_id for _, message in both["/tf_static"] for own in message.transforms}
    assert {drive.FRONT.frame_id, rear.frame_id} <= mounts
