"""A pack of receiver faults on a simulated walk, run through the node's own arbiter.

The truth is a smooth walk; the visual fixes have the covariance that they claim and errors that are correlated in time,
and so have the receiver's. As a script it prints the tables of docs/fusion.md, with some minutes of computing for each:

    PYTHONPATH=. python test/receiver_faults.py --runs 10
    PYTHONPATH=. python test/receiver_faults.py --hours 10
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from campus_visual_gps.gnss.arbiter import RECEIVER, FixArbiter
from campus_visual_gps.gnss.monitor_settings import MonitorSettings
from campus_visual_gps.gnss.receiver_fix import GnssFault, ReceiverFix
from campus_visual_gps.gnss.visual_check import VisualCheck, VisualFix

REFERENCE_DEG = (39.5, -3.0)
METRE_DEG = 1.0 / math.radians(6_371_000.0)
EAST_DEG = METRE_DEG / math.cos(math.radians(REFERENCE_DEG[0]))
BAD_FROM_S = 40.0


@dataclass(frozen=True)
class Reading:
    """What the receiver says at one time; the pack changes it."""

    stamp_s: float
    position_m: np.ndarray
    sigma_m: float
    status: int = 0


@dataclass(frozen=True)
class Scene:
    """A walk or drive of `duration_s` with both sources."""

    duration_s: float = 120.0
    speed_mps: float = 1.4
    receiver_hz: float = 5.0
    visual_hz: float = 2.0
    visual_sigma_m: float = 5.5
    receiver_sigma_m: float = 1.5
    visual_latency_s: float = 0.3
    visual_correlation_s: float = 4.0
    receiver_correlation_s: float = 20.0
    # share of the visual error's variance with a correlation time of half a second instead
    quick_share: float = 0.0
    visual_gaps_s: tuple[tuple[float, float], ...] = ()
    settings: MonitorSettings = field(default_factory=MonitorSettings)


Fault = Callable[[Reading, np.random.Generator], "Reading | None"]


@dataclass
class Run:
    """What came of a scene.

    Attributes:
        passed_s: Stamps of the receiver's fixes that passed, and `errors_m` their errors.
        faults: (arrival, fault) of each fix that was held back for a reason.
        used: (arrival, whether the receiver counts as healthy) at each of its fixes.
        alarms: How often visual fixes began to contradict a receiver in use.
    """

    passed_s: list[float] = field(default_factory=list)
    errors_m: list[float] = field(default_factory=list)
    faults: list[tuple[float, GnssFault]] = field(default_factory=list)
    used: list[tuple[float, bool]] = field(default_factory=list)
    alarms: int = 0

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


def correlated(times_s: np.ndarray, correlation_s: float, random: np.random.Generator) -> np.ndarray:
    """(N, 2) Gaussian, variance one, correlation exp(-lag / correlation_s)."""
    steps = random.standard_normal((len(times_s), 2))
    keep = np.exp(-np.diff(times_s) / correlation_s)
    values = steps.copy()
    for row in range(1, len(times_s)):
        values[row] = keep[row - 1] * values[row - 1] + math.sqrt(1.0 - keep[row - 1] ** 2) * steps[row]
    return values


def walk_m(times_s: np.ndarray, speed_mps: float, random: np.random.Generator) -> np.ndarray:
    """(N, 2) positions of a robot whose heading wanders."""
    grid_s = np.arange(0.0, times_s[-1] + 2.0, 0.2)
    heading = np.cumsum(random.standard_normal(len(grid_s)) * 0.05) + random.uniform(0.0, 2.0 * math.pi)
    steps = speed_mps * 0.2 * np.stack([np.cos(heading), np.sin(heading)], axis=1)
    way = np.cumsum(steps, axis=0)
    return np.stack([np.interp(times_s, grid_s, way[:, axis]) for axis in (0, 1)], axis=1)


def degrees(position_m: np.ndarray) -> tuple[float, float]:
    return REFERENCE_DEG[0] + position_m[1] * METRE_DEG, REFERENCE_DEG[1] + position_m[0] * EAST_DEG


def visual_stream(scene: Scene, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stamps (N,), errors (N, 2) and standard deviations (N,) of the visual fixes."""
    stamps_s = np.arange(random.uniform(0.0, 1.0 / scene.visual_hz), scene.duration_s, 1.0 / scene.visual_hz)
    slow = correlated(stamps_s, scene.visual_correlation_s, random)
    quick = correlated(stamps_s, 0.5, random)
    unit = math.sqrt(1.0 - scene.quick_share) * slow + math.sqrt(scene.quick_share) * quick
    # places differ: a standard deviation that changes by a third over half a minute
    sigmas_m = scene.visual_sigma_m * np.exp(0.3 * correlated(stamps_s, 30.0, random)[:, 0] - 0.09)
    return stamps_s, unit * sigmas_m[:, None], sigmas_m


