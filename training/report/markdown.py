"""report.md: the report as text, tables and pictures."""

from __future__ import annotations

from training.evaluate.baselines import BASELINES
from training.evaluate.report_metrics import ReportMetrics
from training.metrics.bootstrap import BLOCK_LENGTHS_S, MIN_BLOCKS
from training.metrics.errors import CATASTROPHIC_M, THRESHOLDS_M, CountAndShare
from training.report.consistency_section import consistency_section, overview
from training.report.ensemble_sections import agreement_section, covariance_choice_section, tta_section
from training.report.formatting import NONE, number, percent, with_interval
from training.report.markdown_blocks import error_table, picture, reasons_list, section, table
from training.report.paper_tables import area_table, cumulative_table, night_section, worst_section
from training.report.rejection_section import rejection_counts, rejection_section
from training.report.summary import ratio_line
from training.report.table_rows import TableRow, group_rows, headline_rows

_THRESHOLD_COLUMNS = [*(f"≤ {t} m" for t in THRESHOLDS_M), f"> {THRESHOLDS_M[-1]} m", f"> {CATASTROPHIC_M} m"]


def markdown(metrics: ReportMetrics, pictures: dict[str, str], addition: str = "") -> str:
    """report.md; pictures: name -> file in the same directory; the addition is a section of its own after the head."""
    blocks = [
        _head(metrics),
        addition,
        overview(metrics),
        section("Distance error", error_table(headline_rows(metrics)), ratio_line(metrics)),
        section(
            "Share of photos within a distance",
            cumulative_table(metrics.all.errors),
            picture(pictures, "histogram"),
            _threshold_table(metrics),
        ),
        night_section(metrics, pictures),
        worst_section(metrics, pictures),
        section("Against the baselines", picture(pictures, "cdf"), reasons_list(metrics, BASELINES)),
        section("On the map", picture(pictures, "map")),
        section("By session and area", picture(pictures, "groups"), _group_tables(metrics, pictures)),
        consistency_section(metrics, pictures),
        rejection_section(metrics),
        covariance_choice_section(metrics),
        agreement_section(metrics),
        tta_section(metrics),
        section("Members and time", error_table(_member_rows(metrics)), _time_line(metrics)),
        section("How to read this", _notes(metrics)),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _head(metrics: ReportMetrics) -> str:
    run, errors = metrics.run, metrics.all.errors
    return (
        f"# Evaluation of {run.model_id}\n\n"
        f"**Mean distance error {with_interval(errors.mean_error_m, 2)} m** (95 % interval), "
        f"median {number(errors.median_error_m.value, 2)} m, 90th percentile {number(errors.p90_error_m.value, 2)} m, "
        f"on {errors.n_photos} photos of `{run.split}` in `{run.dataset}`.\n\n"
        f"Bundle `{run.bundle}`, {len(run.member_names)} members, on {run.device} in "
        f"{run.precision}, {run.evaluated_at}. Every metric and picture comes from "
        "[predictions.csv](predictions.csv); all metrics are in [report.json](report.json)."
    )


def _threshold_table(metrics: ReportMetrics) -> str:
    rows = []
    for row in headline_rows(metrics):
        if row.errors is None:
            cells = [NONE] * len(_THRESHOLD_COLUMNS)
        else:
            cells = [
                _counted(item) for item in (*row.errors.within.values(), row.errors.beyond, row.errors.catastrophic)
            ]
        rows.append([row.title, *cells])
    return table(["", *_THRESHOLD_COLUMNS], rows)


def _counted(counted: CountAndShare) -> str:
    return f"{counted.count} ({percent(counted.share.value)})"


def _group_tables(metrics: ReportMetrics, pictures: dict[str, str]) -> str:
    sessions = error_table(group_rows(metrics, "session"), "session")
    if not metrics.by_area:
        return sessions
    areas = [area_table(metrics), f"Areas: {metrics.run.area_source}."]
    return "\n\n".join([sessions, picture(pictures, "areas"), *areas])


def _member_rows(metrics: ReportMetrics) -> list[TableRow]:
    members = [TableRow(f"member {name}", errors) for name, errors in metrics.by_member.items()]
    return [*members, TableRow("ensemble", metrics.all.errors)]


def _time_line(metrics: ReportMetrics) -> str:
    time = metrics.time
    if time.seconds_per_photo_median is None or time.ensemble_s_median is None or time.ensemble_s_p95 is None:
        return ""
    return (
        f"One photo takes {1000 * time.seconds_per_photo_median:.0f} ms in the median (transform and ensemble), "
        f"the ensemble alone {1000 * time.ensemble_s_median:.0f} ms, 95th percentile "
        f"{1000 * time.ensemble_s_p95:.0f} ms."
    )


def _notes(metrics: ReportMetrics) -> str:
    notes = [
        "Errors are distances to the photo's label, which has the receiver's own error of some metres.",
        "The headline metrics are over all photos, also those that a gate rejects: accuracy that is bought by "
        f"rejection is none. `accepted.` has those that the node would publish. {rejection_counts(metrics)}",
        _interval_note(metrics),
        "The nearest-photo baselines answer with the label of the training photo whose features have the greatest "
        "cosine similarity (exact search), the ten nearest with their weighted mean; a photo is never compared with "
        "itself. Global descriptors are those of the bundle's retrieval.",
        *_warnings(metrics),
    ]
    return "\n".join(f"- {note}" for note in notes)


def _interval_note(metrics: ReportMetrics) -> str:
    length_s, short = metrics.block_length_s, ""
    if length_s < BLOCK_LENGTHS_S[0]:
        short = f" (below {BLOCK_LENGTHS_S[0]:.0f} s, to have enough of them: the intervals may be too narrow)"
    return (
        "Intervals are 95 % block-bootstrap intervals: the photos of a walk are not independent, so stretches of "
        f"{length_s:.0f} s of a session are drawn{short}, {metrics.all.errors.n_blocks} here, and the percentiles are "
        f"widened for their number (expanded percentile interval). Groups with fewer than {MIN_BLOCKS} stretches get "
        "no interval. Intervals tell how the metrics would vary with other walks of this kind, not with another season."
    )


def _warnings(metrics: ReportMetrics) -> list[str]:
    run, without_position = metrics.run, metrics.all.errors.n_without_position
    warnings = []
    if run.n_seen_in_training:
        warnings.append(
            f"**{run.n_seen_in_training} photos of these sessions were in the training set: the metrics are "
            "optimistic.**"
        )
    if metrics.on_both_sides:
        warnings.append(f"**{metrics.on_both_sides.warning}.**")
    if run.split == "val":
        warnings.append(
            "Validation photos selected the best epochs and the covariance's floor: the metrics are optimistic."
        )
    if without_position:
        warnings.append(
            f"{without_position} photos got no finite position: left out of means, counted beyond the last threshold."
        )
    if metrics.n_outside_site:
        warnings.append(f"{metrics.n_outside_site} photos were taken outside the site that the bundle covers.")
    return warnings
