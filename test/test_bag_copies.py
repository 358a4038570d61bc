"""The copy of a bag with fixes: never silently shorter than the bag, never in the place of something else."""

import numpy as np
import pandas as pd
import pytest
from bag_helpers import COUNT, CUSTOM, TRUTH, Read, bag_condition, custom_messages, fixes, write_mcap, write_metadata
from test_bags import T0

from campus_visual_gps.bundle import Altitude
from campus_visual_gps.errors import DatasetError
from training.replay.bags import open_bag, write_bag
from training.replay.with_fixes import BAG, FIX_TOPIC, check_target, write_with_fixes

PREDICTIONS = pd.DataFrame(
    {
        "stamp_ns": [T0, T0 + 10**9],
        "rejection_reason": ["", "too_dark"],
        "error_m": [1.0, np.nan],
        "frame_id": "camera",
        "latitude_deg": 31.0,
        "longitude_deg": 34.0,
        "cov_ee_m2": 4.0,
        "cov_en_m2": 0.0,
        "cov_nn_m2": 4.0,
        "transform_s": 0.01,
        "ensemble_s": 0.02,
    }
)


def copy_of(path, out_dir):
    with open_bag(path) as bag:
        return write_with_fixes(bag, PREDICTIONS, {}, Altitude(300.0, 5.0), out_dir)


@bag_condition("copy of a damaged bag (with_fixes)", "lacks only what cannot be read; said in the log and in the copy")
def test_the_copy_of_a_damaged_bag_says_what_it_lacks(tmp_path, caplog):
    file = write_mcap(tmp_path / "drive" / "drive_0.mcap", [*fixes(), *custom_messages()])
    write_metadata(file.parent, [file.name], {TRUTH: COUNT})
    file.write_bytes(file.read_bytes()[:1200])
    whole, copy = Read(file.parent), Read(copy_of(file.parent, tmp_path / "out"))
    assert 0 < whole.counts[TRUTH] < COUNT and whole.lost[TRUTH] == COUNT - whole.counts[TRUTH]
    assert copy.counts == {**whole.counts, FIX_TOPIC: 1}
    assert f"what could not be read: {whole.lost[TRUTH]} messages are known to be lost" in caplog.text
    about = (tmp_path / "out" / BAG / "metadata.yaml").read_text()
    assert f"of {COUNT} messages on /truth" in " ".join(about.split())


@bag_condition("copy of a bag with messages of own types", "has them all")
def test_the_copy_has_messages_of_own_types(tmp_path):
    path = write_mcap(tmp_path / "drive.mcap", [*fixes(), *custom_messages()])
    assert Read(copy_of(path, tmp_path / "out")).counts == {TRUTH: COUNT, CUSTOM: 5, FIX_TOPIC: 1}


@bag_condition("a directory `with_fixes` that is the user's", "never replaced; an earlier copy is")
def test_a_directory_of_the_users_is_never_replaced_and_an_earlier_copy_is(tmp_path):
    path = write_mcap(tmp_path / "drive.mcap", fixes())
    copy_of(path, tmp_path / "out")
    copy_of(path, tmp_path / "out")
    assert Read(tmp_path / "out" / BAG).counts == {TRUTH: COUNT, FIX_TOPIC: 1}
    assert [item.name for item in (tmp_path / "out").iterdir()] == [BAG]
    write_bag(tmp_path / "mine" / BAG, fixes(3))
    with pytest.raises(DatasetError, match="exists and was not written by replay"):
        copy_of(path, tmp_path / "mine")
    assert Read(tmp_path / "mine" / BAG).counts == {TRUTH: 3}


def test_an_earlier_copy_stays_when_the_new_one_cannot_be_written(tmp_path, monkeypatch):
    path = write_mcap(tmp_path / "drive.mcap", fixes())
    copy_of(path, tmp_path / "out")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rosbags.rosbag2.Writer.write", full)
    with pytest.raises(DatasetError, match="No space"):
        copy_of(path, tmp_path / "out")
    assert Read(tmp_path / "out" / BAG).counts == {TRUTH: COUNT, FIX_TOPIC: 1}


@pytest.mark.parametrize("alone", [True, False])
def test_the_bag_itself_is_never_replaced(tmp_path, alone):
    path = copy_of(write_mcap(tmp_path / "drive.mcap", fixes()), tmp_path / "out")
    source = next(path.glob("*.mcap")) if alone else path
    with open_bag(source) as bag, pytest.raises(DatasetError, match="is the bag that is read"):
        check_target(bag, tmp_path / "out")
