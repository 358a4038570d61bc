"""Typed metrics -> the flat keys of report.json.

Keys: `mean_error_m` with `mean_error_m_low` and `mean_error_m_high`, its 95 % interval, and so on for all photos; the
same names after a prefix for a group of them: `accepted.`, `rejected.`, `rejected.<reason>.`, `day.`, `night.`,
`untouched_sessions.` and `sessions_with_moved_photos.` where there are such, `session.<name>.`, `area.<name>.`,
`member.<name>.`, `tta.<mode>.`, `baseline.<name>.`, `baseline.<name>.day.`. The members' agreement is under
`agreement.`. Unknown is null.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from training.evaluate.agreement import AgreementMetrics
from training.evaluate.report_metrics import (
    BaselineGroup,
    BaselineMetrics,
    GroupMetrics,
    ReportMetrics,
    RunInfo,
    TtaMetrics,
)
from training.metrics.consistency import ConsistencyMetrics
from training.metrics.errors import CATASTROPHIC_M, THRESHOLDS_M, CountAndShare, ErrorMetrics
from training.metrics.estimate import UNKNOWN, Estimate
from training.metrics.risk_coverage import RiskCoverageMetrics

JsonValue = str | int | float | bool | None | list[int] | list[str]
FlatJson = dict[str, JsonValue]


def to_flat_json(metrics: ReportMetrics) -> FlatJson:
    """The content of report.json."""
    flat = flat_run(metrics.run)
    flat |= {"block_length_s": metrics.block_length_s, "n_outside_site": metrics.n_outside_site}
    both = metrics.on_both_sides
    flat |= {"sessions_on_both_sides": list(both.sessions) if both else []}
    flat |= {"n_moved_to_training": both.n_moved if both else 0}
    groups = {"": metrics.all, "accepted.": metrics.accepted, "rejected.": metrics.rejected}
    groups |= {f"{light}.": group for light, group in metrics.by_light.items()}
    if metrics.on_both_sides and metrics.untouched_sessions and metrics.touched_sessions:
        groups |= {"untouched_sessions.": metrics.untouched_sessions}
        groups |= {"sessions_with_moved_photos.": metrics.touched_sessions}
    groups |= {f"session.{name}.": group for name, group in metrics.by_session.items()}
    groups |= {f"area.{name}.": group for name, group in metrics.by_area.items()}
    for prefix, group in groups.items():
        flat |= prefixed(prefix, flat_group(group))
    flat |= flat_estimate("accepted_share", metrics.accepted_share)
    for reason, errors in metrics.by_rejection_reason.items():
        flat |= prefixed(f"rejected.{reason}.", flat_errors(errors))
    worst = metrics.worst
    flat |= {"worst_25_count": len(worst.photos), "worst_25_night_count": worst.n_night}
    flat |= {"worst_25_night_share": worst.night_share}
    flat |= asdict(metrics.time)
    for name, errors in metrics.by_member.items():
        flat |= prefixed(f"member.{name}.", flat_errors(errors))
    if metrics.agreement is not None:
        flat |= prefixed("agreement.", _agreement(metrics.agreement))
    for mode, tta in metrics.by_tta.items():
        flat |= prefixed(f"tta.{mode}.", _tta(tta))
    for name, baseline in metrics.by_baseline.items():
        flat |= prefixed(f"baseline.{name}.", flat_baseline(baseline))
    return flat


def _agreement(agreement: AgreementMetrics) -> FlatJson:
    """What is of all members, and after `<name>.<name>.` what is of two of them."""
    flat: FlatJson = {key: value for key, value in asdict(agreement).items() if key != "pairs"}
    for pair in agreement.pairs:
        numbers = {key: value for key, value in asdict(pair).items() if key != "names"}
        flat |= prefixed(".".join(pair.names) + ".", numbers)
    return flat


def _tta(tta: TtaMetrics) -> FlatJson:
    return {
        **flat_errors(tta.errors),
        **flat_consistency(tta.consistency),
        **flat_estimate("mean_difference_m", tta.mean_difference_m),
        "seconds_per_photo": tta.seconds_per_photo,
        "plain_seconds_per_photo": tta.plain_seconds_per_photo,
    }


def prefixed(prefix: str, flat: Mapping[str, JsonValue]) -> FlatJson:
    """With a prefix before every key."""
    return {prefix + key: value for key, value in flat.items()}


def flat_estimate(name: str, estimate: Estimate) -> FlatJson:
    """{name, name_low, name_high}."""
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def flat_run(run: RunInfo) -> FlatJson:
    """The run's fields as they are; baselines have keys of their own."""
    return {key: value for key, value in asdict(run).items() if key != "baselines"}


