"""`show-augmentations`: pictures of what the augmentation of a configuration does to photos."""

import dataclasses

import numpy as np
import pytest
from photo_helpers import make_exif, write_photo
from PIL import Image
from typer.testing import CliRunner

from campus_visual_gps.errors import ConfigError, DatasetError
from campus_visual_gps.preprocess import ImageSpec
from training.augment_settings import NIGHT_VERSIONS, AugmentSettings
from training.cli import app
from training.config import TrainConfig
from training.photos.ingest import ingest
from training.report import augmentation
from training.report.augmentation import show_augmentations
from training.report.augmentation_effects import effects
from training.report.augmentation_photos import sample_photos

CONFIG = TrainConfig(size_px=64)
SWITCHES = (
    "rotation_deg",
    "perspective_p",
    "hue",
    "grayscale_p",
    "night_p",
    "noise_sigma",
    "jpeg_p",
    "erasing_p",
    "horizontal_flip_p",
    "resized_crop_p",
)
PICTURES = {
    "grid.png",
    "effects.png",
    *(
        f"strip-{name}.png"
        for name in (
            "rotation",
            "perspective",
            "colour-jitter",
            "hue",
            "grey",
            "night",
            "noise",
            "jpeg",
            "erasing",
            "flip",
            "crop",
        )
    ),
}


@pytest.fixture(scope="module")
def photo_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for seed, name in enumerate(["walk/a.jpg", "walk/b.jpg", "other/c $x$ {.jpg", "other/d.heic"]):
        write_photo(folder / name, seed)
    return folder


@pytest.fixture(scope="module")
def made(photo_dir, tmp_path_factory):
    out = tmp_path_factory.mktemp("shown") / "a" / "b"
    return show_augmentations(CONFIG, photo_dir, out, count=13), out


@pytest.fixture
def few_effects(monkeypatch):
    """Only rotation: drawing all effects takes seconds."""
    monkeypatch.setattr(augmentation, "effects", lambda settings: effects(settings)[:1])


def test_a_plain_folder_gives_the_grid_the_effects_and_a_strip_of_each(made):
    summary, out = made
    assert {path.name for path in out.iterdir()} == PICTURES == {path.name for path in summary.files}
    assert (summary.samples, summary.photos) == (13, 4)
    for path in out.iterdir():
        with Image.open(path) as picture:
            assert np.asarray(picture.convert("L")).std() > 10


def test_the_grid_has_a_tile_for_each_sample_with_its_photo(photo_dir):
    image = ImageSpec(64, (0.5,) * 3, (0.5,) * 3)
    photos = sample_photos(photo_dir, photo_dir / "out", image, 25, 0)
    _, rows = augmentation._grid(AugmentSettings(), image, photos, 25, 0)
    assert [len(row) for row in rows] == [10, 10, 5]
    for number, tile in enumerate((tile for row in rows for tile in row), start=1):
        assert tile.lines[0] == f"{number}: {photos[(number - 1) % 4].name}" and "rotation" in tile.lines[1]


def test_one_seed_gives_the_same_samples(photo_dir):
    image = ImageSpec(64, (0.5,) * 3, (0.5,) * 3)

    def grid(seed):
        photos = sample_photos(photo_dir, photo_dir / "out", image, 6, seed)
        return np.stack([tile.rgb for tile in augmentation._grid(AugmentSettings(), image, photos, 6, seed)[1][0]])

    assert np.array_equal(grid(0), grid(0)) and not np.array_equal(grid(0), grid(1))


def test_every_effect_is_alone_and_reaches_every_image():
    settings = AugmentSettings(horizontal_flip_p=0.5, night_version="v1", jpeg_p=0.2)
    shown = effects(settings)
    for effect in shown:
        on = [name for name in (*SWITCHES, "brightness") if getattr(effect.settings, name) > 0]
        assert len(on) == 1 and (not on[0].endswith("_p") or getattr(effect.settings, on[0]) == 1.0)
    assert {effect.title for effect in shown if not effect.used} == {"hue", "night v2", "noise", "resized crop"}
    assert {effect.title for effect in shown if not effect.valid} == {"horizontal flip", "resized crop"}
    assert all("label" not in effect.strength and bool(effect.reason) == (not effect.valid) for effect in shown)


def test_both_versions_of_night_are_shown_and_other_ranges_beside_them():
    def nights(settings):
        return [
            (effect.title, effect.settings.night_ranges, effect.used)
            for effect in effects(settings)
            if effect.key == "night"
        ]

    assert nights(AugmentSettings()) == [
        ("night v1", NIGHT_VERSIONS["v1"], False),
        ("night v2", NIGHT_VERSIONS["v2"], True),
    ]
    own = nights(AugmentSettings(night_brightness=(0.3, 0.5)))
    assert own[2] == ("night as set", ((0.3, 0.5), (0.6, 0.9)), True) and len(own) == 3


