"""Jumps in the receiver's own track that neither its claim nor the motion of a robot explains. Without ROS.

health.py holds a fix back that lies farther from the last one than the robot drives at its highest speed; at one fix a
second that allows tens of metres. Here the speed is the receiver's own, over the seconds before and after: a robot that
is slow before and slow afterwards has not driven 30 m in between. The camera has no part in it, so that whatever it
sees makes no jump.
"""

from __future__ import annotations

import math
from collections import deque
from itertools import islice
from typing import NamedTuple

from campus_visual_gps.gnss.fix_pairs import MAX_GAP_S, offset_m

# Two independent positions differ by more than this many sigmas about once in 3000 fixes (chi-square, two dimensions).
JUMP_SIGMAS = 4.0
# Braking of a robot or of a car in traffic. What a velocity over the seconds beside the jump may differ by.
_MAX_ACCELERATION_MPS2 = 3.0
# The velocity before and after is taken over so long, and at least over the shorter time.
_VELOCITY_SPAN_S, _MIN_VELOCITY_SPAN_S = 2.5, 1.5
# Fixes nearer in time say nothing more.
_MIN_SPACING_S = 0.09
# A receiver that smooths its positions slides to the wrong one within some fixes.
_SLIDE_S = 1.5
# Of overlapping jumps in one direction a later one replaces the first when it is so much larger.
_LARGER = 1.25
_KEPT_S = 8.0


class TrackJump(NamedTuple):
    """A jump: the stamp of the last fix before it, and by how much, metres east and north."""

    before_s: float
    east_m: float
    north_m: float

    @property
    def size_m(self) -> float:
        """Its length."""
        return math.hypot(self.east_m, self.north_m)


class _Fix(NamedTuple):
    stamp_s: float
    east_m: float
    north_m: float
    sigma_m: float


class ReceiverTrack:
    """The last seconds of the receiver's track.

    Attributes:
        jump: The last jump; of several that overlap in one direction the first, or a clearly larger one.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget the track and its jump."""
        self.jump: TrackJump | None = None
        self._origin_deg: tuple[float, float] | None = None
        self._judged_s = -math.inf
        self._fixes: deque[_Fix] = deque()

    def add(self, stamp_s: float, latitude_deg: float, longitude_deg: float, sigma_m: float) -> None:
        """One more fix. A jump is known when the velocity after it is, some 2 s later."""
        if self._fixes and stamp_s < self._fixes[-1].stamp_s + _MIN_SPACING_S:
            return
        if self._fixes and stamp_s - self._fixes[-1].stamp_s > MAX_GAP_S:
            self._fixes.clear()
        self._origin_deg = self._origin_deg or (latitude_deg, longitude_deg)
        self._fixes.append(_Fix(stamp_s, *offset_m(latitude_deg, longitude_deg, *self._origin_deg), sigma_m))
        while self._fixes[0].stamp_s < stamp_s - _KEPT_S:
            self._fixes.popleft()
        fixes = list(self._fixes)
        for index, fix in enumerate(fixes):
            if self._judged_s < fix.stamp_s <= stamp_s - _MIN_VELOCITY_SPAN_S:
                self._judged_s = fix.stamp_s
                self._judge(fixes, index)

    def _judge(self, fixes: list[_Fix], after: int) -> None:
        """Whether the track jumps between an earlier fix and that of index `after`."""
        slide = next((row for row in range(after) if fixes[row].stamp_s > fixes[after].stamp_s - _SLIDE_S), after) - 1
        for before in (after - 1, slide):
            if before < 0:
                return
            first = next(row for row in islice(range(after), before + 1) if _is_near(fixes[row], fixes[before]))
            found = _jump(fixes[first], fixes[before], fixes[after], fixes[-1])
            if found is not None:
                self.jump = self.jump if _is_part_of(found, self.jump) else found
                return


def _is_near(earlier: _Fix, later: _Fix) -> bool:
    return later.stamp_s - earlier.stamp_s <= _VELOCITY_SPAN_S + 1e-6


def _jump(first: _Fix, before: _Fix, after: _Fix, last: _Fix) -> TrackJump | None:
    """The way from `before` to `after` less the nearest that the velocities on both sides, or a mixture, make."""
    if before.stamp_s - first.stamp_s < _MIN_VELOCITY_SPAN_S:
        return None
    passed_s = after.stamp_s - before.stamp_s
    one, other = _way(first, before, passed_s), _way(after, last, passed_s)
    way = (after.east_m - before.east_m, after.north_m - before.north_m)
    change = (other[0] - one[0], other[1] - one[1])
    squared_m2 = change[0] ** 2 + change[1] ** 2
    along_m2 = (way[0] - one[0]) * change[0] + (way[1] - one[1]) * change[1]
    share = min(max(along_m2 / squared_m2, 0.0), 1.0) if squared_m2 > 0.0 else 0.0
    found = TrackJump(before.stamp_s, way[0] - one[0] - share * change[0], way[1] - one[1] - share * change[1])
    # half the span of a velocity lies between its middle and the jump
    late_s = _VELOCITY_SPAN_S / 2.0
    allowed_m = _MAX_ACCELERATION_MPS2 * passed_s * (late_s + passed_s / 4.0)
    return found if found.size_m > allowed_m + JUMP_SIGMAS * math.hypot(before.sigma_m, after.sigma_m) else None


def _way(first: _Fix, last: _Fix, duration_s: float) -> tuple[float, float]:
    """How far the mean velocity between two fixes leads in a time, metres east and north."""
    scale = duration_s / (last.stamp_s - first.stamp_s)
    return (last.east_m - first.east_m) * scale, (last.north_m - first.north_m) * scale


def _is_part_of(found: TrackJump, known: TrackJump | None) -> bool:
    """Whether a jump is a part of one that is known."""
    if known is None or found.before_s - known.before_s > MAX_GAP_S:
        return False
    same = found.east_m * known.east_m + found.north_m * known.north_m > 0.0
    return same and found.size_m <= _LARGER * known.size_m
