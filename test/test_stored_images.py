"""The side of the stored copies: `ingest --size`, changes of it, and what training and evaluation make of it."""

import shlex

import numpy as np
import pytest
import yaml
from helpers import ROOT, make_bundle
from photo_helpers import blocks, make_exif, write_photo
from typer.testing import CliRunner

from campus_visual_gps.errors import DatasetError
from campus_visual_gps.localizer import Localizer
from campus_visual_gps.preprocess import ImageSpec, prepare, resize_square
from training.cli import app
from training.config import load_config
from training.data.dataset import read_rgb
from training.fit.site_data import load_site
from training.photos import ingest as ingest_module
from training.photos.decode import load_rgb
from training.photos.ingest import ingest
from training.photos.manifest import image_path, load_dataset, read_photos
from training.photos.splits import split
from training.photos.stored_images import read_stored_images, resizing_difference, side_px

SIZES = (224, 256, 300, 320, 384)
HALF = (0.5, 0.5, 0.5)


@pytest.fixture
def folders(tmp_path):
    for seed in range(4):
        write_photo(tmp_path / "photos" / f"walk-{seed % 2}" / f"{seed}.jpg", blocks(seed, 400, 300))
    return tmp_path / "photos", tmp_path / "set"


def run(folders, **options):
    return ingest(*folders, progress=False, workers=1, **options)


def sides(dataset_dir):
    return {side_px(image_path(dataset_dir, photo_id)) for photo_id in read_photos(dataset_dir)["photo_id"]}


@pytest.mark.parametrize("size_px", SIZES)
def test_every_size_of_the_paper_goes_from_heic_to_the_network_by_one_rule(size_px, tmp_path):
    source = sorted((ROOT / "sample" / "photos" / "2025-04-02-noon").glob("*.heic"))[:2]
    for path in source:
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / path.name).write_bytes(path.read_bytes())
    dataset = tmp_path / "set"
    run((tmp_path / "photos", dataset), size_px=size_px)
    assert sides(dataset) == {size_px}
    spec = ImageSpec(size_px, HALF, HALF, read_stored_images(dataset).stored_px)
    for path, photo_id in zip(source, load_dataset(dataset)["photo_id"], strict=True):
        stored = prepare(read_rgb(image_path(dataset, photo_id)), spec).astype(int)
        # what the robot's camera would give: no stored copy in between, only its JPEG compression differs
        assert np.abs(stored - prepare(load_rgb(path), spec)).mean() < 2
        assert stored.shape == (size_px, size_px, 3)


def test_a_larger_size_decodes_the_originals_again_and_a_smaller_one_keeps_the_copies(folders):
    first = run(folders, size_px=224)
    assert (first.stored_px, first.decoded, first.resized) == (224, 4, 0)
    larger = run(folders, size_px=384)
    assert (larger.stored_px, larger.decoded, larger.resized) == (384, 4, 4)
    photo = load_dataset(folders[1]).iloc[0]
    original = resize_square(load_rgb(folders[0] / photo["file"]), 384)
    assert np.abs(read_rgb(image_path(folders[1], photo["photo_id"])).astype(int) - original).mean() < 3
    assert (run(folders).stored_px, run(folders).decoded) == (384, 0)
    kept = run(folders, size_px=256)
    assert (kept.stored_px, kept.decoded) == (384, 0) and "--shrink" in kept.warnings[0]
    shrunk = run(folders, size_px=256, shrink=True)
    assert (shrunk.stored_px, shrunk.resized, sides(folders[1])) == (256, 4, {256})


def test_a_data_set_without_the_file_is_of_320_px_and_keeps_its_copies(folders):
    run(folders)
    (folders[1] / "dataset.yaml").unlink()
    assert read_stored_images(folders[1]).stored_px == 320
    assert (run(folders).stored_px, run(folders).decoded) == (320, 0)


