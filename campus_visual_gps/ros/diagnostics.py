"""What the node counts, and the diagnostic of the localizer that is made of it. Without ROS."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from time import monotonic, process_time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from campus_visual_gps.ros import image_conversion
from campus_visual_gps.ros.image_queue import DropRule

if TYPE_CHECKING:
    from campus_visual_gps.localizer import Localizer

# Levels of diagnostic_msgs/DiagnosticStatus; STALE is for data that stopped coming.
OK, WARN, ERROR, STALE = range(4)

UNCONFIGURED, INACTIVE, ACTIVE = "unconfigured", "inactive", "active"

NO_IMAGE_S = 3.0
# Sensor noise makes consecutive images differ, also of a robot at rest. A driver that hangs repeats one image.
MAX_REPEATED_IMAGES = 10
# Stage times are statistics of this many of the last fixes.
TIMED_FIXES = 200

DROP_CAUSES = {
    DropRule.UNSTAMPED: "their stamps are zero; let the camera's driver set header.stamp",
    DropRule.STAMP_NOT_NEWER: "their stamps are not newer than the previous one; check that only one camera publishes",
    DropRule.TOO_OLD: "they are older than max_age_s; check use_sim_time and the clock of the camera's computer",
    DropRule.FROM_FUTURE: "their stamps are ahead of the ROS time; check use_sim_time and that /clock runs",
}


class StageTimes(NamedTuple):
    """Seconds that one image spent in each stage.

    `latency_s` is from its arrival to the published fix; `ensemble_processor_s` is what all threads of the process
    computed during the ensemble.
    """

    decode_s: float
    transform_s: float
    ensemble_s: float
    publish_s: float
    latency_s: float
    ensemble_processor_s: float = 0.0

    @property
    def overhead_s(self) -> float:
        """The latency without the networks."""
        return self.latency_s - self.ensemble_s


class DiagnosticReport(NamedTuple):
    """One diagnostic: level, message in one line, and key-value pairs."""

    level: int
    message: str
    values: dict[str, object]


class NodeStatistics:
    """Counters of one activation of the node. Thread-safe: the executor's thread and the worker share it."""

    def __init__(
        self,
        image_topic: str = "",
        clock: Callable[[], float] = monotonic,
        processor_clock: Callable[[], float] = process_time,
    ):
        self._lock = threading.Lock()
        self._clock, self._processor_clock = clock, processor_clock
        self._processor_s = processor_clock()
        self.image_topic = image_topic
        self._started_s = self._reported_s = clock()
        self._last_image_s: float | None = None
        self._last_age_s = 0.0
        self._last_drop: DropRule | None = None
        self._repeat_counts: dict[str, int] = {}
        self._counts: Counter[str] = Counter()
        self._rejections: Counter[str] = Counter()
        self._times: deque[StageTimes] = deque(maxlen=TIMED_FIXES)
        self._last_fix: dict[str, object] = {}
        self._last_rejection = ""
        self._judgement = (OK, "waiting for the first result")
        self._reported: Counter[str] = Counter()

    def record_image(self, dropped: DropRule | None, age_s: float = 0.0) -> None:
        """An image arrived `age_s` of ROS time after its stamp; `dropped` is the rule that dropped it, or None."""
        with self._lock:
            self._last_image_s, self._last_age_s = self._clock(), age_s
            self._counts["images"] += 1
            if dropped is None:
                return
            self._counts[f"dropped.{dropped.value}"] += 1
            if dropped is not DropRule.RATE_LIMIT:
                self._counts["bad_stamps"] += 1
                self._last_drop = dropped

    def record_overwritten(self) -> None:
        """An accepted image was overwritten by a newer one before the worker took it."""
        with self._lock:
            self._counts["overwritten"] += 1

    def record_unpublished(self, rule: DropRule) -> None:
        """A result was dropped: BEFORE_TIME_JUMP, or BEHIND_OTHER_CAMERA for a fix older than the last published."""
        with self._lock:
            self._counts[f"dropped.{rule.value}"] += 1

    def record_repeat(self, repeat_count: int, camera: str = "") -> None:
        """An image was identical to the `repeat_count` of its camera before it; 0 for an image that differs."""
        with self._lock:
            self._repeat_counts[camera] = repeat_count

    def record_fix(self, times: StageTimes, values: Mapping[str, object]) -> None:
        """A fix was published; `values` are the key-value pairs that describe it."""
        with self._lock:
            self._counts["fixes"] += 1
            self._times.append(times)
            self._last_fix = dict(values)

    def record_rejection(self, reason: str, text: str, unusable: bool) -> None:
        """An image or its estimate was rejected; `unusable` if the image could not be processed at all."""
        with self._lock:
            self._counts["rejected"] += 1
            self._counts["unusable"] += unusable
            self._rejections[reason] += 1
            self._last_rejection = f"{reason}: {text}" if text else reason

    def report(self) -> DiagnosticReport:
        """Judge what happened since the last call, for an active node."""
        with self._lock:
            now_s = self._clock()
            idle_s = now_s - (self._last_image_s if self._last_image_s is not None else self._started_s)
            new = self._counts - self._reported
            self._reported = self._counts.copy()
            level, message = self._judgement = self._judge(new)
            repeat_count = max(self._repeat_counts.values(), default=0)
            if level == OK and repeat_count >= MAX_REPEATED_IMAGES:
                level = WARN
                message = f"the camera is frozen or covered: the last {repeat_count + 1} images are identical"
            if idle_s > NO_IMAGE_S:
                level, message = STALE, f"no image on {self.image_topic} for {idle_s:.1f} s"
            elapsed_s, self._reported_s = now_s - self._reported_s, now_s
            arrivals = {
                "image_rate_hz": new["images"] / elapsed_s if elapsed_s > 0.0 else 0.0,
                "image_age_s": self._last_age_s,
                "image_silence_s": idle_s,
                "repeated_images": repeat_count,
                "processor_ratio": self._processor_ratio(elapsed_s),
            }
            return DiagnosticReport(level, message, {**self._values(), **arrivals})

    def _processor_ratio(self, elapsed_s: float) -> float:
        """Processor seconds of the whole process per second since the last report."""
        before_s, self._processor_s = self._processor_s, self._processor_clock()
        return (self._processor_s - before_s) / elapsed_s if elapsed_s > 0.0 else 0.0

    def _judge(self, new: Counter[str]) -> tuple[int, str]:
        if new["fixes"]:
            return OK, f"{new['fixes']} fixes since the last report"
        if new["unusable"]:
            return ERROR, f"images are rejected, {self._last_rejection}"
        if new["rejected"]:
            return WARN, f"estimates are rejected, {self._last_rejection}"
        if self._last_drop is not None and 0 < new["bad_stamps"] == new["images"]:
            return WARN, f"images are dropped, {self._last_drop.value}: {DROP_CAUSES[self._last_drop]}"
        return self._judgement

    def _values(self) -> dict[str, object]:
        values: dict[str, object] = {"image_topic": self.image_topic}
        values.update({name: self._counts[name] for name in ("images", "fixes", "overwritten", "rejected")})
        values.update({name: count for name, count in sorted(self._counts.items()) if name.startswith("dropped.")})
        values.update({f"rejected.{reason}": count for reason, count in sorted(self._rejections.items())})
        if self._last_rejection:
            values["last_rejection"] = self._last_rejection
        return {**values, **self._last_fix, **self._stage_times()}

    def _stage_times(self) -> dict[str, object]:
        """Median and 95th percentile of each stage in milliseconds."""
        if not self._times:
            return {}
        table_ms = np.array(self._times) * 1e3
        medians, percentiles = np.median(table_ms, axis=0), np.percentile(table_ms, 95, axis=0)
        values: dict[str, object] = {}
        for column, field in enumerate(StageTimes._fields):
            stage = field.removesuffix("_s")
            values[f"{stage}_ms"], values[f"{stage}_p95_ms"] = float(medians[column]), float(percentiles[column])
        wall_s = sum(times.ensemble_s for times in self._times)
        if wall_s > 0.0:
            # near the number of threads; less where they wait for a core that another process has
            values["ensemble_processor_ratio"] = sum(times.ensemble_processor_s for times in self._times) / wall_s
        values["overhead_ms"] = 1e3 * float(np.median([times.overhead_s for times in self._times]))
        return values


