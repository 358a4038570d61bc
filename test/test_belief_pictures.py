"""Pictures of posteriors and beliefs: the raster, the strip, the choice of telling images, the animated drive."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from campus_visual_gps.errors import ConfigError, DatasetError
from campus_visual_gps.estimation.grid import LocationGrid
from campus_visual_gps.tracking.calibration import TrackingCalibration
from training.evaluate.posteriors import Posteriors
from training.evaluate.sequence_table import SequenceRun, TrackedBundle
from training.fit.image_sequences import image_sequences
from training.report import moving_picture
from training.report.animation_canvas import AnimationCanvas
from training.report.belief_pictures import belief_sequence, strips_of
from training.report.belief_sequence import BeliefSequence, StoredImage, shown_image, stored_images
from training.report.belief_strip import belief_strip, draw_belief_strip, telling_images
from training.report.drive_animation import animate_drive
from training.report.grid_raster import LOWEST, GridRaster, point_and_sigma

CELL_M, COLUMNS, ROWS = 5.0, 12, 6


def make_grid():
    """A rectangle of cells without its north-eastern corner."""
    east, north = np.meshgrid(np.arange(COLUMNS), np.arange(ROWS))
    cells = np.stack([east.ravel(), north.ravel()], axis=1) * CELL_M
    return LocationGrid(cells[:-1], CELL_M)


GRID = make_grid()


def bump(centre_m, sigma_m=6.0):
    squared = ((GRID.centres_enu_m - centre_m) ** 2).sum(axis=1)
    probs = np.exp(-squared / (2.0 * sigma_m**2))
    return probs / probs.sum()


def drive(tmp_path, count=6):
    """A camera that moves east; images see two places, the tracker the right one; photos are 4:3, stored as squares."""
    truth = np.stack([np.linspace(5.0, 50.0, count), np.full(count, 10.0)], axis=1)
    other = truth[:, ::-1] * (1.0, 0.4)
    posteriors = np.stack([0.4 * bump(a) + 0.6 * bump(b) for a, b in zip(truth, other, strict=True)])
    beliefs = np.stack([bump(a, 4.0) for a in truth])
    paths = []
    for row in range(count):
        rng = np.random.default_rng(row)
        paths.append(tmp_path / f"{row}.png")
        Image.fromarray(rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)).save(paths[-1])
    positions = [np.stack([point_and_sigma(own, GRID)[0] for own in probs]) for probs in (posteriors, beliefs)]
    sigma = np.full(count, 7.0)
    return BeliefSequence(
        times_s=0.5 * np.arange(count),
        image_paths=paths,
        image_aspects=np.full(count, 4 / 3),
        cameras=[""] * count,
        grid=GRID,
        posteriors=posteriors,
        beliefs=beliefs,
        truth_enu_m=truth,
        single_enu_m=positions[0],
        single_sigma_m=sigma,
        tracked_enu_m=positions[1],
        tracked_sigma_m=sigma / 2,
        lost_probability=np.full(count, 0.01),
    )


# The raster


def test_the_raster_has_north_above_and_east_on_the_right_and_knows_its_borders():
    probs = np.zeros(len(GRID))
    probs[0] = 1.0  # the south-western cell
    raster = GridRaster(GRID)
    picture = raster.picture(probs)
    assert picture.shape == (ROWS, COLUMNS)
    assert picture[-1, 0] == 1.0 and np.nansum(picture) == 1.0
    assert np.isnan(picture[0, -1]) and np.isnan(picture).sum() == 1
    assert raster.extent_m == (-2.5, 57.5, -2.5, 27.5)


def test_a_more_probable_cell_is_darker_and_what_is_no_cell_is_white():
    probs = np.full(len(GRID), LOWEST)
    probs[:3] = (0.001, 0.1, 0.8)
    rgb = GridRaster(GRID).rgb(probs)
    brightness = rgb.astype(int).sum(axis=2)
    assert np.all(np.diff(brightness[-1, [5, 0, 1, 2]]) < 0)
    assert rgb[0, -1].tolist() == [255, 255, 255] and brightness[-1, 5] < 3 * 255


def test_an_image_without_a_posterior_is_grey_on_every_cell():
    rgb = GridRaster(GRID).rgb(np.full(len(GRID), np.nan))
    assert np.unique(rgb[rgb < 255]).tolist() == [200]


# The strip


def test_telling_images_are_the_first_the_worst_the_largest_gain_and_the_most_ambiguous_in_order():
    count = 60
    truth = np.full((count, 2), (20.0, 10.0))
    posteriors = np.stack([bump((20.0, 10.0), 3.0)] * count)
    beliefs = posteriors.copy()
    beliefs[50] = bump((50.0, 10.0), 3.0)
    posteriors[30] = bump((0.0, 0.0), 3.0)
    posteriors[40] = np.full(len(GRID), 1.0 / len(GRID))
    expected = [(0, "start"), (30, "largest gain"), (40, "most ambiguous image"), (50, "largest tracked error")]
    assert telling_images(GRID, posteriors, beliefs, truth) == expected


def test_images_without_an_answer_or_without_a_truth_are_not_chosen_as_the_worst():
    count = 40
    truth = np.full((count, 2), (20.0, 10.0))
    posteriors = np.stack([bump((20.0, 10.0))] * count)
    beliefs = posteriors.copy()
    beliefs[10], truth[10] = bump((50.0, 10.0)), np.nan
    posteriors[20] = np.nan
    assert not {10, 20} & {row for row, _ in telling_images(GRID, posteriors, beliefs, truth)}


def test_the_strip_names_errors_and_units_of_each_image(tmp_path):
    sequence = drive(tmp_path, 3)
    images = [sequence.image(row, 64, 48) for row in range(3)]
    truth = sequence.truth_enu_m.copy()
    truth[2] = np.nan
    posteriors = sequence.posteriors.copy()
    posteriors[1] = np.nan
    figure = belief_strip(images, GRID, posteriors, sequence.beliefs, truth, ["start", "middle", "end"])
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[0] == "start" and titles[1].startswith("image alone: error ") and " m, sigma " in titles[1]
    assert titles[4] == "image alone: no answer"
    assert titles[8].startswith("tracked: error unknown, sigma ")
    labels = " ".join(axes.get_xlabel() + axes.get_ylabel() for axes in figure.axes)
    assert "east, m" in labels and "north, m" in labels and "cell of 5 m, %" in labels


def test_the_strip_is_a_png_and_nothing_is_left_of_one_that_cannot_be_written(tmp_path):
    sequence = drive(tmp_path, 1)
    arguments = ([sequence.image(0, 64, 48)], GRID, sequence.posteriors, sequence.beliefs, sequence.truth_enu_m, ["a"])
    draw_belief_strip(tmp_path / "strip.png", *arguments)
    with Image.open(tmp_path / "strip.png") as image:
        assert image.format == "PNG" and min(image.size) > 200
    with pytest.raises(ConfigError, match=r"\.png"):
        draw_belief_strip(tmp_path / "strip.jpg", *arguments)
    with pytest.raises(ValueError, match="as many images"):
        draw_belief_strip(tmp_path / "other.png", *arguments[:-1], ["a", "b"])
    assert not list(tmp_path.glob("*.part")) and not list(tmp_path.glob("other*"))


# The animation


def test_a_stored_square_is_shown_in_the_shape_of_its_original(tmp_path):
    path = drive(tmp_path, 1).image_paths[0]
    assert shown_image(path, 4 / 3, 200, 200).shape == (150, 200, 3)
    assert shown_image(path, 3 / 4, 200, 200).shape == (200, 150, 3)
    assert shown_image(path, float("nan"), 200, 100).shape == (100, 100, 3)


def test_pictures_of_a_drive_have_one_size_and_differ_where_the_maps_do(tmp_path):
    sequence = drive(tmp_path)
    canvas = AnimationCanvas(sequence)
    first, last = canvas.picture(0), canvas.picture(5)
    assert first.shape == last.shape and first.dtype == np.uint8
    assert not first.shape[0] % 2 and not first.shape[1] % 2, "video encoders want even numbers"
    right = first.shape[1] // 2
    assert (first[:, right:] != last[:, right:]).any()


def test_a_picture_is_drawn_where_neither_truth_nor_posterior_nor_positions_are_known(tmp_path):
    sequence = drive(tmp_path, 2)
    unknown = np.full((2, 2), np.nan)
    blind = BeliefSequence(
        **{
            **sequence.__dict__,
            "posteriors": np.full_like(sequence.posteriors, np.nan),
            "truth_enu_m": unknown,
            "single_enu_m": unknown,
            "single_sigma_m": unknown[:, 0],
            "lost_probability": unknown[:, 0],
            "cameras": ["front", "rear"],
        }
    )
    assert AnimationCanvas(blind).picture(1).shape == AnimationCanvas(sequence).picture(1).shape


def test_a_drive_becomes_a_gif_that_shows_every_image_in_turn(tmp_path):
    animate_drive(tmp_path / "drive.gif", drive(tmp_path))
    with Image.open(tmp_path / "drive.gif") as image:
        assert image.format == "GIF" and image.n_frames == 6
        assert image.info["duration"] == pytest.approx(4000 / 6, abs=10), "four seconds at least"


def test_a_gif_that_would_be_too_large_takes_fewer_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(moving_picture, "MAX_GIF_BYTES", 30_000)
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 80, 3), dtype=np.uint8)
    moving_picture.write_moving_picture(tmp_path / "a.gif", lambda rows: (noise[row] for row in rows), np.arange(40), 4)
    assert (tmp_path / "a.gif").stat().st_size <= 30_000
    with Image.open(tmp_path / "a.gif") as image:
        assert 2 <= image.n_frames < 40
        assert image.n_frames * image.info["duration"] == pytest.approx(4000, abs=200)


def test_a_drive_becomes_an_mp4_where_opencv_encodes_it(tmp_path):
    cv2 = pytest.importorskip("cv2")
    if moving_picture._mp4_codec() is None:
        pytest.skip("this OpenCV has no encoder for MP4")
    animate_drive(tmp_path / "drive.mp4", drive(tmp_path, 4))
    video = cv2.VideoCapture(str(tmp_path / "drive.mp4"))
    shown = 0
    while video.read()[0]:
        shown += 1
    assert shown == 4


def test_an_mp4_that_cannot_be_encoded_here_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setattr(moving_picture, "_CODECS", ())
    with pytest.raises(ConfigError, match=r"drive\.mp4.*name a \.gif"):
        animate_drive(tmp_path / "drive.mp4", drive(tmp_path, 2))


def test_an_animation_is_written_whole_or_not_at_all(tmp_path):
    sequence = drive(tmp_path, 4)
    with pytest.raises(ConfigError, match=r"\.gif or \.mp4"):
        animate_drive(tmp_path / "drive.avi", sequence)
    animate_drive(tmp_path / "drive.gif", sequence)
    before = (tmp_path / "drive.gif").read_bytes()
    sequence.image_paths[3].write_bytes(b"no image")
    with pytest.raises(DatasetError, match="damaged"):
        animate_drive(tmp_path / "drive.gif", sequence)
    assert (tmp_path / "drive.gif").read_bytes() == before and not list(tmp_path.glob(".*"))


# Strips in a report


def tracked_run(tmp_path, names):
    """A drive in a table of predictions, tracked; the images of `names`."""
    sequence = drive(tmp_path, 4)
    photos = [f"p{row}" for row in range(4)]
    predictions = pd.DataFrame({"photo_id": photos, "file": photos, "session": "walk", "rejection_reason": ""})
    predictions[["true_east_m", "true_north_m"]] = sequence.truth_enu_m
    predictions[["east_m", "north_m"]] = sequence.single_enu_m
    predictions[["cov_ee_m2", "cov_en_m2", "cov_nn_m2"]] = (9.0, 0.0, 9.0)
    posteriors = Posteriors(tuple(photos), sequence.posteriors, np.ones(4), GRID)
    bundle = TrackedBundle(posteriors, TrackingCalibration())
    run = SequenceRun(predictions, predictions, run_of(bundle, sequence))
    images = dict(zip(photos, map(StoredImage, sequence.image_paths, sequence.image_aspects), strict=True))
    return run, predictions, {name: images[name] for name in names}


def run_of(bundle, sequence):
    walk = ["walk"] * len(sequence)
    found = image_sequences(walk, sequence.times_s, sequence.posteriors, sequence.truth_enu_m)
    return tuple((bundle, own) for own in found)


def test_a_report_has_a_strip_of_each_sequence_whose_photos_are_there(tmp_path):
    run, predictions, images = tracked_run(tmp_path, ["p0", "p1", "p2", "p3"])
    assert strips_of(run, predictions, images, tmp_path) == {"belief_strip_1": "belief_strip_1.png"}
    with Image.open(tmp_path / "belief_strip_1.png") as strip:
        assert min(strip.size) > 200
    assert strips_of(run, predictions, {}, tmp_path) == {}


def test_a_damaged_photo_costs_its_strip_and_not_the_report(tmp_path, caplog):
    run, predictions, images = tracked_run(tmp_path, ["p0", "p1", "p2", "p3"])
    for own in images.values():
        own.path.write_bytes(b"no image")
    assert strips_of(run, predictions, images, tmp_path) == {}
    assert "does without its strip" in caplog.text


def test_a_sequence_is_shown_with_the_beliefs_and_positions_of_the_tracker(tmp_path):
    run, predictions, images = tracked_run(tmp_path, ["p0", "p1", "p2", "p3"])
    bundle, sequence = run.sequences[0]
    shown = belief_sequence(bundle, sequence, predictions, images)
    np.testing.assert_allclose(shown.beliefs.sum(axis=1), 1.0)
    np.testing.assert_allclose(shown.single_sigma_m, 3.0)
    assert shown.times_s[0] == 0.0 and set(shown.cameras) == {""}
    assert (shown.tracked_sigma_m > 0.0).all() and (shown.lost_probability < 1.0).all()


def test_photos_are_shown_in_the_shape_that_the_table_gives_their_originals(tmp_path):
    photos = pd.DataFrame({"photo_id": ["a", "b"], "width_px": [40, 30], "height_px": [30, 40]})
    found = stored_images(photos, [tmp_path / "a.jpg", tmp_path / "b.jpg"])
    assert [found[name].aspect for name in "ab"] == pytest.approx([4 / 3, 3 / 4])
    assert np.isnan(stored_images(photos[["photo_id"]], [tmp_path / "a.jpg"] * 2)["b"].aspect)