@pytest.mark.parametrize("again", [{}, {"size_px": 384}])
def test_an_interrupted_change_of_the_size_is_seen_and_the_next_ingest_ends_it(folders, monkeypatch, again):
    run(folders)
    complete = ingest_module.store_photos

    def interrupted(tasks, progress, workers):
        complete(tasks[:3], progress, workers)
        raise KeyboardInterrupt

    monkeypatch.setattr(ingest_module, "store_photos", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(folders, size_px=384)
    monkeypatch.setattr(ingest_module, "store_photos", complete)
    with pytest.raises(DatasetError, match=r"3 of 4 stored images are not 320 px .*384 px.* run .*--size 384"):
        load_dataset(folders[1])
    summary = run(folders, **again)
    assert (summary.stored_px, summary.decoded) == (384, 1)
    assert len(load_dataset(folders[1])) == 4 and sides(folders[1]) == {384}


def test_an_interrupted_change_can_be_taken_back(folders, monkeypatch):
    run(folders)
    with monkeypatch.context() as patched:
        patched.setattr(ingest_module, "write_table", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(folders, size_px=384)
    assert run(folders, size_px=320).resized == 4
    assert len(load_dataset(folders[1])) == 4


def test_another_folder_with_another_size_leaves_the_data_set_as_it_was(folders, tmp_path):
    run(folders)
    write_photo(tmp_path / "other" / "b.jpg", 9)
    with pytest.raises(DatasetError, match="expected some of its 4 photos"):
        run((tmp_path / "other", folders[1]), size_px=384)
    assert len(load_dataset(folders[1])) == 4 and sides(folders[1]) == {320}


def test_enlarged_copies_are_told_once_with_their_number(folders):
    write_photo(folders[0] / "walk-0" / "small.jpg", blocks(8, 192, 256))
    write_photo(folders[0] / "walk-0" / "tiny.jpg", blocks(9, 100, 80))
    warnings = [line for line in run(folders).warnings if "enlargements" in line]
    assert len(warnings) == 1 and warnings[0].startswith("2 photos are smaller than the stored 320 px")
    assert not [line for line in run(folders, size_px=64, shrink=True).warnings if "enlargements" in line]


@pytest.mark.parametrize("size", ["31", "1025", "-1"])
def test_a_size_out_of_range_is_one_line_and_nothing_is_written(folders, size):
    result = CliRunner().invoke(app, ["ingest", *map(str, folders), "--size", size])
    assert isinstance(result.exception, DatasetError)
    assert str(result.exception) == f"--size: expected 32 to 1024 px, got {size}"
    assert not folders[1].exists()


@pytest.mark.parametrize("content", ["stored_px: [3]\n", "- 1\n", "stored_px: 9\n", "{", "ingest: []\n", "\xff\xfe"])
def test_a_damaged_dataset_yaml_is_one_line_that_names_it(folders, content):
    run(folders)
    (folders[1] / "dataset.yaml").write_text(content, encoding="latin-1")
    for call in (lambda: load_dataset(folders[1]), lambda: run(folders)):
        with pytest.raises(DatasetError, match=r"dataset\.yaml is damaged .* delete it") as error:
            call()
        assert "\n" not in str(error.value)


def test_a_training_larger_than_the_copies_names_the_command_that_mends_it_with_its_labels(folders, tmp_path):
    table = tmp_path / "my labels.csv"
    files = sorted(path.relative_to(folders[0]).as_posix() for path in folders[0].rglob("*.jpg"))
    table.write_text("".join(f"{file},31.26{number},34.80{number}\n" for number, file in enumerate(files)))
    run(folders, labels_csv=table)
    split(folders[1], val_sessions=["walk-1"])
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"size_px": 384, "model": {"backbone": "resnet18"}, "weights": "none"}))
    resolved = load_config(config, dataset=str(folders[1]), out=str(tmp_path / "run"))
    with pytest.raises(DatasetError, match=r"size_px 384: .* are stored at 320 px; run `") as error:
        load_site(resolved)
    command = shlex.split(str(error.value).split("`")[1])
    assert command[:4] == ["python", "-m", "training", "ingest"] and "\n" not in str(error.value)
    assert CliRunner().invoke(app, command[3:]).exit_code == 0
    site = load_site(resolved)
    assert (site.image.size_px, site.image.stored_px, len(site.photos)) == (384, 384, 4)
    assert site.photos["label_source"].unique().tolist() == ["table"]


def test_a_bundle_keeps_the_stored_size_and_a_camera_image_goes_through_it(tmp_path):
    image = ImageSpec(64, HALF, HALF, stored_px=384)
    localizer = Localizer.load(make_bundle(tmp_path / "bundle", image=image), device="cpu", warm_up=False)
    assert localizer.bundle.image == image
    rgb = np.asarray(blocks(0, 640, 480))
    direct, stored = localizer.localize(rgb), localizer.localize(resize_square(rgb, 384))
    np.testing.assert_array_equal(direct.mean_enu_m, stored.mean_enu_m)


def test_evaluating_at_another_stored_size_is_told_with_the_command(folders):
    run(folders)
    assert resizing_difference(folders[1], 320) == ""
    assert f"{folders[0]} {folders[1]} --size 384" in resizing_difference(folders[1], 384)
    run(folders, size_px=384)
    assert f"{folders[0]} OTHER_DATASET --size 320" in resizing_difference(folders[1], 320)


def test_photos_without_exif_position_and_their_table_survive_a_change_of_the_size(folders, tmp_path):
    write_photo(folders[0] / "walk-0" / "bare.jpg", 7, make_exif(None))
    table = tmp_path / "labels.csv"
    table.write_text("bare.jpg,31.262,34.8025\n")
    run(folders, labels_csv=table)
    before = (folders[1] / "photos.csv").read_bytes()
    run(folders, labels_csv=table, size_px=384)
    assert (folders[1] / "photos.csv").read_bytes() == before
