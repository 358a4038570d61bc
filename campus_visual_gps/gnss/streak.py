"""A run of consecutive fixes of one kind, for the hysteresis of the receiver's health."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Streak:
    """Consecutive fixes of one kind: how many, and since when."""

    count: int = 0
    since_s: float = 0.0

    def add(self, now_s: float) -> None:
        """One more fix."""
        if self.count == 0:
            self.since_s = now_s
        self.count += 1

    def reaches(self, min_count: int, min_duration_s: float, now_s: float) -> bool:
        """Whether there are so many over this time."""
        return self.count >= min_count and now_s - self.since_s >= min_duration_s
