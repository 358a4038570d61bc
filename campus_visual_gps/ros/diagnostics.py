"""What the node counts and how it judges itself, without ROS. Shared by the executor's thread and the worker."""

from __future__ import annotations

import threading
from collections import Counter, deque
from time import monotonic
from typing import NamedTuple

import numpy as np

from campus_visual_gps.ros.image_queue import (
    BEFORE_TIME_JUMP,
    FROM_FUTURE,
    RATE_LIMIT,
    STAMP_NOT_NEWER,
    TOO_OLD,
    UNSTAMPED,
)

# As diagnostic_msgs/DiagnosticStatus: STALE is for data that stopped coming.
OK, WARN, ERROR, STALE = range(4)

NO_IMAGE_S = 3.0
# A camera's noise changes every picture, also of a robot that stands still; a driver that hangs repeats one.
FROZEN_FRAMES = 10
TIMED_FRAMES = 200

_DROPPED_FOR = {
    UNSTAMPED: "their stamps are zero",
    STAMP_NOT_NEWER: "their stamps are not newer than the one before",
    TOO_OLD: "they are older than max_age_s; is use_sim_time right, and the clock of the camera's computer?",
    FROM_FUTURE: "their stamps are ahead of the ROS time; is use_sim_time right, and does /clock run?",
}


class StageTimes(NamedTuple):
    """Seconds that one frame spent in each stage; `latency_s` is from its arrival to the published fix."""

    decode_s: float
    transform_s: float
    ensemble_s: float
    publish_s: float
    latency_s: float

    @property
    def overhead_s(self) -> float:
        """What the frame cost beside the networks."""
        return self.latency_s - self.ensemble_s


class DiagnosticReport(NamedTuple):
    """One diagnostic: level, one line, and key-value pairs."""

    level: int
    message: str
    values: dict[str, object]


class NodeStatistics:
    """Counters of one activation of the node. Thread-safe."""

    def __init__(self, image_topic: str = "", clock=monotonic):
        self._lock = threading.Lock()
        self._clock = clock
        self.image_topic = image_topic
        self._last_image_s: float | None = None
        self._last_age_s = 0.0
        self._last_drop = ""
        self._reported_s = clock()
        self._identical = 0
        self._started_s = clock()
        self._counts: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._times: deque[StageTimes] = deque(maxlen=TIMED_FRAMES)
        self._last_fix: dict[str, object] = {}
        self._last_refusal = ""
        self._verdict = (OK, "waiting for the first result")
        self._reported: Counter[str] = Counter()

    def image(self, dropped: str | None, age_s: float = 0.0) -> None:
        """An image arrived, `age_s` of ROS time after its stamp, and was admitted (None) or dropped by a named rule."""
        with self._lock:
            self._last_image_s, self._last_age_s = self._clock(), age_s
            self._counts["images"] += 1
            if dropped:
                self._counts[f"dropped.{dropped}"] += 1
            if dropped and dropped != RATE_LIMIT:
                self._counts["bad_stamps"] += 1
                self._last_drop = dropped

    def record_stale(self) -> None:
        """A result came after time had jumped back, and belongs to the time before."""
        with self._lock:
            self._counts[f"dropped.{BEFORE_TIME_JUMP}"] += 1

    def record_repeat(self, identical: int) -> None:
        """An image was as a whole the same as the `identical` ones before it."""
        with self._lock:
            self._identical = identical

    def record_overwritten(self) -> None:
        """An admitted image was replaced by a newer one before the worker took it."""
        with self._lock:
            self._counts["skipped"] += 1

    def fix(self, times: StageTimes, figures: dict[str, object]) -> None:
        """A fix was published; `figures` are what the diagnostics say of it."""
        with self._lock:
            self._counts["fixes"] += 1
            self._times.append(times)
            self._last_fix = figures

    def rejected(self, reason: str, text: str, unusable: bool) -> None:
        """No fix came of an image; `unusable` if the image, and not the estimate, is at fault."""
        with self._lock:
            self._counts["refused"] += 1
            self._counts["unusable"] += unusable
            self._refused[reason] += 1
            self._last_refusal = f"{reason}: {text}" if text else reason

    def health(self) -> DiagnosticReport:
        """Judge what happened since the last call. The levels are those of an active node."""
        with self._lock:
            idle_s = self._clock() - (self._last_image_s if self._last_image_s is not None else self._started_s)
            news = self._counts - self._reported
            self._verdict = self._judge(news)
            self._reported = self._counts.copy()
            verdict = self._verdict
            if verdict[0] == OK and self._identical >= FROZEN_FRAMES:
                verdict = (
                    WARN,
                    f"the camera is frozen or covered: the last {self._identical + 1} images are identical",
                )
            if idle_s > NO_IMAGE_S:
                verdict = (STALE, f"no image on {self.image_topic} for {idle_s:.1f} s")
            elapsed_s, self._reported_s = self._clock() - self._reported_s, self._clock()
            rate_hz = news["images"] / elapsed_s if elapsed_s > 0.0 else 0.0
            flow = {"image_rate_hz": rate_hz, "image_age_s": self._last_age_s, "image_silence_s": idle_s}
            return DiagnosticReport(*verdict, {**self._values(), **flow, "identical_images": self._identical})

    def _judge(self, news: Counter[str]) -> tuple[int, str]:
        if news["fixes"]:
            return OK, f"{news['fixes']} fixes since the last report"
        if news["unusable"]:
            return ERROR, f"images are refused, {self._last_refusal}"
        if news["refused"]:
            return WARN, f"estimates are refused, {self._last_refusal}"
        if news["bad_stamps"] and news["bad_stamps"] == news["images"]:
            return WARN, f"images are dropped, {self._last_drop}: {_DROPPED_FOR[self._last_drop]}"
        return self._verdict

    def _values(self) -> dict[str, object]:
        names = ("images", "fixes", "skipped", "refused")
        values: dict[str, object] = {"image_topic": self.image_topic}
        values.update({name: self._counts[name] for name in names})
        values.update({name: count for name, count in sorted(self._counts.items()) if name.startswith("dropped.")})
        values.update({f"refused.{reason}": count for reason, count in sorted(self._refused.items())})
        if self._last_refusal:
            values["last_refusal"] = self._last_refusal
        return {**values, **self._last_fix, **self._stage_times()}

    def _stage_times(self) -> dict[str, object]:
        if not self._times:
            return {}
        table_ms = np.array(self._times) * 1e3
        median, high = np.median(table_ms, axis=0), np.percentile(table_ms, 95, axis=0)
        values: dict[str, object] = {}
        for column, field in enumerate(StageTimes._fields):
            stage = field.removesuffix("_s")
            values[f"{stage}_ms"], values[f"{stage}_p95_ms"] = float(median[column]), float(high[column])
        values["overhead_ms"] = 1e3 * float(np.median([times.overhead_s for times in self._times]))
        return values
