"""A copy of a bag with the fixes that the model gives offline: to view together with the recording, or to play."""

from __future__ import annotations

import heapq
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from rosbags.typesys import get_typestore

from campus_visual_gps.bundle import Altitude
from campus_visual_gps.errors import DatasetError
from campus_visual_gps.estimation.correlated_errors import ErrorDecorrelator
from training.evaluate.predict import covariances_m2
from training.replay.bags import NAVSATFIX, TYPES, Bag, BagMessage, write_bag
from training.replay.storage.metadata import METADATA

FIX_TOPIC = "/visual_gps/fix"
BAG = "with_fixes"
ORIGIN = "written by replay of campus_visual_gps"
STATUS_FIX, SERVICE_GPS, COVARIANCE_KNOWN = 0, 1, 3
log = logging.getLogger(__name__)


def check_target(bag: Bag, out_dir: Path) -> None:
    """That the copy's directory is free, or has an earlier copy. Raises DatasetError."""
    path = out_dir / BAG
    if bag.path.resolve() in (path.resolve(), *path.resolve().glob("*")):
        raise DatasetError(f"{path} is the bag that is read; name another directory with --out")
    if path.exists() and ORIGIN not in _metadata_text(path):
        raise DatasetError(f"{path} exists and was not written by replay; name another directory with --out")


def write_with_fixes(
    bag: Bag,
    predictions: pd.DataFrame,
    delays_s: dict[int, float],
    altitude: Altitude,
    out_dir: Path,
    decorrelator: ErrorDecorrelator | None = None,
) -> Path:
    """Write `out_dir`/with_fixes, replacing an earlier one: the bag's messages and one fix per accepted image.

    Fixes that the bag already has on FIX_TOPIC are left out; topics keep their QoS. What of the bag cannot be read is
    missing in the copy: this is logged, and stands in the copy's metadata.yaml under custom_data.

    Args:
        bag: The recording.
        predictions: Rows of predictions.csv.
        delays_s: Stamp -> seconds until the bag received the image; a fix comes as much later, and by the ensemble's
            time.
        altitude: The bundle's.
        out_dir: Directory of the report.
        decorrelator: Makes of the covariances what the node publishes for a filter; None keeps those of the images.

    Raises:
        DatasetError: the copy's directory holds something else, or cannot be written.
    """
    check_target(bag, out_dir)
    path = out_dir / BAG
    own = [topic for topic in bag.topics() if topic != FIX_TOPIC]
    if len(own) < len(bag.topics()):
        log.warning("%s has fixes on %s: the copy has the new ones instead", bag.path, FIX_TOPIC)
    fixes = sorted(fix_messages(predictions, delays_s, altitude, decorrelator), key=lambda message: message.time_ns)
    about = {"origin": ORIGIN}
    messages = heapq.merge(_recorded(bag, own, about), fixes, key=lambda message: message.time_ns)
    earlier = path.with_name(f".{path.name}.earlier-{os.getpid()}")
    if path.exists():
        path.rename(earlier)
    try:
        write_bag(path, messages, bag.qos(), custom_data=about, definitions=bag.definitions())
    except BaseException:
        if earlier.exists():
            earlier.rename(path)
        raise
    shutil.rmtree(earlier, ignore_errors=True)
    return path


def _recorded(bag: Bag, topics: list[str], about: dict[str, str]) -> Iterator[BagMessage]:
    """The bag's messages; once all are read, what was lost is written to `about`."""
    yield from bag.messages(topics)
    if bag.notes.lines:
        about["incomplete"] = "; ".join(bag.notes.lines)
        known = sum(bag.lost.values())
        log.warning("%s: the copy lacks what could not be read: %d messages are known to be lost", bag.path, known)


def _metadata_text(path: Path) -> str:
    try:
        return (path / METADATA).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def fix_messages(
    predictions: pd.DataFrame,
    delays_s: dict[int, float],
    altitude: Altitude,
    decorrelator: ErrorDecorrelator | None = None,
) -> Iterator[BagMessage]:
    """NavSatFix of the accepted rows, as the node would publish them."""
    store = get_typestore(TYPES)
    accepted = predictions[(predictions["rejection_reason"] == "") & np.isfinite(predictions["error_m"])]
    for row, covariance in zip(accepted.to_dict("records"), covariances_m2(accepted), strict=True):
        stamp = int(row["stamp_ns"])
        factor = 1.0 if decorrelator is None else decorrelator.factor(stamp)
        if factor is None:
            continue
        data = store.serialize_cdr(_fix(store.types, row, factor * covariance, altitude), NAVSATFIX)
        latency_s = delays_s.get(stamp, 0.0) + row["transform_s"] + row["ensemble_s"]
        yield BagMessage(FIX_TOPIC, NAVSATFIX, stamp + round(latency_s * 1e9), bytes(data))


def _fix(types: dict, row: dict, covariance_m2: np.ndarray, altitude: Altitude):
    seconds, nanoseconds = divmod(int(row["stamp_ns"]), 1_000_000_000)
    covariance = np.zeros((3, 3))
    covariance[:2, :2], covariance[2, 2] = covariance_m2, altitude.sigma_m**2
    stamp = types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)
    return types[NAVSATFIX](
        header=types["std_msgs/msg/Header"](stamp=stamp, frame_id=row["frame_id"]),
        status=types["sensor_msgs/msg/NavSatStatus"](status=STATUS_FIX, service=SERVICE_GPS),
        latitude=row["latitude_deg"],
        longitude=row["longitude_deg"],
        altitude=altitude.altitude_m,
        position_covariance=covariance.ravel(),
        position_covariance_type=COVARIANCE_KNOWN,
    )