def flat_group(group: GroupMetrics) -> FlatJson:
    return flat_errors(group.errors) | flat_consistency(group.consistency)


def flat_errors(errors: ErrorMetrics) -> FlatJson:
    flat: FlatJson = {
        "n_photos": errors.n_photos,
        "n_without_position": errors.n_without_position,
        "n_blocks": errors.n_blocks,
        **flat_estimate("mean_error_m", errors.mean_error_m),
        **flat_estimate("median_error_m", errors.median_error_m),
        **flat_estimate("p90_error_m", errors.p90_error_m),
        "max_error_m": errors.max_error_m,
    }
    for threshold, within in errors.within.items():
        flat |= _count_and_share(f"within_{threshold}m", within)
    flat |= _count_and_share(f"beyond_{THRESHOLDS_M[-1]}m", errors.beyond)
    return flat | _count_and_share(f"beyond_{CATASTROPHIC_M}m", errors.catastrophic)


def _count_and_share(name: str, counted: CountAndShare) -> FlatJson:
    return {f"{name}_count": counted.count, **flat_estimate(f"{name}_share", counted.share)}


def flat_consistency(metrics: ConsistencyMetrics) -> FlatJson:
    flat: FlatJson = {"n_without_covariance": metrics.n_without_covariance}
    if metrics.nees_interval is None:
        return flat | {"nees_mean": None, "nees_in_interval": None, "sigma_median_m": None}
    low, high = metrics.nees_interval
    flat |= flat_estimate("nees_mean", metrics.nees_mean)
    flat |= {"nees_interval_low": low, "nees_interval_high": high, "nees_in_interval": metrics.nees_in_interval}
    for percent, share in metrics.coverage.items():
        flat |= flat_estimate(f"coverage_{percent}_share", share)
    flat |= flat_estimate("nll_mean", metrics.nll_mean) | {"sigma_median_m": metrics.sigma_median_m}
    if metrics.grid_nll_mean.value is not None:
        flat |= flat_estimate("grid_nll_mean", metrics.grid_nll_mean)
    flat |= _risk_coverage(metrics.risk_coverage)
    for percent, circles in metrics.conformal.items():
        flat |= flat_estimate(f"conformal_{percent}_share", circles.share)
        flat[f"conformal_{percent}_radius_median_m"] = circles.radius_median_m
    return flat


def _risk_coverage(metrics: RiskCoverageMetrics) -> FlatJson:
    return {
        **flat_estimate("aurc_m", metrics.aurc_m),
        **flat_estimate("mean_error_at_80_coverage_m", metrics.mean_error_at_80_coverage_m),
        **flat_estimate("error_ratio_at_80_coverage", metrics.error_ratio_at_80_coverage),
        "aurc_oracle_m": metrics.aurc_oracle_m,
        "aurc_random_m": metrics.aurc_random_m,
    }


def flat_baseline(baseline: BaselineMetrics) -> FlatJson:
    if baseline.all is None:
        return {"not_computed": baseline.not_computed, **flat_estimate("mean_error_m", UNKNOWN)}
    flat = _baseline_group(baseline.all)
    for light, group in baseline.by_light.items():
        flat |= prefixed(f"{light}.", _baseline_group(group))
    return flat


def _baseline_group(group: BaselineGroup) -> FlatJson:
    flat: FlatJson = {"n_photos": group.n_photos}
    if group.errors is not None:
        flat |= flat_errors(group.errors)
    if group.mean_error_ratio is not None:
        flat |= flat_estimate("mean_error_ratio", group.mean_error_ratio)
    if group.consistency is not None:
        flat |= flat_consistency(group.consistency)
    return flat
