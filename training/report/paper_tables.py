"""The paper's result tables of one evaluation: cumulative errors, night photos, areas, and the worst photos."""

from __future__ import annotations

from training.evaluate.report_metrics import NIGHT, ReportMetrics
from training.evaluate.worst import WORST
from training.metrics.errors import CATASTROPHIC_M, THRESHOLDS_M, CountAndShare, ErrorMetrics
from training.photos.manifest import NIGHT_HOLDOUT
from training.report.formatting import NONE, number, percent, percent_with_interval, with_interval
from training.report.markdown_blocks import picture, section, table
from training.report.table_rows import areas_by_error

LIGHTS = {True: "night", False: "day", None: NONE}


def cumulative_table(errors: ErrorMetrics) -> str:
    """Count and share of the photos within each distance, and beyond the last one (paper, table 2)."""
    rows = [(f"≤ {threshold} m", counted) for threshold, counted in errors.within.items()]
    rows += [(f"> {THRESHOLDS_M[-1]} m", errors.beyond), (f"> {CATASTROPHIC_M} m", errors.catastrophic)]
    cells = [[name, str(counted.count), percent_with_interval(counted.share)] for name, counted in rows]
    return table([f"distance error of {errors.n_photos} photos", "count", "share"], cells)


def night_section(metrics: ReportMetrics, pictures: dict[str, str]) -> str:
    """The night photos of the evaluation (paper, table 3); says so where there are none."""
    title = "Night hold-out" if metrics.run.split == NIGHT_HOLDOUT else "Night photos"
    group = metrics.by_light.get(NIGHT)
    if group is None:
        found = "no photo's light is known" if not metrics.by_light else "none of these photos was taken at night"
        return section(title, f"Nothing to report: {found}.")
    errors = group.errors
    rows = [
        ["photos", str(errors.n_photos)],
        ["mean, m", with_interval(errors.mean_error_m, 2)],
        ["median, m", with_interval(errors.median_error_m, 2)],
        ["≤ 10 m", _counted(errors.within[10])],
        ["≤ 20 m", _counted(errors.within[20])],
        [f"> {CATASTROPHIC_M} m", _counted(errors.catastrophic)],
        ["max, m", number(errors.max_error_m, 2)],
    ]
    return section(title, table(["night photos", "distance error"], rows), picture(pictures, "night"))


def area_table(metrics: ReportMetrics) -> str:
    """Samples, mean, median and maximum of each area, the best area first, then overall (paper, table 4)."""
    rows = [(row.title, row.errors) for row in areas_by_error(metrics) if row.errors is not None]
    cells = [_area_row(title, errors) for title, errors in [*rows, ("overall", metrics.all.errors)]]
    return table(["area", "photos", "mean, m", "median, m", "90th pct, m", "max, m"], cells)


def worst_section(metrics: ReportMetrics, pictures: dict[str, str]) -> str:
    """The photos with the greatest errors, and the share of night photos among them (paper, sections 4.5, 5.6)."""
    photos = metrics.worst.photos
    rows = [
        [str(rank), photo.name or NONE, photo.session, photo.area or NONE, LIGHTS[photo.night], number(photo.error_m)]
        for rank, photo in enumerate(photos, start=1)
    ]
    cells = table(["rank", "photo", "session", "area", "light", "distance error, m"], rows)
    return section(f"Worst {min(WORST, len(photos))}", night_line(metrics), picture(pictures, "worst"), cells)


def night_line(metrics: ReportMetrics) -> str:
    """How many of the worst photos were taken at night, beside how many of all."""
    worst = metrics.worst
    if worst.n_night is None:
        return "Night photos among them: unknown, no photo's light is known."
    unknown = f", the light of {worst.n_unknown_light} more is unknown" if worst.n_unknown_light else ""
    return (
        f"Night photos among them: {worst.n_night} of {worst.n_known_light} ({percent(worst.night_share, 0)}); among "
        f"all photos {percent(worst.all_night_share, 0)}{unknown}."
    )


def _area_row(title: str, errors: ErrorMetrics) -> list[str]:
    estimates = [with_interval(item, 2) for item in (errors.mean_error_m, errors.median_error_m, errors.p90_error_m)]
    return [title, str(errors.n_photos), *estimates, number(errors.max_error_m, 2)]


def _counted(counted: CountAndShare) -> str:
    return f"{counted.count} ({percent_with_interval(counted.share)})"
