"""The rows that the report's tables, plots and terminal summary have in common: a title and the metrics of a group."""

from __future__ import annotations

from dataclasses import dataclass

from training.evaluate.baselines import BASELINES, NEAREST_TRAINED, RETRIEVAL_TOPK
from training.evaluate.covariance_baselines import (
    CHOICE_CALIBRATED,
    CHOICE_SPREAD,
    COVARIANCE_BASELINES,
    COVARIANCE_CHOICES,
)
from training.evaluate.report_metrics import BaselineGroup, GroupMetrics, ReportMetrics
from training.metrics.consistency import ConsistencyMetrics
from training.metrics.errors import ErrorMetrics

BASELINE_TITLES = {
    "median_position": "median training position",
    "nearest_pretrained": "nearest photo, pretrained features",
    "nearest_trained": "nearest photo, global descriptors",
    "retrieval_topk": "ten nearest photos, global descriptors",
    "constant_covariance": "constant covariance",
    "ensemble_spread": "ensemble spread without a floor",
    CHOICE_CALIBRATED: "covariance: calibrated",
    CHOICE_SPREAD: "covariance: ensemble_spread",
}
UNTOUCHED_SESSIONS = "untouched sessions"
WITH_COVARIANCE = (NEAREST_TRAINED, RETRIEVAL_TOPK, *COVARIANCE_BASELINES)


@dataclass(frozen=True)
class TableRow:
    """One row: errors are None for a baseline that was not computed, consistency where there is no covariance.

    `short_title` is for a narrow terminal.
    """

    title: str
    errors: ErrorMetrics | None
    consistency: ConsistencyMetrics | None = None
    short_title: str = ""


def title_of(name: str, comparisons: list[str]) -> str:
    """Of a baseline, or of another evaluation of the same photos."""
    if name in comparisons:
        return f"comparison: {name}"
    return BASELINE_TITLES[name] if name in COVARIANCE_CHOICES else f"baseline: {BASELINE_TITLES[name]}"


def label_of(name: str, comparisons: list[str]) -> str:
    """As `title_of`, shorter, for a plot's legend."""
    return title_of(name, comparisons).removeprefix("baseline: ")


def headline_rows(metrics: ReportMetrics) -> list[TableRow]:
    """The bundle's answers for all photos, the accepted, by light; then comparisons and baselines."""
    several = len(metrics.run.member_names) > 1
    rows = [_row("ensemble, all photos" if several else "all photos", metrics.all)]
    if metrics.rejected.errors.n_photos:
        rows.append(_row("accepted photos only", metrics.accepted))
    rows += [*whole_session_rows(metrics), *light_rows(metrics)]
    names = [name for name in (*metrics.run.comparisons, *BASELINES) if name in metrics.by_baseline]
    return rows + [baseline_row(metrics, name) for name in names]


def whole_session_rows(metrics: ReportMetrics) -> list[TableRow]:
    """Untouched sessions, and those on both sides: photos of which trained or were moved to training."""
    if metrics.on_both_sides is None or metrics.untouched_sessions is None or metrics.touched_sessions is None:
        return []
    return [
        _row(UNTOUCHED_SESSIONS, metrics.untouched_sessions),
        _row(metrics.on_both_sides.title, metrics.touched_sessions),
    ]


def light_rows(metrics: ReportMetrics) -> list[TableRow]:
    """Day and night, where they are not simply all photos."""
    return [_row(light, metrics.by_light[light]) for light in lights(metrics)]


def lights(metrics: ReportMetrics) -> list[str]:
    """ "day" and "night", where they are not simply all photos."""
    total = metrics.all.errors.n_photos
    return [light for light, group in metrics.by_light.items() if 0 < group.errors.n_photos < total]


def baseline_row(metrics: ReportMetrics, name: str) -> TableRow:
    """A baseline or comparison over all photos."""
    group = computed(metrics, name)
    short = name if name in metrics.run.comparisons else name.replace("_", " ")
    title = title_of(name, metrics.run.comparisons)
    if group is None:
        return TableRow(title, None, None, short)
    return TableRow(title, group.errors, group.consistency, short)


def computed(metrics: ReportMetrics, name: str) -> BaselineGroup | None:
    """A baseline over all photos; None where it was not computed."""
    baseline = metrics.by_baseline.get(name)
    return None if baseline is None else baseline.all


def with_covariance(metrics: ReportMetrics) -> list[str]:
    """Names of the comparisons and baselines that have a covariance of their own and were computed."""
    names = (*metrics.run.comparisons, *WITH_COVARIANCE)
    return [name for name in names if computed(metrics, name) is not None]


def group_rows(metrics: ReportMetrics, kind: str) -> list[TableRow]:
    """The sessions or areas ("session", "area")."""
    if kind == "area":
        return [_row(name, group) for name, group in metrics.by_area.items()]
    both = metrics.on_both_sides.sessions if metrics.on_both_sides else ()
    return [_row(f"{name} (both sides)" if name in both else name, group) for name, group in metrics.by_session.items()]


def areas_by_error(metrics: ReportMetrics) -> list[TableRow]:
    """The areas, that of the smallest mean error first; areas without any known error last."""
    return sorted(group_rows(metrics, "area"), key=_mean_or_infinity)


def _mean_or_infinity(row: TableRow) -> float:
    mean = None if row.errors is None else row.errors.mean_error_m.value
    return float("inf") if mean is None else mean


def own_consistency_rows(metrics: ReportMetrics) -> list[TableRow]:
    """Every group of the bundle's own answers: all, accepted and rejected, by light, session and area."""
    rows = [_row("all photos", metrics.all)]
    if metrics.rejected.errors.n_photos:
        rows += [_row("accepted", metrics.accepted), _row("rejected", metrics.rejected)]
    rows += [*whole_session_rows(metrics), *light_rows(metrics)]
    for kind in ("session", "area"):
        found = group_rows(metrics, kind)
        rows += [TableRow(f"{kind} {row.title}", row.errors, row.consistency) for row in found if len(found) > 1]
    return rows


def baseline_consistency_rows(metrics: ReportMetrics) -> list[TableRow]:
    """Everything else that has a covariance, over all photos and by light."""
    rows = []
    for name in with_covariance(metrics):
        row = baseline_row(metrics, name)
        by_light = metrics.by_baseline[name].by_light
        lit = [TableRow(f"{row.title}, {light}", None, by_light[light].consistency) for light in lights(metrics)]
        rows += [row, *lit]
    return rows


def _row(title: str, group: GroupMetrics) -> TableRow:
    return TableRow(title, group.errors, group.consistency, title)
