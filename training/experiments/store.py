"""The store of trainings: one directory for each, shared by all tables, never of two configurations or data sets.

<out>/runs/<run id>/  config.yaml   the resolved configuration and what else the id stands for
                      seed-<n>/     the member's training, of which checkpoints are kept until it is done
                      bundle/       the model bundle
                      evaluations/  predictions.csv by split and test-time augmentation
                      status.yaml   how it ended: the last file that is written
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from training.photos.manifest import write_yaml

log = logging.getLogger(__name__)

RUNS = "runs"
STATUS = "status.yaml"
DONE, FAILED, NOT_RUN = "done", "failed", "not_run"


def identity(content: dict[str, Any]) -> str:
    """A short hash of plain values."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def read_status(directory: Path) -> dict[str, Any]:
    """The status of a run, an evaluation or a row; empty where it has not ended, or the file is damaged."""
    try:
        content = yaml.safe_load((directory / STATUS).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def write_status(directory: Path, state: str, **fields: Any) -> None:
    """Write a status; fields that are None are left out. Raises DatasetError."""
    known = {name: value for name, value in fields.items() if value is not None}
    write_yaml(directory / STATUS, {"state": state, **known})


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold a directory against other processes; waits where one has it, as long as that lives."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("a", encoding="utf-8") as file:
        try:
            import fcntl
        except ImportError:  # not on Windows: one command at a time there
            yield
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            log.info("%s is in the hands of another process; waiting for it", directory)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
