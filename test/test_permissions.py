"""Every file that is written has ordinary permissions, by umask: another user of the robot can read it."""

import os
import stat

import numpy as np
import pandas as pd
import pytest
from helpers import make_bundle
from photo_helpers import write_photo
from safetensors.numpy import save_file

from campus_visual_gps.bundle import load_bundle
from campus_visual_gps.errors import BundleError, DatasetError
from campus_visual_gps.io_utils import PARTIAL_SUFFIX, atomic_write
from training.data.array_cache import write_array
from training.photos.corrections import apply_corrections
from training.photos.ingest import ingest
from training.photos.manifest import write_yaml
from training.photos.splits import split
from training.photos.tables import read_table, write_table


@pytest.fixture(params=[0o022, 0o002, 0o077], ids=oct)
def mode(request):
    """The mode of a new file under a umask that is set for the test."""
    previous = os.umask(request.param)
    yield 0o666 & ~request.param
    os.umask(previous)


def _modes(directory):
    files = {path for path in directory.rglob("*") if path.is_file()}
    assert files and not [path for path in files if path.name.endswith(PARTIAL_SUFFIX)]
    return {path.relative_to(directory).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in files}


def test_every_file_of_a_bundle_can_be_read_by_whom_the_umask_says(tmp_path, mode):
    modes = _modes(make_bundle(tmp_path / "bundle"))
    assert set(modes.values()) == {mode}, modes
    assert "reference_features.safetensors" in modes


def test_every_file_of_a_data_set_can_be_read_by_whom_the_umask_says(tmp_path, mode):
    for index in range(3):
        write_photo(tmp_path / "photos" / f"walk-{index}" / "a.jpg", index)
    dataset = tmp_path / "dataset"
    ingest(tmp_path / "photos", dataset, progress=False, workers=1)
    apply_corrections(dataset)
    split(dataset, test_sessions=["walk-2"], val_sessions=["walk-1"])
    modes = _modes(dataset)
    assert set(modes.values()) == {mode}, modes
    assert {"photos.csv", "labels.csv", "splits.csv"} <= set(modes)


def test_files_of_every_library_that_writes_them_are_ordinary(tmp_path, mode):
    write_table(tmp_path / "table.csv", pd.DataFrame({"epoch": [1]}))
    write_yaml(tmp_path / "a.yaml", {"a": 1})
    write_array(tmp_path / "a.npy", lambda partial: np.save(partial.open("wb"), np.zeros(2)))
    with atomic_write(tmp_path / "a.safetensors") as partial:
        save_file({"a": np.zeros(2)}, partial)
    with atomic_write(tmp_path / "a.npz") as partial, partial.open("wb") as stream:
        np.savez(stream, a=np.zeros(2))
    modes = _modes(tmp_path)
    assert set(modes.values()) == {mode} and len(modes) == 5


def test_a_file_that_cannot_be_read_is_one_line_with_its_path(tmp_path):
    """A folder in the file's place is an error of the system that root meets too."""
    (tmp_path / "table.csv").mkdir()
    with pytest.raises(DatasetError, match=r"table\.csv: cannot be read: Is a directory"):
        read_table(tmp_path / "table.csv", {"epoch": "integer"})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
@pytest.mark.parametrize("name", ["bundle.yaml", "reference_features.safetensors", "member-42.safetensors"])
def test_a_bundle_that_another_user_may_not_read_is_one_line_with_what_to_do(tmp_path, name):
    bundle = make_bundle(tmp_path / "bundle")
    (bundle / name).chmod(0)
    with pytest.raises(BundleError, match=rf"{name} cannot be read: Permission denied; mend its permissions"):
        loaded = load_bundle(bundle)
        loaded.load_members()
        loaded.load_reference()
