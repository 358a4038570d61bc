"""Files and streams: hashes, atomic writes, values as YAML knows them, and what a terminal cannot print."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from campus_visual_gps.errors import DatasetError

PARTIAL_SUFFIX = ".part"


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def to_builtin(value: Any) -> Any:
    """The value with its tuples as lists, which is what YAML has."""
    if isinstance(value, dict):
        return {key: to_builtin(item) for key, item in value.items()}
    return [to_builtin(item) for item in value] if isinstance(value, (list, tuple)) else value


def escape_unencodable_output() -> None:
    """Print characters that the output's encoding lacks as escapes: on ASCII and Windows terminals, and in pipes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the directory of `path`; it replaces `path` once it is complete.

    Raises:
        DatasetError: the file cannot be written (disk full, read-only). What was there before stays.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        make_ordinary(partial)
        partial.replace(path)
    except OSError as error:
        raise DatasetError(
            f"{path}: cannot be written: {error.strerror or error}; make room for it and run again"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def make_ordinary(path: Path) -> None:
    """Give a file the permissions of any new file in its directory, by umask.

    Some libraries write files that their owner alone may read, such as safetensors: another user of the robot could not
    load them.
    """
    probe = path.with_name(f".{path.name}.{os.getpid()}.mode{PARTIAL_SUFFIX}")
    with contextlib.suppress(OSError):  # file systems without permissions
        try:
            probe.touch()
            path.chmod(stat.S_IMODE(probe.stat().st_mode))
        finally:
            probe.unlink(missing_ok=True)


def remove_partial_files(directory: Path) -> None:
    """Removes the temporary files that a killed `atomic_write` left in a directory."""
    for partial in directory.glob(f".*{PARTIAL_SUFFIX}"):
        partial.unlink(missing_ok=True)
