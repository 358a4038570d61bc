"""A directory of results that appears complete or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from campus_visual_gps.errors import DatasetError


@contextlib.contextmanager
def staged_directory(out_dir: Path) -> Iterator[Path]:
    """A directory next to `out_dir` to write to; its files move to `out_dir` once all are there.

    Files of other names in `out_dir` stay.

    Raises:
        DatasetError: the disk is full or read-only; the old files in `out_dir` stay.
    """
    staging = out_dir.with_name(f".{out_dir.name}.partial-{os.getpid()}")
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        yield staging
        out_dir.mkdir(exist_ok=True)
        for file in sorted(staging.iterdir()):
            file.replace(out_dir / file.name)
    except OSError as error:
        where = error.filename or out_dir
        raise DatasetError(f"{where}: {error.strerror or error}; make room for the report and run again") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
