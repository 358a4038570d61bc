"""What the distance of stamps to a node's clock suggests, with the remedy. Without ROS."""

from __future__ import annotations

from campus_visual_gps.ros.stamps import NS_PER_S

# Offsets of other time scales to UTC since 2017, in seconds; the sign is that of stamp minus ROS time.
_TIME_SCALES = ((37.0, "TAI"), (18.0, "GPS time"))
_SCALE_TOLERANCE_S = 0.5
_TIME_ZONE_S = 900.0  # all time zones are multiples of a quarter of an hour
_ZONE_TOLERANCE_S = 5.0
# No transport and no model delays an image by so much: the stamps are of another clock.
OTHER_CLOCK_S = 60.0
# A single stray stamp is no finding.
FIRST_IMAGES = 3
RECORDED = "start the nodes with use_sim_time:=true and play the bag with --clock"


def clock_hint(offset_s: float, simulated: bool = False) -> str:
    """What a stamp `offset_s` ahead of the ROS time suggests, and the remedy; one clause.

    Args:
        offset_s: Stamp less ROS time; negative for an old message.
        simulated: The node takes its time from /clock.
    """
    if simulated:
        return _simulated_hint(offset_s)
    if name := other_time_scale(offset_s):
        return f"that is {name} in the place of UTC: set the UTC offset of the camera's clock (PTP) or its driver"
    quarters = round(offset_s / _TIME_ZONE_S)
    if 0 < abs(quarters) <= 56 and abs(offset_s - quarters * _TIME_ZONE_S) <= _ZONE_TOLERANCE_S:
        return f"that is local time of UTC{quarters / 4.0:+g} h in the place of UTC: set the camera's clock to UTC"
    if offset_s > 0.0:
        return "check use_sim_time, that /clock runs, and the clock of the camera's computer"
    if offset_s < -OTHER_CLOCK_S:
        return f"if they are recorded, {RECORDED}; else check the clock of the camera's computer"
    return "check use_sim_time and the clock of the camera's computer, or raise max_age_s"


def other_time_scale(offset_s: float) -> str:
    """The time scale whose offset to UTC this is, on either side: TAI or GPS time; empty for none."""
    return next((name for scale_s, name in _TIME_SCALES if abs(abs(offset_s) - scale_s) <= _SCALE_TOLERANCE_S), "")


def _simulated_hint(offset_s: float) -> str:
    if offset_s > 0.0:
        return (
            "the node takes its time from /clock (use_sim_time:=true): check that /clock runs (ros2 bag play BAG "
            "--clock) and is of the same bag or simulator as the images; for a live camera start it with "
            "use_sim_time:=false"
        )
    return (
        "the node takes its time from /clock (use_sim_time:=true), which is ahead of the images: play the bag with "
        "--clock, and let nothing else publish /clock"
    )


class ClockCheck:
    """Notices, once, that the stamps of the images are of another clock than the node's.

    A recorded bag is one: its images pass all checks of stamps, and whatever else has the node's clock (TF, a filter, a
    receiver) does not fit to them.
    """

    def __init__(self, simulated: bool = False):
        self._simulated = simulated
        self._count = 0
        self._done = False

    def record(self, stamp_ns: int, now_ns: int) -> str | None:
        """An image was accepted; the warning to log now, if any, in one line."""
        offset_s = (stamp_ns - now_ns) / NS_PER_S
        self._count = self._count + 1 if abs(offset_s) > OTHER_CLOCK_S else 0
        if self._done or self._count < FIRST_IMAGES:
            return None
        self._done = True
        side = "behind" if offset_s < 0.0 else "ahead of"
        hint = clock_hint(offset_s, self._simulated)
        return f"the images' stamps are {duration(abs(offset_s))} {side} the node's clock; {hint}"


def duration(seconds: float) -> str:
    """A length of time for people: 4.2 s, 12 min, 3.5 h, 400 days."""
    for limit_s, unit_s, name in ((120.0, 1.0, "s"), (7200.0, 60.0, "min"), (172800.0, 3600.0, "h")):
        if seconds < limit_s:
            return f"{seconds / unit_s:.1f} {name}"
    return f"{seconds / 86400.0:.0f} days"
