"""A pack of receiver faults on a simulated walk, run through the node's own arbiter.

As a script it prints the tables of docs/fusion.md, with some minutes of computing for each:

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
from receiver_runs import BAD_FROM_S, Fault, false_alarms, run
from receiver_scene import Reading, Scene

from campus_visual_gps.gnss.monitor_settings import MonitorSettings

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


def slide(size_m: float, over_s: float) -> Fault:
    """A bias that grows within seconds, as of a receiver that smooths its positions."""

    def fault(reading: Reading, random: np.random.Generator) -> Reading:
        share = min(max((reading.stamp_s - BAD_FROM_S) / over_s, 0.0), 1.0)
        return replace(reading, position_m=reading.position_m + offset_by(size_m * share))

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
    scene: Scene = field(default_factory=Scene)
    bad_from_s: float = BAD_FROM_S


@dataclass(frozen=True)
class Visual:
    """The camera of a row: its standard deviation, the correlation time of its errors, and the one of the bundle."""

    sigma_m: float = 5.5
    correlation_s: float = 4.0
    bundle_correlation_s: float = 4.0
    limit_sigmas: float = MonitorSettings().contradiction_sigmas

    def of(self, scene: Scene) -> Scene:
        """The scene with this camera."""
        return replace(
            scene,
            visual_sigma_m=self.sigma_m,
            visual_correlation_s=self.correlation_s,
            correlation_time_s=self.bundle_correlation_s,
            settings=replace(scene.settings, contradiction_sigmas=self.limit_sigmas),
        )


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
    "slide_30": Case("30 m off within 2 s, at 5 Hz", lambda: slide(30.0, 2.0)),
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


def fault_row(case: Case, visual: Visual, runs: int) -> str:
    """When the fault is found in so many runs, why, and for how long fixes more than 15 m off pass, s per minute."""
    found_s, reasons, wrong_s = [], Counter[str](), []
    for seed in range(runs):
        scene = visual.of(case.scene)
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
    return f"| {case.text} | {visual.sigma_m:g} | {share} of {runs} | {times} | {names} | {np.mean(wrong_s):.1f} |"


def alarm_row(scene: Scene, hours: float) -> str:
    """How often good receivers of 1.5 and 3 m are left or contradicted, half an hour each."""
    seeds = range(round(hours * 2))
    by_sigma = {1.5: 0, 3.0: 0}
    for seed in seeds:
        sigma_m = 1.5 + 1.5 * (seed % 2)
        by_sigma[sigma_m] += false_alarms(replace(scene, receiver_sigma_m=sigma_m), seed)
    counts = " + ".join(map(str, by_sigma.values()))
    rates = f"| {scene.receiver_hz:g} Hz | {scene.visual_hz:g} Hz | {scene.visual_correlation_s:g} s"
    return f"{rates} | {scene.correlation_time_s:g} s | {counts} in {len(seeds) / 2:g} h |"


def mode_switches(scene: Scene, seed: int) -> dict[int, np.ndarray]:
    """Errors of the rows in which visual fixes are 20 to 60 m off: once a minute for 4 to 20 s."""
    random, errors_m = np.random.default_rng([seed, 1]), {}
    for start_s in np.arange(30.0, scene.duration_s - 30.0, 60.0):
        first, count = (round(time_s * scene.visual_hz) for time_s in (start_s, random.uniform(4.0, 20.0)))
        off_m = offset_by(random.uniform(20.0, 60.0), random.uniform(0.0, 2.0 * math.pi))
        errors_m |= dict.fromkeys(range(first, first + count), off_m)
    return errors_m


def switch_row(scene: Scene, hours: float) -> str:
    """How often good receivers of 1.5 and 3 m are left or contradicted while visual fixes switch to a wrong place."""
    alarms, by_jump, seeds = 0, 0, range(round(hours * 2))
    for seed in seeds:
        given = replace(scene, receiver_sigma_m=1.5 + 1.5 * (seed % 2))
        result = run(given, None, seed, mode_switches(given, seed))
        alarms, by_jump = alarms + result.alarms, by_jump + result.jump_alarms
    switches = len(seeds) * len(np.arange(30.0, scene.duration_s - 30.0, 60.0))
    return f"| {scene.receiver_hz:g} Hz | {scene.visual_hz:g} Hz | {switches} | {alarms - by_jump} | {by_jump} |"


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=0, help="runs of each fault")
    parser.add_argument("--sigmas", type=float, nargs="+", default=[5.5], help="of the visual fixes, metres")
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--hours", type=float, default=0.0, help="simulated hours of each pair of rates")
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[1, 0.5, 1, 2, 5, 2, 5, 10, 10, 2], help="Hz, in pairs"
    )
    parser.add_argument("--switch-hours", type=float, default=0.0, help="the same with visual fixes that switch places")
    parser.add_argument("--correlation-s", type=float, default=4.0, help="of the visual errors")
    parser.add_argument("--receiver-correlation-s", type=float, default=20.0, help="of a good receiver's errors")
    parser.add_argument("--bundle-correlation-s", type=float, help="that the bundle says; by default the same")
    parser.add_argument("--limit", type=float, default=MonitorSettings().contradiction_sigmas, help="in sigmas")
    given = parser.parse_args()
    bundle_s = given.bundle_correlation_s or given.correlation_s
    for name, sigma_m in ((name, sigma_m) for name in given.cases for sigma_m in given.sigmas if given.runs):
        say(fault_row(CASES[name], Visual(sigma_m, given.correlation_s, bundle_s, given.limit), given.runs))
    visual = Visual(5.5, given.correlation_s, bundle_s, given.limit)
    for receiver_hz, visual_hz in zip(given.rates[::2], given.rates[1::2], strict=True):
        scene = Scene(1800.0, receiver_hz=receiver_hz, visual_hz=visual_hz)
        scene = visual.of(replace(scene, receiver_correlation_s=given.receiver_correlation_s))
        if given.hours:
            say(alarm_row(scene, given.hours))
        if given.switch_hours:
            say(switch_row(scene, given.switch_hours))


if __name__ == "__main__":
    main()
