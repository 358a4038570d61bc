"""Which coordinate frames the transforms on /tf and /tf_static connect, by the rules of tf2. Without ROS."""

from __future__ import annotations

import math
from typing import NamedTuple

# tf2's buffer keeps this much of the past of a frame, ignores what is older, and rejects quaternions that are longer or
# shorter than 1 by more than the tolerance (tf2/buffer_core.h and .cpp).
CACHE_S = 10.0
_QUATERNION_TOLERANCE = 1e-2


class Link(NamedTuple):
    """The transform of a frame to its parent, with the stamps that it is known for, seconds."""

    parent: str
    earliest_s: float
    latest_s: float


class TransformTree:
    """The newest parent of each frame, and from when to when it is known; no numbers of the transforms."""

    def __init__(self) -> None:
        self._static: dict[str, Link] = {}
        self._dynamic: dict[str, Link] = {}

    def add(self, parent: str, child: str, stamp_s: float | None, numbers: tuple[float, ...] = ()) -> bool:
        """Take a transform; whether it gives its frame a new parent. What tf2 ignores is ignored.

        Args:
            parent: header.frame_id, with or without the leading slash of ROS 1.
            child: child_frame_id, likewise.
            stamp_s: Stamp in seconds, None for a static transform, which holds at all times.
            numbers: Translation (x, y, z) and rotation (x, y, z, w), of which only the validity counts.
        """
        parent, child = tf_name(parent), tf_name(child)
        if not parent or not child or parent == child or not _valid(numbers):
            return False
        if stamp_s is None:
            known = self._dynamic.pop(child, None) is None and child in self._static
            is_new = not known or self._static[child].parent != parent
            self._static[child] = Link(parent, -math.inf, math.inf)
            return is_new
        before = self._dynamic.get(child)
        earliest_s = latest_s = stamp_s
        if before is not None:
            if stamp_s < before.latest_s - CACHE_S:
                return False
            if before.parent == parent:
                latest_s = max(stamp_s, before.latest_s)
                earliest_s = max(min(stamp_s, before.earliest_s), latest_s - CACHE_S)
        self._static.pop(child, None)
        self._dynamic[child] = Link(parent, earliest_s, latest_s)
        return before is None or before.parent != parent

    def forget_dynamic(self) -> None:
        """Time jumped back: tf2's buffers forget all but the static transforms."""
        self._dynamic.clear()

    def has(self, frame: str) -> bool:
        """Whether a transform names the frame, as its parent or its child."""
        frame = tf_name(frame)
        links = (self._static, self._dynamic)
        return any(frame in known or any(frame == link.parent for link in known.values()) for known in links)

    def gap(self, frame: str, other: str) -> str:
        """Why tf2 has no transform between two frames, in words; empty if it has one.

        tf2 looks for a time at which all transforms on the way are known.
        """
        frame, other = tf_name(frame), tf_name(other)
        if frame == other:
            return ""
        for name in (frame, other):
            if not self.has(name):
                return f"no transform names {name!r}"
        ways = [self._ancestors(frame), self._ancestors(other)]
        common = next((name for name in ways[0] if name in ways[1]), None)
        if common is None:
            roots = [list(way)[-1] for way in ways]
            return f"they are in two trees, of {roots[0]!r} and of {roots[1]!r}"
        links = [link for way in ways for link in _until(way, common)]
        if links and min(link.latest_s for link in links) < max(link.earliest_s for link in links):
            return "the transforms between them have no time in common"
        return ""

    def _ancestors(self, frame: str) -> dict[str, Link | None]:
        """The frame and its ancestors, each with its link to the next; the root, or a frame seen before, ends it."""
        way: dict[str, Link | None] = {}
        name: str | None = frame
        while name is not None and name not in way:
            link = self._static.get(name) or self._dynamic.get(name)
            way[name] = link
            name = link.parent if link is not None else None
        return way


def tf_name(frame: str) -> str:
    """A frame's name as tf2 keeps it: without the leading slash of ROS 1, which its look-ups do not accept."""
    return frame.removeprefix("/")


def _until(way: dict[str, Link | None], common: str) -> list[Link]:
    names = list(way)
    return [link for name in names[: names.index(common)] if (link := way[name]) is not None]


def _valid(numbers: tuple[float, ...]) -> bool:
    if not numbers:
        return True
    squared = sum(value * value for value in numbers[3:])
    return all(not math.isnan(value) for value in numbers) and abs(squared - 1.0) < _QUATERNION_TOLERANCE
