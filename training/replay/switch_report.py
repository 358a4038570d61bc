"""Text and a table about the fallback along a drive."""

from __future__ import annotations

from campus_visual_gps.gnss.arbiter import NEITHER
from training.replay.switch_metrics import OutageSwitches, SwitchMetrics
from training.report.formatting import NONE, number
from training.report.markdown_blocks import table


def switch_line(switches: SwitchMetrics, by_outage: list[OutageSwitches]) -> str:
    """All switches in a sentence, and those of each outage."""
    ins, outs, late = switches.in_count, switches.out_count, switches.late_count
    timely = "each within the configured time" if not late else f"{late} of them later than configured"
    counted = f"Fallback: {ins} switch(es) to the visual fix and {outs} back to the receiver"
    spans = [_outage_words(index, own) for index, own in enumerate(by_outage, start=1)]
    return ". ".join([f"{counted}, {timely}" if ins + outs else counted, *spans]) + "."


def _outage_words(index: int, switches: OutageSwitches) -> str:
    spans = []
    if switches.in_s is not None:
        spans.append(f"visual fix {abs(switches.in_s):.1f} s {'after' if switches.in_s >= 0.0 else 'before'} its begin")
    if switches.out_s is not None:
        spans.append(f"receiver {switches.out_s:.1f} s after its end")
    return f"Outage {index}: {', '.join(spans) or 'no switch'}"


def switch_table(switches: SwitchMetrics) -> str:
    """Markdown of every change of the source; empty where there is none."""
    rows = []
    for event in switches.events:
        times = [NONE, NONE] if event.before == NEITHER else [number(event.latency_s), number(event.deadline_s)]
        rows.append([f"{event.before} -> {event.after}", number(switches.time_s(event)), *times, event.reason])
    header = ["topic `fix`", "at, s", "latency, s", "deadline, s", "reason"]
    return "\n\n".join([table(header, rows), _SWITCH_NOTE]) if rows else ""


_SWITCH_NOTE = (
    "This is what the node does with `output: fallback` and its default `gps_*` parameters: the same code, with the "
    "bag's times of receipt as input. The latency of a switch to the visual fix counts from the receiver's last good "
    "fix, that of one back from the first good one of those that restored it. The deadline follows from "
    "`gps_fault_min_count` and `gps_fault_min_duration_s`, or for silence `gps_max_age_s`, and from "
    "`gps_recovery_min_count` and `gps_recovery_min_duration_s`, with the receiver's intervals until it is noticed."
)
