"""The sections of report.md about ensembles: the choice of the covariance, agreement, test-time augmentation."""

from __future__ import annotations

from campus_visual_gps.estimation.calibration import CALIBRATED, COVARIANCES, ENSEMBLE_SPREAD, MIN_FLOOR_SIGMA_M
from training.evaluate.covariance_baselines import CHOICE_CALIBRATED, CHOICE_SPREAD
from training.evaluate.report_metrics import ReportMetrics
from training.metrics.consistency import IDEAL_NEES, ConsistencyMetrics
from training.metrics.estimate import UNKNOWN
from training.report.formatting import NONE, number, percent_with_interval, with_interval
from training.report.markdown_blocks import section, table
from training.report.table_rows import computed

_CHOICE_COLUMNS = [
    "covariance",
    f"mean NEES (ideal {IDEAL_NEES:.0f})",
    "in 50 % ellipse",
    "in 90 %",
    "in 95 %",
    "NLL",
    "median sigma, m",
]


def covariance_choice_section(metrics: ReportMetrics) -> str:
    """Both covariances that a fix can carry, side by side.

    Empty for a single member, which has no spread, and for recorded answers, whose covariance may be any.
    """
    own = metrics.run.covariance
    if own not in COVARIANCES:
        return ""
    other, name = (ENSEMBLE_SPREAD, CHOICE_SPREAD) if own == CALIBRATED else (CALIBRATED, CHOICE_CALIBRATED)
    group = computed(metrics, name)
    if group is None or group.consistency is None:
        return ""
    rows = {own: metrics.all.consistency, other: group.consistency}
    cells = [
        _choice_cells(f"`{choice}`{' (evaluated)' if choice == own else ''}", rows[choice])
        for choice in (CALIBRATED, ENSEMBLE_SPREAD)
    ]
    note = (
        f"Both are at the same positions. `{ENSEMBLE_SPREAD}` is the sample covariance of the members' positions plus "
        f"{MIN_FLOOR_SIGMA_M:.0f} m per axis; `bundle.covariance`, the node's parameter `covariance` and "
        "`evaluate --covariance` choose by name."
    )
    return section("Choice of the covariance", table(_CHOICE_COLUMNS, cells), note)


def _choice_cells(title: str, consistency: ConsistencyMetrics) -> list[str]:
    return [
        title,
        with_interval(consistency.nees_mean, 2),
        *(percent_with_interval(consistency.coverage.get(level, UNKNOWN)) for level in (50, 90, 95)),
        with_interval(consistency.nll_mean, 2),
        number(consistency.sigma_median_m),
    ]


def agreement_section(metrics: ReportMetrics) -> str:
    """How far the members agree, and what all of them miss; empty for a single member."""
    agreement = metrics.agreement
    if agreement is None:
        return ""
    header = ["members", "mean distance, m", "median distance, m", "correlation of errors", "of distance errors"]
    rows = [
        [
            " and ".join(pair.names),
            number(pair.mean_distance_m),
            number(pair.median_distance_m),
            number(pair.error_correlation, 2),
            number(pair.distance_error_correlation, 2),
        ]
        for pair in agreement.pairs
    ]
    mean = ["all pairs", number(agreement.mean_distance_m), NONE, number(agreement.error_correlation, 2), NONE]
    total = metrics.all.errors.n_photos
    missed = (
        f"**All members miss {agreement.n_impossible} of {total} photos by more than "
        f"{agreement.impossible_over_m:g} m** ([impossible.csv](impossible.csv), as in the paper, section 4.5); the "
        f"ensemble misses {agreement.n_missed_by_ensemble} and at least one member {agreement.n_missed_by_any}."
    )
    note = (
        "Errors are compared as vectors: at a correlation of 1 the members make the same mistakes, which neither their "
        "mean corrects nor their spread shows."
    )
    return section("Agreement of the members", table(header, [*rows, mean] if len(rows) > 1 else rows), missed, note)


def tta_section(metrics: ReportMetrics) -> str:
    """Test-time augmentation beside the plain ensemble; empty where it was not run."""
    if not metrics.by_tta:
        return ""
    run = metrics.run
    header = ["", "mean, m", "median, m", "mean less plain, m (paired)", "mean NEES", "in 95 % ellipse", "ms a photo"]
    plain = next(iter(metrics.by_tta.values())).plain_seconds_per_photo
    consistency = metrics.all.consistency
    rows = [
        [
            "plain ensemble",
            with_interval(metrics.all.errors.mean_error_m, 2),
            with_interval(metrics.all.errors.median_error_m, 2),
            NONE,
            with_interval(consistency.nees_mean, 2),
            percent_with_interval(consistency.coverage.get(95, UNKNOWN)),
            number(1000.0 * plain, 0),
        ]
    ]
    for mode, tta in metrics.by_tta.items():
        rows.append(
            [
                f"TTA, {mode}",
                with_interval(tta.errors.mean_error_m, 2),
                with_interval(tta.errors.median_error_m, 2),
                with_interval(tta.mean_difference_m, 2),
                with_interval(tta.consistency.nees_mean, 2),
                percent_with_interval(tta.consistency.coverage.get(95, UNKNOWN)),
                number(1000.0 * tta.seconds_per_photo, 0),
            ]
        )
    note = (
        f"{run.tta_views} augmented views of each photo with weight 1, the photo itself with weight "
        f"{run.tta_original_weight:g} (paper, section 5.8). A difference below 0 is a gain; where its interval holds "
        "0, these photos cannot tell. Times are of this run, with the views' augmentation."
    )
    return section("Test-time augmentation", table(header, rows), note)
