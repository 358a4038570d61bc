"""The commands of the active-learning loop: blind-spots, worst, round, round-table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from campus_visual_gps.errors import ConfigError, printable
from training.console import console, print_counts, resumable
from training.photo_commands import DatasetDir

EvaluationPath = Annotated[
    Path, typer.Argument(help="output of `evaluate`, or its predictions.csv", show_default=False)
]
_SHOWN = 25


def blind_spots(
    evaluation: EvaluationPath,
    over: Annotated[float, typer.Option(help="limit of the error in metres: 30 in the first round, then 20")] = 30.0,
    out: Annotated[Path | None, typer.Option(help="table to fill, default blind-spots.csv in the evaluation")] = None,
    dataset: Annotated[
        Path | None, typer.Option(help="data set of the photos, default the one that was evaluated")
    ] = None,
) -> None:
    """List the photos of a probe set with an error over a limit, the worst first, as a table to decide on."""
    from training.active.blind_spots import BLIND_SPOTS_CSV, list_blind_spots

    found = list_blind_spots(evaluation, over, dataset)
    if not len(found.table):
        console.print(f"none of {found.photos} photos has an error over {over:g} m")
        return
    path = out or (evaluation if evaluation.is_dir() else evaluation.parent) / BLIND_SPOTS_CSV
    found.write(path)
    _print_blind_spots(found.table)
    console.print(
        f"{len(found.table)} of {found.photos} photos have an error over {over:g} m: {found.night} at night, "
        f"{found.missed_by_all} that every member misses, {found.agreed_against} where the members agree against the "
        "label, which may then be wrong",
        soft_wrap=True,
    )
    console.print(f"{path}: fill the column decision (see docs/active_learning.md)", soft_wrap=True)


def smooth_labels(
    evaluation: Annotated[
        Path, typer.Argument(help="output of `evaluate --sequences` or `track`, of folds", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="table of proposals (not in corrections/)")],
    over: Annotated[float, typer.Option(help="leave out moves of fewer metres")] = 10.0,
) -> None:
    """Propose better labels for the photos of walks with bad GPS, the largest moves first, for a person to decide."""
    from training.active.smooth_labels import propose_labels, write_proposals

    proposals = propose_labels(evaluation, over)
    write_proposals(proposals, out)
    console.print(
        f"{out}: {len(proposals.table)} of {proposals.photos} labels would move by more than {over:g} m; look at each "
        "(`worst`), and put a decision in the place of `undecided` (see docs/active_learning.md)",
        soft_wrap=True,
    )


def _print_blind_spots(rows) -> None:
    columns = {
        "error_m": "error, m",
        "nearest_training_m": "to training, m",
        "sigma_m": "sigma, m",
        "night": "night",
        "members_agree_against_label": "members agree against label",
        "file": "file",
        "session": "session",
    }
    table = Table(*columns.values())
    for _, row in rows.head(_SHOWN).iterrows():
        cells = {name: "" if row[name] != row[name] or str(row[name]) == "<NA>" else str(row[name]) for name in columns}
        for name in ("night", "members_agree_against_label"):
            cells[name] = "yes" if cells[name] in ("1", "True") else ""
        table.add_row(*(printable(cell) for cell in cells.values()))
    console.print(table)
    if len(rows) > _SHOWN:
        console.print(f"and {len(rows) - _SHOWN} more")


def worst(
    evaluation: EvaluationPath,
    dataset_dir: DatasetDir,
    out: Annotated[Path, typer.Option(help="directory of the page and the PNGs")],
    count: Annotated[
        int | None, typer.Option("-n", help="number of photos, default 25, or with --over all of them")
    ] = None,
    over: Annotated[float | None, typer.Option(help="only photos with an error over so many metres")] = None,
    background: Annotated[
        str, typer.Option(help="satellite, street or none; tiles need the extra `tiles` and a network")
    ] = "satellite",
) -> None:
    """Render the worst predictions as one HTML page and as PNGs: photo, map, training photos to compare with."""
    from training.active.background import TileKind
    from training.active.worst import night_share, write_worst

    with resumable():
        summary = write_worst(
            evaluation, dataset_dir, out, count, over, TileKind.parse(background), progress=console.is_terminal
        )
    console.print(
        f"{summary.over} of {summary.photos} photos have an error over {summary.over_m:g} m, of which every member "
        f"misses {summary.missed_by_all}; night photos: {night_share(summary.worst)}",
        soft_wrap=True,
    )
    console.print(f"{summary.page_path}: {len(summary.pictures)} photos, one PNG each beside it", soft_wrap=True)


def round(
    dataset_dir: DatasetDir,
    decisions: Annotated[Path, typer.Option(help="list of `blind-spots` with decisions, or another table or map")],
    name: Annotated[str | None, typer.Option(help="name of the round, default round-1 and so on")] = None,
    evaluation: Annotated[
        Path | None, typer.Option(help="evaluation that was audited; table 14 keeps its numbers")
    ] = None,
) -> None:
    """Apply the decisions of an audit: corrections, labels and subsets, and the history of rounds."""
    from training.active.history import test_subset_text
    from training.active.round import run_round

    with resumable():
        summary = run_round(dataset_dir, decisions, name, evaluation)
    entry = summary.entry
    print_counts(f"decisions of {entry.name}", {key: count for key, count in entry.decisions.items() if count})
    if summary.already_done:
        console.print(f"{entry.name} was done at {entry.at}; nothing was changed")
        return
    resumed = " (an interrupted round, now complete)" if summary.resumed else ""
    console.print(f"{dataset_dir / entry.batch}: {entry.undecided} photos stay undecided{resumed}", soft_wrap=True)
    console.print(f"before: {test_subset_text(entry.before)}; after: {test_subset_text(entry.after)}", soft_wrap=True)
    if not entry.evaluation:
        console.print(
            f"table 14 lacks the metrics before: `round-table {dataset_dir} --evaluation {summary.last_stage}=DIR`",
            soft_wrap=True,
        )
    console.print(
        f"next: train again, `evaluate`, and `round-table {dataset_dir} --evaluation {entry.name}=DIR`", soft_wrap=True
    )


def round_table(
    dataset_dir: DatasetDir,
    evaluation: Annotated[
        list[str] | None,
        typer.Option(help="STAGE=DIR, such as before=DIR or round-1=DIR: an evaluation (repeat for more)"),
    ] = None,
) -> None:
    """Draw table 14 of the paper: before and after each round, beside the paper's own numbers."""
    from training.active.round_table import write_round_table

    found = write_round_table(dataset_dir, _stages(evaluation or ()))
    console.print(found.markdown, soft_wrap=True)
    console.print(f"{found.csv_path}, {found.markdown_path}", soft_wrap=True)


def _stages(texts) -> dict[str, Path]:
    stages: dict[str, Path] = {}
    for text in texts:
        stage, equals, path = text.partition("=")
        if not (stage and equals and path):
            raise ConfigError(f"--evaluation {text}: expected STAGE=DIR, such as before=runs/site/evaluation")
        if stage in stages:
            raise ConfigError(f"--evaluation {stage}=... is given twice; give one evaluation for each stage")
        stages[stage] = Path(path)
    return stages
