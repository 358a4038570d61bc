"""The procedural campus, and the sample that was made from it."""

import csv
import os
import subprocess
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
import pytest
from PIL import ExifTags, Image
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore

from campus_visual_gps.errors import ConfigError
from training.synthetic import capture, drive, generate, noise, paths, site
from training.synthetic.campus import build_campus
from training.synthetic.light import sun_direction, sunlight
from training.synthetic.render import Renderer, View
from training.synthetic.render_cache import RenderCache, RenderTask, render_missing

REPOSITORY = Path(__file__).parents[1]
SAMPLE = REPOSITORY / "sample"
MAX_SAMPLE_BYTES = 15 * 1024 * 1024
MAX_BUNDLE_BYTES = 16_000_000
TINY = View((-20.0, 18.0, 1.6), 70.0, 0.0, 0.0, 32, 24, 24.0, 5)
NOON = sunlight(datetime.fromisoformat("2025-03-20T13:00:00+01:00"), 3.0)


@pytest.fixture(scope="module")
def scene():
    return build_campus()


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
    """Messages of a drive by topic: (time of recording in ns, message)."""
    types = get_typestore(Stores.ROS2_HUMBLE)
    found = {}
    with Reader(SAMPLE / day.name) as reader:
        for connection, time_ns, data in reader.messages():
            message = types.deserialize_cdr(data, connection.msgtype)
            found.setdefault(connection.topic, []).append((time_ns, message))
    return found


def stamp_s(message) -> float:
    return message.header.stamp.sec + message.header.stamp.nanosec * 1e-9


# The campus


def test_the_five_areas_cover_the_site_without_overlap():
    west, south, east, north = site.BOUNDS_M
    points = np.random.default_rng(0).uniform((west, south), (east, north), (2000, 2))
    holders = [sum(site.inside(polygon, point) for polygon in site.AREAS.values()) for point in points]
    assert len(site.AREAS) == 5
    assert set(holders) == {1}


def test_the_drive_stays_on_the_site_and_clear_of_everything_that_stands_there(scene):
    path = paths.smooth_path(paths.ROUTES["drive"])
    assert all(site.area_of(position) for position in path.positions_m)
    assert min(scene.obstacles.clearance_m(position) for position in path.positions_m) > 0.9
    assert {site.area_of(position) for position in path.positions_m} == set(site.AREAS)


def test_clearance_is_negative_inside_a_circle_and_zero_inside_a_rectangle():
    obstacles = site.Obstacles([(0.0, 0.0, 2.0, 2.0)], [(10.0, 0.0, 1.0)])
    assert obstacles.clearance_m((1.0, 1.0)) == 0.0
    assert obstacles.clearance_m((10.0, 0.5)) == pytest.approx(-0.5)
    assert obstacles.clearance_m((5.0, 1.0)) == pytest.approx(3.0)


def test_meshes_are_finite_and_every_material_has_a_texture(scene):
    for material, meshes in scene.meshes.items():
        assert scene.textures[material].reflectance.dtype == np.uint8
        for mesh in meshes:
            assert np.isfinite(mesh.vertices_m).all()
            assert mesh.faces.max() < len(mesh.vertices_m) == len(mesh.uv)


