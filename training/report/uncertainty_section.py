"""The sections of report.md that prove the covariance and weigh the refusals."""

from __future__ import annotations

from training.evaluate.covariance_baselines import CLAIMS
from training.evaluate.report_metrics import CONFORMAL_PERCENT, Report
from training.metrics.consistency import IDEAL_NEES
from training.report.markdown_blocks import error_table, picture, section, table
from training.report.summary import (
    BASELINE_TITLES,
    NONE,
    claiming,
    group_names,
    headline_rows,
    lights,
    number,
    percent_with_bounds,
    with_bounds,
)

_COLUMNS = [
    "",
    f"mean NEES (ideal {IDEAL_NEES:.0f})",
    "its band",
    "in 50 % ellipse",
    "in 90 %",
    "in 95 %",
    "NLL",
    "median sigma, m",
    "AURC, m",
    "surest 80 %, m",
]

_OVERVIEW_COLUMNS = [
    "",
    "photos",
    "mean, m",
    "median, m",
    "mean NEES (ideal 2)",
    "in 50 % ellipse",
    "in 95 %",
    "NLL",
    "AURC, m",
    "surest 80 %, share of the mean",
]


def uncertainty_section(report: Report, pictures: dict[str, str]) -> str:
    return section(
        "Claimed against true uncertainty",
        table(_COLUMNS, [_row(report, title, prefix) for title, prefix in consistency_rows(report)]),
        _missing_claims(report),
        _worth(report),
        _conformal_table(report),
        picture(pictures, "by_sigma"),
        picture(pictures, "risk_coverage"),
        picture(pictures, "ellipses"),
        _NOTE,
    )


def consistency_rows(report: Report) -> list[tuple[str, str]]:
    """(title, key prefix) of every group of the bundle's own answers, then of every baseline that claims some."""
    rows = [("all photos", "")]
    if report["refused.n_photos"]:
        rows += [("accepted", "accepted."), ("refused", "refused.")]
    rows += [(light, f"{light}.") for light in lights(report)]
    for kind in ("session", "area"):
        names = group_names(report, kind)
        rows += [(f"{kind} {name}", f"{kind}.{name}.") for name in names if len(names) > 1]
    for name, title in claiming(report).items():
        head = f"baseline.{name}."
        rows += [(title, head), *((f"{title}, {light}", f"{head}{light}.") for light in lights(report))]
    return rows


def overview(report: Report) -> str:
    """One table of everything that answers, by accuracy and by the truth of its claims."""
    rows = [row for row in headline_rows(report) if row[1] != "accepted."]
    rows += [(title, f"baseline.{name}.") for name, title in claiming(report).items() if name in CLAIMS]
    rows = [(title, prefix) for title, prefix in rows if f"{prefix}n_photos" in report]
    return section("All in one table", table(_OVERVIEW_COLUMNS, [_overview_row(report, *row) for row in rows]))


def _overview_row(report: Report, title: str, prefix: str) -> list[str]:
    # a claim about the bundle's own positions has the bundle's own errors
    errors = prefix if f"{prefix}mean_error_m" in report else ""
    return [
        title,
        str(report[f"{prefix}n_photos"]),
        with_bounds(report, f"{errors}mean_error_m"),
        with_bounds(report, f"{errors}median_error_m"),
        with_bounds(report, f"{prefix}nees_mean", 2),
        *(percent_with_bounds(report, f"{prefix}coverage_{level}_share") for level in (50, 95)),
        with_bounds(report, f"{prefix}nll_mean", 2),
        with_bounds(report, f"{prefix}aurc_m"),
        with_bounds(report, f"{prefix}kept80_ratio", 2),
    ]


def _row(report: Report, title: str, prefix: str) -> list[str]:
    return [
        title,
        with_bounds(report, f"{prefix}nees_mean", 2),
        _band(report, prefix),
        *(percent_with_bounds(report, f"{prefix}coverage_{level}_share") for level in (50, 90, 95)),
        with_bounds(report, f"{prefix}nll_mean", 2),
        number(report, f"{prefix}sigma_median_m"),
        with_bounds(report, f"{prefix}aurc_m"),
        with_bounds(report, f"{prefix}mean_error_kept80_m"),
    ]


