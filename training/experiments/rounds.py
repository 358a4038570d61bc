"""A data set as it stood after a round of the active learning: without the corrections of the later rounds."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from campus_visual_gps.errors import DatasetError
from campus_visual_gps.io_utils import sha256_of
from training.active.history import Round, read_history, restore_subsets
from training.experiments.store import identity
from training.photos.corrections import apply_corrections
from training.photos.splits import split

log = logging.getLogger(__name__)

DATASETS = "datasets"


def dataset_at_round(dataset_dir: Path, number: int, out: Path) -> Path:
    """A data set directory with the labels and subsets after a round; 0 is before the first.

    It is made in `<out>/datasets` of the tables alone, with a link to the images; the last round's is the data set
    itself.

    Raises:
        DatasetError: There were fewer rounds, or the tables cannot be made.
    """
    history = read_history(dataset_dir)
    if number > len(history):
        raise DatasetError(
            f"needs {number} rounds of active learning, and {dataset_dir} has had {len(history)}: see `blind-spots` "
            "and `round`"
        )
    if number == len(history):
        return dataset_dir
    sources = sorted([*dataset_dir.glob("*.csv"), *dataset_dir.glob("*.yaml"), *dataset_dir.glob("corrections/*")])
    key = identity({str(path.relative_to(dataset_dir)): sha256_of(path) for path in sources if path.is_file()})
    target = out / DATASETS / f"round-{number}-{key}"
    if not target.is_dir():
        _make(dataset_dir, history[number:], target)
    return target


def _make(dataset_dir: Path, later: list[Round], target: Path) -> None:
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        for path in dataset_dir.iterdir():
            if path.is_file():
                shutil.copy2(path, partial / path.name)
        if (dataset_dir / "corrections").is_dir():
            shutil.copytree(dataset_dir / "corrections", partial / "corrections")
        for entry in later:
            (partial / entry.batch).unlink(missing_ok=True)
        (partial / "images").symlink_to((dataset_dir / "images").absolute(), target_is_directory=True)
        apply_corrections(partial)
        restore_subsets(partial, later)
        split(partial)
        partial.rename(target)
    except OSError as error:
        raise DatasetError(
            f"{target}: cannot be written: {error.strerror or error}; make room and run again"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
