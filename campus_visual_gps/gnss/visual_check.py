"""Whether the visual fixes contradict the receiver, by all pairs of the last seconds together. Without ROS.

The offsets of a window (receiver less camera) are condensed to their median, which no minority of wrong visual fixes
moves, and its Mahalanobis distance from zero is compared with a limit. The errors of consecutive images are correlated,
and so are a receiver's. So the covariance of the median is the mean of the joint covariances, in which the receiver's
counts in full, as if its error were the same in the whole window, and the camera's is multiplied by the mean
correlation of the window's errors (exponential in time; see `error_correlation`). For a robot at rest that factor is 1:
it sees one image all the time, so that one visual error never counts as several.

There is no verdict from too few pairs, from too short a time, or while the visual fixes disagree with each other.

A receiver whose own track has jumped (see track_jump.py) must agree as closely as one that returns: where it does not,
and the jump accounts for most of the offset, it contradicts.
"""

from __future__ import annotations

import math
from collections import deque
from enum import Enum
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from campus_visual_gps.gnss.fix_pairs import FixPair, FixPairing, VisualFix, offset_m
from campus_visual_gps.gnss.track_jump import ReceiverTrack, TrackJump

# The short window finds a large error soon, the long one a smaller or a slowly growing one.
SHORT_WINDOW_S, LONG_WINDOW_S = 5.0, 20.0
MIN_PAIRS = 3
# Shortest time between the first and the last pair of a verdict on a receiver that returns from an outage.
RETURN_SPAN_S = 2.0
# A receiver that contradicted, returns or jumped must agree to within this part of the limit in sigmas: the hysteresis.
AGREEMENT_SHARE = 0.55
# What of an offset remains without the jump of the receiver that it is ascribed to, at most.
_MAX_REMAINING_SHARE = 0.5
# Pairs that must lie around the median, to within _CONSISTENT_SIGMAS, for the visual fixes to agree with each other.
_CONSISTENT_SHARE, _CONSISTENT_SIGMAS = 0.8, 3.0
# A receiver in use is taken away only when the robot has moved this far in the window, so by images that differ.
MIN_TRAVEL_M = 3.0
# Speed at which the correlation time holds; for a slower robot errors are correlated for longer, by the distance.
_CORRELATION_SPEED_MPS = 1.0
# What images of one site have in common (a map that is displaced) does not average out.
_MIN_CORRELATION = 1.0 / 3.0
# For a bundle in which it was not measured, as for filters (estimation/correlated_errors.py).
DEFAULT_CORRELATION_TIME_S = 6.0
# A verdict holds for this time after the last comparison.
FORGET_S = 20.0
# Visual fixes within this time before the return of a receiver say that there will be something to compare it with.
_EXPECTED_WITHIN_S = 5.0
# The receiver's distance from so many of the last visual fixes bounds the jump over an outage.
REFERENCE_FIXES = 3


class Comparison(str, Enum):
    """What the visual fixes say of the receiver. The values are words in diagnostics."""

    NOTHING = "nothing to compare"
    INCONSISTENT = "visual fixes disagree with each other"
    AGREES = "agrees"
    CONTRADICTS = "contradicts"

    def __str__(self) -> str:
        return str(self.value)


class Verdict(NamedTuple):
    """Median offset of a window in metres and in sigmas of its own covariance, and the time that it holds for.

    That time is from the first to the last pair near the median, so that no short run of wrong fixes fills it.
    `moved` is whether the robot moved by MIN_TRAVEL_M; `consistent` whether the pairs agree with each other. `jump_m`
    is the length of the receiver's jump that accounts for most of the offset, 0 for none.
    """

    distance_m: float
    sigmas: float
    span_s: float
    moved: bool
    consistent: bool
    offset_m: tuple[float, float] = (0.0, 0.0)
    jump_m: float = 0.0

    def __str__(self) -> str:
        since = f", since its own track jumped by {self.jump_m:.0f} m" if self.jump_m > 0.0 else ""
        return f"{self.distance_m:.0f} m ({self.sigmas:.1f} sigmas) off for {self.span_s:.1f} s" + since


