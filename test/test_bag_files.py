"""Bags are read whatever their files are called, however they are packed, and whoever wrote them."""

import os
import shutil
import sqlite3

import lz4.frame
import pytest
import zstandard
from bag_helpers import (
    COUNT,
    CUSTOM,
    CUSTOM_TYPE,
    TRUTH,
    Read,
    bag_condition,
    custom_messages,
    fixes,
    ros1_fixes,
    row,
    storage_file,
    write_mcap,
    write_metadata,
    write_ros1,
    write_rosbag,
    write_split,
)
from mcap.writer import CompressionType, IndexType
from rosbags.rosbag2 import CompressionMode, StoragePlugin
from rosbags.typesys import Stores, get_typestore

from campus_visual_gps.errors import DatasetError
from training.replay.bags import NAVSATFIX, open_bag, write_bag
from training.replay.fixes import read_fixes

FIRST = "2026-11-22"
ROS1_FIX = ("ros1msg", get_typestore(Stores.ROS1_NOETIC).generate_msgdef(NAVSATFIX, ros_version=1)[0])
NO_INDEX = {"index_types": IndexType.NONE}
NO_SUMMARY = NO_INDEX | {"use_statistics": False, "repeat_channels": False, "repeat_schemas": False}


def packed(path, pack):
    """The file of a bag, compressed by hand."""
    target = path.with_name(f"{path.name}.packed")
    target.write_bytes(pack(path.read_bytes()))
    path.unlink()
    return target


WHOLE = [
    row("mcap-file", "a .mcap file alone", "read", lambda d: write_mcap(d / "drive.mcap", fixes())),
    row("db3-file", "a .db3 file alone", "read", lambda d: storage_file(write_rosbag(d / "bag", fixes()))),
    row("sqlite3", "rosbag2 directory, sqlite3", "read", lambda d: write_rosbag(d / "bag", fixes()), since=FIRST),
    row(
        "mcap",
        "rosbag2 directory, MCAP",
        "read",
        lambda d: write_rosbag(d / "bag", fixes(), StoragePlugin.MCAP),
        since=FIRST,
    ),
    row("split", "rosbag2 directory of several files", "all are read", lambda d: write_split(d / "bag")),
    row(
        "zstd-file",
        "compression_mode: file, zstd",
        "read",
        lambda d: write_rosbag(d / "bag", fixes(), mode=CompressionMode.FILE),
    ),
    row(
        "zstd-message",
        "compression_mode: message, zstd",
        "read",
        lambda d: write_rosbag(d / "bag", fixes(), mode=CompressionMode.MESSAGE),
    ),
    row(
        "zstd-bare",
        "a .mcap.zstd file alone, of any name",
        "read",
        lambda d: packed(write_mcap(d / "drive.mcap", fixes()), zstandard.compress),
    ),
    row(
        "lz4-bare",
        "storage file compressed with lz4",
        "read",
        lambda d: packed(write_mcap(d / "drive.mcap", fixes()), lz4.frame.compress),
    ),
    row(
        "lz4-chunks",
        "MCAP, chunks compressed with lz4",
        "read",
        lambda d: write_mcap(d / "drive.mcap", fixes(), compression=CompressionType.LZ4),
    ),
    row(
        "no-index",
        "MCAP without message and chunk indexes",
        "read",
        lambda d: write_mcap(d / "drive.mcap", fixes(), **NO_INDEX),
    ),
    row(
        "no-summary",
        "MCAP without a summary",
        "read",
        lambda d: write_mcap(d / "drive.mcap", fixes(), **NO_SUMMARY),
    ),
    row(
        "unordered",
        "MCAP without chunks, log times out of order",
        "read in the order of time",
        lambda d: write_mcap(d / "drive.mcap", fixes()[::-1], use_chunking=False),
    ),
    row("ros1", "bag of ROS 1 (.bag)", "read, messages become those of ROS 2", lambda d: write_ros1(d / "drive.bag")),
    row(
        "ros1-mcap",
        "MCAP converted from a bag of ROS 1",
        "read, messages become those of ROS 2",
        lambda d: write_mcap(d / "drive.mcap", ros1_fixes(), {"sensor_msgs/NavSatFix": ROS1_FIX}, {TRUTH: "ros1"}),
    ),
    row(
        "odd-path",
        "path with %, ?, # and blanks",
        "read",
        lambda d: write_rosbag(d / "bag", fixes()).rename(d / "a 50%25 #1? ä"),
    ),
]


