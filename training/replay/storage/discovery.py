"""Which files a bag consists of: a directory with or without metadata.yaml, or one file."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from campus_visual_gps.errors import DatasetError
from training.replay.storage import mcap_records, packing, ros1_file, sqlite_file
from training.replay.storage.base import Notes, StorageFile, UnreadableFileError
from training.replay.storage.mcap_file import McapFile
from training.replay.storage.metadata import METADATA, Metadata, read_metadata
from training.replay.storage.ros1_file import Ros1File
from training.replay.storage.sqlite_file import SqliteFile

_STORAGE = re.compile(r"\.(mcap|db3|bag)(\.zstd|\.zst|\.lz4)?(\.active)?$")
_SERIES = re.compile(r"_\d+$")
_OPENERS: tuple[tuple[bytes, Callable[[Path, Notes, Path], StorageFile]], ...] = (
    (mcap_records.MAGIC, McapFile),
    (sqlite_file.MAGIC, SqliteFile),
    (ros1_file.MAGIC, Ros1File),
)
# What else lies where a bag is looked for, by its first bytes.
_OTHERS = (
    (b"#ROS", "a bag of ROS 1 older than version 2.0; convert it with `rosbag fix`, then `rosbags-convert`"),
    (b"version https://git-lfs", "a pointer of Git LFS; run `git lfs pull`"),
    (b"PK\x03\x04", "a ZIP archive; unpack it"),
    (b"\x1f\x8b", "a gzip file; unpack it"),
    (b"BZh", "a bzip2 file; unpack it"),
    (b"\xfd7zXZ", "an xz file; unpack it"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it"),
    (b"ULog", "a PX4 log; convert it with `px4_to_ros2` or record a bag"),
    (b"rosbag2_bagfile", "metadata.yaml; name its directory"),
    (b"\0\0\0\0", "zeros, as after a power failure; copy it again from the robot"),
)
EXPECTED = "expected a directory of `ros2 bag`, or a .mcap, .db3 or .bag file"


@dataclass(frozen=True)
class Recording:
    """The files of a bag in the order of their numbers, and its metadata; empty for a single file."""

    files: list[Path]
    metadata: Metadata


def find_recording(path: Path, notes: Notes) -> Recording:
    """The files of a bag. Raises DatasetError where there are none, or those of several recordings."""
    if not path.exists():
        raise DatasetError(f"no bag at {path}: nothing is there; {EXPECTED}")
    if path.is_file() and path.name == METADATA:
        path = path.parent
    if path.is_file():
        return Recording([path], Metadata())
    present = _storage_files(path)
    if not present and not (path / METADATA).exists():
        raise DatasetError(f"no bag at {path}: it has no storage file; {EXPECTED}{_bags_below(path)}")
    if all(_bare_suffix(file) == "bag" for file in present) and not (path / METADATA).exists():  # of ROS 1
        return Recording(_only_series(path, present), Metadata())
    metadata = read_metadata(path, notes)
    listed = [file for name in metadata.files if (file := _listed_file(path, name)) is not None]
    lost = [name for name in metadata.files if _listed_file(path, name) is None]
    files = _listed_and_series(path, listed, present, notes) if listed else _only_series(path, present)
    for name in lost:
        count = metadata.file_counts.get(name)
        holds = "" if count is None else f" with {count} messages"
        instead = "" if listed else f"; {', '.join(file.name for file in files) or 'nothing'} is read instead"
        notes.add(f"{path}: {name}{holds} is listed in {METADATA} and missing{instead}")
    if not files:
        plugin = f" (storage plugin {metadata.storage!r})" if metadata.storage else ""
        raise DatasetError(f"bag {path}: none of its files is there{plugin}; {EXPECTED}")
    return Recording(files, metadata)


def open_storage(path: Path, notes: Notes, stack: ExitStack) -> StorageFile:
    """Open a file of a bag by what it is, not by its name; `stack` closes it. Raises UnreadableFileError."""
    head = _head(path)
    source = path
    if head[:4] in (packing.ZSTD, packing.LZ4):
        source = Path(stack.enter_context(TemporaryDirectory(prefix="bag-"))) / path.stem
        packing.unpack_file(path, source, notes)
        head = _head(source)
    for magic, opener in _OPENERS:
        if head.startswith(magic):
            storage = opener(source, notes, path)
            stack.callback(storage.close)
            return storage
    raise UnreadableFileError(f"{path} is no bag: it is {_described(head)}; {EXPECTED}")


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(32)


def _described(head: bytes) -> str:
    if not head:
        return "empty (0 bytes): the recorder was stopped before it wrote anything, or the copy failed"
    for magic, text in _OTHERS:
        if head.startswith(magic):
            return text
    for magic, _ in _OPENERS:
        if magic.startswith(head):
            return f"cut after {len(head)} bytes"
    return f"of an unknown format (it begins with {head[:8]!r})"


def _storage_files(directory: Path) -> list[Path]:
    return sorted((file for file in directory.iterdir() if _STORAGE.search(file.name) and file.is_file()), key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    """A key that sorts drive_2 before drive_10."""
    return [(int(text), "") if text.isdigit() else (-1, text) for text in re.split(r"(\d+)", path.name)]


def _listed_file(directory: Path, name: str) -> Path | None:
    """The listed file; also where it has been decompressed or compressed by hand."""
    bare = re.sub(r"\.(zstd|zst|lz4)$", "", name)
    names = (name, bare, f"{bare}.zstd", f"{bare}.zst", f"{bare}.lz4")
    return next((directory / item for item in names if (directory / item).is_file()), None)


def _series(path: Path) -> str:
    """The name without its number and what follows: drive_0.mcap and drive_12.mcap are of one recording."""
    return _SERIES.sub("", _STORAGE.sub("", path.name))


def _listed_and_series(directory: Path, listed: list[Path], present: list[Path], notes: Notes) -> list[Path]:
    """The listed files, and those of the same recording that a recorder that crashed did not list any more."""
    others = [file for file in present if file not in listed]
    names, kinds = {_series(file) for file in listed}, {_bare_suffix(file) for file in listed}
    added = [
        file
        for file in others
        if _series(file) in names
        and _bare_suffix(file) in kinds
        and _SERIES.search(_STORAGE.sub("", file.name))
        and _STORAGE.sub("", file.name) not in {_STORAGE.sub("", item.name) for item in listed}
    ]
    for file in others:
        verb = "read all the same" if file in added else "not read"
        notes.add(f"{directory}: {file.name} is not listed in {METADATA}, {verb}; `ros2 bag reindex` lists it")
    return sorted([*listed, *added], key=_natural) if added else listed


def _only_series(directory: Path, present: list[Path]) -> list[Path]:
    """All files, where they are of one recording."""
    recordings = {(_series(file), _bare_suffix(file)) for file in present}
    if len(recordings) > 1:
        names = ", ".join(file.name for file in present)
        raise DatasetError(f"{directory} has files of several recordings: {names}; name one of them")
    return present


def _bare_suffix(path: Path) -> str:
    found = _STORAGE.search(path.name)
    return found.group(1) if found else ""


def _bags_below(directory: Path) -> str:
    """Bags in the directory, as a hint."""
    found = [
        item.name
        for item in sorted(directory.iterdir())
        if item.is_dir() and ((item / METADATA).is_file() or _storage_files(item))
    ]
    return f"; did you mean {', '.join(found[:3])} in it?" if found else ""
