"""The node's own arbiter along a simulated walk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from receiver_scene import Reading, Scene, arrivals, degrees, streams, visual_fix

from campus_visual_gps.gnss.arbiter import RECEIVER, FixArbiter
from campus_visual_gps.gnss.receiver_fix import GnssFault, ReceiverFix

BAD_FROM_S = 40.0
Fault = Callable[[Reading, np.random.Generator], "Reading | None"]


@dataclass
class Run:
    """What came of a scene.

    Attributes:
        passed_s: Stamps of the receiver's fixes that passed, and `errors_m` their errors.
        faults: (arrival, fault) of each fix that was held back for a reason.
        used: (arrival, whether the receiver counts as healthy) at each of its fixes.
        alarms: How often a receiver in use was left, or began to contradict the visual fixes.
        jump_alarms: Of these, for a jump of its own track.
    """

    passed_s: list[float] = field(default_factory=list)
    errors_m: list[float] = field(default_factory=list)
    faults: list[tuple[float, GnssFault]] = field(default_factory=list)
    used: list[tuple[float, bool]] = field(default_factory=list)
    alarms: int = 0
    jump_alarms: int = 0

    def passed_after(self, time_s: float) -> int:
        """Fixes that passed with stamps from `time_s` on."""
        return sum(stamp >= time_s for stamp in self.passed_s)

    def found_s(self, time_s: float = BAD_FROM_S) -> float | None:
        """Seconds from `time_s` until a fix is held back or the source is not the receiver, None if never."""
        held = [when for when, fault in self.faults if fault is not GnssFault.STAMP_NOT_NEWER]
        left = [when for when, healthy in self.used if not healthy]
        return min((when - time_s for when in held + left if when >= time_s), default=None)

    def first_fault(self, time_s: float = BAD_FROM_S) -> GnssFault | None:
        """The reason of the first fix that was held back from `time_s` on."""
        return next((fault for when, fault in self.faults if when >= time_s), None)


def run(scene: Scene, fault: Fault | None, seed: int, outliers_m: dict[int, np.ndarray] | None = None) -> Run:
    """The arbiter along a scene; `outliers_m` are added to the visual fixes of these rows."""
    random = np.random.default_rng(seed)
    made = streams(scene, random)
    for row, offset_m in (outliers_m or {}).items():
        made.seen_m[row] += offset_m
    arbiter, result = FixArbiter(scene.settings), Run()
    arbiter.set_correlation_time(scene.correlation_time_s)
    for now_s, kind, row in arrivals(scene, made):
        was_used = _is_used(arbiter)
        if kind == 1:
            fix = visual_fix(made, row)
            arbiter.visual(fix, round(fix.stamp_s * 1e9), 1000.0 + now_s)
        else:
            reading = Reading(made.times_s[row], made.receiver_m[row], scene.receiver_sigma_m)
            given = reading if fault is None else fault(reading, random)
            if given is not None:
                _receive(arbiter, given, made.truth_m[row], now_s, result)
        if was_used and not _is_used(arbiter):
            check = arbiter.monitor.visual_check
            result.alarms += 1
            result.jump_alarms += check.contradicts and check.verdict is not None and check.verdict.jump_m > 0.0
        result.used.append((now_s, arbiter.source == RECEIVER))
    return result


def false_alarms(scene: Scene, seed: int) -> int:
    """How often a good receiver in use is left or contradicted in a scene."""
    return run(scene, None, seed).alarms


def _is_used(arbiter: FixArbiter) -> bool:
    return arbiter.source == RECEIVER and not arbiter.monitor.visual_check.contradicts


def _receive(arbiter: FixArbiter, given: Reading, truth_m: np.ndarray, now_s: float, result: Run) -> None:
    covariance = given.sigma_m**2 * np.eye(3)
    fix = ReceiverFix(1000.0 + given.stamp_s, given.status, *degrees(given.position_m), 300.0, covariance)
    passes, _ = arbiter.receiver(fix, round(fix.stamp_s * 1e9), 1000.0 + now_s)
    if passes:
        result.passed_s.append(given.stamp_s)
        result.errors_m.append(float(np.linalg.norm(given.position_m - truth_m)))
    if arbiter.monitor.fault is not None:
        result.faults.append((now_s, arbiter.monitor.fault))
    result.used.append((now_s, arbiter.source == RECEIVER))
