"""The side of a data set's stored copies, and how they were made: dataset.yaml.

The side is one number for all copies, as training and evaluation begin with the stored copy. `ingest` writes it after
the last copy; `load_dataset` compares it with every copy, so that an interrupted change of the size is seen.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from campus_visual_gps.errors import DatasetError
from campus_visual_gps.io_utils import atomic_write
from campus_visual_gps.jpeg import jpeg_size
from campus_visual_gps.preprocess import MAX_SIZE_PX, MIN_SIZE_PX, STORED_SIZE_PX

FILE = "dataset.yaml"
_HEAD_BYTES = 4096  # Pillow writes the frame header within the first 700


@dataclass(frozen=True)
class StoredImages:
    """What dataset.yaml says of the stored copies.

    Attributes:
        stored_px: Their side; that of a data set without the file is STORED_SIZE_PX.
        unfinished_px: The side that an ingest has begun to bring them to; None when it has ended.
        arguments: How `ingest` was called: the photo folder and the options that change its result.
    """

    stored_px: int = STORED_SIZE_PX
    unfinished_px: int | None = None
    arguments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, value in (("stored_px", self.stored_px), ("unfinished_px", self.unfinished_px or self.stored_px)):
            check_size(value, name)

    def size_for(self, asked_px: int | None, shrink: bool) -> int:
        """The side that an ingest stores: smaller copies than there are only if `shrink` asks for them."""
        if asked_px is None:
            return self.unfinished_px or self.stored_px
        check_size(asked_px, "--size")
        return asked_px if shrink else max(asked_px, self.stored_px)


def check_size(size_px: Any, name: str) -> int:
    """The side of a stored copy, if it is one. Raises DatasetError."""
    if not isinstance(size_px, int) or isinstance(size_px, bool) or not MIN_SIZE_PX <= size_px <= MAX_SIZE_PX:
        raise DatasetError(f"{name}: expected {MIN_SIZE_PX} to {MAX_SIZE_PX} px, got {size_px!r}")
    return size_px


def read_stored_images(dataset_dir: Path) -> StoredImages:
    """dataset.yaml of a data set. Raises DatasetError where it is damaged."""
    path = Path(dataset_dir) / FILE
    if not path.exists():
        return StoredImages()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        ingest = tuple(map(str, content.get("ingest") or ()))
        return StoredImages(content["stored_px"], content.get("unfinished_px"), ingest)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, AttributeError, TypeError, DatasetError) as error:
        raise DatasetError(
            f"{path} is damaged ({type(error).__name__}: {' '.join(str(error).split())}): write the side of the stored "
            f"images into it (stored_px: {STORED_SIZE_PX}), or delete it and run `ingest` with --size again"
        ) from error


def write_stored_images(dataset_dir: Path, stored: StoredImages) -> None:
    """Write dataset.yaml. Raises DatasetError."""
    content = {"stored_px": stored.stored_px, "ingest": list(stored.arguments)}
    if stored.unfinished_px is not None:
        content["unfinished_px"] = stored.unfinished_px
    with atomic_write(Path(dataset_dir) / FILE) as partial:
        partial.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def begin_change(dataset_dir: Path, stored: StoredImages, size_px: int) -> None:
    """Note the side that the copies are about to get, so that another `ingest` finishes what this one may not."""
    if size_px != stored.stored_px or stored.unfinished_px is not None:
        write_stored_images(dataset_dir, replace(stored, unfinished_px=size_px))


def side_px(path: Path) -> int | None:
    """The side of a stored copy by its header; None without a file or if it is no square JPEG."""
    try:
        with path.open("rb") as stream:
            width_px, height_px = jpeg_size(stream.read(_HEAD_BYTES))
    except OSError:
        return None
    return width_px if width_px == height_px and width_px else None


def check_sides(dataset_dir: Path, paths: Iterable[Path]) -> None:
    """Raise DatasetError unless all stored copies have the data set's side."""
    stored = read_stored_images(dataset_dir)
    sides = {path: side_px(path) for path in paths}
    other = [path for path, side in sides.items() if side != stored.stored_px]
    if other:
        found = f"{sides[other[0]]} px" if sides[other[0]] else "no square JPEG"
        raise DatasetError(
            f"{dataset_dir}: {len(other)} of {len(sides)} stored images are not {stored.stored_px} px (the first is "
            f"{other[0].name}: {found}): an `ingest` with another --size did not end; run "
            f"`{ingest_command(dataset_dir, stored, stored.size_for(None, False))}`"
        )


def ingest_command(dataset_dir: Path, stored: StoredImages, size_px: int) -> str:
    """The command that brings the stored copies to a side, with the data set's own photo folder and options."""
    photos, *options = stored.arguments or ("PHOTOS",)
    shrink = ["--shrink"] if size_px < stored.stored_px else []
    words = ["python", "-m", "training", "ingest", photos, str(dataset_dir), *options, "--size", str(size_px), *shrink]
    return shlex.join(words)


def resizing_difference(dataset_dir: Path, stored_px: int) -> str:
    """What distinguishes a data set's copies from those of a model that was made from copies of `stored_px`; or "".

    A camera's image goes through `stored_px` only; a stored copy of another size is resized once more.
    """
    stored = read_stored_images(dataset_dir)
    if stored.stored_px == stored_px:
        return ""
    text = f"the photos in {dataset_dir} are stored at {stored.stored_px} px, the model was made from {stored_px} px: "
    if stored.stored_px < stored_px:
        return (
            f"{text}it gets enlargements, a camera's images not; run "
            f"`{ingest_command(dataset_dir, stored, stored_px)}` for errors that are those of the robot"
        )
    other = ingest_command(Path("OTHER_DATASET"), replace(stored, stored_px=stored_px), stored_px)
    return (
        f"{text}they are resized twice, a camera's images once, which moves estimates slightly; `{other}` makes a data "
        "set without this difference"
    )


def check_network_size(dataset_dir: Path, stored: StoredImages, size_px: int) -> None:
    """Raise DatasetError if a network's input is larger than the stored copies: it would see enlargements."""
    if size_px > stored.stored_px:
        raise DatasetError(
            f"size_px {size_px}: the photos in {dataset_dir} are stored at {stored.stored_px} px; run "
            f"`{ingest_command(dataset_dir, stored, size_px)}`, which reads them again from the originals, or set a "
            f"size_px of at most {stored.stored_px}"
        )
