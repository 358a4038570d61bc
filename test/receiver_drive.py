"""A robot that drives north with a receiver and a camera, whose errors a test gives."""

from __future__ import annotations

import numpy as np
from receiver_scene import degrees

from campus_visual_gps.gnss.arbiter import FixArbiter
from campus_visual_gps.gnss.fix_pairs import VisualFix
from campus_visual_gps.gnss.monitor_settings import MonitorSettings
from campus_visual_gps.gnss.receiver_fix import KNOWN, ReceiverFix
from campus_visual_gps.gnss.visual_check import VisualCheck


class Drive:
    """A robot that drives north at `speed_mps`, or stands; both sources are exact but for what `run` is told."""

    def __init__(self, settings_: MonitorSettings | None = None, speed_mps: float = 1.4):
        self.arbiter = FixArbiter(settings_)
        self.speed_mps = speed_mps
        self.passed_s: list[float] = []
        self.changes: list[tuple[float, str]] = []

    def run(
        self,
        start_s,
        end_s,
        receiver_m=0.0,
        visual_m=lambda now_s: 0.0,
        status=0,
        clock_s=0.0,
        sigma_m=1.5,
        visual_sigma_m=5.5,
        held=False,
        kind=KNOWN,
    ) -> None:
        """Receiver at 5 Hz, visual fixes at 2 Hz, 0.3 s late; None as `visual_m` for no camera. Offsets are north."""
        for step in range(round(start_s * 10), round(end_s * 10)):
            now_s = step / 10.0
            if step % 2 == 0:
                fix = ReceiverFix(
                    now_s + clock_s, status, *self.at(now_s, receiver_m), 300.0, sigma_m**2 * np.eye(3), kind
                )
                decision = self.arbiter.receiver(fix, round(fix.stamp_s * 1e9), now_s)
                if decision.passes:
                    self.passed_s.append(now_s)
                self.record(decision.change, now_s)
            if step % 5 == 3 and visual_m is not None:
                stamp_s = now_s - 0.3
                seen = VisualFix(stamp_s, *self.at(stamp_s, visual_m(stamp_s)), visual_sigma_m**2 * np.eye(2))
                self.record(self.arbiter.visual(seen, round(stamp_s * 1e9), now_s, held).change, now_s)
            self.record(self.arbiter.tick(now_s), now_s)

    def at(self, now_s: float, north_m: float) -> tuple[float, float]:
        return degrees(np.array([0.0, self.speed_mps * (now_s - 1000.0) + north_m]))

    def record(self, change, now_s: float) -> None:
        if change is not None and change.changes_source:
            self.changes.append((now_s, change.after))

    @property
    def check(self) -> VisualCheck:
        return self.arbiter.monitor.visual_check
