"""report.md: the report in words, tables and pictures."""

from __future__ import annotations

from training.evaluate.baselines import BASELINES
from training.evaluate.report_metrics import Report
from training.metrics.bootstrap import BLOCK_LENGTHS_S, MIN_BLOCKS
from training.report.markdown_blocks import error_table, picture, section, table
from training.report.summary import (
    BASELINE_TITLES,
    NONE,
    TABLE_COLUMNS,
    group_names,
    headline_rows,
    number,
    percent,
    ratio_line,
    table_keys,
    with_bounds,
)
from training.report.uncertainty_section import overview, refusal_reasons, refusal_section, uncertainty_section


def markdown(report: Report, pictures: dict[str, str], addition: str = "") -> str:
    """report.md; pictures: name -> file beside it; the addition is a section of its own, behind the head."""
    parts = [
        _head(report),
        addition,
        overview(report),
        section("Distance error", error_table(report, headline_rows(report)), ratio_line(report)),
        section("Share of photos within a distance", _threshold_table(report), picture(pictures, "histogram")),
        section("Against the baselines", picture(pictures, "cdf"), _missing_baselines(report)),
        section("On the map", picture(pictures, "map")),
        section("By session and area", picture(pictures, "groups"), _group_tables(report)),
        uncertainty_section(report, pictures),
        refusal_section(report),
        section("Members and time", error_table(report, _member_rows(report)), _time_line(report)),
        section("How to read this", _notes(report)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(report: Report) -> str:
    photos = f"{report['n_photos']} photos of `{report['split']}` in `{report['dataset']}`"
    interval = with_bounds(report, "mean_error_m", 2)
    return (
        f"# Evaluation of {report['model_id']}\n\n"
        f"**Mean distance error {interval} m** (95 % interval), median {number(report, 'median_error_m', 2)} m, "
        f"90th percentile {number(report, 'p90_error_m', 2)} m, on {photos}.\n\n"
        f"Bundle `{report['bundle']}`, {len(report['member_seeds'])} members, on {report['device']} in "
        f"{report['precision']}, {report['evaluated_at']}. Every figure and picture comes from "
        "[predictions.csv](predictions.csv); all figures are in [report.json](report.json)."
    )


def _threshold_table(report: Report) -> str:
    rows = []
    for title, prefix in headline_rows(report):
        cells = [
            f"{report[f'{prefix}{key}_count']} ({percent(report, f'{prefix}{key}_share')})"
            if f"{prefix}{key}_count" in report
            else NONE
            for key in table_keys()
        ]
        rows.append([title, *cells])
    return table(["", *TABLE_COLUMNS], rows)


def _group_tables(report: Report) -> str:
    tables = []
    for kind in ("session", "area"):
        rows = [(name, f"{kind}.{name}.") for name in group_names(report, kind)]
        tables.append(error_table(report, rows, kind))
    return "\n\n".join(tables) + f"\n\nAreas: {report['area_source']}."


def _member_rows(report: Report) -> list[tuple[str, str]]:
    members = [(f"member {seed}", f"member.{seed}.") for seed in report["member_seeds"]]
    return [*members, ("together", "")]


def _missing_baselines(report: Report) -> str:
    keys = {name: f"baseline.{name}.not_computed" for name in BASELINES}
    return "\n".join(f"- {BASELINE_TITLES[n]}: not computed: {report[key]}" for n, key in keys.items() if key in report)


def _time_line(report: Report) -> str:
    return (
        f"One photo takes {1000 * report['seconds_per_photo_median']:.0f} ms in the median (transform and ensemble), "
        f"the ensemble alone {1000 * report['ensemble_s_median']:.0f} ms, 95th percentile "
        f"{1000 * report['ensemble_s_p95']:.0f} ms."
    )


def _notes(report: Report) -> str:
    notes = [
        "Errors are distances to the photo's label, which carries the receiver's own error of some metres.",
        "The headline figures are over all photos, also those that a gate refuses, for an accuracy that is bought "
        "by refusing is no accuracy; `accepted.` has those that the node would publish. " + _refused(report),
        _interval_note(report),
        "The nearest-photo baselines answer with the label of the training photo whose features have the greatest "
        "cosine similarity (exact search), the ten nearest with their weighted mean; a photo is never compared with "
        "itself. Place descriptors are what the bundle finds its evidence by.",
        *_warnings(report),
    ]
    return "\n".join(f"- {note}" for note in notes)


def _refused(report: Report) -> str:
    reasons = [f"{name} {report[f'refused.{name}.n_photos']}" for name in refusal_reasons(report)]
    return f"Refused: {report['refused.n_photos']}" + (f" ({', '.join(reasons)})." if reasons else ".")


def _interval_note(report: Report) -> str:
    length_s = report["block_length_s"]
    short = ""
    if length_s < BLOCK_LENGTHS_S[0]:
        short = f" (below {BLOCK_LENGTHS_S[0]:.0f} s, to have enough of them: the intervals are on the narrow side)"
    return (
        "Intervals are 95 % block-bootstrap intervals: the photos of a walk are not independent, so stretches of "
        f"{length_s:.0f} s of a session are drawn{short}, {report['n_blocks']} here, and the percentiles are widened "
        f"for their number (expanded percentile interval). Groups with fewer than {MIN_BLOCKS} stretches get no "
        "interval. Intervals tell how the figures would move with other walks of this kind, not with another season."
    )


def _warnings(report: Report) -> list[str]:
    warnings = []
    if report["n_seen_in_training"]:
        warnings.append(f"**{report['n_seen_in_training']} of these photos were in the training: figures flatter.**")
    if report["split"] == "val":
        warnings.append("Validation photos chose the best epochs and the covariance's floor: figures flatter.")
    if report["n_without_position"]:
        count = report["n_without_position"]
        warnings.append(f"{count} photos got no finite position: left out of means, counted beyond the last threshold.")
    if report["n_outside_site"]:
        warnings.append(f"{report['n_outside_site']} photos were taken outside the site that the bundle knows.")
    return warnings
