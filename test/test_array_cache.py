"""Cached arrays: whatever happened to a file, it is made again and never read wrong."""

import os

import numpy as np
import pytest
from compatibility import Area, condition

from campus_visual_gps.errors import DatasetError
from training.data.array_cache import read_array, write_array
from training.fit import feature_cache
from training.fit.feature_cache import FeatureRecipe, cached_features
from training.synthetic.render_cache import RenderCache, RenderTask, render_missing

SINCE = "2026-11-26"
ARRAY = np.arange(2 * 3 * 4 * 5 * 5, dtype=np.float16).reshape(2, 3, 4, 5, 5)


def save(array):
    def fill(path):
        with path.open("wb") as file:
            np.save(file, array, allow_pickle=array.dtype == object)

    return fill


def rewrite(change):
    return lambda path: path.write_bytes(change(path.read_bytes()))


def flip(data, place):
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


DAMAGES = {
    "empty": rewrite(lambda data: b""),
    "cut in its header": rewrite(lambda data: data[:40]),
    "cut in the array": rewrite(lambda data: data[: len(data) // 2]),
    "cut by one byte": rewrite(lambda data: data[:-1]),
    "zeros in place of the array": rewrite(lambda data: data[:128] + bytes(len(data) - 128)),
    "all zeros": rewrite(lambda data: bytes(len(data))),
    "a flipped bit in the array": rewrite(lambda data: flip(data, 300)),
    "a flipped bit in the header": rewrite(lambda data: flip(data, 20)),
    "more bytes than the array has": rewrite(lambda data: data + b"more"),
    "a web page": rewrite(lambda data: b"<html>404</html>"),
    "a pickled object": lambda path: save(np.array([{}], dtype=object))(path),
    "another shape": lambda path: save(ARRAY[:, :2])(path),
    "another number of axes": lambda path: save(ARRAY[0])(path),
    "another type": lambda path: save(ARRAY.astype(np.float32))(path),
    "columns first": lambda path: save(np.asfortranarray(ARRAY))(path),
    "an archive of arrays": lambda path: np.savez(path.open("wb"), ARRAY),
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "cache" / "a.npy"
    write_array(path, save(ARRAY))
    return path


def test_an_array_is_read_as_it_was_written_and_is_an_ordinary_npy_file(file):
    found = read_array(file, (2, 3, None, None, None), np.float16)
    assert isinstance(found, np.memmap) and not found.flags.writeable
    np.testing.assert_array_equal(found, ARRAY)
    np.testing.assert_array_equal(np.load(file), ARRAY)
    assert [path.name for path in file.parent.iterdir()] == ["a.npy"]
    assert read_array(file.with_name("b.npy"), (2, 3, 4, 5, 5), np.float16) is None


def test_a_file_of_numpy_without_a_checksum_is_read(file):
    save(ARRAY)(file)
    np.testing.assert_array_equal(read_array(file, ARRAY.shape, np.float16), ARRAY)


def damaged(what):
    return [
        pytest.param(
            damage,
            marks=condition(Area.BUNDLES, f"{what}: {text}", "named in the log and made again", since=SINCE),
            id=text,
        )
        for text, damage in DAMAGES.items()
    ]


@pytest.mark.parametrize("damage", damaged("cache of features or rendered images"))
def test_a_damaged_file_counts_as_missing_and_is_named(file, damage, caplog):
    read_array(file, ARRAY.shape, np.float16)  # what was found whole once is looked at again
    damage(file)
    os.utime(file, ns=(1, 1))
    assert read_array(file, ARRAY.shape, np.float16) is None
    assert str(file) in caplog.text and "made again" in caplog.text and "\n" not in caplog.messages[-1]


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_damaged_features_are_computed_again(tmp_path, monkeypatch, damage):
    recipe = FeatureRecipe.__new__(FeatureRecipe)
    object.__setattr__(recipe, "views", 1)
    path = tmp_path / "feature_cache" / "x.npy"
    monkeypatch.setattr(FeatureRecipe, "file", lambda self, paths: path)
    monkeypatch.setattr(feature_cache, "_write", lambda partial, *_: save(ARRAY)(partial))
    photos = [tmp_path / f"{i}.jpg" for i in range(3)]
    write_array(path, save(ARRAY))
    damage(path)
    np.testing.assert_array_equal(cached_features(recipe, photos, None), ARRAY)
    np.testing.assert_array_equal(np.load(path), ARRAY)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_a_damaged_rendered_image_is_rendered_again(tmp_path, monkeypatch, damage):
    from test_synthetic import NOON, TINY

    from training.synthetic import render_cache

    class Rendering:
        def __init__(self, *_):
            pass

        def render(self, view):
            return np.full((view.height_px, view.width_px, 3), 0.5, np.float32)

    monkeypatch.setattr(render_cache, "Renderer", Rendering)
    monkeypatch.setattr(render_cache, "build_campus", lambda seed: None)
    monkeypatch.setattr(render_cache, "_require_mitsuba", lambda: None)
    task, cache = RenderTask(TINY, NOON, 0), RenderCache(tmp_path)
    cache.store(task, np.full((24, 32, 3), 0.25, np.float32))
    damage(cache.path(task))
    with pytest.raises(DatasetError, match="missing or damaged; run again"):
        cache.load(task)
    render_missing([task], cache, 1)
    np.testing.assert_array_equal(cache.load(task), 0.5)


def test_a_disk_that_damages_what_it_writes_is_one_line(tmp_path, monkeypatch):
    recipe = FeatureRecipe.__new__(FeatureRecipe)
    object.__setattr__(recipe, "views", 1)
    monkeypatch.setattr(FeatureRecipe, "file", lambda self, paths: tmp_path / "x.npy")
    monkeypatch.setattr(feature_cache, "_write", lambda partial, *_: partial.write_bytes(b""))
    with pytest.raises(DatasetError, match=r"x\.npy: damaged again after it was written; check the disk"):
        cached_features(recipe, [tmp_path / "1.jpg"], None)
