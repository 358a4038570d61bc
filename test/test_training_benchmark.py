"""`python -m training benchmark` on tiny settings: what it prints, and that it measures what `train` runs."""

import json
from pathlib import Path

import pytest
from photo_helpers import blocks, write_photo
from typer.testing import CliRunner

from campus_visual_gps.errors import ConfigError, DatasetError
from training.cli import app
from training.data.augment import TrainTransform
from training.photos.ingest import ingest
from training.photos.ingest_speed import measure_ingest
from training.photos.manifest import load_dataset

CONFIG = "model: {backbone: resnet18, head: linear, output_scale_m: 20.0}\nsize_px: 32\n"
TINY = ["--batch", "2", "--steps", "1", "--rounds", "1", "--threads", "1", "--device", "cpu", "--workers", "0"]
NUMBERS = ("loop_images_per_s", "network_images_per_s", "loop_to_network", "ingest_speedup", "ingest_photos_per_s")


@pytest.fixture
def photos(tmp_path):
    for seed in range(6):
        write_photo(tmp_path / "photos" / f"walk-{seed % 2}" / f"{seed}.heic", blocks(seed, 96, 72))
    (tmp_path / "photos" / "walk-0" / "other.jpg").write_bytes(b"not read: there is HEIC")
    return tmp_path / "photos"


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["benchmark", *map(str, arguments)])


def test_json_has_rates_of_loop_network_and_ingest_and_what_ran(config, photos):
    result = run(config, "--photos", photos, *TINY, "--json")
    assert result.exit_code == 0, result.exception
    found = json.loads(result.stdout)
    assert all(found[name] > 0 for name in NUMBERS)
    assert found["loop_to_network"] == pytest.approx(found["loop_images_per_s"] / found["network_images_per_s"])
    assert len(found["loop_rounds"]) == len(found["network_rounds"]) == 1
    assert (found["backbone"], found["size_px"], found["batch_size"], found["device"]) == ("resnet18", 32, 2, "cpu")
    assert (found["num_threads"], found["workers"], found["ingest_photos"]) == (1, 0, 6)


def test_a_data_set_of_the_user_is_trained_on_and_the_table_names_all_four(config, photos, tmp_path):
    ingest(photos, tmp_path / "set", progress=False, workers=1, size_px=48)
    result = run(config, "--photos", photos, "--dataset", tmp_path / "set", *TINY)
    assert result.exit_code == 0, result.exception
    for name in ("training loop", "network alone", "ingest", "plain Pillow loop", "resnet18 at 32 px"):
        assert name in result.stdout
    assert [path.name.split("-")[0] for path in (tmp_path / "set" / "photo_cache").iterdir()] == ["32px"]


def test_the_timed_steps_read_and_augment_their_images(config, photos, tmp_path, monkeypatch):
    ingest(photos, tmp_path / "set", progress=False, workers=1)
    seen = []
    augment = TrainTransform.__call__
    monkeypatch.setattr(TrainTransform, "__call__", lambda self, rgb: seen.append(rgb.shape) or augment(self, rgb))
    result = run(config, "--photos", photos, "--dataset", tmp_path / "set", *TINY, "--steps", "3")
    assert result.exit_code == 0, result.exception
    # the first batch for the network, two steps of warm-up and three timed ones
    assert len(seen) >= 2 * (1 + 2 + 3) and set(seen) == {(32, 32, 3)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--photos", "nowhere"], "nowhere: no such folder; give photos to ingest with --photos DIR"),
        (["--batch", "7"], "expected at least one batch of 7 photos, got 6; give more photos or a smaller --batch"),
        (["--backbone", "resnet0"], "resnet0"),
        (["--device", "bogus"], "device bogus cannot be used on this computer: "),
    ],
)
def test_bad_input_is_one_line(config, photos, arguments, message):
    result = run(config, "--photos", photos, *TINY, *arguments)
    assert isinstance(result.exception, (ConfigError, DatasetError)) and message in str(result.exception)
    assert "\n" not in str(result.exception)


def test_ingest_is_measured_on_as_many_heic_photos_as_asked_and_leaves_the_folder_alone(photos, tmp_path):
    before = sorted(photos.rglob("*"))
    speed = measure_ingest(photos, tmp_path / "set", 64, count=4, rounds=2)
    assert speed.ingest_photos == 4 and speed.ingest_speedup > 0
    assert len(load_dataset(tmp_path / "set")) == 4
    assert sorted(photos.rglob("*")) == before


def test_a_photo_that_cannot_be_read_is_named(tmp_path):
    write_photo(tmp_path / "photos" / "a.heic")
    (tmp_path / "photos" / "b.heic").write_bytes(b"")
    with pytest.raises(DatasetError, match=rf"{Path('photos') / 'b.heic'}: cannot be read"):
        measure_ingest(tmp_path / "photos", tmp_path / "set", 64, count=4, rounds=1)
