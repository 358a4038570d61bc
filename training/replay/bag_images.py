"""The images of a bag as files, with the truth at their stamps."""

from __future__ import annotations

import logging
from collections import Counter
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
from campus_visual_gps.ros.bit_depth import BitDepthTracker
from campus_visual_gps.ros.image_conversion import to_rgb
from campus_visual_gps.ros.stamps import NS_PER_S, stamp_to_ns
from training.evaluate.predict import PHOTO_COLUMNS
from training.replay.bags import Bag
from training.replay.fixes import Fixes
from training.replay.stamps import TopicTimes, read_times

log = logging.getLogger(__name__)

IMAGES_DIR = "images"


@dataclass(frozen=True)
class ImageCounts:
    """Images of a bag that are not used: undecodable, without a truth, with another's stamp, without any time."""

    undecodable: int = 0
    without_truth: int = 0
    repeated_stamp: int = 0
    no_time: int = 0


@dataclass(frozen=True)
class BagImages:
    """The images with a truth, by stamp.

    `photos` has one row for each, as a data set's photos, with the columns stamp_ns, frame_id, width_px and height_px;
    `paths` are their files, `stamps_ns` (N,) their stamps. `delays_s` maps stamps to seconds until the bag received
    the image. `text` says what was left out and how, and is empty where all images are used.
    """

    photos: pd.DataFrame
    paths: list[Path]
    stamps_ns: np.ndarray
    delays_s: dict[int, float]
    counts: ImageCounts
    text: str


def extract_images(bag: Bag, topic: str, truth: Fixes, size_px: int, out_dir: Path, camera: str = "") -> BagImages:
    """Write every usable image as a square PNG (lossless: the node gets the same pixels) and look up its truth.

    What is left out is counted and logged. Raises DatasetError when no image is left.

    Args:
        bag: The bag.
        topic: Of the images.
        truth: Positions at the stamps of the images.
        size_px: Side of a stored image.
        out_dir: Directory of the stored images.
        camera: Goes into the names of the images, so that those of several cameras at one time differ.
    """
    times = read_times(bag, topic)
    rows: dict[int, dict[str, Any]] = {}
    left_out: Counter[str] = Counter()
    why, bit_depths = "", BitDepthTracker()
    for message, content in bag.contents(topic):
        stamp_ns = times.rule.time_ns(stamp_to_ns(content.header.stamp), message.time_ns)
        position = truth.interpolate(np.array([stamp_ns or 0]))[0]
        if stamp_ns is None:
            left_out["no_time"] += 1
        elif stamp_ns in rows:
            left_out["repeated_stamp"] += 1
        elif np.isnan(position[0]):
            left_out["without_truth"] += 1
        else:
            try:
                original = to_rgb(content, bit_depths)
                rgb = resize_square(original, size_px)
            except ImageError as error:
                why = why or f" (the first: {error})"
                left_out["undecodable"] += 1
                continue
            name = "-".join(filter(None, (bag.name, camera, str(stamp_ns))))
            rows[stamp_ns] = _row(bag, topic, stamp_ns, position) | {
                "photo_id": name,
                "camera": camera,
                "frame_id": content.header.frame_id,
                "width_px": original.shape[1],
                "height_px": original.shape[0],
            }
            _write_png(_path(out_dir, rows[stamp_ns]), rgb)
    text = _text(left_out, len(rows), why, times)
    if not rows:
        raise DatasetError(f"bag {bag.path}: no image on {topic} can be used: {text}{_spans(times, truth)}")
    if text:
        log.warning("%s: %s: %s", bag.path, topic, text)
    stamps = sorted(rows)
    photos = pd.DataFrame([rows[stamp] for stamp in stamps])
    paths = [_path(out_dir, rows[stamp]) for stamp in stamps]
    return BagImages(photos, paths, np.array(stamps, dtype=np.int64), times.delays_s(), ImageCounts(**left_out), text)


def _text(left_out: Counter[str], used: int, why: str, times: TopicTimes) -> str:
    blocks = []
    if left_out:
        reasons = ", ".join(f"{number} {reason}" for reason, number in sorted(left_out.items()))
        blocks.append(f"{left_out.total()} of {used + left_out.total()} images left out ({reasons}){why}")
    if times.rule.unstamped:
        blocks.append(times.rule.text())
    return "; ".join(blocks) or ("" if used else "it has no messages")


def _spans(times: TopicTimes, truth: Fixes) -> str:
    """When images and truth were taken, for an error: clocks of different devices are a common cause."""
    used = [time for time in times.times_ns() if time is not None]
    if not used or not len(truth):
        return ""
    spans = [f"{_utc(min(values))} to {_utc(max(values))}" for values in (used, truth.stamps_ns.tolist())]
    return f"; images are from {spans[0]}, the truth from {spans[1]}"


def _utc(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // NS_PER_S, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def _path(out_dir: Path, row: dict[str, Any]) -> Path:
    return out_dir / f"{row['photo_id']}.png"


def _write_png(path: Path, rgb: np.ndarray) -> None:
    _, encoded = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    with atomic_write(path) as part:
        encoded.tofile(part)


def _row(bag: Bag, topic: str, stamp_ns: int, position: np.ndarray) -> dict[str, Any]:
    known = {
        "file": f"{topic}@{stamp_ns}",
        "session": bag.name,
        "captured_at": datetime.fromtimestamp(stamp_ns / 1e9, timezone.utc).isoformat(),
        "night": pd.NA,
        "subset": "",
        "latitude_deg": position[0],
        "longitude_deg": position[1],
        "stamp_ns": stamp_ns,
    }
    return dict.fromkeys(PHOTO_COLUMNS, np.nan) | known
