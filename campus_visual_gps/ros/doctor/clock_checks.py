"""Time: /clock and use_sim_time, and the stamps of all that is fused against the node's clock. Without ROS."""

from __future__ import annotations

import math
from itertools import pairwise

from campus_visual_gps.ros.clock_hint import OTHER_CLOCK_S, clock_hint, duration, other_time_scale
from campus_visual_gps.ros.doctor.findings import Finding, failure, passed, warning
from campus_visual_gps.ros.doctor.snapshot import NodeInfo, Snapshot

CLOCK = "clock"
MAX_FUTURE_S = 1.0
# Transport and two inferences on a small CPU take less.
MAX_AGE_S = 5.0


def check_clock(snapshot: Snapshot) -> list[Finding]:
    """Whether there is a /clock where one is needed, only there, and only one."""
    nodes = [*([snapshot.localizer] if snapshot.localizer else []), *snapshot.navsats, *snapshot.filters]
    known = [node for node in nodes if node.parameters is not None]
    if not known:
        return []
    simulated = [node for node in known if node.simulated]
    if simulated and len(simulated) < len(known):
        return [_mixed(simulated, [node for node in known if not node.simulated])]
    if not simulated:
        if not snapshot.clock_publishers:
            return [passed(CLOCK, "system time")]
        text = f"{snapshot.clock_publishers[0]} publishes /clock, and the nodes take the system's time"
        return [warning(CLOCK, text, "for a bag or a simulator start them with use_sim_time:=true")]
    return [_simulated(snapshot)]


def check_stamps(snapshot: Snapshot) -> list[Finding]:
    """The stamps of images, receiver, odometry and fixes against the clock of the nodes."""
    findings, fine = [], 0
    for name, topic in sorted(snapshot.topics.items()):
        offset_s = topic.offset_s(snapshot.simulated)
        if math.isnan(offset_s):
            continue
        if -MAX_AGE_S <= offset_s <= MAX_FUTURE_S:
            fine += 1
            continue
        side = "ahead of" if offset_s > 0.0 else "behind"
        text = f"{name}: stamps are {duration(abs(offset_s))} {side} the nodes' clock"
        hint = clock_hint(offset_s, snapshot.simulated)
        # recorded images give fixes all the same; a filter, TF and the receiver do not fit to them
        alone = not snapshot.has_fusion and not snapshot.receiver_topics()
        late = -OTHER_CLOCK_S <= offset_s < 0.0 and not other_time_scale(offset_s)
        is_warning = late or (offset_s < 0.0 and alone)
        findings.append(warning(CLOCK, text, hint) if is_warning else failure(CLOCK, text, hint))
    if fine and not findings:
        findings.append(passed(CLOCK, f"the stamps of {fine} topics fit to it"))
    return findings


def _mixed(simulated: list[NodeInfo], others: list[NodeInfo]) -> Finding:
    return failure(
        CLOCK,
        f"use_sim_time is true in {_names(simulated)} and false in {_names(others)}",
        "start all nodes with the same use_sim_time",
    )


def _simulated(snapshot: Snapshot) -> Finding:
    publishers, times_s = snapshot.clock_publishers, [time_s for _, time_s in snapshot.clock_s]
    if not publishers:
        remedy = "play the bag with --clock, start the simulator, or use use_sim_time:=false"
        return failure(CLOCK, "use_sim_time is true and nobody publishes /clock", remedy)
    if len(publishers) > 1:
        remedy = "let one publish it: a bag that holds /clock needs no --clock"
        return failure(CLOCK, f"{len(publishers)} publishers of /clock: {', '.join(publishers)}", remedy)
    if not times_s:
        return failure(CLOCK, f"{publishers[0]} publishes /clock, and nothing comes", "start or continue the playback")
    if len(times_s) > 1 and times_s[-1] == times_s[0]:
        return warning(CLOCK, f"/clock stands still at {times_s[-1]:.1f} s", "continue the playback or simulation")
    if any(after < before for before, after in pairwise(times_s)):
        return warning(CLOCK, "/clock jumped back", "a filter needs a reset then: filter_reset of fusion.launch.py")
    return passed(CLOCK, f"simulated time from {publishers[0]}")


def _names(nodes: list[NodeInfo]) -> str:
    return ", ".join(node.name for node in nodes)
