"""Writing files so that a killed run leaves none of them half written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from campus_visual_gps.errors import DatasetError

PART_SUFFIX = ".part"


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Gives a path beside `path` to write to; it takes the place of `path` only once it is complete.

    Raises DatasetError where the disk refuses (full, read-only), leaving what was there before.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}{PART_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(path)
    except OSError as error:
        raise DatasetError(
            f"{path}: cannot be written: {error.strerror or error}; make room for it and run again"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def remove_parts(directory: Path) -> None:
    """Removes what a killed run was still writing."""
    for part in directory.glob(f".*{PART_SUFFIX}"):
        part.unlink(missing_ok=True)