def test_what_is_shown_is_what_the_network_gets(photo_dir):
    photo = sample_photos(photo_dir, photo_dir / "out", ImageSpec(64, (0.4,) * 3, (0.2,) * 3), 1, 0)[0]
    image = ImageSpec(64, (0.4,) * 3, (0.2,) * 3)
    off = dataclasses.replace(effects(AugmentSettings())[0].settings, rotation_deg=0.0)
    transform = augmentation.TrainTransform(off, image)
    shown, done = augmentation._augmented(transform, image, photo.rgb, np.zeros(transform.draws))
    assert np.array_equal(shown, photo.rgb) and done == ""


@pytest.mark.usefixtures("few_effects")
def test_pictures_of_an_earlier_run_are_replaced_and_others_only_with_force(photo_dir, tmp_path):
    strip = tmp_path / "strip-rotation.png"
    show_augmentations(CONFIG, photo_dir, tmp_path, count=2)
    before = (tmp_path / "grid.png").read_bytes()
    show_augmentations(CONFIG, photo_dir, tmp_path, count=3)
    assert (tmp_path / "grid.png").read_bytes() != before
    (tmp_path / "notes.txt").write_text("mine")
    Image.new("RGB", (8, 8)).save(strip)
    kept = strip.read_bytes()
    with pytest.raises(ConfigError, match=r"strip-rotation\.png is there already .*--force") as caught:
        show_augmentations(CONFIG, photo_dir, tmp_path, count=2)
    assert "\n" not in str(caught.value) and strip.read_bytes() == kept
    show_augmentations(CONFIG, photo_dir, tmp_path, count=2, force=True)
    assert strip.read_bytes() != kept and (tmp_path / "notes.txt").read_text() == "mine"


def test_a_data_set_gives_its_photos_from_each_session_in_turn(photo_dir, tmp_path):
    for seed in range(3):
        taken = f"2025:12:22 1{seed}:47:11"
        write_photo(tmp_path / "photos" / "one" / f"{seed}.jpg", 10 + seed, make_exif(taken=taken))
    write_photo(tmp_path / "photos" / "two" / "3.jpg", 20)
    dataset = tmp_path / "site"
    ingest(tmp_path / "photos", dataset, progress=False, workers=1)
    photos = sample_photos(dataset, tmp_path / "out", ImageSpec(64, (0.5,) * 3, (0.5,) * 3), 2, 0)
    assert {photo.name.split("/")[0] for photo in photos} == {"one", "two"}
    assert all(photo.rgb.shape == (64, 64, 3) for photo in photos)


@pytest.mark.usefixtures("few_effects")
def test_damaged_photos_of_a_folder_are_left_out_with_a_warning(tmp_path, caplog):
    write_photo(tmp_path / "photos" / "whole.jpg")
    (tmp_path / "photos" / "damaged.jpg").write_bytes(b"\xff\xd8 no photo")
    summary = show_augmentations(CONFIG, tmp_path / "photos", tmp_path / "out", count=2)
    assert summary.photos == 1 and "damaged.jpg" in caplog.text
    (tmp_path / "photos" / "whole.jpg").unlink()
    with pytest.raises(DatasetError, match="none of its 1 photos can be read"):
        show_augmentations(CONFIG, tmp_path / "photos", tmp_path / "other", count=2)
    assert not (tmp_path / "other").exists()


@pytest.mark.usefixtures("few_effects")
def test_the_command_shows_and_explains(photo_dir, tmp_path, caplog):
    config = tmp_path / "c.yaml"
    config.write_text("size_px: 64\n")
    arguments = ["show-augmentations", str(config), "--out", str(tmp_path / "out"), "--count", "2"]
    run = CliRunner().invoke(app, [*arguments, "--dataset", str(photo_dir), "--set", "augment.resized_crop_p=0.5"])
    assert run.exit_code == 0 and (tmp_path / "out" / "grid.png").is_file()
    assert "augment.resized_crop_p is 0.5" in caplog.text
    without = CliRunner().invoke(app, arguments)
    assert isinstance(without.exception, ConfigError) and "--dataset" in str(without.exception)
    missing = CliRunner().invoke(app, [*arguments, "--dataset", str(tmp_path / "nowhere")])
    assert isinstance(missing.exception, DatasetError) and "nowhere" in str(missing.exception)


@pytest.mark.parametrize("command", ["train_ensemble", "cross_validate"])
def test_a_training_with_a_flip_warns_once(command, tmp_path, caplog):
    from training.fit import cross_validation, ensemble

    run = {"train_ensemble": ensemble.train_ensemble, "cross_validate": cross_validation.cross_validate}[command]
    config = TrainConfig(dataset=str(tmp_path), out=str(tmp_path), augment=AugmentSettings(horizontal_flip_p=0.5))
    with pytest.raises(DatasetError):
        run(config)
    assert caplog.text.count("augment.horizontal_flip_p") == 1