def active_report(statistics: NodeStatistics, localizer: Localizer, warning: str = "") -> DiagnosticReport:
    """Diagnostic of an active node. `warning` replaces an OK or STALE message, but nothing worse."""
    level, message, values = statistics.report()
    if warning and level in (OK, STALE):
        level, message = WARN, warning
    model: dict[str, object] = {
        "state": ACTIVE,
        "model_id": localizer.bundle.model_id,
        "device": localizer.engine.device,
        "precision": localizer.engine.precision,
        "num_threads": localizer.engine.threads.current,
        "image_bridge": image_conversion.bridge().name,
    }
    return DiagnosticReport(level, message, {**model, **values})


def idle_report(state: str) -> DiagnosticReport:
    """Diagnostic of a node that is not active, without an error."""
    return DiagnosticReport(WARN, f"{state}: no fixes are published", {"state": state})


def loading_report(state: str, elapsed_s: float) -> DiagnosticReport:
    """Diagnostic of a node in the transition `state`, while its model is being loaded."""
    return DiagnosticReport(WARN, f"{state}: loading the model for {elapsed_s:.1f} s", {"state": state})


def error_report(state: str, error: str) -> DiagnosticReport:
    """Diagnostic of a node with an error, whatever its state."""
    return DiagnosticReport(ERROR, error, {"state": state})
