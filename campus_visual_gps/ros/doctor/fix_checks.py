"""Fixes of the localizer and of the receiver: publishers, arrival, position and covariance. Without ROS.

Bad values matter where a filter reads them. The receiver's messages behind `output: fallback` are judged and completed
by the localizer, so there they are warnings.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

import numpy as np

from campus_visual_gps.gnss.receiver_fix import (
    MIN_VARIANCE_M2,
    GnssFault,
    ReceiverFix,
    covariance_fault,
    horizontal_sigma_m,
    is_covariance_unknown,
    position_fault,
)
from campus_visual_gps.ros.doctor.findings import Finding, failure, passed, warning
from campus_visual_gps.ros.doctor.snapshot import Snapshot, Topic

# A filter that gets such a fix learns nothing; it is usually a code for "unknown".
HUGE_SIGMA_M = 1000.0
_ASSUMED_SIGMA_M = 5.0
_RECEIVER = "check antenna, sky and driver of the receiver"
_COVARIANCE = "let its source set position_covariance in m2 and its type"


def check_fixes(snapshot: Snapshot) -> list[Finding]:
    """Every topic of fixes that the localizer publishes or reads, or that navsat_transform reads."""
    own, receiver, fused = snapshot.fix_topics(), snapshot.receiver_topics(), snapshot.fused_topics()
    findings = []
    for name in dict.fromkeys((*own, *receiver, *fused)):
        topic = snapshot.topic(name)
        findings += _publishers(topic)
        if topic.samples:
            findings += _contents(topic, judged=name in receiver and name not in fused)
        elif topic.publishers:
            findings += _silence(snapshot, topic, visual=name in own)
        elif name in receiver:
            remedy = "start the receiver's driver, or set gps_topic"
            findings.append(warning("receiver", f"nobody publishes {name}: only visual fixes are used", remedy))
    return findings


def _publishers(topic: Topic) -> list[Finding]:
    findings = [failure("fixes", line, "change the QoS of one of them") for line in topic.mismatches]
    if len(topic.publishers) > 1:
        text = f"{len(topic.publishers)} publishers on {topic.name}: {', '.join(topic.publishers)}"
        remedy = "let one publish: output:=fallback joins receiver and camera on one topic"
        findings.append(failure("fixes", text, remedy))
    return findings


def _silence(snapshot: Snapshot, topic: Topic, visual: bool) -> list[Finding]:
    text = f"nothing on {topic.name} in {snapshot.seconds:.1f} s"
    if not visual:
        return [warning("receiver", text, _RECEIVER)]
    if not snapshot.is_active or not any(snapshot.topic(name).samples for name in snapshot.image_topics()):
        return []  # said by the checks of the localizer and the images
    return [failure("fixes", text, "see the localizer's diagnostics: dropped.*, rejected.*, last_rejection")]


def _contents(topic: Topic, judged: bool) -> list[Finding]:
    bad = warning if judged else failure
    fixes: list[ReceiverFix] = topic.contents(ReceiverFix)
    if not fixes:
        return []
    problems = [problem for problem in map(_problem, fixes) if problem is not None]
    findings = []
    if problems:
        (text, remedy), count = Counter(problems).most_common(1)[0]
        findings.append(bad("fixes", f"{topic.name}: {count} of {len(fixes)} {text}", remedy))
    if not any(sample.frame_id for sample in topic.samples):
        text = f"{topic.name}: no frame_id; navsat_transform puts the robot at the origin"
        findings.append(bad("fixes", text, "set the frame_id of the receiver's driver"))
    if findings:
        return findings
    return [_fine(topic, fixes)]


def _fine(topic: Topic, fixes: Iterable[ReceiverFix]) -> Finding:
    sigmas_m = [horizontal_sigma_m(fix, _ASSUMED_SIGMA_M) for fix in fixes]
    rate = f"{topic.rate_hz():.1f} Hz" if topic.rate_hz() else "one message"
    frame = topic.samples[-1].frame_id
    return passed("fixes", f"{topic.name}: {rate}, sigma {float(np.median(sigmas_m)):.2g} m, frame {frame}")


def _problem(fix: ReceiverFix) -> tuple[str, str] | None:
    """What is wrong with a fix and what to do; the worst first."""
    fault = position_fault(fix)
    if fault in (GnssFault.NO_FIX_STATUS, GnssFault.STATUS_UNKNOWN):
        return f"have the status {fix.status} ({fault})", _RECEIVER
    if fault is not None:
        return f"have no position ({fault})", _RECEIVER
    if not np.all(np.isfinite(fix.cov_enu_m2)):
        return "have NaN or infinity in the covariance, which a filter keeps for good", _COVARIANCE
    if not math.isfinite(fix.altitude_m):
        return (
            "have no altitude; navsat_transform drops them",
            "let the driver set the altitude, or use output:=fallback",
        )
    if not np.any(fix.cov_enu_m2):
        return "have a covariance of zeros, which a filter takes for certainty", _COVARIANCE
    # a filter follows such fixes exactly, also an outlier
    if any(0.0 < fix.cov_enu_m2[axis, axis] < MIN_VARIANCE_M2 for axis in (0, 1)):
        return "have a sigma below 1 mm", _COVARIANCE
    if is_covariance_unknown(fix):
        return f"have an unknown covariance (type {fix.covariance_type})", _COVARIANCE
    if (impossible := covariance_fault(fix)) is not None:
        return f"have an impossible covariance ({impossible})", _COVARIANCE
    sigma_m = horizontal_sigma_m(fix, _ASSUMED_SIGMA_M)
    if sigma_m > HUGE_SIGMA_M:
        return f"have a sigma above {HUGE_SIGMA_M:.0f} m", _RECEIVER
    return None
