"""The commands that make a data set of photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from campus_visual_gps.errors import printable
from training.console import console, print_counts, print_warnings, resumable

if TYPE_CHECKING:
    from training.photos.corrections import CorrectionSummary
    from training.photos.splits import SplitSummary

_SHOWN_ROWS = 20  # of corrections that are not applied
DatasetDir = Annotated[Path, typer.Argument(help="data set directory", show_default=False)]


def ingest(
    photo_dir: Annotated[Path, typer.Argument(help="folder of HEIC, HEIF, JPEG and PNG photos")],
    dataset_dir: DatasetDir,
    labels: Annotated[
        Path | None, typer.Option(help="table or map of positions, for photos without GPS in EXIF")
    ] = None,
    sessions_by: Annotated[
        str | None,
        typer.Option(help="what makes a session: folder, time (gaps of 2 h) or day; default: folder, if these are"),
    ] = None,
    folders: Annotated[
        str | None,
        typer.Option(help="what sub-folders are: session, area or ignore; default: as before, session at first"),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(help="side of the stored square copies, px; default: as before, 320 in a new data set"),
    ] = None,
    shrink: Annotated[bool, typer.Option("--shrink", help="take a --size smaller than the data set's too")] = False,
) -> None:
    """Read photos and their positions into a data set directory. A second run reads only new files."""
    from training.photos.ingest import ingest as run
    from training.photos.sessions import Folders, SessionsBy

    with resumable():
        summary = run(
            photo_dir,
            dataset_dir,
            labels,
            console.is_terminal,
            sessions_by=SessionsBy.parse(sessions_by) if sessions_by else None,
            folders=Folders.parse(folders) if folders else None,
            size_px=size,
            shrink=shrink,
        )
    print_counts("photos by session", summary.sessions)
    print_counts("photos by area", summary.areas)
    print_counts("skipped folders of other programs", summary.skipped)
    print_counts("rejected (see rejected.csv)", summary.reject_reasons)
    print_warnings(summary.warnings)
    resized = f", {summary.resized} of them again for another size" if summary.resized else ""
    console.print(
        f"{dataset_dir}: {summary.photos} photos at {summary.stored_px} px ({summary.decoded} read now{resized}), "
        f"{summary.rejected} rejected, "
        f"{summary.ignored_files} other files ignored, {summary.removed} no longer there"
    )


def apply_corrections(
    dataset_dir: DatasetDir,
    strict: Annotated[bool, typer.Option("--strict", help="stop at a row that cannot be applied")] = False,
) -> None:
    """Apply all files in corrections/ to the labels and list the photos to review."""
    from training.photos.corrections import REJECTED_CSV
    from training.photos.corrections import apply_corrections as run

    summary = run(dataset_dir, strict)
    _print_batches(summary)
    print_warnings(summary.not_applied[:_SHOWN_ROWS])
    if len(summary.not_applied) > _SHOWN_ROWS:
        console.print(f"and {len(summary.not_applied) - _SHOWN_ROWS} more rows in {dataset_dir / REJECTED_CSV}")
    console.print(
        f"{dataset_dir}: {len(summary.batches)} files of corrections, {summary.moved} of {summary.photos} labels moved "
        f"(mean {summary.mean_moved_m:.1f} m, median {summary.median_moved_m:.1f} m, max {summary.max_moved_m:.1f} m), "
        f"{summary.excluded} photos excluded, {summary.to_train} moved to training, {summary.ambiguous} ambiguous",
        soft_wrap=True,
    )
    console.print(f"{len(summary.review)} photos with an accuracy worse than 20 m and no decision are in review.csv")


def _print_batches(summary: CorrectionSummary) -> None:
    if not summary.by_batch:
        return
    columns = ("rows", "moved", "not moved", "unknown", "invalid")
    decisions = list(summary.by_batch[0].decisions)
    table = Table("file", *columns, *decisions)
    for batch in summary.by_batch:
        counts = (batch.rows, batch.moved, batch.not_moved, batch.unknown, batch.invalid, *batch.decisions.values())
        table.add_row(printable(batch.name), *map(str, counts))
    console.print(table)


def export_review(
    dataset_dir: DatasetDir,
    out: Annotated[Path, typer.Option(help="file to write: .csv or .kml, for Google My Maps")],
    photos: Annotated[
        Path | None, typer.Option(help="table or map that names the photos, such as that of blind-spots")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace files that exist")] = False,
) -> None:
    """Export the list of labels to review for Google My Maps; its export goes into corrections/."""
    from training.photos.review_export import export_review as run

    summary = run(dataset_dir, out, photos, overwrite)
    print_warnings(f"{photos}, {line}" for line in summary.unknown[:_SHOWN_ROWS])
    console.print(f"{summary.photos} photos: {', '.join(map(str, summary.files))}", soft_wrap=True)
    console.print(
        "In My Maps: import each file as a layer, drag the points to where the photos were taken, write `keep` or "
        f"another decision where it is right, export the layer, and put the file into {dataset_dir / 'corrections'}",
        soft_wrap=True,
    )


def split(
    dataset_dir: DatasetDir,
    test: Annotated[list[str] | None, typer.Option(help="test session (repeat for more)")] = None,
    val: Annotated[list[str] | None, typer.Option(help="validation session (repeat for more)")] = None,
    val_fraction: Annotated[
        float | None, typer.Option(help="fraction of the remaining photos for validation [default: 0.15]")
    ] = None,
    random: Annotated[
        bool | None, typer.Option("--random/--no-random", help="draw validation photos instead of sessions")
    ] = None,
    allow_shared_sessions: Annotated[
        bool | None,
        typer.Option("--allow-shared-sessions/--no-shared-sessions", help="allow a session in several subsets"),
    ] = None,
    night_holdout_session: Annotated[list[str] | None, typer.Option(help="session of the night_holdout subset")] = None,
    night_holdout: Annotated[
        int | None, typer.Option(help="number of night photos to draw for night_holdout [default: 0]")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="random seed [default: 42]")] = None,
    reset: Annotated[bool, typer.Option("--reset", help="forget the previous split: assign all photos anew")] = False,
) -> None:
    """Assign every photo to a subset, whole sessions by default. Without options, repeats the split in splits.yaml.

    An option changes that setting and keeps the others, and photos keep their subsets otherwise.
    """
    from training.photos.csv_text import name_in_tables
    from training.photos.splits import split as run

    def named(sessions: list[str] | None) -> list[str] | None:
        return [name_in_tables(session) for session in sessions] if sessions else None

    summary = run(
        dataset_dir,
        test_sessions=named(test),
        val_sessions=named(val),
        val_fraction=val_fraction,
        random=random,
        allow_shared_sessions=allow_shared_sessions,
        night_holdout_sessions=named(night_holdout_session),
        night_holdout=night_holdout,
        seed=seed,
        reset=reset,
    )
    _print_split(summary)


def _print_split(summary: SplitSummary) -> None:
    kept = "keeps the split of before" if summary.repeated else "splits anew"
    console.print(printable(f"{kept}: {summary.options or 'all settings have their defaults'}"), soft_wrap=True)
    table = Table("subset", "photos", "sessions")
    for subset, photos in summary.photos.items():
        table.add_row(subset, str(photos), printable(", ".join(summary.sessions.get(subset, ()))))
    console.print(table)
    for change in summary.changes:
        console.print(printable(change), soft_wrap=True)
    if summary.moved_to_train:
        sessions = printable(", ".join(summary.moved_sessions))
        console.print(
            f"{summary.moved_to_train} photos of held-out sessions are moved to training ({sessions}): `evaluate` "
            "tells the scores on these sessions apart",
            soft_wrap=True,
        )
    if summary.shared_sessions:
        shared = printable(", ".join(summary.shared_sessions))
        console.print(f"in several subsets: {shared} (validation errors will be too small)", soft_wrap=True)
    print_warnings(summary.warnings)
