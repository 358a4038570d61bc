"""The images of a bag as files, with the truth at their stamps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from campus_visual_gps.errors import DatasetError, ImageError
from campus_visual_gps.io_utils import atomic_write
from campus_visual_gps.preprocess import resize_square
from campus_visual_gps.ros.image_conversion import to_rgb
from campus_visual_gps.ros.stamps import stamp_to_ns
from training.evaluate.predict import PHOTO_COLUMNS
from training.replay.bags import Bag, Fixes

IMAGES_DIR = "images"


@dataclass(frozen=True)
class BagImages:
    """The images with a truth.

    `photos` has one row for each, as a data set's photos, with the columns stamp_ns and frame_id; `paths` are their
    files, `stamps_ns` (N,) their stamps. Images that cannot be decoded and those without a truth are counted.
    """

    photos: pd.DataFrame
    paths: list[Path]
    stamps_ns: np.ndarray
    bad_images: int
    without_truth: int


def extract_images(bag: Bag, topic: str, truth: Fixes, size_px: int, out_dir: Path) -> BagImages:
    """Write every usable image as a square PNG (lossless: the node gets the same pixels) and look up its truth.

    Raises DatasetError when no image is left.
    """
    rows, paths, stamps = [], [], []
    bad = without_truth = 0
    for stamp_ns, rgb, frame_id in _decoded(bag, topic):
        position = truth.interpolate(np.array([stamp_ns]))[0]
        if rgb is None:
            bad += 1
        elif np.isnan(position[0]):
            without_truth += 1
        else:
            row = _row(bag, topic, stamp_ns, frame_id, position)
            paths.append(_write_png(out_dir / f"{row['photo_id']}.png", resize_square(rgb, size_px)))
            rows.append(row)
            stamps.append(stamp_ns)
    if not rows:
        raise DatasetError(f"bag {bag.path}: no image on {topic} has a truth at its time")
    return BagImages(pd.DataFrame(rows), paths, np.array(stamps, dtype=np.int64), bad, without_truth)


def _decoded(bag: Bag, topic: str) -> Iterator[tuple[int, np.ndarray | None, str]]:
    """Stamp, image (None where it cannot be used) and frame_id of every message with a newer stamp than the last."""
    last_ns = 0
    for message in bag.messages([topic]):
        content = bag.decode(message)
        stamp_ns = stamp_to_ns(content.header.stamp)
        if stamp_ns <= last_ns:
            continue
        last_ns = stamp_ns
        yield stamp_ns, _rgb(content), content.header.frame_id


def _rgb(content: Any) -> np.ndarray | None:
    try:
        return to_rgb(content)
    except ImageError:
        return None


def _write_png(path: Path, rgb: np.ndarray) -> Path:
    _, encoded = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    with atomic_write(path) as part:
        encoded.tofile(part)
    return path


def _row(bag: Bag, topic: str, stamp_ns: int, frame_id: str, position: np.ndarray) -> dict[str, Any]:
    known = {
        "photo_id": f"{bag.path.name}-{stamp_ns}",
        "file": f"{topic}@{stamp_ns}",
        "session": bag.path.name,
        "captured_at": datetime.fromtimestamp(stamp_ns / 1e9, timezone.utc).isoformat(),
        "camera": "",
        "night": pd.NA,
        "subset": "",
        "latitude_deg": position[0],
        "longitude_deg": position[1],
        "stamp_ns": stamp_ns,
        "frame_id": frame_id,
    }
    return dict.fromkeys(PHOTO_COLUMNS, np.nan) | known