def _band(report: Report, prefix: str) -> str:
    if report.get(f"{prefix}nees_interval_low") is None:
        return NONE
    low, high = (number(report, f"{prefix}nees_band_{end}", 2) for end in ("low", "high"))
    return f"{low} to {high}: {'in' if report[f'{prefix}nees_in_interval'] else '**out**'}"


def _missing_claims(report: Report) -> str:
    keys = {name: f"baseline.{name}.not_computed" for name in CLAIMS}
    return "\n".join(f"- {BASELINE_TITLES[n]}: not computed: {report[key]}" for n, key in keys.items() if key in report)


def _worth(report: Report) -> str:
    if report.get("aurc_m") is None:
        return ""
    return (
        f"**Refusing the least certain 20 % leaves {with_bounds(report, 'kept80_ratio', 2)} of the mean error.** "
        f"The area under the risk-coverage curve (AURC) is {number(report, 'aurc_m')} m; an oracle that knows the "
        f"errors has {number(report, 'aurc_oracle_m')} m, refusing at random {number(report, 'aurc_random_m')} m."
    )


def _conformal_table(report: Report) -> str:
    known = [percent for percent in CONFORMAL_PERCENT if report.get(f"conformal_{percent}_share") is not None]
    if not known:
        return ""
    header = [""]
    for level in known:
        header += [f"in {level} % circle", "its median radius, m"]
    rows = [row for row in consistency_rows(report) if not row[1].startswith("baseline.")]
    return "Conformal circles, which assume no distribution:\n\n" + table(
        header, [[title, *_conformal_cells(report, prefix, known)] for title, prefix in rows]
    )


def _conformal_cells(report: Report, prefix: str, levels: list[int]) -> list[str]:
    cells = []
    for level in levels:
        cells.append(percent_with_bounds(report, f"{prefix}conformal_{level}_share"))
        cells.append(number(report, f"{prefix}conformal_{level}_radius_median_m"))
    return cells


_NOTE = (
    "- NEES is the squared error in units of the claimed covariance: above 2 the covariance is too small on average, "
    "below 2 too large. Its band holds the mean in 95 of 100 such runs if the covariance is true (chi-square, with the "
    "stretches drawn for the intervals as the number of independent errors). Sigma is per axis, √(trace / 2).\n"
    "- NLL is the negative natural logarithm of the claimed density (1/m²) at the truth; of two covariances that both "
    "hold the sharper has the lower.\n"
    "- AURC is the mean, over all shares of photos kept, of the mean error of those kept, the least certain refused "
    "first; `surest 80 %` is one point of that curve. A constant covariance can do no better than its mean error.\n"
    "- The nearest photo claims the spread of its five nearest with the labels' error, the ten nearest photos their "
    "weighted spread; the constant covariance is the mean error of the validation photos made a sigma, the members' "
    "spread that of their bare positions, both on the ensemble's own positions."
)


def refusal_section(report: Report) -> str:
    """What the gates refused, and what that is worth."""
    share = f"{percent_with_bounds(report, 'accepted_share')} of the photos were accepted."
    if not report["refused.n_photos"]:
        return section("Refused and accepted", share + " No gate refused any.")
    rows = [("accepted", "accepted."), ("refused", "refused.")]
    rows += [(f"refused: {name}", f"refused.{name}.") for name in refusal_reasons(report)]
    return section("Refused and accepted", share, error_table(report, rows), _gain(report))


def refusal_reasons(report: Report) -> list[str]:
    return [name for name in group_names(report, "refused") if name]


def _gain(report: Report) -> str:
    accepted, everything = report.get("accepted.mean_error_m"), report.get("mean_error_m")
    if accepted is None or not everything:
        return ""
    return f"The accepted have {accepted / everything:.2f} of the mean error of all."
