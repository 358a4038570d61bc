"""The comparison of a filter's inputs as text, as a table and as flat keys."""

from __future__ import annotations

from dataclasses import asdict

from campus_visual_gps.estimation.correlated_errors import INFLATE
from training.replay.fusion import AFTER_S, FALLBACK, RECEIVER, RECORDED, VISUAL, FusionComparison, FusionScore
from training.report.flatten import FlatJson, prefixed
from training.report.formatting import number, percent
from training.report.markdown_blocks import table

_SOURCES = {RECEIVER: "the receiver only", FALLBACK: "`fix` (fallback)", VISUAL: "`visual_gps/fix` only"}
_HEADER = [
    "fed to the filter",
    "`correlated_errors`",
    "fixes",
    "rejected",
    f"after {AFTER_S:.0f} s: mean / max, m",
    "NEES (ideal 2)",
    "in 95 % ellipse",
    "in outages: mean / max, m",
    "NEES (ideal 2)",
    "in 95 % ellipse",
]


def fusion_block(comparison: FusionComparison | None) -> str:
    """Markdown; empty without a comparison."""
    if comparison is None:
        return ""
    rows = [
        [
            _SOURCES[own.source],
            own.mode or "–",
            str(own.n_fixes),
            str(own.n_rejected),
            *_cells(own.drive),
            *_cells(own.outage),
        ]
        for own in comparison.inputs
    ]
    time = f"{comparison.correlation_time_s:.1f} s"
    origin = "measured, in the bundle" if comparison.is_measured else "the default: the bundle has none"
    note = (
        "Odometry and fixes in a stand-in for the filter `ekf_map` of robot_localization with `config/ekf.yaml`, "
        f"without an IMU. Correlation time of the errors: {time} ({origin})."
    )
    return f"{table(_HEADER, rows)}\n\n{note}"


def fusion_line(comparison: FusionComparison | None) -> str:
    """For the terminal: the node's default against the receiver alone; empty without a comparison."""
    if comparison is None:
        return ""
    shown = [own for own in comparison.inputs if own.mode in ("", INFLATE, RECORDED)]
    texts = []
    for own in shown:
        score, where = (own.outage, "in outages") if own.outage is not None else (own.drive, f"after {AFTER_S:.0f} s")
        if score is not None:
            name = _SOURCES[own.source].replace("`", "")
            texts.append(f"{name} {number(score.mean_error_m)} m (NEES {number(score.nees_mean)}) {where}")
    return f"A filter fed by {'; '.join(texts)}." if texts else ""


def fusion_to_flat_json(comparison: FusionComparison) -> FlatJson:
    """`filter.<input>[.<correlated_errors>].drive.` and `.outage.`."""
    flat: FlatJson = {
        "filter.correlation_time_s": comparison.correlation_time_s,
        "filter.correlation_time_measured": comparison.is_measured,
    }
    for own in comparison.inputs:
        prefix = "filter." + ".".join(part for part in (own.source, own.mode) if part) + "."
        flat |= {f"{prefix}n_fixes": own.n_fixes, f"{prefix}n_rejected": own.n_rejected}
        for name, score in (("drive", own.drive), ("outage", own.outage)):
            if score is not None:
                flat |= prefixed(f"{prefix}{name}.", asdict(score))
    return flat


def _cells(score: FusionScore | None) -> list[str]:
    if score is None:
        return ["–", "–", "–"]
    errors = f"{number(score.mean_error_m, 2)} / {number(score.max_error_m)}"
    return [errors, number(score.nees_mean), percent(score.coverage_95_share)]
