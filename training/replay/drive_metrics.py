"""The figures of a drive, flat: availability, outages of the receiver, trajectory error, latency."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from campus_visual_gps.geodesy import LocalFrame
from training.evaluate.predict import positions_m
from training.metrics.autocorrelation import autocorrelation_figures
from training.metrics.bootstrap import BlockBootstrap, walk_blocks
from training.metrics.errors import Figures, error_figures, position_errors_m, ratio_figures, share_figures
from training.replay import outages as gaps
from training.replay.bags import Fixes
from training.replay.outages import Outage
from training.replay.switch_report import switch_figures
from training.replay.switches import Arrival, FallbackRun, run_fallback, visual_fixes
from training.replay.tracks import Track
from training.replay.trajectory_error import trajectory_figures

# A fix serves until the next one, but no longer than this: after it a robot at walking pace has moved by a fix's sigma.
FRESH_S = 2.0
ANSWERS = ("visual", "dead_reckoning", "held")
# Those that go on through the whole drive: the topic `fix` of the fallback, odometry fused with it, receiver alone.
STREAMS = ("fallback", "fused", "receiver_held")


@dataclass(frozen=True)
class Drive:
    """What a bag tells besides its images. frames_ns (N,): stamps of all usable frames that have a truth.

    fix_delays_s, image_delays_s: stamp -> seconds until the bag received the message; empty where none was recorded.
    arrivals: the receiver's messages as they came.
    """

    frame: LocalFrame
    frames_ns: np.ndarray
    truth: Fixes
    receiver: Fixes | None = None
    odometry: Track | None = None
    fix_delays_s: dict[int, float] = field(default_factory=dict)
    image_delays_s: dict[int, float] = field(default_factory=dict)
    arrivals: list[Arrival] = field(default_factory=list)

    def seconds(self, stamps_ns: np.ndarray) -> np.ndarray:
        """Since the first frame."""
        return (np.asarray(stamps_ns) - self.frames_ns[0]) / 1e9

    def truth_m(self, stamps_ns: np.ndarray) -> np.ndarray:
        """(N, 2) metres, NaN where there is none."""
        truth = self.truth.interpolate(stamps_ns)
        known = np.isfinite(truth[:, 0])
        result = np.full((len(truth), 2), np.nan)
        result[known] = self.frame.to_local(truth[known, 0], truth[known, 1])
        return result


@dataclass(frozen=True)
class Course:
    """Errors along the drive, of the rows of predictions.csv (N,): metres, NaN where an answer has none.

    errors_m: one array for each of ANSWERS, of which those without the visual fix are NaN outside outages, and with a
    receiver for each of STREAMS.
    """

    stamps_ns: np.ndarray
    accepted: np.ndarray
    errors_m: dict[str, np.ndarray]
    outages: list[Outage]
    in_outage: np.ndarray
    receiver_ns: np.ndarray
    receiver_errors_m: np.ndarray
    fallback: FallbackRun | None = None


def follow(predictions: pd.DataFrame, drive: Drive) -> Course:
    """The errors of what the robot has with the visual fix and of what it would have without."""
    stamps_ns = predictions["photo_id"].to_numpy().astype(np.int64)
    truth = positions_m(predictions, "true_")
    errors_m = predictions["error_m"].to_numpy(dtype=np.float64)
    accepted = (predictions["refusal"] == "").to_numpy() & np.isfinite(errors_m)
    found, receiver_ns, receiver_errors_m = [], np.empty(0, dtype=np.int64), np.empty(0)
    without = {name: np.full(len(stamps_ns), np.nan) for name in ANSWERS[1:]}
    if drive.receiver is not None:
        found = gaps.find_outages(drive.receiver, int(drive.frames_ns[0]), int(drive.frames_ns[-1]))
        without = _without(drive, found, stamps_ns, truth)
        good = gaps.good_fixes(drive.receiver)
        receiver_ns = good.stamps_ns
        receiver_errors_m = position_errors_m(gaps.positions_m(good, drive.frame), drive.truth_m(receiver_ns))
    answers = {"visual": np.where(accepted, errors_m, np.nan), **without}
    fallback = None
    if drive.receiver is not None:
        fallback = _run(predictions[accepted], drive)
        answers |= _streams(drive, fallback, stamps_ns, truth)
    in_outage = gaps.inside(found, stamps_ns)
    return Course(stamps_ns, accepted, answers, found, in_outage, receiver_ns, receiver_errors_m, fallback)


def _run(accepted: pd.DataFrame, drive: Drive) -> FallbackRun:
    visual = visual_fixes(accepted, drive.image_delays_s, drive.fix_delays_s)
    return run_fallback(drive.arrivals, *visual)


def _streams(drive: Drive, run: FallbackRun, stamps_ns: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Errors (N,) of STREAMS: the newest fix of the stream at each stamp; fused, of those that had arrived by then."""
    positions = {
        "fallback": gaps.hold_last_fix_m(run.fixes, drive.frame, stamps_ns),
        "fused": np.full((len(stamps_ns), 2), np.nan),
        "receiver_held": gaps.hold_last_fix_m(drive.receiver, drive.frame, stamps_ns),
    }
    if drive.odometry is not None:
        positions["fused"] = gaps.fused_m(run.fixes, run.arrivals_ns, drive.odometry, drive.frame, stamps_ns)
    return {name: position_errors_m(values, truth) for name, values in positions.items()}


