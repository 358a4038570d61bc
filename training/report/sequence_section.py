"""The section of report.md, the keys of report.json and the lines for the terminal about images in time order."""

from __future__ import annotations

from collections.abc import Iterator

from training.evaluate.sequence_metrics import SequenceGroup, SequenceMetrics
from training.evaluate.sequence_table import SINGLE, SMOOTHED, TRACKED, WITH_ODOMETRY
from training.metrics.estimate import UNKNOWN
from training.metrics.sequences import FOUND_IMAGES, FOUND_M, PAUSE_S, DelayMetrics
from training.report.flatten import FlatJson, flat_consistency, flat_errors, flat_estimate, prefixed
from training.report.formatting import number, percent, percent_with_interval, with_interval
from training.report.markdown_blocks import section, table

_COLUMNS = [
    "",
    "positions",
    "photos",
    "mean, m",
    "median, m",
    "90th pct, m",
    "max, m",
    f"within {FOUND_M:.0f} m",
    "mean over single",
    "NEES (ideal 2)",
    "in 50 %",
    "in 95 %",
    "NLL",
]
_DELAY_COLUMNS = [
    "",
    "trials",
    "found",
    "median, s",
    "90th pct, s",
    "median, images",
    "by single images: found",
    "median, s",
]
_TITLES = {
    SINGLE: "single image",
    TRACKED: "tracked",
    WITH_ODOMETRY: "tracked with odometry",
    SMOOTHED: "smoothed",
}


def sequence_section(
    metrics: SequenceMetrics, pictures: dict[str, str], calibration_text: str, title: str = "In time order", *more: str
) -> str:
    """Markdown of the sequences; pictures: name -> file; `more` blocks come before the pictures."""
    rows = [cells for title, group in _groups(metrics) for cells in _method_cells(title, group)]
    sessions = [cells for name, group in metrics.by_session.items() for cells in _method_cells(name, group)]
    shown = [f"![{name}]({file})" for name, file in pictures.items()]
    return section(
        title,
        _notes(metrics, calibration_text),
        table(_COLUMNS, rows),
        *worse_lines(metrics),
        *(["### By session", table(_COLUMNS, sessions)] if len(metrics.by_session) > 1 else []),
        "### By area",
        _area_table(metrics),
        "### Until the place is found",
        _delay_notes(),
        table(_DELAY_COLUMNS, list(_delay_rows(metrics))),
        *more,
        *shown,
    )


def _area_table(metrics: SequenceMetrics) -> str:
    """Mean and maximum error in each area, by every way to a position."""
    names = list(metrics.all.methods)
    header = ["area", "photos", *(f"{_TITLES[name]}: {what}, m" for name in names for what in ("mean", "max"))]
    rows = [
        [area.name, str(area.n_photos), *(number(value) for name in names for value in area.mean_and_max_m[name])]
        for area in metrics.by_area
    ]
    return table(header, rows)


def sequence_lines(metrics: SequenceMetrics) -> str:
    """For the terminal."""
    lines = []
    for title, group in _groups(metrics):
        parts = [
            f"{_TITLES[name]} {number(own.errors.mean_error_m.value)} (max {number(own.errors.max_error_m)})"
            for name, own in group.methods.items()
        ]
        lines.append(f"{title}, in time order: mean error, m: {', '.join(parts)}")
    return "\n".join([*lines, *worse_lines(metrics)]).replace("**", "")


def worse_lines(metrics: SequenceMetrics) -> list[str]:
    """In words, each session that tracking or smoothing makes worse; one line that says so where there is none."""
    lines = []
    for method in _besides_single(metrics):
        for name in metrics.worse(method):
            own = metrics.by_session[name].methods
            ours, single = (number(own[key].errors.mean_error_m.value, 2) for key in (method, SINGLE))
            lines.append(
                f"**Session {name} is worse {_TITLES[method]}: mean error {ours} m instead of {single} m by single "
                "images.**"
            )
    return lines or ["No session has a greater mean error tracked or smoothed than by single images."]


def sequences_to_flat_json(metrics: SequenceMetrics) -> FlatJson:
    """Keys `sequences.` + "", `day.`, `night.` or `session.<name>.` + the method's name + the names of report.json."""
    flat: FlatJson = {"sequences.n_left_out": metrics.n_left_out}
    groups = {"": metrics.all} | {f"{light}.": own for light, own in metrics.by_light.items()}
    groups |= {f"session.{name}.": own for name, own in metrics.by_session.items()}
    for prefix, group in groups.items():
        flat |= prefixed(f"sequences.{prefix}", _flat_group(group))
    for area in metrics.by_area:
        for name, (mean_m, max_m) in area.mean_and_max_m.items():
            flat[f"sequences.area.{area.name}.{name}.mean_error_m"] = mean_m
            flat[f"sequences.area.{area.name}.{name}.max_error_m"] = max_m
    return flat | {f"sequences.worse_{method}": metrics.worse(method) for method in _besides_single(metrics)}