class VisualCheck:
    """Compares the streams of receiver and camera.

    Args:
        limit_sigmas: A receiver in use contradicts beyond this distance.
        min_duration_s: Time that the pairs must span for it.

    Attributes:
        correlation_time_s: Of the errors of consecutive images; the bundle's once it is known.
    """

    def __init__(self, limit_sigmas: float, min_duration_s: float):
        self._limit_sigmas, self._min_duration_s = limit_sigmas, min_duration_s
        self.correlation_time_s = DEFAULT_CORRELATION_TIME_S
        # the shortest that can hold a verdict is free of older pairs soonest
        short_s = max(SHORT_WINDOW_S, min_duration_s + 1.0)
        self._windows_s = (min_duration_s + 0.5, short_s, max(LONG_WINDOW_S, 2.0 * short_s))
        self._recent: deque[VisualFix] = deque(maxlen=REFERENCE_FIXES)
        self._visual_at_s = -math.inf
        self._pairing, self._track = FixPairing(), ReceiverTrack()
        self.clear()

    def clear(self) -> None:
        """Start anew, as when the receiver is lost: what came before does not count at its return."""
        self.result = Comparison.NOTHING
        self.verdict: Verdict | None = None
        self._pairs: deque[FixPair] = deque()
        self._judged_s = -math.inf
        self._pairing.clear()
        self._track.clear()

    def restart(self) -> None:
        """Time jumped back."""
        self.clear()
        self._recent.clear()
        self._visual_at_s = -math.inf

    @property
    def contradicts(self) -> bool:
        """Whether the visual fixes contradict the receiver."""
        return self.result is Comparison.CONTRADICTS

    def receiver(
        self, stamp_s: float, latitude_deg: float, longitude_deg: float, sigma_m: float, now_s: float, in_use: bool
    ) -> None:
        """A fix without a fault of its own arrived at `now_s`; `in_use` is whether the receiver counts as healthy."""
        self._track.add(stamp_s, latitude_deg, longitude_deg, sigma_m)
        self._add(self._pairing.receiver(stamp_s, latitude_deg, longitude_deg, sigma_m, now_s), now_s, in_use)

    def visual(self, fix: VisualFix, now_s: float, in_use: bool) -> None:
        """An accepted visual fix arrived at `now_s`."""
        if not fix.is_sound() or (self._recent and fix.stamp_s <= self._recent[-1].stamp_s):
            return
        self._recent.append(fix)
        self._visual_at_s = now_s
        self._add(self._pairing.visual(fix, now_s), now_s, in_use)

    def awaits_verdict(self, now_s: float) -> bool:
        """Whether a comparison has still to come: visual fixes arrive, and there is no verdict yet."""
        return self.result is Comparison.NOTHING and now_s - self._visual_at_s <= _EXPECTED_WITHIN_S

    def is_beyond_reach(
        self, stamp_s: float, latitude_deg: float, longitude_deg: float, sigma_m: float, max_speed_mps: float
    ) -> bool:
        """Whether the robot cannot have driven to a position from the last visual fixes, which agree with each other.

        It bounds the jump over an outage: the last good fix of the receiver is older.
        """
        fixes = list(self._recent)
        if len(fixes) < REFERENCE_FIXES:
            return False

        def out_of_reach(fix: VisualFix, when_s: float, latitude: float, longitude: float, own_sigma_m: float) -> bool:
            away_m = math.hypot(*offset_m(latitude, longitude, fix.latitude_deg, fix.longitude_deg))
            both_m = math.hypot(own_sigma_m, fix.sigma_m)
            return away_m > max_speed_mps * abs(when_s - fix.stamp_s) + self._limit_sigmas * both_m

        for one, other in pairwise(fixes):
            if out_of_reach(one, other.stamp_s, other.latitude_deg, other.longitude_deg, other.sigma_m):
                return False
        return all(out_of_reach(fix, stamp_s, latitude_deg, longitude_deg, sigma_m) for fix in fixes)

    def _add(self, pairs: list[FixPair], now_s: float, in_use: bool) -> None:
        if self.result is not Comparison.NOTHING and now_s - self._judged_s > FORGET_S:
            self.clear()
        if not pairs:
            return
        self._pairs.extend(pairs)
        while self._pairs[0].stamp_s < self._pairs[-1].stamp_s - self._windows_s[-1]:
            self._pairs.popleft()
        self._judge(now_s, in_use)

    def _judge(self, now_s: float, in_use: bool) -> None:
        strict = self.contradicts or not in_use
        span_s = RETURN_SPAN_S if strict else self._min_duration_s
        table = np.array(self._pairs)
        firsts = np.searchsorted(table[:, 0], table[-1, 0] - np.array(self._windows_s) - 1e-6).tolist()
        windows = [window_verdict(table[first:], self.correlation_time_s) for first in firsts]
        short = windows[1]
        seen_s = float(table[-1, 0] - table[firsts[1], 0])
        windows.append(self._since_jump(table))
        verdicts = [verdict for verdict in windows if verdict is not None and verdict.consistent]
        verdicts = [verdict for verdict in verdicts if verdict.span_s >= span_s]
        against = [verdict for verdict in verdicts if verdict.sigmas > self._limit(verdict, strict)]
        against = [verdict for verdict in against if strict or verdict.moved]
        if against:
            self._set(Comparison.CONTRADICTS, max(against, key=lambda verdict: (verdict.jump_m, verdict.sigmas)), now_s)
        elif short is not None and short in verdicts:
            if strict:  # it has been used again in spite of its jump
                self._track.jump = None
            self._set(Comparison.AGREES, short, now_s)
        elif short is not None and not short.consistent and seen_s >= span_s and not self.contradicts:
            self._set(Comparison.INCONSISTENT, self.verdict, now_s)

    def _limit(self, verdict: Verdict, strict: bool) -> float:
        return self._limit_sigmas * (AGREEMENT_SHARE if strict or verdict.jump_m > 0.0 else 1.0)

    def _since_jump(self, table: np.ndarray) -> Verdict | None:
        """The verdict of the pairs since the receiver's last jump; None where the jump is not most of the offset."""
        jump = self._track.jump
        if jump is None or table[-1, 0] - jump.before_s > self._windows_s[-1]:
            return None
        verdict = window_verdict(
            table[np.searchsorted(table[:, 0], jump.before_s, side="right") :], self.correlation_time_s
        )
        if verdict is None or not _accounts_for(jump, verdict):
            return None
        return verdict._replace(jump_m=jump.size_m)

    def _set(self, result: Comparison, verdict: Verdict | None, now_s: float) -> None:
        self.result, self.verdict, self._judged_s = result, verdict, now_s