@dataclass(frozen=True)
class Streams:
    """Stamps, true and measured positions of both sources along a scene, and the visual standard deviations."""

    times_s: np.ndarray
    truth_m: np.ndarray
    receiver_m: np.ndarray
    stamps_s: np.ndarray
    seen_m: np.ndarray
    sigmas_m: np.ndarray


def streams(scene: Scene, random: np.random.Generator) -> Streams:
    """Both sources with errors as they claim."""
    stamps_s, visual_errors_m, sigmas_m = visual_stream(scene, random)
    times_s = random.uniform(0.0, 1.0 / scene.receiver_hz) + np.arange(0.0, scene.duration_s, 1.0 / scene.receiver_hz)
    receiver_errors_m = scene.receiver_sigma_m * correlated(times_s, scene.receiver_correlation_s, random)
    both_s = np.concatenate([times_s, stamps_s])
    order = np.argsort(both_s)
    way = np.empty((len(both_s), 2))
    way[order] = walk_m(both_s[order], scene.speed_mps, random)
    truth_m = way[: len(times_s)]
    seen_m = way[len(times_s) :] + visual_errors_m
    return Streams(times_s, truth_m, truth_m + receiver_errors_m, stamps_s, seen_m, sigmas_m)


def arrivals(scene: Scene, made: Streams) -> list[tuple[float, int, int]]:
    """(time, 0 for the receiver or 1 for the camera, row) in order of time."""
    rows = [(when + 0.05, 0, row) for row, when in enumerate(made.times_s.tolist())]
    for row, when in enumerate(made.stamps_s.tolist()):
        if not any(start <= when < end for start, end in scene.visual_gaps_s):
            rows.append((when + scene.visual_latency_s, 1, row))
    return sorted(rows)


def visual_fix(made: Streams, row: int) -> VisualFix:
    covariance = made.sigmas_m[row] ** 2 * np.eye(2)
    return VisualFix(1000.0 + made.stamps_s[row], *degrees(made.seen_m[row]), covariance)


def run(scene: Scene, fault: Fault | None, seed: int, outliers_m: dict[int, np.ndarray] | None = None) -> Run:
    """The arbiter along a scene; `outliers_m` are added to the visual fixes of these rows."""
    random = np.random.default_rng(seed)
    made = streams(scene, random)
    for row, offset_m in (outliers_m or {}).items():
        made.seen_m[row] += offset_m
    arbiter, result = FixArbiter(scene.settings), Run()
    for now_s, kind, row in arrivals(scene, made):
        contradicted = arbiter.monitor.visual_check.contradicts or arbiter.source != RECEIVER
        if kind == 1:
            fix = visual_fix(made, row)
            arbiter.visual(fix, round(fix.stamp_s * 1e9), 1000.0 + now_s)
        else:
            reading = Reading(made.times_s[row], made.receiver_m[row], scene.receiver_sigma_m)
            given = reading if fault is None else fault(reading, random)
            if given is not None:
                _receive(arbiter, given, made.truth_m[row], now_s, result)
        result.alarms += arbiter.monitor.visual_check.contradicts and not contradicted
        result.used.append((now_s, arbiter.source == RECEIVER))
    return result


def false_alarms(scene: Scene, seed: int) -> int:
    """How often a good receiver in use is contradicted in a scene; the comparison alone, which is faster."""
    made = streams(scene, np.random.default_rng(seed))
    check = VisualCheck(scene.settings.contradiction_sigmas, scene.settings.contradiction_min_duration_s)
    alarms, before = 0, False
    for now_s, kind, row in arrivals(scene, made):
        if kind == 1:
            check.visual(visual_fix(made, row), 1000.0 + now_s, in_use=True)
        else:
            position_deg = degrees(made.receiver_m[row])
            stamp_s = 1000.0 + made.times_s[row]
            check.receiver(stamp_s, *position_deg, scene.receiver_sigma_m, 1000.0 + now_s, in_use=True)
        alarms += check.contradicts and not before
        before = check.contradicts
    return alarms


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