@pytest.mark.parametrize("make", WHOLE)
def test_every_message_is_read_in_the_order_of_time_and_nothing_is_said(tmp_path, make):
    read = Read(make(tmp_path))
    assert read.counts == {TRUTH: COUNT} and read.topics == {TRUTH: NAVSATFIX}
    times = [message.time_ns for message in read.messages]
    assert times == sorted(times) and not read.lines and not read.lost


@pytest.mark.parametrize("make", WHOLE)
def test_every_message_can_be_decoded(tmp_path, make):
    with open_bag(make(tmp_path)) as bag:
        assert read_fixes(bag, TRUTH).positions[-1].tolist() == pytest.approx([31.0 + (COUNT - 1) * 1e-5, 34.0, 300.0])


@bag_condition("sqlite3 with a -wal file, recorder killed", "read with it; the files stay as they are")
def test_messages_in_a_write_ahead_log_are_read_and_the_files_stay(tmp_path):
    whole = storage_file(write_rosbag(tmp_path / "whole", fixes()))
    live = sqlite3.connect(whole)
    live.execute("PRAGMA journal_mode = WAL")
    live.execute("PRAGMA wal_autocheckpoint = 0")
    live.execute("INSERT INTO messages SELECT NULL, topic_id, timestamp + 10000000000, data FROM messages")
    live.commit()
    killed = tmp_path / "killed"
    killed.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(f"{whole}{suffix}", killed / f"drive.db3{suffix}")
    live.close()
    before = {file.name: file.read_bytes() for file in killed.iterdir()}
    read = Read(killed / "drive.db3")
    assert read.counts == {TRUTH: 2 * COUNT} and "drive.db3-wal" in read.text
    assert {file.name: file.read_bytes() for file in killed.iterdir()} == before


@bag_condition("sqlite3 with a hot -journal, machine went off", "unfinished writing is undone in a copy; read")
def test_an_unfinished_transaction_is_undone_in_a_copy(tmp_path):
    whole = storage_file(write_rosbag(tmp_path / "whole", fixes(900)))
    live = sqlite3.connect(whole, isolation_level=None)
    live.execute("PRAGMA cache_size = 1")
    live.execute("BEGIN")
    live.execute("UPDATE messages SET topic_id = 77")
    cut = tmp_path / "cut"
    cut.mkdir()
    for suffix in ("", "-journal"):
        shutil.copy(f"{whole}{suffix}", cut / f"drive.db3{suffix}")
    live.close()
    before = {file.name: file.read_bytes() for file in cut.iterdir()}
    assert Read(cut / "drive.db3").counts == {TRUTH: 900}
    assert {file.name: file.read_bytes() for file in cut.iterdir()} == before


@bag_condition("sqlite3 of Humble and earlier, without message definitions", "read")
def test_a_database_without_definitions_is_read(tmp_path):
    path = write_rosbag(tmp_path / "bag", fixes())
    database = sqlite3.connect(storage_file(path))
    for table in ("message_definitions", "schema", "metadata"):
        database.execute(f"DROP TABLE {table}")
    database.execute("ALTER TABLE topics DROP COLUMN type_description_hash")
    database.commit()
    database.close()
    with open_bag(path) as bag:
        assert len(read_fixes(bag, TRUTH)) == COUNT and not bag.notes.lines


CUT = ("ros2msg", "std_msgs/Header header\nfloat64 latitude\n" + "=" * 80 + "\nMSG: std_msgs/Header\nint32 x\n")
BROKEN = ("ros2msg", "float64 speed\nthis is !! no definition\n")


@pytest.mark.parametrize(
    "schemas",
    [
        row("empty", "MCAP with empty definitions", "standard messages are read", {NAVSATFIX: ("", "")}),
        row("cut", "definition of a standard message cut off", "read by the standard one", {NAVSATFIX: CUT}),
        row("unknown", "definition in an unknown language", "standard messages are read", {NAVSATFIX: ("x", "y")}),
        row("broken-own", "broken definition of a standard message", "read by the standard one", {NAVSATFIX: BROKEN}),
        row(
            "broken-other",
            "broken definition of another topic",
            "the others are read",
            {CUSTOM_TYPE: BROKEN},
        ),
        row("missing-other", "no definition of another topic", "no harm", {CUSTOM_TYPE: ("", "")}),
    ],
)
def test_definitions_that_are_missing_or_broken_stop_nobody(tmp_path, schemas):
    path = write_mcap(tmp_path / "drive.mcap", [*fixes(), *custom_messages()], schemas)
    with open_bag(path) as bag:
        assert len(read_fixes(bag, TRUTH)) == COUNT
        if CUSTOM_TYPE in schemas:
            with pytest.raises(DatasetError, match=f"no usable definition of {CUSTOM_TYPE}"):
                list(bag.contents(CUSTOM))