def window_verdict(table: np.ndarray, correlation_time_s: float) -> Verdict | None:
    """The verdict of the pairs in the rows of `table` (N, 11), whose columns are those of FixPair; None if too few."""
    count = len(table)
    if count < MIN_PAIRS:
        return None
    offsets_m, covs_m2 = table[:, 1:3], table[:, 7:11]
    ordered = np.sort(offsets_m, axis=0)
    median_m = (ordered[count // 2] + ordered[(count - 1) // 2]) / 2.0
    ee, en, nn, receiver_m2 = (covs_m2.sum(axis=0) / count).tolist()
    own = (covs_m2[:, 0] + covs_m2[:, 3], covs_m2[:, 1], covs_m2[:, 2] + covs_m2[:, 3])
    residuals_m = offsets_m - median_m
    near = table[_mahalanobis2(residuals_m[:, 0], residuals_m[:, 1], *own) <= _CONSISTENT_SIGMAS**2]
    # a view that changes its mind does not move the robot: its way is that of the pairs near the median
    moved_m = travel_m(near[:, 3:7], receiver_m2)
    factor = error_correlation(table[:, 0], moved_m, correlation_time_s)
    joint_m2 = (factor * ee + receiver_m2, factor * en, factor * nn + receiver_m2)
    squared = _mahalanobis2(median_m[0], median_m[1], *joint_m2)
    return Verdict(
        distance_m=math.hypot(median_m[0], median_m[1]),
        sigmas=math.sqrt(squared),
        span_s=float(near[-1, 0] - near[0, 0]) if len(near) >= MIN_PAIRS else 0.0,
        moved=moved_m >= MIN_TRAVEL_M,
        consistent=len(near) >= _CONSISTENT_SHARE * count,
        offset_m=(float(median_m[0]), float(median_m[1])),
    )


def _accounts_for(jump: TrackJump, verdict: Verdict) -> bool:
    """Whether the receiver would be off by less than half as much without its jump."""
    east_m, north_m = verdict.offset_m
    remaining_m = math.hypot(east_m - jump.east_m, north_m - jump.north_m)
    return remaining_m <= _MAX_REMAINING_SHARE * verdict.distance_m


def travel_m(tracks_m: np.ndarray, receiver_var_m2: float) -> float:
    """How far the robot moved, by the mean positions of the two halves; 0 where it may be the receiver's noise.

    `tracks_m` is (N, 4), receiver and camera. The larger counts: a receiver that is frozen does not move, and neither
    does a covered camera.
    """
    half = len(tracks_m) // 2
    if half == 0:
        return 0.0
    receiver_east, receiver_north, visual_east, visual_north = (
        (tracks_m[-half:].sum(axis=0) - tracks_m[:half].sum(axis=0)) * (2.0 / half)
    ).tolist()
    receiver_m, visual_m = math.hypot(receiver_east, receiver_north), math.hypot(visual_east, visual_north)
    return max(receiver_m if receiver_m >= 2.0 * math.sqrt(receiver_var_m2) else 0.0, visual_m)


def error_correlation(stamps_s: np.ndarray, moved_m: float, correlation_time_s: float) -> float:
    """Mean over all pairs of rows of exp(-|time between them| / correlation time), 1 for a robot at rest.

    It is the variance of a mean of equally certain errors in units of the variance of one.
    """
    if moved_m < MIN_TRAVEL_M:
        return 1.0
    count, passed_s = len(stamps_s), stamps_s - stamps_s[0]
    time_s = correlation_time_s * max(1.0, float(passed_s[-1]) * _CORRELATION_SPEED_MPS / moved_m)
    # the exponent stays below what a float holds
    growth = np.exp(passed_s / max(time_s, float(passed_s[-1]) / 500.0))
    upper = float(((np.cumsum(growth) - growth) / growth).sum())
    return max((count + 2.0 * upper) / count**2, _MIN_CORRELATION)


def _mahalanobis2(east, north, ee, en, nn):
    """Squared Mahalanobis distance of offsets in two dimensions, of numbers or of arrays."""
    return (nn * east**2 - 2.0 * en * east * north + ee * north**2) / (ee * nn - en**2)
