"""What the report's tables have in common, and the rich table for the terminal."""

from __future__ import annotations

from rich import box
from rich.table import Table

from training.evaluate.baselines import BASELINES, NEAREST_TRAINED, RETRIEVAL_TOPK
from training.evaluate.covariance_baselines import CLAIMS
from training.evaluate.report_metrics import Report
from training.metrics.errors import THRESHOLDS_M

NONE = "–"
BASELINE_TITLES = {
    "median_position": "median training position",
    "nearest_pretrained": "nearest photo, pretrained features",
    "nearest_trained": "nearest photo, place descriptors",
    "retrieval_topk": "ten nearest photos, place descriptors",
    "constant_covariance": "constant covariance",
    "members_spread": "spread of the members",
}
# those with a covariance of their own
CLAIMING = (NEAREST_TRAINED, RETRIEVAL_TOPK, *CLAIMS)
ERROR_COLUMNS = ["photos", "mean, m", "median, m", "90th pct, m", "max, m"]
TABLE_COLUMNS = [*(f"≤ {t} m" for t in THRESHOLDS_M), f"> {THRESHOLDS_M[-1]} m"]


def headline_rows(report: Report) -> list[tuple[str, str]]:
    """(title, key prefix) of the rows of the main table."""
    rows = [("ensemble, all photos" if len(report["member_seeds"]) > 1 else "all photos", "")]
    if report["refused.n_photos"]:
        rows.append(("accepted photos only", "accepted."))
    rows += [(light, f"{light}.") for light in lights(report)]
    rows += [(f"beside: {name}", f"baseline.{name}.") for name in report["beside"]]
    return rows + [(f"baseline: {BASELINE_TITLES[name]}", f"baseline.{name}.") for name in BASELINES]


def claiming(report: Report) -> dict[str, str]:
    """Title by name of everything beside the bundle's own answers that claims a covariance and was computed."""
    titles = {name: f"beside: {name}" for name in report["beside"]}
    titles |= {name: f"baseline: {BASELINE_TITLES[name]}" for name in CLAIMING}
    return {name: title for name, title in titles.items() if f"baseline.{name}.n_photos" in report}


def lights(report: Report) -> list[str]:
    """Day and night, where they are not simply all photos."""
    counts = {light: report.get(f"{light}.n_photos", 0) for light in ("day", "night")}
    return [light for light, count in counts.items() if 0 < count < report["n_photos"]]


def summary_table(report: Report) -> Table:
    """The main table for a terminal of 80 columns: means with their intervals, the baselines. The rest: report.md."""
    title = f"{report['model_id']} on {report['split']} of {report['dataset']}: distance error in metres"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("")
    for column in ("photos", "mean [95 %]", "median", "p90", "≤5 m", "≤10 m", "≤20 m"):
        table.add_column(column, justify="right", no_wrap=True)
    for label, prefix in headline_rows(report):
        if label.startswith("baseline: "):
            label = prefix.removeprefix("baseline.").rstrip(".").replace("_", " ")
        if f"{prefix}n_photos" not in report:
            table.add_row(label, NONE, "not computed")
            continue
        spread = [number(report, f"{prefix}{name}_error_m") for name in ("median", "p90")]
        shares = [percent(report, f"{prefix}within_{threshold}m_share", 0) for threshold in (5, 10, 20)]
        mean = with_bounds(report, f"{prefix}mean_error_m")
        table.add_row(label, str(report[f"{prefix}n_photos"]), mean, *spread, *shares)
    lines = (consistency_line(report), ratio_line(report))
    table.caption, table.caption_justify = "\n".join(line for line in lines if line), "left"
    return table


def number(report: Report, key: str, digits: int = 1) -> str:
    """A figure in decimals, or NONE where there is none."""
    value = report.get(key)
    return NONE if value is None else f"{value:.{digits}f}"


def percent(report: Report, key: str, digits: int = 1) -> str:
    value = report.get(key)
    return NONE if value is None else f"{100.0 * value:.{digits}f} %"


def with_bounds(report: Report, key: str, digits: int = 1) -> str:
    """A figure with its interval: "25.1 [21.2, 29.3]"."""
    value, low, high = (number(report, key + end, digits) for end in ("", "_low", "_high"))
    return value if NONE in (low, high) else f"{value} [{low}, {high}]"


def percent_with_bounds(report: Report, key: str) -> str:
    low, high = report.get(f"{key}_low"), report.get(f"{key}_high")
    bounds = "" if low is None or high is None else f" [{100 * low:.0f}, {100 * high:.0f}]"
    return percent(report, key) + bounds


def group_names(report: Report, kind: str) -> list[str]:
    """Names of the sessions or areas ("session", "area") that the report tells apart."""
    head, tail = f"{kind}.", ".n_photos"
    return [key[len(head) : -len(tail)] for key in report if key.startswith(head) and key.endswith(tail)]


def table_keys() -> list[str]:
    return [*(f"within_{t}m" for t in THRESHOLDS_M), f"beyond_{THRESHOLDS_M[-1]}m"]


def ratio_line(report: Report) -> str:
    parts = []
    for name in (*report["beside"], *BASELINES):
        key = f"baseline.{name}.mean_error_ratio"
        if report.get(key) is not None:
            parts.append(f"{with_bounds(report, key, 2)} of {BASELINE_TITLES.get(name, name)}")
    return f"Mean error as a share of a baseline's (paired): {'; '.join(parts)}." if parts else ""


def consistency_line(report: Report) -> str:
    """Whether the covariance holds, in one line for the terminal."""
    if report.get("nees_mean") is None:
        return ""
    low, high = (number(report, f"nees_band_{end}", 2) for end in ("low", "high"))
    return (
        f"Covariance: mean NEES {with_bounds(report, 'nees_mean', 2)} (true ones: {low} to {high}), truth in the 95 % "
        f"ellipse of {percent_with_bounds(report, 'coverage_95_share')}, mean error of the surest 80 % "
        f"{number(report, 'mean_error_kept80_m')} m."
    )
