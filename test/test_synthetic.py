"""The procedural campus: its scene, light, noise, drives and photos, and how it is rendered."""

import os
import subprocess
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from campus_visual_gps.errors import ConfigError
from training.replay.bags import open_bag
from training.synthetic import bag, capture, drive, generate, noise, paths, site
from training.synthetic.campus import build_campus
from training.synthetic.light import sun_direction, sunlight
from training.synthetic.render import Renderer, View
from training.synthetic.render_cache import RenderCache, RenderTask, render_missing

REPOSITORY = Path(__file__).parents[1]
TINY = View((-20.0, 18.0, 1.6), 70.0, 0.0, 0.0, 32, 24, 24.0, 5)
NOON = sunlight(datetime.fromisoformat("2025-03-20T13:00:00+01:00"), 3.0)


@pytest.fixture(scope="module")
def scene():
    return build_campus()


@pytest.fixture(scope="module")
def plan():
    return generate.plan_photos()


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


# Two cameras on one robot


def test_a_second_camera_sees_the_same_drive_in_its_own_direction_with_its_own_vibration():
    motion = drive.drive_motion()
    times_s, front = drive.camera_views(drive.DRIVE, motion, every=3)
    for name, turn_deg in (("rear", 180.0), ("left", -90.0)):
        own_s, views = drive.camera_views(drive.DRIVE, motion, drive.SECOND_CAMERAS[name], every=3)
        np.testing.assert_array_equal(own_s, times_s)
        for one, other in zip(front, views, strict=True):
            assert (other.heading_deg - one.heading_deg) % 360.0 == pytest.approx(turn_deg % 360.0)
            assert np.hypot(*np.subtract(one.position_m, other.position_m)[:2]) < 0.5
            assert one.seed != other.seed
    assert front == drive.camera_views(drive.DRIVE, motion)[1][::3], "the images of the front camera are those of drive"


def test_a_bag_of_two_cameras_has_both_topics_and_a_transform_for_each(tmp_path):
    motion, rear = drive.drive_motion(), drive.SECOND_CAMERAS["rear"]
    count = len(drive.camera_views(drive.DRIVE, motion, every=60)[0])
    pictures = dict.fromkeys((drive.FRONT, rear), [np.zeros((24, 32, 3), np.uint8)] * count)
    bag.write_drive(tmp_path / "drive", drive.DRIVE, pictures, motion, every=60)
    mounts = {}
    with open_bag(tmp_path / "drive") as read:
        for camera in (drive.FRONT, rear):
            frames = [message.header.frame_id for _, message in read.contents(camera.topic)]
            assert frames == [camera.frame_id] * count
        for _, message in read.contents("/tf_static"):
            mounts |= {own.child_frame_id: own.transform.rotation for own in message.transforms}
    ahead = {name: _optical_axis(rotation) for name, rotation in mounts.items()}
    np.testing.assert_allclose(ahead[drive.FRONT.frame_id], [1.0, 0.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(ahead[rear.frame_id], [-1.0, 0.0, 0.0], atol=1e-12)


def _optical_axis(rotation) -> np.ndarray:
    """The z axis of a frame that is turned so."""
    x, y, z, w = rotation.x, rotation.y, rotation.z, rotation.w
    return np.array([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)])


def test_an_unknown_second_camera_is_one_clear_line():
    with pytest.raises(ConfigError, match="--second-camera up: expected one of rear, left"):
        generate.drive_bags("up")
    assert [own.name for own in generate.drive_bags()] == ["drive", "survey"]
    assert [own.name for own in generate.drive_bags("rear")] == ["drive", "survey", "drive_two_cameras"]


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