def test_the_walkway_looks_the_same_in_every_bay(scene):
    """Its two inner facades are one texture repeated; this is what makes it ambiguous."""
    inner = [t.reflectance for name, t in scene.textures.items() if name.startswith("facade")]
    bays = [np.split(t[:, : t.shape[1] // 16 * 16], 16, axis=1) for t in inner if t.shape[1] > 700]
    spread = [np.mean(np.std(np.stack(parts), axis=0)) for parts in bays]
    assert sorted(spread)[1] < 15 < 2 * 15 < max(spread)


def test_the_sun_stands_south_and_high_at_noon_and_east_in_the_morning():
    # Solar noon at 3 degrees west is 13:12 in Central European time; at the equinox the sun stands at 90 - 39.5.
    east, north, up = sun_direction(datetime.fromisoformat("2025-03-21T13:12:00+01:00"))
    assert np.degrees(np.arcsin(up)) == pytest.approx(50.5, abs=1.0)
    assert north < 0 and abs(east) < 0.02
    assert sun_direction(datetime.fromisoformat("2025-03-21T08:30:00+01:00"))[0] > 0.8


# Noise


def test_phone_errors_are_larger_under_a_roof_and_the_claimed_radius_holds_about_68_percent():
    times_s = np.arange(0.0, 4000.0, 5.0)
    roofed = times_s > 2000.0
    fixes = [
        noise.phone_fixes(times_s, np.zeros((len(times_s), 2)), roofed, np.random.default_rng(seed))
        for seed in range(8)
    ]
    error = np.stack([fix.measured_m for fix in fixes])
    usual = np.stack([fix.accuracy_m for fix in fixes]) < 20.0
    assert np.std(error[:, ~roofed][usual[:, ~roofed]]) == pytest.approx(np.hypot(3.0, 1.0), rel=0.1)
    assert np.std(error[:, roofed][usual[:, roofed]]) == pytest.approx(8.06, rel=0.12)
    within = np.hypot(*np.moveaxis(error, -1, 0)) < np.stack([fix.accuracy_m for fix in fixes])
    assert within[usual].mean() == pytest.approx(0.68, abs=0.05)


def test_wrong_fixes_are_rare_far_off_and_say_so():
    times_s = np.arange(0.0, 20000.0, 5.0)
    fixes = noise.phone_fixes(times_s, np.zeros((4000, 2)), np.zeros(4000, bool), np.random.default_rng(3))
    wrong = fixes.accuracy_m > 20.0
    assert 0.01 < wrong.mean() < 0.03
    assert np.hypot(*fixes.measured_m[wrong].T).min() >= 25.0


def test_gauss_markov_noise_forgets_at_its_correlation_time():
    values = noise.gauss_markov(np.arange(40000.0), 30.0, np.random.default_rng(1))
    assert np.std(values) == pytest.approx(1.0, abs=0.1)
    assert np.mean(values[30:] * values[:-30]) == pytest.approx(np.exp(-1), abs=0.08)


def test_odometry_drifts_but_only_slowly():
    motion = drive.drive_motion()
    measured, _ = drive.odometry(drive.DRIVE, motion)
    true = motion.at(measured.times_s)
    error_m = np.hypot(*(measured.positions_m - true.positions_m + true.positions_m[0]).T)
    assert 2.0 < error_m[-1] < 20.0
    assert measured.speed_m_s[0] == 0.0


# The plan of the photos


def test_photos_are_taken_on_several_days_by_two_cameras_by_day_and_by_night(plan):
    assert 550 <= len(plan) <= 700
    assert {photo.session.kind for photo in plan} == {"sun", "overcast", "night"}
    assert len({photo.session.camera.model for photo in plan}) == 2
    assert len({photo.session.start.date() for photo in plan}) == len(capture.SESSIONS) >= 3


def test_every_photo_stands_free_on_the_site_at_the_height_of_a_hand(plan, scene):
    for photo in plan:
        assert site.area_of(photo.view.position_m), photo.file
        assert scene.obstacles.clearance_m(photo.view.position_m) > 0.5, photo.file
        assert 1.5 <= photo.view.position_m[2] <= 1.7


def test_every_area_is_photographed_in_every_session_and_in_many_directions(plan):
    counts = Counter((photo.session.name, site.area_of(photo.view.position_m)) for photo in plan)
    assert len(counts) == len(capture.SESSIONS) * 5
    headings = np.histogram([photo.view.heading_deg for photo in plan], bins=8, range=(0, 360))[0]
    assert headings.min() > 0.05 * len(plan)


def test_capture_times_increase_within_a_session(plan):
    for session in capture.SESSIONS:
        times = [photo.captured_at for photo in plan if photo.session is session]
        assert times == sorted(times)


# Rendering


@pytest.mark.slow
def test_an_image_is_the_same_whatever_the_number_of_threads(scene):
    pytest.importorskip("mitsuba", reason="mitsuba is only needed to make the sample anew")
    one = Renderer(scene, NOON, threads=1).render(TINY, samples=2)
    two = Renderer(scene, NOON, threads=2).render(TINY, samples=2)
    assert one.shape == (24, 32, 3)
    assert one.mean() > 0.01
    np.testing.assert_array_equal(one, two)


def test_an_image_in_the_cache_is_not_rendered_again(tmp_path):
    task, cache, done = RenderTask(TINY, NOON, 0), RenderCache(tmp_path), []
    cache.store(task, np.full((24, 32, 3), 0.5, np.float32))
    render_missing([task], cache, 1, lambda: done.append(1))
    assert done == [1]
    np.testing.assert_array_equal(cache.load(task), 0.5)
    assert not list(tmp_path.glob("*.part"))


def test_rendering_without_mitsuba_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="synthetic"):
        render_missing([RenderTask(TINY, NOON, 0)], RenderCache(tmp_path), 1)


@pytest.mark.slow
def test_the_plan_needs_no_mitsuba():
    code = "import sys, training.synthetic.generate as g; g.plan_photos(); assert 'mitsuba' not in sys.modules"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=REPOSITORY)


# The sample in the repository


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
