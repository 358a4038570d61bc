"""Decodes many photos on all cores, with a progress bar."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from campus_visual_gps.threads import usable_cores
from training.photos.decode import DecodedPhoto, DecodeTask, store_photo
from training.photos.worker_pool import Failure, run_tasks

# Starting a process costs about as much as decoding this many phone photos.
_TASKS_PER_WORKER = 12


def store_photos(tasks: list[DecodeTask], progress: bool, workers: int | None = None) -> list[DecodedPhoto]:
    """Store photos in parallel processes.

    A photo that kills its process or takes too long is rejected, and the others go on.

    Args:
        tasks: Files to store.
        progress: Show a progress bar.
        workers: Number of processes; None takes one per core. With 1 photos are decoded in this process, which a crash
            of a decoder then ends.

    Returns:
        Results in the order of the tasks.

    Raises:
        DatasetError: The disk is full, or processes cannot be started.
    """
    columns = (TextColumn("Photos"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not progress) as bar:
        return [result for _, result in sorted(bar.track(_results(tasks, workers), total=len(tasks)))]


def _results(tasks: list[DecodeTask], workers: int | None) -> Iterator[tuple[int, DecodedPhoto]]:
    if workers == 1:
        yield from enumerate(map(store_photo, tasks))
        return
    count = min(workers or usable_cores(), -(-len(tasks) // _TASKS_PER_WORKER))
    for index, result in run_tasks(store_photo, tasks, count):
        if isinstance(result, Failure):
            result = DecodedPhoto(tasks[index].file, reject_reason=f"unreadable: {result.reason}")
        yield index, result
