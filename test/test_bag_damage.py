"""Damaged and cut bags: what can be read is read, what is lost is said, and nothing ends in a traceback."""

import random

import pytest
from bag_helpers import (
    COUNT,
    TRUTH,
    Read,
    bag_condition,
    fixes,
    row,
    storage_file,
    write_mcap,
    write_metadata,
    write_rosbag,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.writer import CompressionType, IndexType
from rosbags.rosbag2 import CompressionMode

from campus_visual_gps.errors import DatasetError
from training.replay.bags import open_bag
from training.replay.fixes import read_fixes

NO_SUMMARY = {
    "index_types": IndexType.NONE,
    "use_statistics": False,
    "repeat_channels": False,
    "repeat_schemas": False,
    "use_summary_offsets": False,
}
MCAP = {
    "zstd": {},
    "plain": {"compression": CompressionType.NONE},
    "unchunked": {"use_chunking": False},
    "no summary": NO_SUMMARY,
}


def mcap_bag(path, **options):
    """A directory with metadata.yaml; returns its file."""
    file = write_mcap(path / "bag_0.mcap", fixes(), **options)
    write_metadata(path, [file.name], {TRUTH: COUNT})
    return file


def is_accounted_for(path, with_metadata=True):
    """Read and reported make up the whole, or one line says why nothing can be read."""
    try:
        read = Read(path)
    except DatasetError as error:
        assert "\n" not in str(error)
        return True
    count = read.counts[TRUTH]
    if with_metadata:
        return count + read.lost.get(TRUTH, 0) == COUNT and (count == COUNT or read.lines)
    return count == COUNT or bool(read.lines)


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize(
    "name",
    [
        row("zstd", "MCAP cut anywhere", "read up to there; the loss is named with `mcap recover`", "zstd"),
        row("plain", "MCAP without compression, cut anywhere", "read to the last whole message; named", "plain"),
        row("unchunked", "MCAP without chunks, cut anywhere", "read to the last whole message; named", "unchunked"),
        row("no summary", "MCAP without a summary, cut anywhere", "read up to there; named", "no summary"),
    ],
)
def test_wherever_an_mcap_file_is_cut_what_is_lost_is_said(tmp_path, name, alone):
    file = mcap_bag(tmp_path, **MCAP[name])
    content = file.read_bytes()
    for size in range(0, len(content), max(1, len(content) // 60)):
        file.write_bytes(content[:size])
        assert is_accounted_for(file if alone else tmp_path, not alone), size


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize(
    "mode",
    [
        row(
            "plain",
            "sqlite3 cut anywhere",
            "read as far as it goes; named with `sqlite3 .recover`",
            CompressionMode.NONE,
        ),
        row("file", "compressed storage file cut anywhere", "read as far as it goes; named", CompressionMode.FILE),
    ],
)
def test_wherever_a_database_is_cut_what_is_lost_is_said(tmp_path, mode, alone):
    path = write_rosbag(tmp_path / "bag", fixes(), mode=mode)
    file = storage_file(path)
    content = file.read_bytes()
    for size in range(0, len(content), max(1, len(content) // 40)):
        file.write_bytes(content[:size])
        assert is_accounted_for(file if alone else path, not alone), size


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One of each kind, in directories with metadata.yaml."""
    made = {name: mcap_bag(tmp_path_factory.mktemp("bag"), **options) for name, options in MCAP.items()}
    made["sqlite3"] = storage_file(write_rosbag(tmp_path_factory.mktemp("bag") / "bag", fixes()))
    return {name: (file, file.read_bytes()) for name, file in made.items()}


@bag_condition(
    "bits flipped or blocks of zeros anywhere in a storage file", "read + said to be lost = all, or one line"
)
@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=st.sampled_from([*MCAP, "sqlite3"]),
    where=st.floats(0, 1, exclude_max=True),
    length=st.sampled_from([0, 1, 16, 300, 5000]),
)
def test_wherever_a_file_is_damaged_nothing_is_lost_in_silence(files, name, where, length):
    file, content = files[name]
    at = int(where * len(content))
    damaged = bytearray(content)
    if length:
        damaged[at : at + length] = bytes(len(damaged[at : at + length]))
    else:
        damaged[at] ^= 1 << at % 8
    file.write_bytes(damaged)
    assert is_accounted_for(file.parent)


def chunk_at(content, number):
    """Offset of the content of a chunk."""
    offset = 8
    while True:
        opcode, length = content[offset], int.from_bytes(content[offset + 1 : offset + 9], "little")
        if opcode == 0x06:
            if number == 0:
                return offset + 9
            number -= 1
        offset += 9 + length


def zeros_in_chunk(content):
    content[chunk_at(content, 1) + 60 : chunk_at(content, 1) + 90] = bytes(30)


def wrong_crc(content):
    content[chunk_at(content, 1) + 24] ^= 0xFF


def unknown_compression(content):
    at = chunk_at(content, 1) + 32
    content[at : at + 4] = b"brot"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        row(
            "zeros",
            "MCAP, one chunk damaged",
            "the other chunks are read; its messages are counted",
            zeros_in_chunk,
            "chunk",
        ),
        row(
            "crc",
            "MCAP, CRC of a chunk wrong",
            "its messages are left out and counted",
            wrong_crc,
            "crc validation failed",
        ),
        row("codec", "MCAP, chunk with an unknown compression", "left out and counted", unknown_compression, "'brot'"),
    ],
)
def test_of_a_file_with_a_damaged_chunk_the_others_are_read(tmp_path, damage, said):
    file = mcap_bag(tmp_path)
    content = bytearray(file.read_bytes())
    damage(content)
    file.write_bytes(content)
    read = Read(file)
    assert 0 < read.lost[TRUTH] < COUNT / 3 and read.counts[TRUTH] + read.lost[TRUTH] == COUNT
    assert said in read.text and f"{read.lost[TRUTH]} messages are lost" in read.text
    assert "mcap recover" in read.text and f"of {COUNT} messages on /truth could be read" in read.text


@bag_condition("MCAP whose recorder was killed (no footer)", "read to the end; named with `mcap recover`")
def test_a_file_that_its_recorder_did_not_finish_is_read_to_the_end(tmp_path):
    file = write_mcap(tmp_path / "drive.mcap", fixes(), **NO_SUMMARY)
    file.write_bytes(file.read_bytes()[:-50])
    read = Read(file)
    assert read.counts == {TRUTH: COUNT} and "mcap recover" in read.text


@bag_condition("MCAP with a damaged summary", "topics are taken from the data; named")
def test_with_a_damaged_summary_the_topics_come_from_the_data(tmp_path):
    file = write_mcap(tmp_path / "drive.mcap", fixes())
    content = bytearray(file.read_bytes())
    content[-100] ^= 0xFF
    file.write_bytes(content)
    read = Read(file)
    assert read.counts == {TRUTH: COUNT} and "summary is damaged (CRC)" in read.text


@bag_condition("messages that cannot be decoded among good ones", "left out and counted")
def test_messages_that_cannot_be_decoded_are_left_out_and_counted(tmp_path):
    messages = fixes()
    messages[3] = messages[3]._replace(data=messages[3].data[:30])
    messages[7] = messages[7]._replace(data=b"")
    with open_bag(write_mcap(tmp_path / "drive.mcap", messages)) as bag:
        assert len(read_fixes(bag, TRUTH)) == COUNT - 2
        assert "2 of 60 left out" in "\n".join(bag.notes.lines)


@bag_condition("sqlite3 with damaged pages in the middle", "rows before and behind are read; the loss is counted")
def test_rows_behind_a_damaged_page_of_a_database_are_read(tmp_path):
    path = write_rosbag(tmp_path / "bag", fixes(600))
    file = storage_file(path)
    content = bytearray(file.read_bytes())
    middle = content.find(fixes(600)[300].data) // 4096 * 4096
    content[middle : middle + 4096] = random.Random(0).randbytes(4096)
    file.write_bytes(content)
    read = Read(path)
    times = {message.time_ns for message in read.messages}
    assert {fixes(600)[0].time_ns, fixes(600)[-1].time_ns} <= times
    assert 0 < read.lost[TRUTH] < 60 and read.counts[TRUTH] + read.lost[TRUTH] == 600
    assert ".recover" in read.text
