"""The terminal: tables and lines of the commands."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from campus_visual_gps.errors import printable

# Tables in a log file are not wrapped at 80 columns; names of sessions and folders are no markup.
console = Console(width=None if sys.stdout and sys.stdout.isatty() else 150, markup=False, emoji=False)


@contextmanager
def logging_level(name: str, level: int) -> Iterator[None]:
    """Within it, records of the logger below a level are not shown."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


class OneLineHandler(logging.Handler):
    """Prints a record on one line: the time and the message."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record; what cannot be printed stops nothing."""
        try:
            time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
            console.print(f"{time} {printable(self.format(record))}", soft_wrap=True)
        except Exception:
            self.handleError(record)


@contextmanager
def resumable() -> Iterator[None]:
    """Ctrl-C ends in one line that says how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        fail("interrupted; run the same command again to resume")


def fail(message: str) -> None:
    """Print an error in one line and exit with code 1."""
    Console(stderr=True).print(f"[bold red]error:[/] {escape(printable(message))}", soft_wrap=True, emoji=False)
    sys.exit(1)


def print_counts(title: str, counts: Mapping[str, int]) -> None:
    """Print a table of numbers of photos; nothing without any."""
    if not counts:
        return
    table = Table(title, "photos")
    for name, count in counts.items():
        table.add_row(printable(name), str(count))
    console.print(table)


def print_warnings(messages: Iterable[str]) -> None:
    """Print each in one line, from which a command can be copied."""
    for message in messages:
        console.print(f"[yellow]warning:[/] {escape(printable(message))}", soft_wrap=True, markup=True)
