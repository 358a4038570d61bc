"""Figures and words about the fallback along a drive: when it switched, and how far off its output was."""

from __future__ import annotations

import numpy as np

from campus_visual_gps.gnss.arbiter import NEITHER, RECEIVER, VISUAL
from training.evaluate.report_metrics import Report
from training.replay.outages import Outage
from training.replay.switches import FallbackRun, SwitchEvent
from training.report.markdown_blocks import table
from training.report.summary import number


def switch_figures(run: FallbackRun, outages: list[Outage], received_ns: dict[int, int], start_ns: int) -> Report:
    """`switch.*` for every change of the source, `outage.N.switch_*` for those that belong to an outage.

    received_ns: stamp -> arrival of the receiver's fixes; start_ns: where the drive's time is 0.
    """
    own = [switch for switch in run.switches if switch.before != NEITHER]
    figures: Report = {
        "switch.count": len(run.switches),
        "switch.in_count": sum(switch.after == VISUAL for switch in own),
        "switch.out_count": sum(switch.after == RECEIVER for switch in own),
        "switch.late_count": sum(switch.latency_s > switch.deadline_s for switch in own),
    }
    for index, switch in enumerate(run.switches, start=1):
        figures |= {f"switch.{index}.{key}": value for key, value in _described(switch, start_ns).items()}
    begins_ns = [received_ns.get(outage.start_ns, outage.start_ns) for outage in outages]
    for index, outage in enumerate(outages, start=1):
        until_ns = [*begins_ns, np.inf][index]
        values = _outage_figures(own, outage, received_ns, until_ns)
        figures |= {f"outage.{index}.{key}": value for key, value in values.items()}
    return figures


def _described(switch: SwitchEvent, start_ns: int) -> Report:
    times = {"time_s": (switch.time_ns - start_ns) / 1e9}
    if switch.before != NEITHER:
        times |= {"latency_s": switch.latency_s, "deadline_s": switch.deadline_s}
    return {**times, "from": switch.before, "to": switch.after, "reason": switch.reason}


def _outage_figures(own: list[SwitchEvent], outage: Outage, received_ns: dict[int, int], until_ns: float) -> Report:
    """From its beginning to the next one's; None where there was no such switch, as where it lasts to the end."""
    begin_ns, end_ns = (received_ns.get(stamp, stamp) for stamp in (outage.start_ns, outage.end_ns))
    mine = [switch for switch in own if begin_ns <= switch.time_ns < until_ns]
    ins = [switch for switch in mine if switch.after == VISUAL]
    outs = [switch for switch in mine if switch.after == RECEIVER]
    return {
        "switch_in_count": len(ins),
        "switch_in_s": (ins[0].time_ns - begin_ns) / 1e9 if ins else None,
        "switch_out_count": len(outs),
        "switch_out_s": (outs[0].time_ns - end_ns) / 1e9 if outs else None,
    }


def switch_line(report: Report) -> str:
    """All switches in a sentence; empty where no receiver is known."""
    if "switch.count" not in report:
        return ""
    ins, outs, late = (report[f"switch.{name}_count"] for name in ("in", "out", "late"))
    timely = "each within the configured time" if not late else f"{late} of them later than configured"
    counted = f"Fallback: {ins} switch(es) to the visual fix and {outs} back to the receiver"
    spans = [_outage_words(report, index) for index in range(1, report.get("outage.count", 0) + 1)]
    return ". ".join([f"{counted}, {timely}" if ins + outs else counted, *spans]) + "."


def _outage_words(report: Report, index: int) -> str:
    spans = [
        f"{what} {report[key]:.1f} s after its {edge}"
        for what, key, edge in (
            ("visual fix", f"outage.{index}.switch_in_s", "begin"),
            ("receiver", f"outage.{index}.switch_out_s", "end"),
        )
        if report[key] is not None
    ]
    return f"Outage {index}: {', '.join(spans) or 'no switch'}"


def switch_table(report: Report) -> str:
    """Markdown of every change of the source; empty where there is none."""
    rows = []
    for index in range(1, report.get("switch.count", 0) + 1):
        prefix = f"switch.{index}."
        times = [number(report, prefix + name) for name in ("time_s", "latency_s", "deadline_s")]
        rows.append([f"{report[prefix + 'from']} -> {report[prefix + 'to']}", *times, report[prefix + "reason"]])
    header = ["topic `fix`", "at, s", "after, s", "configured within, s", "why"]
    return "\n\n".join([table(header, rows), _SWITCH_NOTE]) if rows else ""


_SWITCH_NOTE = (
    "This is what the node does with `output: fallback` and its default `gps_*` parameters: the same code, fed with "
    "the bag's times of receipt. A switch to the visual fix counts from the receiver's last good fix, one back from "
    "the first good one of those that restored it. Configured are `gps_fault_min_count` and `gps_fault_min_duration_s`, or for silence "
    "`gps_max_age_s`, and `gps_recovery_min_count` and `gps_recovery_min_duration_s`; the receiver's intervals until it is noticed are "
    "added."
)
