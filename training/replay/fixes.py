"""NavSatFix messages of bags: the one place that reads them and decides which of them are positions."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from campus_visual_gps.errors import DatasetError
from campus_visual_gps.gnss.receiver_fix import GnssFault, ReceiverFix, position_fault
from campus_visual_gps.ros.stamps import stamp_to_ns
from training.replay.bags import NAVSATFIX, Bag
from training.replay.interpolation import MAX_GAP_S, interpolate
from training.replay.stamps import StampRule, stamp_rule

log = logging.getLogger(__name__)

_SITE_DEG = 1.0  # a robot's drive is much smaller
_NO_COVARIANCE = np.zeros((3, 3))


@dataclass(frozen=True)
class Fixes:
    """NavSatFix messages of one topic, sorted by stamp: (N,) ns, degrees, (N, 3) degrees and metres, (N, 3, 3) m^2.

    `left_out` maps reasons to numbers of messages of the topic that are not among them; `stamps` is what was made of
    messages without a stamp.
    """

    stamps_ns: np.ndarray
    positions: np.ndarray
    covariances_enu_m2: np.ndarray
    status: np.ndarray
    left_out: dict[str, int] = field(default_factory=dict)
    stamps: StampRule = field(default_factory=StampRule)

    def __len__(self) -> int:
        return len(self.stamps_ns)

    def where(self, rows: np.ndarray, left_out: dict[str, int] | None = None) -> Fixes:
        """The fixes of the rows, (N,) bool or (K,) indices; `left_out` is added to what was left out before."""
        counts = dict(Counter(self.left_out) + Counter(left_out or {}))
        selected = (self.stamps_ns[rows], self.positions[rows], self.covariances_enu_m2[rows], self.status[rows])
        return Fixes(*selected, counts, self.stamps)

    def interpolate(self, stamps_ns: np.ndarray, max_gap_s: float = MAX_GAP_S) -> np.ndarray:
        """Latitude, longitude, altitude (K, 3) at the stamps, linear in time; NaN outside and across longer gaps."""
        return interpolate(self.stamps_ns, self.positions, stamps_ns, max_gap_s)

    def text(self) -> str:
        """What of the topic was left out and how, for the log and the report; empty where all of it is used."""
        blocks = []
        if self.left_out:
            total = len(self) + sum(self.left_out.values())
            reasons = ", ".join(f"{number} {reason}" for reason, number in sorted(self.left_out.items()))
            blocks.append(f"{sum(self.left_out.values())} of {total} fixes left out ({reasons})")
        if self.stamps.unstamped:
            blocks.append(self.stamps.text())
        return "; ".join(blocks)


def position_faults(fixes: Fixes) -> np.ndarray:
    """Why each fix has no position, (N,) str, "" where it has one: by the rule by which the node judges its receiver.

    Altitude and covariance are not looked at.
    """
    rows = zip(fixes.status.tolist(), fixes.positions[:, :2].tolist(), strict=True)
    faults = [position_fault(ReceiverFix(0.0, status, lat, lon, np.nan, _NO_COVARIANCE)) for status, (lat, lon) in rows]
    return np.array(["" if fault is None else fault.value for fault in faults], dtype=str)


def usable(fixes: Fixes) -> Fixes:
    """Those with a position, one per stamp; the others are counted by reason."""
    faults = position_faults(fixes)
    good = fixes.where(faults == "", dict(Counter(faults[faults != ""].tolist())))
    # a receiver that repeats its last fix with its stamp, or a bag that was played in a loop while it was recorded
    _, first = np.unique(good.stamps_ns, return_index=True)
    repeated = len(good) - len(first)
    return good.where(first, {"repeated_stamp": repeated} if repeated else None)


def near_the_others(fixes: Fixes) -> Fixes:
    """Those within a degree of the median position: a truth that jumps to another country and back is a code or noise.

    What drivers write without a fix is not always known by itself, such as a receiver's noise around 0/0.
    """
    if not len(fixes):
        return fixes
    apart_deg = np.abs(fixes.positions[:, :2] - np.median(fixes.positions[:, :2], axis=0))
    apart_deg[:, 1] = np.minimum(apart_deg[:, 1], 360.0 - apart_deg[:, 1])
    near = apart_deg.max(axis=1) <= _SITE_DEG
    far = int((~near).sum())
    return fixes.where(near, {"far_away": far}) if far and near.any() else fixes


def read_all_fixes(bag: Bag, topic: str) -> Fixes:
    """All NavSatFix messages of a topic, also those without a position. Raises DatasetError if the topic has none."""
    kind = bag.topics().get(topic)
    if kind != NAVSATFIX:
        known = ", ".join(name for name, item in bag.topics().items() if item == NAVSATFIX) or "none"
        raise DatasetError(f"bag {bag.path} has no NavSatFix on {topic}; it has them on: {known}")
    received = [(message.time_ns, content) for message, content in bag.contents(topic)]
    logs = np.array([time_ns for time_ns, _ in received], dtype=np.int64)
    stamps = np.array([stamp_to_ns(fix.header.stamp) for _, fix in received], dtype=np.int64)
    rule = stamp_rule(stamps, logs)
    times = [rule.time_ns(stamp, log_ns) for stamp, log_ns in zip(stamps.tolist(), logs.tolist(), strict=True)]
    rows = [(time, fix) for time, (_, fix) in zip(times, received, strict=True) if time is not None]
    rows.sort(key=lambda row: row[0])
    return Fixes(
        np.array([time for time, _ in rows], dtype=np.int64),
        np.array([(fix.latitude, fix.longitude, fix.altitude) for _, fix in rows], dtype=np.float64).reshape(-1, 3),
        np.array([fix.position_covariance for _, fix in rows], dtype=np.float64).reshape(-1, 3, 3),
        np.array([fix.status.status for _, fix in rows], dtype=np.int64),
        {"no_time": len(received) - len(rows)} if len(rows) < len(received) else {},
        rule,
    )


def read_fixes(bag: Bag, topic: str) -> Fixes:
    """The positions on the NavSatFix topic of a truth; what is left out, and why, is logged.

    Raises:
        DatasetError: the topic is not there, is of another type, or has no position.
    """
    fixes = near_the_others(usable(read_all_fixes(bag, topic)))
    _log_left_out(bag, topic, fixes)
    if len(fixes):
        return fixes
    total = sum(fixes.left_out.values())
    if not total:
        raise DatasetError(f"bag {bag.path}: {topic} has no messages, expected NavSatFix with positions")
    advice = ""
    if GnssFault.STATUS_UNKNOWN.value in fixes.left_out:
        advice = "; status -2 is what a driver leaves that never sets it: expected 0 (fix) or more"
    raise DatasetError(f"bag {bag.path}: none of the messages on {topic} has a position: {fixes.text()}{advice}")


def read_positions(bag: Bag, topic: str) -> Fixes:
    """As `read_fixes`, for a topic that may be without any position, such as that of a receiver."""
    fixes = usable(read_all_fixes(bag, topic))
    _log_left_out(bag, topic, fixes)
    return fixes


def _log_left_out(bag: Bag, topic: str, fixes: Fixes) -> None:
    if fixes.text():
        log.warning("%s: %s: %s", bag.path, topic, fixes.text())
