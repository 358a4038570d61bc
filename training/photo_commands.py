"""The commands that make a data set of photos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from campus_visual_gps.errors import printable
from training.console import console, print_counts, print_warnings, resumable

DatasetDir = Annotated[Path, typer.Argument(help="data set directory", show_default=False)]


def ingest(
    photo_dir: Annotated[Path, typer.Argument(help="folder of HEIC, HEIF, JPEG and PNG photos")],
    dataset_dir: DatasetDir,
    labels: Annotated[
        Path | None, typer.Option(help="table or map of positions, for photos without GPS in EXIF")
    ] = None,
    sessions_by: Annotated[
        str, typer.Option(help="what makes a session: folder, time (gaps of 2 h) or day")
    ] = "folder",
    size: Annotated[
        int | None,
        typer.Option(help="side of the stored square copies, px; default: as before, 320 in a new data set"),
    ] = None,
    shrink: Annotated[bool, typer.Option("--shrink", help="take a --size smaller than the data set's too")] = False,
) -> None:
    """Read photos and their positions into a data set directory. A second run reads only new files."""
    from training.photos.ingest import ingest as run
    from training.photos.sessions import SessionsBy

    with resumable():
        summary = run(
            photo_dir,
            dataset_dir,
            labels,
            console.is_terminal,
            sessions_by=SessionsBy.parse(sessions_by),
            size_px=size,
            shrink=shrink,
        )
    print_counts("photos by session", summary.sessions)
    print_counts("skipped folders of other programs", summary.skipped)
    print_counts("rejected (see rejected.csv)", summary.reject_reasons)
    print_warnings(summary.warnings)
    resized = f", {summary.resized} of them again for another size" if summary.resized else ""
    console.print(
        f"{dataset_dir}: {summary.photos} photos at {summary.stored_px} px ({summary.decoded} read now{resized}), "
        f"{summary.rejected} rejected, "
        f"{summary.ignored_files} other files ignored, {summary.removed} no longer there"
    )


def apply_corrections(dataset_dir: DatasetDir) -> None:
    """Apply all files in corrections/ to the labels and list the photos to review."""
    from training.photos.corrections import apply_corrections as run

    summary = run(dataset_dir)
    console.print(
        f"{dataset_dir}: {len(summary.batches)} files of corrections, {summary.moved} of {summary.photos} labels moved "
        f"(mean {summary.mean_moved_m:.1f} m, median {summary.median_moved_m:.1f} m, max {summary.max_moved_m:.1f} m), "
        f"{summary.excluded} photos excluded, {summary.to_train} moved to training"
    )
    console.print(f"{len(summary.review)} photos with a reported accuracy worse than 20 m are in review.csv")


def split(
    dataset_dir: DatasetDir,
    test: Annotated[list[str] | None, typer.Option(help="test session (repeat for more)")] = None,
    val: Annotated[list[str] | None, typer.Option(help="validation session (repeat for more)")] = None,
    val_fraction: Annotated[float, typer.Option(help="fraction of the remaining photos for validation")] = 0.15,
    random: Annotated[bool, typer.Option("--random", help="draw validation photos instead of sessions")] = False,
    allow_shared_sessions: Annotated[
        bool, typer.Option("--allow-shared-sessions", help="allow a session in several subsets")
    ] = False,
    night_holdout_session: Annotated[list[str] | None, typer.Option(help="session of the night_holdout subset")] = None,
    night_holdout: Annotated[int, typer.Option(help="number of night photos to draw for night_holdout")] = 0,
    seed: Annotated[int, typer.Option(help="random seed")] = 42,
) -> None:
    """Assign every photo to a subset, whole sessions by default."""
    from training.photos.csv_text import name_in_tables
    from training.photos.splits import split as run

    summary = run(
        dataset_dir,
        test_sessions=[name_in_tables(session) for session in test or ()],
        val_sessions=[name_in_tables(session) for session in val or ()],
        val_fraction=val_fraction,
        random=random,
        allow_shared_sessions=allow_shared_sessions,
        night_holdout_sessions=[name_in_tables(session) for session in night_holdout_session or ()],
        night_holdout=night_holdout,
        seed=seed,
    )
    table = Table("subset", "photos", "sessions")
    for subset, photos in summary.photos.items():
        table.add_row(subset, str(photos), printable(", ".join(summary.sessions.get(subset, ()))))
    console.print(table)
    if summary.shared_sessions:
        shared = printable(", ".join(summary.shared_sessions))
        console.print(f"in several subsets: {shared} (validation errors will be too small)")
    print_warnings(summary.warnings)
