"""The photo cache: the pixels that decoding gives, made once, and made again when a photo changes."""

import errno
import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers import textured_rgb

from campus_visual_gps.preprocess import ImageSpec
from training.augment_settings import AugmentSettings
from training.data import photo_cache
from training.data.augment import TrainTransform
from training.data.dataset import PhotoDataset, collate_channels_last, read_pixels
from training.data.photo_cache import CachedPixels, cached_pixels

IMAGE = ImageSpec(48, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), stored_px=64)


@pytest.fixture
def paths(tmp_path):
    folder = tmp_path / "set" / "images"
    folder.mkdir(parents=True)
    found = [folder / f"{index:016x}.jpg" for index in range(5)]
    for index, path in enumerate(found):
        cv2.imwrite(str(path), textured_rgb(64, 64, seed=index))
    return found


def files(paths):
    return sorted((paths[0].parent.parent / "photo_cache").glob("*"))


def test_it_gives_the_pixels_that_decoding_gives(paths):
    read = cached_pixels(paths, IMAGE)
    assert isinstance(read, CachedPixels) and len(files(paths)) == 1
    for path in reversed(paths):
        np.testing.assert_array_equal(read(path), read_pixels(path, IMAGE))


def test_a_second_training_reads_the_file_and_decodes_nothing(paths, monkeypatch):
    cached_pixels(paths, IMAGE)
    monkeypatch.setattr(photo_cache, "_write", None)
    read = cached_pixels(paths, IMAGE)
    monkeypatch.setattr(read, "decode", None)
    assert read(paths[2]).shape == (48, 48, 3)


def test_a_changed_photo_makes_the_file_again_and_removes_the_old_one(paths):
    cached_pixels(paths, IMAGE)
    before = files(paths)
    cv2.imwrite(str(paths[1]), textured_rgb(64, 64, seed=9))
    os.utime(paths[1], ns=(1, 1))
    np.testing.assert_array_equal(cached_pixels(paths, IMAGE)(paths[1]), read_pixels(paths[1], IMAGE))
    assert len(files(paths)) == 1 and files(paths) != before


def test_another_size_has_another_file_beside_it(paths):
    for image in (IMAGE, replace(IMAGE, size_px=64), replace(IMAGE, stored_px=48)):
        assert cached_pixels(paths, image)(paths[0]).shape == (image.size_px, image.size_px, 3)
    assert [path.name.split("-")[0] for path in files(paths)] == ["48px", "64px"]


def test_what_a_reader_changes_does_not_change_the_photo(paths):
    read = cached_pixels(paths, IMAGE)
    read(paths[0])[:] = 0
    np.testing.assert_array_equal(read(paths[0]), read_pixels(paths[0], IMAGE))


def test_a_worker_process_maps_the_file_and_gets_no_copy_of_it(paths):
    read = cached_pixels(paths, IMAGE)
    sent = pickle.dumps(read)
    assert len(sent) < 2000 < read.pixels.nbytes
    np.testing.assert_array_equal(pickle.loads(sent)(paths[3]), read(paths[3]))
    files(paths)[0].unlink()
    np.testing.assert_array_equal(pickle.loads(sent)(paths[3]), read(paths[3]))


def full_disk(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("trouble", ["full", "no room", "too many", "damaged photo"])
def test_without_the_file_photos_are_decoded_and_nothing_is_left(paths, monkeypatch, caplog, trouble):
    if trouble == "full":
        monkeypatch.setattr(photo_cache, "_decoded", full_disk)
    elif trouble == "no room":
        usage = shutil.disk_usage(paths[0])._replace(free=1000)
        monkeypatch.setattr(photo_cache.shutil, "disk_usage", lambda _: usage)
    elif trouble == "too many":
        monkeypatch.setattr(photo_cache, "MAX_BYTES", 1000)
    else:
        paths[4].write_bytes(b"\xff\xd8 half")
    read = cached_pixels(paths, IMAGE)
    np.testing.assert_array_equal(read(paths[0]), read_pixels(paths[0], IMAGE))
    assert not files(paths)
    assert ("decoded in every epoch" in caplog.text) == (trouble in ("full", "damaged photo"))


def test_a_damaged_file_is_made_again(paths):
    cached_pixels(paths, IMAGE)
    file = files(paths)[0]
    file.write_bytes(file.read_bytes()[:-100])
    np.testing.assert_array_equal(cached_pixels(paths, IMAGE)(paths[4]), read_pixels(paths[4], IMAGE))


def test_a_missing_photo_is_reported_by_who_reads_it(paths):
    assert not isinstance(cached_pixels([*paths, Path("nowhere.jpg")], IMAGE), CachedPixels)
    assert not isinstance(cached_pixels([], IMAGE), CachedPixels)


def test_augmented_items_are_the_same_with_and_without_the_file(paths):
    transform, positions = TrainTransform(AugmentSettings(), IMAGE), np.zeros((5, 2))
    batches = []
    for read in (None, cached_pixels(paths, IMAGE)):
        torch.manual_seed(3)
        photos = PhotoDataset(paths, positions, IMAGE, transform, read=read)
        batches.append(collate_channels_last([photos[index] for index in range(5)]))
    assert torch.equal(batches[0][0], batches[1][0])
    images, targets, weights = batches[0]
    assert images.is_contiguous(memory_format=torch.channels_last) and images.shape == (5, 3, 48, 48)
    assert targets.shape == (5, 2) and weights.shape == (5,)
