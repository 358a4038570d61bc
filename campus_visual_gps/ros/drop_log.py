"""One line of the node's log for images that are dropped: the reason, the number and what to do. Without ROS."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

from campus_visual_gps.ros.clock_hint import clock_hint
from campus_visual_gps.ros.diagnostics import DROP_CAUSES
from campus_visual_gps.ros.image_queue import DropRule

LOG_PERIOD_S = 10.0


class DropLine(NamedTuple):
    """A line for the log; `warning` is False for what is normal."""

    text: str
    warning: bool


class DropLog:
    """Counts dropped images by rule, and says at most every LOG_PERIOD_S per rule that there were any.

    The rate limit is said once, because it is normal. `simulated` says that the node takes its time from /clock.
    """

    def __init__(
        self,
        max_rate_hz: float = 0.0,
        max_age_s: float = 0.0,
        clock: Callable[[], float] = monotonic,
        simulated: bool = False,
    ):
        self._max_rate_hz, self._max_age_s, self._clock = max_rate_hz, max_age_s, clock
        self._simulated = simulated
        self._counts: Counter[DropRule] = Counter()
        self._logged_s: dict[DropRule, float] = {}

    def record(self, rule: DropRule, offset_s: float) -> DropLine | None:
        """An image was dropped; the line to log now, if any. `offset_s` is its stamp less the ROS time."""
        self._counts[rule] += 1
        if rule is DropRule.RATE_LIMIT:
            return self._rate_line() if self._counts[rule] == 1 else None
        now_s = self._clock()
        last_s = self._logged_s.get(rule)
        if last_s is not None and now_s - last_s < LOG_PERIOD_S:
            return None
        count, self._counts[rule] = self._counts[rule], 0
        self._logged_s[rule] = now_s
        since = "" if last_s is None else f" in {now_s - last_s:.0f} s"
        images = "1 image was" if count == 1 else f"{count} images were"
        return DropLine(f"{images} dropped{since}, {rule.value}: {self._cause(rule, offset_s)}", warning=True)

    def _rate_line(self) -> DropLine:
        text = f"images come faster than max_rate_hz ({self._max_rate_hz:g} Hz): those in between are not used"
        return DropLine(f"{text}; the diagnostics count them as dropped.rate_limit", warning=False)

    def _cause(self, rule: DropRule, offset_s: float) -> str:
        if rule is DropRule.FROM_FUTURE:
            return f"the last stamp is {offset_s:.1f} s ahead of the ROS time; {clock_hint(offset_s, self._simulated)}"
        if rule is DropRule.TOO_OLD:
            age = f"the last image is {-offset_s:.1f} s old, the limit max_age_s is {self._max_age_s:g} s"
            return f"{age}; {clock_hint(offset_s, self._simulated)}"
        return DROP_CAUSES[rule]