@bag_condition("topic that is not in CDR (JSON, protobuf)", "named and left out; the others are read")
def test_a_topic_in_another_encoding_is_named_and_the_others_are_read(tmp_path):
    messages = [*fixes(), *fixes(3, "/json")]
    read = Read(write_mcap(tmp_path / "drive.mcap", messages, encodings={"/json": "json"}))
    assert read.counts == {TRUTH: COUNT} and "/json is in 'json'" in read.text


@bag_condition("messages of own types", "a copy keeps them and their definitions")
def test_a_copy_keeps_messages_of_own_types_with_their_definition(tmp_path):
    path = write_mcap(tmp_path / "drive.mcap", [*fixes(), *custom_messages()])
    with open_bag(path) as bag:
        write_bag(tmp_path / "copy", bag.messages(), bag.qos(), definitions=bag.definitions())
    with open_bag(tmp_path / "copy") as copy:
        assert [content.speed for _, content in copy.contents(CUSTOM)] == [1.5] * 5


@bag_condition("files of several recordings in one folder", "named; one of them is asked for")
def test_files_of_several_recordings_are_not_mixed(tmp_path):
    for name in ("monday", "tuesday"):
        write_mcap(tmp_path / f"{name}_0.mcap", fixes())
    with pytest.raises(DatasetError, match=r"several recordings: monday_0.mcap, tuesday_0.mcap; name one"):
        Read(tmp_path)


def write(content):
    return lambda path: path.write_bytes(content)


def folder_of_a_bag(path):
    write_split(path / "monday")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        row("nothing", "path where nothing is", "one line", lambda path: None, "nothing is there", since=FIRST),
        row("folder", "empty folder", "one line says what is expected", lambda path: path.mkdir(), "no storage file"),
        row("parent", "folder that holds bags", "one line names them", folder_of_a_bag, "did you mean monday"),
        row("zero", "file of zero bytes", "one line says so", write(b""), r"empty \(0 bytes\)"),
        row("lfs", "pointer of Git LFS", "`git lfs pull`", write(b"version https://git-lfs"), "git lfs pull"),
        row("zip", "ZIP or gzip archive", "one line: unpack it", write(b"PK\x03\x04...."), "ZIP archive; unpack"),
        row("text", "file of another kind", "one line with its first bytes", write(b"hello world"), "b'hello wo'"),
        row(
            "old-ros1",
            "ROS 1 bag before 2.0",
            "names the converter",
            write(b"#ROSRECORD V1.1\n"),
            "rosbag fix",
        ),
        row("cut-magic", "file cut after a few bytes", "one line says so", write(b"\x89MCA"), "cut after 4 bytes"),
    ],
)
def test_what_is_no_bag_is_one_line_that_says_what_it_is(tmp_path, make, said):
    make(tmp_path / "thing")
    with pytest.raises(DatasetError, match=said) as caught:
        Read(tmp_path / "thing")
    assert "\n" not in str(caught.value) and "expected a directory of `ros2 bag`" in str(caught.value)


@bag_condition("storage plugin without files that are known", "one line names the plugin")
def test_a_storage_plugin_that_is_unknown_is_named(tmp_path):
    write_metadata(tmp_path, ["drive_0.foo"], {TRUTH: 3}, storage="foo")
    with pytest.raises(DatasetError, match="storage plugin 'foo'"):
        Read(tmp_path)


@bag_condition("bag that may not be read", "one line: permission denied")
def test_a_bag_without_permission_is_one_line(tmp_path, monkeypatch):
    path = write_split(tmp_path / "bag")
    if os.geteuid() == 0:  # root may read everything

        def denied(self, *_, **__):
            raise PermissionError(13, "Permission denied", str(self))

        monkeypatch.setattr("pathlib.Path.open", denied)
    else:
        (path / "bag_0.mcap").chmod(0)
    with pytest.raises(DatasetError, match="Permission denied"):
        Read(path)