# The pack. Each entry makes a fault with its own memory.


def offset_by(size_m: float, direction: float = 0.7) -> np.ndarray:
    return size_m * np.array([math.cos(direction), math.sin(direction)])


def bias(size_m: float) -> Fault:
    """`size_m` off from one moment on."""

    def fault(reading: Reading, random: np.random.Generator) -> Reading:
        late = reading.stamp_s >= BAD_FROM_S
        return replace(reading, position_m=reading.position_m + offset_by(size_m)) if late else reading

    return fault


def bias_after_outage(size_m: float, outage_s: float = 20.0) -> Fault:
    """No fix for a time, and `size_m` off at the return."""

    def fault(reading: Reading, random: np.random.Generator) -> Reading:
        if BAD_FROM_S - outage_s <= reading.stamp_s < BAD_FROM_S:
            return replace(reading, status=-1)
        return bias(size_m)(reading, random)

    return fault


def cluster() -> Fault:
    """A blackout of 211 s until BAD_FROM_S + 211, then 24 s of fixes 720 to 840 m off, then good ones."""

    def fault(reading: Reading, random: np.random.Generator) -> Reading:
        end_s = BAD_FROM_S + 211.0
        if BAD_FROM_S <= reading.stamp_s < end_s:
            return replace(reading, status=-1)
        if end_s <= reading.stamp_s < end_s + 24.0:
            return replace(reading, position_m=reading.position_m + offset_by(random.uniform(720.0, 840.0)))
        return reading

    return fault


def creep(speed_mps: float) -> Fault:
    """A bias that grows from BAD_FROM_S on."""

    def fault(reading: Reading, random: np.random.Generator) -> Reading:
        grown_m = offset_by(speed_mps * max(reading.stamp_s - BAD_FROM_S, 0.0))
        return replace(reading, position_m=reading.position_m + grown_m)

    return fault


def spikes(share: float = 0.1) -> Fault:
    """Single fixes 15 to 25 m off."""

    def fault(reading: Reading, random: np.random.Generator) -> Reading:
        if reading.stamp_s < BAD_FROM_S or random.uniform() > share:
            return reading
        off_m = offset_by(random.uniform(15.0, 25.0), random.uniform(0.0, 2.0 * math.pi))
        return replace(reading, position_m=reading.position_m + off_m)

    return fault


def declares(sigma_m: float) -> Fault:
    """Another standard deviation than the errors have."""
    return lambda reading, random: replace(reading, sigma_m=sigma_m)


def degraded_drift(size_m: float = 14.0, sigma_m: float = 8.7, over_s: float = 30.0) -> Fault:
    """Drifts away within half a minute, and claims more uncertainty."""

    def fault(reading: Reading, random: np.random.Generator) -> Reading:
        share = min(max(reading.stamp_s - BAD_FROM_S, 0.0) / over_s, 1.0)
        if share == 0.0:
            return reading
        return replace(reading, position_m=reading.position_m + offset_by(size_m * share), sigma_m=sigma_m)

    return fault


def frozen() -> Fault:
    """The position of one moment with new stamps."""
    held: list[np.ndarray] = []

    def fault(reading: Reading, random: np.random.Generator) -> Reading:
        if reading.stamp_s < BAD_FROM_S:
            return reading
        held[:] = held or [reading.position_m]
        return replace(reading, position_m=held[0])

    return fault


def repeated_stamps() -> Fault:
    """The same message again and again."""
    held: list[Reading] = []

    def fault(reading: Reading, random: np.random.Generator) -> Reading:
        if reading.stamp_s < BAD_FROM_S:
            return reading
        held[:] = held or [reading]
        return held[0]

    return fault


@dataclass(frozen=True)
class Case:
    """A row of the table: text, fault and the scene that it needs; `bad_from_s` is when the error begins."""

    text: str
    make: Callable[[], Fault]
    scene: Scene = Scene()
    bad_from_s: float = BAD_FROM_S


