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
from training.evaluate.predict import PHOTO_COLUMNS
from training.replay.bags import IMAGES, NAVSATFIX, Bag, Fixes, stamp_ns

FRAMES = "frames"


@dataclass(frozen=True)
class Frames:
    """Frames with a truth: `photos` has one row each, as a data set's photos; stamps (N,) ns; unusable ones counted."""

    photos: pd.DataFrame
    paths: list[Path]
    stamps_ns: np.ndarray
    bad_images: int
    without_truth: int


def image_topic(bag: Bag, wanted: str | None) -> str:
    """The wanted topic, or the bag's only image topic. Raises DatasetError."""
    topics = sorted(topic for topic, kind in bag.topics().items() if kind in IMAGES)
    if wanted is None and len(topics) == 1:
        return topics[0]
    if wanted in topics:
        return wanted
    raise DatasetError(f"bag {bag.path}: name one of its image topics with --images: {', '.join(topics) or 'none'}")


def truth_topic(bag: Bag, wanted: str | None) -> str:
    """The wanted topic, or the bag's only NavSatFix topic with "truth" in its name. Raises DatasetError."""
    topics = sorted(topic for topic, kind in bag.topics().items() if kind == NAVSATFIX)
    named = [topic for topic in topics if "truth" in topic]
    if wanted is None and len(named) == 1:
        return named[0]
    if wanted in topics:
        return wanted
    raise DatasetError(f"bag {bag.path}: name the truth with --truth, one of: {', '.join(topics) or 'none'}")


def extract_frames(bag: Bag, topic: str, truth: Fixes, size_px: int, out_dir: Path) -> Frames:
    """Write every usable frame as a square PNG (lossless: the numbers stay the node's) and look up its truth.

    Raises DatasetError when no frame is left.
    """
    rows, paths, stamps = [], [], []
    bad = without_truth = 0
    for stamp, rgb, frame_id in _decoded(bag, topic):
        position = truth.interpolate(np.array([stamp]))[0]
        if rgb is None:
            bad += 1
        elif np.isnan(position[0]):
            without_truth += 1
        else:
            paths.append(_write_frame(out_dir / f"{stamp}.png", resize_square(rgb, size_px)))
            rows.append(_row(bag, topic, stamp, frame_id, position))
            stamps.append(stamp)
    if not rows:
        raise DatasetError(f"bag {bag.path}: no image on {topic} has a truth at its time")
    return Frames(pd.DataFrame(rows), paths, np.array(stamps, dtype=np.int64), bad, without_truth)


def _decoded(bag: Bag, topic: str) -> Iterator[tuple[int, np.ndarray | None, str]]:
    """Stamp, image (None where it cannot be used) and frame_id of every message with a newer stamp than the last."""
    last = 0
    for message in bag.messages([topic]):
        content = bag.decode(message)
        stamp = stamp_ns(content.header)
        if stamp <= last:
            continue
        last = stamp
        yield stamp, _rgb(content), content.header.frame_id


def _rgb(content: Any) -> np.ndarray | None:
    try:
        return to_rgb(content)
    except ImageError:
        return None


def _write_frame(path: Path, rgb: np.ndarray) -> Path:
    _, encoded = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    with atomic_write(path) as part:
        encoded.tofile(part)
    return path


def _row(bag: Bag, topic: str, stamp: int, frame_id: str, position: np.ndarray) -> dict[str, Any]:
    known = {
        "photo_id": str(stamp),
        "file": f"{topic}@{stamp}",
        "session": bag.path.name,
        "captured_at": datetime.fromtimestamp(stamp / 1e9, timezone.utc).isoformat(),
        "camera": frame_id,
        "night": pd.NA,
        "subset": "",
        "latitude_deg": position[0],
        "longitude_deg": position[1],
    }
    return dict.fromkeys(PHOTO_COLUMNS, np.nan) | known