def _besides_single(metrics: SequenceMetrics) -> list[str]:
    return [name for name in metrics.all.methods if name != SINGLE]


def _flat_group(group: SequenceGroup) -> FlatJson:
    flat: FlatJson = {
        "n_sequences": group.n_sequences,
        "duration_s": group.duration_s,
        "lost_probability_mean": group.lost_mean,
        "contradicted_share": group.contradicted_share,
    }
    for name, own in group.methods.items():
        flat |= prefixed(f"{name}.", flat_errors(own.errors) | flat_consistency(own.consistency))
        flat |= flat_estimate(f"{name}.within_{FOUND_M:.0f}m_share", own.within_found)
        if name != SINGLE:
            flat |= flat_estimate(f"{name}.mean_error_ratio", own.ratio)
            flat |= flat_estimate(f"{name}.mean_error_ratio_by_session", own.ratio_sessions)
    for name, delays in (
        ("convergence", group.convergence),
        ("convergence_single", group.convergence_single),
        ("recovery", group.recovery),
        ("recovery_single", group.recovery_single),
    ):
        flat |= prefixed(f"{name}.", vars(delays))
    return flat


def _groups(metrics: SequenceMetrics) -> Iterator[tuple[str, SequenceGroup]]:
    yield "all photos", metrics.all
    yield from metrics.by_light.items()


def _method_cells(title: str, group: SequenceGroup) -> Iterator[list[str]]:
    for name, own in group.methods.items():
        ratio = UNKNOWN if name == SINGLE else own.ratio
        coverage = own.consistency.coverage
        yield [
            title,
            _TITLES[name],
            str(own.errors.n_photos),
            with_interval(own.errors.mean_error_m),
            number(own.errors.median_error_m.value),
            number(own.errors.p90_error_m.value),
            number(own.errors.max_error_m),
            percent_with_interval(own.within_found),
            with_interval(ratio, 2),
            number(own.consistency.nees_mean.value, 2),
            *(percent(coverage[level].value if level in coverage else None) for level in (50, 95)),
            number(own.consistency.nll_mean.value, 2),
        ]


def _notes(metrics: SequenceMetrics, calibration_text: str) -> str:
    every = metrics.all
    between = every.methods[TRACKED].ratio_sessions
    over = ""
    if between.low is not None:
        over = f" Over whole sessions, tracked over single is {with_interval(between, 2)}."
    left_out = f" {metrics.n_left_out} photos have no time of capture and are left out." if metrics.n_left_out else ""
    return (
        f"The photos of a session in time order: {every.n_sequences} sequence(s), {every.duration_s / 60.0:.0f} min; a "
        f"pause of more than {PAUSE_S / 60.0:.0f} min begins a new one, with no knowledge. *Tracked* knows the images "
        "so far, as a robot does without odometry; *smoothed* knows those after it, too. All images count, also those "
        f"right after a start.{over}{left_out} Mean probability of being lost {percent(every.lost_mean)}; the belief "
        f"contradicts {percent(every.contradicted_share)} of the images. {calibration_text} Every image: "
        "[sequences.csv](sequences.csv); their posteriors: `posteriors.npz`."
    )


def _delay_notes() -> str:
    return (
        f"A place is found at the first of {FOUND_IMAGES} images in a row with an error of at most {FOUND_M:.0f} m. "
        "*From no knowledge*: the tracker is reset once a minute. *After a kidnap*: the sequence is cut once a minute "
        "and goes on at another place of the site. Trials that end before are counted as longer than all others."
    )


def _delay_rows(metrics: SequenceMetrics) -> Iterator[list[str]]:
    groups = [*_groups(metrics), *(metrics.by_session.items() if len(metrics.by_session) > 1 else ())]
    for what, with_tracking, alone in (
        ("from no knowledge", "convergence", "convergence_single"),
        ("after a kidnap", "recovery", "recovery_single"),
    ):
        for title, group in groups:
            tracked, single = getattr(group, with_tracking), getattr(group, alone)
            if tracked.n_trials:
                yield [f"{what}: {title}", *_delay_cells(tracked), percent(single.found_share), number(single.median_s)]


def _delay_cells(delays: DelayMetrics) -> list[str]:
    return [
        str(delays.n_trials),
        percent(delays.found_share),
        number(delays.median_s),
        number(delays.p90_s),
        number(delays.median_images, 0),
    ]