SLOW = Scene(receiver_hz=1.0, receiver_sigma_m=3.0)
CASES = {
    "cluster": Case(
        "blackout of 211 s, then 105 fixes 720 to 840 m off in 24 s",
        cluster,
        Scene(duration_s=290.0, receiver_hz=105.0 / 24.0),
        BAD_FROM_S + 211.0,
    ),
    "return_30": Case("back from 20 s without a fix, 30 m off", lambda: bias_after_outage(30.0)),
    "return_20": Case("the same, 20 m off", lambda: bias_after_outage(20.0)),
    "bias_30": Case("30 m off from one moment on", lambda: bias(30.0)),
    "bias_30_1hz": Case("30 m at 1 Hz, claimed 3 m: no jump", lambda: bias(30.0), SLOW),
    "bias_40_1hz": Case(
        "40 m at 1 Hz, claimed 4.5 m: no jump", lambda: bias(40.0), replace(SLOW, receiver_sigma_m=4.5)
    ),
    "bias_60": Case("60 m off from one moment on", lambda: bias(60.0)),
    "creep": Case("a bias that creeps at 0.5 m/s", lambda: creep(0.5)),
    "spikes": Case("single spikes of 15 to 25 m, at 5 Hz", spikes),
    "spikes_1hz": Case("the same at 1 Hz", spikes, Scene(receiver_hz=1.0)),
    "sigma_10": Case(
        "claims 3 m, errs 10 m (95th percentile)", lambda: declares(3.0), Scene(receiver_sigma_m=4.1), 5.0
    ),
    "sigma_25": Case(
        "claims 3 m, errs 25 m (95th percentile)", lambda: declares(3.0), Scene(receiver_sigma_m=10.2), 5.0
    ),
    "sigma_50": Case(
        "claims 3 m, errs 50 m (95th percentile)", lambda: declares(3.0), Scene(receiver_sigma_m=20.4), 5.0
    ),
    "drift": Case("drifts by 14 m in 30 s, claims 8.7 m", degraded_drift),
    "frozen": Case("frozen position, new stamps, robot at 1.4 m/s", frozen),
    "repeated": Case("the same message again and again", repeated_stamps),
}


def fault_row(case: Case, visual_sigma_m: float, runs: int) -> str:
    """When the fault is found in so many runs, why, and for how long fixes more than 15 m off pass, s per minute."""
    found_s, reasons, wrong_s = [], Counter[str](), []
    for seed in range(runs):
        scene = replace(case.scene, visual_sigma_m=visual_sigma_m)
        result = run(scene, case.make(), seed)
        found = result.found_s(case.bad_from_s)
        found_s.append(math.inf if found is None else found)
        reasons[str(result.first_fault(case.bad_from_s) or "none")] += 1
        far = [
            stamp >= case.bad_from_s and away > 15.0
            for stamp, away in zip(result.passed_s, result.errors_m, strict=True)
        ]
        wrong_s.append(sum(far) / scene.receiver_hz)
    late = sorted(found_s)[math.ceil(0.9 * runs) - 1]
    share = sum(map(math.isfinite, found_s))
    names = ", ".join(name for name, _ in reasons.most_common())
    times = f"{np.median(found_s):.1f} | {late:.1f}".replace("inf", "never")
    return f"| {case.text} | {visual_sigma_m:g} | {share} of {runs} | {times} | {names} | {np.mean(wrong_s):.1f} |"


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=0, help="runs of each fault")
    parser.add_argument("--sigmas", type=float, nargs="+", default=[5.5], help="of the visual fixes, metres")
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--hours", type=float, default=0.0, help="simulated hours of each good receiver")
    given = parser.parse_args()
    for name, sigma_m in ((name, sigma_m) for name in given.cases for sigma_m in given.sigmas if given.runs):
        say(fault_row(CASES[name], sigma_m, given.runs))
    for receiver_hz, visual_hz in ((1.0, 0.5), (1.0, 2.0), (5.0, 2.0), (5.0, 10.0), (10.0, 2.0)):
        seeds = range(round(given.hours * 2))
        scene = Scene(duration_s=1800.0, receiver_hz=receiver_hz, visual_hz=visual_hz)
        if seeds:
            alarms = sum(false_alarms(replace(scene, receiver_sigma_m=1.5 + 1.5 * (seed % 2)), seed) for seed in seeds)
            say(f"| {receiver_hz:g} Hz | {visual_hz:g} Hz | {alarms} in {len(seeds) / 2:g} h |")


if __name__ == "__main__":
    main()
