"""A table of experiments as Markdown: how it was made, the rows, and what the reader has to know of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from campus_visual_gps.errors import printable
from training.evaluate.predict import in_seed_order
from training.metrics.bootstrap import MIN_BLOCKS
from training.metrics.estimate import Estimate
from training.report.formatting import NONE, number, percent, with_interval
from training.report.markdown_blocks import table
from training.report.tables.experiment_files import Experiment
from training.report.tables.paper_numbers import paper_cell
from training.report.tables.row_metrics import RowMetrics
from training.report.tables.training_settings import common_and_varying

_Cell = Callable[[RowMetrics], str]
# Tables of the paper that have columns of their own: those are shown even where no row has a value.
_GAP_TABLE, _TIME_TABLE, _NIGHT_TABLE, _TTA_TABLE = "5", "8", "11", "13"


def experiment_markdown(experiment: Experiment, rows: Sequence[RowMetrics]) -> str:
    """One table with a heading, ready to be a section of a page."""
    common, varying = common_and_varying([metrics.row for metrics in rows])
    blocks = [
        f"## {_title(experiment)}",
        experiment.note,
        _head(experiment, rows, common),
        f"```bash\n{experiment.command}\n```" if experiment.command else "",
        _rows(experiment, rows, varying),
        _not_run(rows),
        _notes(rows),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _title(experiment: Experiment) -> str:
    table_number, section = experiment.paper_table, experiment.paper_section
    if not table_number:
        return printable(experiment.title)
    return printable(f"{experiment.title} (paper, table {table_number}{f', section {section}' if section else ''})")


def _head(experiment: Experiment, rows: Sequence[RowMetrics], common: dict[str, str]) -> str:
    seeds = in_seed_order(str(seed) for metrics in rows for seed in metrics.seeds)
    sessions = sorted({session for metrics in rows for session in metrics.sessions})
    photos = f"photos of {', '.join(sessions)}" if sessions else ""
    split = f"`{experiment.split}` of `{experiment.dataset}`" if experiment.split else ""
    facts = {
        "Budget": experiment.budget,
        "Trained with": ", ".join(f"{heading} {value}" for heading, value in common.items()),
        "Seeds": ", ".join(seeds),
        "Validation sessions": ", ".join(experiment.validation_sessions),
        "Scored on": ": ".join(text for text in (split, photos) if text),
        "Data fingerprint": experiment.data_fingerprint,
    }
    return "\n".join(f"- {name}: {printable(text)}" for name, text in facts.items() if text)


def _rows(experiment: Experiment, rows: Sequence[RowMetrics], varying: dict[str, list[str]]) -> str:
    shown = []
    for heading, cell, always in _columns(experiment.paper_table):
        cells = [cell(row) for row in rows]
        if always or any(text != NONE for text in cells):
            shown.append((heading, cells))
    settings = [(heading, [value or NONE for value in values]) for heading, values in varying.items()]
    filled = [("row", [_label(row) for row in rows]), *settings, *shown]
    lines = zip(*(cells for _, cells in filled), strict=True)
    return table([heading for heading, _ in filled], [list(cells) for cells in lines])


def _columns(paper_table: str) -> list[tuple[str, _Cell, bool]]:
    """Heading, text of a row, and whether the column stands even where every cell is empty."""
    night = [("night mean, m", _night_mean, True), ("night ≤ 10 m", _night_within, True)]
    night += [("night in worst 25", _night_worst, True)]
    return [
        ("members", lambda row: str(len(row.members)) if row.members else NONE, True),
        ("photos", lambda row: str(row.errors.n_photos) if row.errors else NONE, True),
        ("mean, m", lambda row: with_interval(row.errors.mean_error_m, 2) if row.errors else row.state, True),
        ("one member, m", _one_member, False),
        ("median, m", lambda row: number(row.errors.median_error_m.value, 2) if row.errors else NONE, True),
        ("≤ 10 m", lambda row: percent(row.errors.within[10].share.value) if row.errors else NONE, True),
        ("> 50 m", _catastrophic, True),
        ("max, m", lambda row: number(row.errors.max_error_m) if row.errors else NONE, True),
        ("minus baseline, m", _difference, True),
        ("over baseline", lambda row: _estimate(row.comparison.ratio, 3) if row.comparison else NONE, False),
        *(night if paper_table == _NIGHT_TABLE else []),
        ("parameters", _parameters, paper_table == _GAP_TABLE),
        ("train/val gap", lambda row: _times(row.gap, 2), paper_table == _GAP_TABLE),
        ("training time", lambda row: _times(row.train_time_ratio, 2), paper_table == _TIME_TABLE),
        ("ms per photo", _milliseconds, paper_table == _TTA_TABLE),
        ("the paper's own", lambda row: paper_cell(row.row.paper), True),
    ]


def _label(metrics: RowMetrics) -> str:
    marks = ["baseline"] if metrics.is_baseline else []
    marks += [f"same answers as {metrics.same_answers_as}"] if metrics.same_answers_as else []
    return f"{metrics.row.label} ({', '.join(marks)})" if marks else metrics.row.label


def _one_member(metrics: RowMetrics) -> str:
    single = metrics.by_member
    if single is None:
        return NONE
    return f"{number(single.mean_error_m.value, 2)} ({single.lowest_m:.2f} to {single.highest_m:.2f})"


def _catastrophic(metrics: RowMetrics) -> str:
    if metrics.errors is None:
        return NONE
    counted = metrics.errors.catastrophic
    return f"{counted.count} ({percent(counted.share.value)})"


def _difference(metrics: RowMetrics) -> str:
    return _estimate(metrics.comparison.difference_m, 2, signed=True) if metrics.comparison else NONE


def _estimate(estimate: Estimate, digits: int, signed: bool = False) -> str:
    """With its interval; differences carry their sign."""
    if not signed or estimate.value is None:
        return with_interval(estimate, digits)
    value = f"{estimate.value:+.{digits}f}"
    if estimate.low is None or estimate.high is None:
        return value
    return f"{value} [{estimate.low:+.{digits}f}, {estimate.high:+.{digits}f}]"


def _night_mean(metrics: RowMetrics) -> str:
    if metrics.night is None:
        return metrics.no_night if metrics.errors else NONE
    errors = metrics.night.errors
    return f"{with_interval(errors.mean_error_m, 2)}, {errors.n_photos} photos"


def _night_within(metrics: RowMetrics) -> str:
    return percent(metrics.night.errors.within[10].share.value) if metrics.night else NONE


def _night_worst(metrics: RowMetrics) -> str:
    if metrics.night is None:
        return NONE
    return f"{metrics.night.n_worst_night} of {metrics.night.n_worst} ({percent(metrics.night.worst_share, 0)})"


def _parameters(metrics: RowMetrics) -> str:
    count = metrics.row.status.parameters
    return NONE if count is None else f"{count / 1e6:.1f} M"


def _times(value: float | None, digits: int) -> str:
    return NONE if value is None else f"{value:.{digits}f}×"


def _milliseconds(metrics: RowMetrics) -> str:
    seconds = metrics.row.status.inference_seconds_per_photo
    return NONE if seconds is None else f"{1000.0 * seconds:.0f}"


def _not_run(rows: Sequence[RowMetrics]) -> str:
    """Why rows have no numbers."""
    return "\n".join(f"- {printable(f'{row.row.label}: {row.state}: {row.reason}')}" for row in rows if row.state)


def _notes(rows: Sequence[RowMetrics]) -> str:
    scored = [row for row in rows if row.errors]
    if not scored:
        return "No row of this table has run."
    lengths = sorted({f"{row.block_length_s:.0f} s" for row in scored if row.block_length_s is not None})
    notes = [
        f"Intervals are 95 % block-bootstrap intervals over stretches of {' or '.join(lengths)} of a session; without "
        f"{MIN_BLOCKS} stretches there is none.",
        "`minus baseline` and `over baseline` are paired: the row's mean error minus and over the baseline's on the "
        "same photos, below 0 and below 1 where the row is better.",
    ]
    if any(row.by_member for row in scored):
        notes.append(
            "A row of several members (one for each seed) is their ensemble, as its bundle answers; `one member` is "
            "the mean over its members of each photo's error, with the best and the worst. A member alone has no "
            "retrieval."
        )
    notes += _same_answers(scored) + _unpaired(scored)
    notes.append("`the paper's own` are numbers of the paper, on its own data, with its own budget.")
    return "\n".join(f"- {note}" for note in notes)


def _same_answers(rows: Sequence[RowMetrics]) -> list[str]:
    """Rows that are another row once more: their difference is no finding. Of one run that is meant, as a best seed."""
    runs = {row.row.label: row.row.status.run for row in rows}
    return [
        f"**{printable(row.row.label)} has the answers of {printable(row.same_answers_as)}, photo by photo: its "
        "setting has no effect on these data, and the row says nothing about it.**"
        for row in rows
        if row.same_answers_as and not (row.row.status.run and row.row.status.run == runs.get(row.same_answers_as))
    ]


def _unpaired(rows: Sequence[RowMetrics]) -> list[str]:
    """Rows that were compared on some of their photos only."""
    return [
        f"{printable(row.row.label)}: compared with the baseline on {row.comparison.n_photos} of "
        f"{row.errors.n_photos} photos, those that both have."
        for row in rows
        if row.comparison and row.errors and row.comparison.n_photos < row.errors.n_photos
    ]
