"""A bag's metadata.yaml is a hint: the files are read whatever it says, and a difference is named."""

import pytest
from bag_helpers import COUNT, TRUTH, Read, bag_condition, row, write_metadata, write_split


def without_metadata(path):
    (path / "metadata.yaml").unlink()


def metadata(text):
    return lambda path: (path / "metadata.yaml").write_bytes(text)


def renamed(path):
    for number in range(3):
        (path / f"bag_{number}.mcap").rename(path / f"monday_{number}.mcap")


def unlisted(path):
    write_metadata(path, ["bag_0.mcap"], {TRUTH: COUNT // 3})


METADATA = [
    row("missing", "metadata.yaml missing", "read; names `ros2 bag reindex`", without_metadata, "missing"),
    row("empty", "metadata.yaml empty", "read; named", metadata(b""), "is empty"),
    row("zeros", "metadata.yaml of zeros, after a power failure", "read; named", metadata(bytes(300)), "cannot"),
    row(
        "no-yaml",
        "metadata.yaml that is no YAML",
        "read; named",
        metadata(b"a: [b\n- "),
        "cannot be read",
    ),
    row("foreign", "metadata.yaml with other content", "read; named", metadata(b"- 1\n- 2"), "is empty or"),
    row("renamed", "storage files renamed after the recording", "read; named", renamed, "monday_0.mcap"),
    row(
        "unlisted",
        "recorder crashed, later files not listed",
        "read; named",
        unlisted,
        "bag_2.mcap is not",
    ),
    row(
        "newer",
        "metadata.yaml of a newer version",
        "read",
        lambda path: write_metadata(path, [f"bag_{i}.mcap" for i in range(3)], {TRUTH: COUNT}, version=42),
        None,
    ),
    row(
        "zero-counts",
        "metadata.yaml with message counts of 0",
        "all files are read",
        lambda path: write_metadata(path, [f"bag_{i}.mcap" for i in range(3)], {TRUTH: 0}),
        None,
    ),
    row(
        "unknown-plugin",
        "metadata.yaml names an unknown storage plugin, the files are MCAP",
        "read",
        lambda path: write_metadata(path, [f"bag_{i}.mcap" for i in range(3)], {TRUTH: COUNT}, storage="mine"),
        None,
    ),
]


@pytest.mark.parametrize(("damage", "said"), METADATA)
def test_whatever_its_metadata_a_bag_is_read_whole(tmp_path, damage, said):
    path = write_split(tmp_path / "bag")
    damage(path)
    read = Read(path)
    assert read.counts == {TRUTH: COUNT} and not read.lost
    assert (said in read.text) if said else not read.lines


@bag_condition("one file of a split bag missing", "the others are read; the loss is counted")
def test_of_a_split_bag_with_a_file_missing_the_others_are_read_and_the_loss_is_counted(tmp_path):
    path = write_split(tmp_path / "bag")
    (path / "bag_1.mcap").unlink()
    read = Read(path)
    assert read.counts == {TRUTH: 40} and read.lost == {TRUTH: 20}
    assert "bag_1.mcap with 20 messages is listed in metadata.yaml and missing" in read.text


@bag_condition("metadata.yaml promises more messages than there are", "read; said how many are missing")
def test_fewer_messages_than_the_metadata_promises_are_said(tmp_path):
    path = write_split(tmp_path / "bag")
    write_metadata(path, [f"bag_{i}.mcap" for i in range(3)], {TRUTH: 64})
    read = Read(path)
    assert read.counts == {TRUTH: COUNT} and read.lost == {TRUTH: 4}
    assert "60 of 64 messages on /truth could be read" in read.text and "ros2 bag reindex" in read.text


@pytest.mark.parametrize("content", [b"", bytes(4000), b"\x89MCAP0\r\n\x01"])
@bag_condition("one file of a split bag empty, of zeros or cut", "the others are read; the loss is counted")
def test_of_a_split_bag_with_an_unreadable_file_the_others_are_read(tmp_path, content):
    path = write_split(tmp_path / "bag")
    (path / "bag_2.mcap").write_bytes(content)
    read = Read(path)
    assert read.counts == {TRUTH: 40} and read.lost == {TRUTH: 20}
    assert "bag_2.mcap" in read.text and "the bag's other files are read" in read.text