def _without(drive: Drive, outages: list[Outage], stamps_ns: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Errors (N,) in outages of the last good fix, held, and of odometry from the last good fixes on."""
    positions = {name: np.full((len(stamps_ns), 2), np.nan) for name in ANSWERS[1:]}
    for outage in outages:
        rows = outage.contains(stamps_ns)
        positions["held"][rows] = gaps.hold_last_fix_m(drive.receiver, drive.frame, stamps_ns[rows])
        if drive.odometry is not None:
            track = gaps.dead_reckoned_m(outage, drive.receiver, drive.odometry, drive.frame, stamps_ns[rows])
            if track is not None:
                positions["dead_reckoning"][rows] = track
    return {name: position_errors_m(values, truth) for name, values in positions.items()}


def drive_figures(predictions: pd.DataFrame, drive: Drive, course: Course) -> Figures:
    """`availability_share`, `accepted_frames_share`, and what begins with ate_, autocorrelation., outage., latency."""
    blocks, _ = walk_blocks(predictions["session"].tolist(), course.stamps_ns / 1e9)
    kept = course.accepted
    return {
        **autocorrelation_figures(*accepted_errors(predictions, drive, course)),
        "drive_duration_s": float(drive.seconds(drive.frames_ns)[-1]),
        **availability_figures(drive, course.stamps_ns[kept]),
        **trajectory_figures(
            course.stamps_ns[kept], positions_m(predictions)[kept], positions_m(predictions, "true_")[kept]
        ),
        **_outage_figures(drive, course, blocks),
        **_latency_figures(drive),
    }


def accepted_errors(predictions: pd.DataFrame, drive: Drive, course: Course) -> tuple[np.ndarray, np.ndarray]:
    """Seconds (K,), ascending, and errors (K, 2) east and north in metres of the accepted fixes."""
    order = np.flatnonzero(course.accepted)[np.argsort(course.stamps_ns[course.accepted])]
    offsets_m = positions_m(predictions) - positions_m(predictions, "true_")
    return drive.seconds(course.stamps_ns[order]), offsets_m[order]


def availability_figures(drive: Drive, accepted_ns: np.ndarray) -> Figures:
    """Share of time with an accepted fix of at most FRESH_S, and share of frames that gave one."""
    flags = np.isin(drive.frames_ns, accepted_ns)
    blocks, _ = walk_blocks(["drive"] * len(flags), drive.frames_ns / 1e9)
    figures: Figures = {"availability_fresh_s": FRESH_S, "n_frames": len(flags)}
    figures["availability_share"] = fresh_share(drive.seconds(accepted_ns), float(drive.seconds(drive.frames_ns)[-1]))
    return figures | share_figures("accepted_frames_share", flags, BlockBootstrap(blocks))


def fresh_share(fixes_s: np.ndarray, duration_s: float) -> float | None:
    """Share of 0..duration_s that lies within FRESH_S after a fix; None for a drive of a single frame."""
    if duration_s <= 0.0:
        return None
    fixes_s = np.sort(fixes_s[fixes_s < duration_s])
    served = np.diff(np.append(fixes_s, duration_s))
    return float(np.minimum(served, FRESH_S).sum() / duration_s)


def _outage_figures(drive: Drive, course: Course, blocks: np.ndarray) -> Figures:
    if drive.receiver is None:
        return {}
    rows = course.in_outage
    figures: Figures = {
        "outage.count": len(course.outages),
        "outage.total_s": float(sum(outage.duration_s for outage in course.outages)),
        "outage.n_frames": int(gaps.inside(course.outages, drive.frames_ns).sum()),
    }
    for name in (*ANSWERS, "fallback", "fused"):
        figures |= _prefixed(f"outage.{name}.", error_figures(course.errors_m[name][rows], blocks[rows]))
    visual = course.errors_m["visual"]
    for name in ANSWERS[1:]:
        ratio = ratio_figures("mean_error_ratio", visual[rows], course.errors_m[name][rows], blocks[rows])
        figures |= _prefixed(f"outage.{name}.", ratio)
    for name in STREAMS:
        figures |= _prefixed(f"drive.{name}.", error_figures(course.errors_m[name], blocks))
    figures |= _prefixed("outside.visual.", error_figures(visual[~rows], blocks[~rows]))
    figures |= _prefixed("outside.receiver.", _receiver_figures(course))
    for number, outage in enumerate(course.outages, start=1):
        figures |= _prefixed(f"outage.{number}.", _single_figures(drive, course, outage))
    received_ns = {arrival.stamp_ns: arrival.time_ns for arrival in reversed(drive.arrivals)}
    return figures | switch_figures(course.fallback, course.outages, received_ns, int(drive.frames_ns[0]))


def _receiver_figures(course: Course) -> Figures:
    known = np.isfinite(course.receiver_errors_m)
    errors_m, stamps_ns = course.receiver_errors_m[known], course.receiver_ns[known]
    blocks, _ = walk_blocks(["drive"] * len(errors_m), stamps_ns / 1e9) if len(errors_m) else (np.empty(0, int), 0)
    return error_figures(errors_m, blocks)


def _single_figures(drive: Drive, course: Course, outage: Outage) -> Figures:
    rows = outage.contains(course.stamps_ns)
    means = {name: _mean(course.errors_m[name][rows]) for name in ANSWERS}
    return {
        "start_s": float(drive.seconds(outage.start_ns)),
        "duration_s": outage.duration_s,
        **{f"{name}_mean_error_m": value for name, value in means.items()},
    }


def _mean(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _latency_figures(drive: Drive) -> Figures:
    """Seconds from the image's stamp to the fix, and of these what the node and its transport took."""
    both = sorted(set(drive.fix_delays_s) & set(drive.image_delays_s))
    if not both:
        return {}
    fix = np.array([drive.fix_delays_s[stamp] for stamp in both])
    node = fix - np.array([drive.image_delays_s[stamp] for stamp in both])
    figures: Figures = {"latency.n_fixes": len(both)}
    for name, values in (("fix", fix), ("node", node)):
        median, p95 = np.quantile(values, [0.5, 0.95])
        figures |= {f"latency.{name}_median_s": float(median), f"latency.{name}_p95_s": float(p95)}
    return figures


def _prefixed(prefix: str, figures: Figures) -> Figures:
    return {prefix + key: value for key, value in figures.items()}
