"""The folds of a cross-validation on disk; apart from their training, so that evaluation loads no training library."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from campus_visual_gps.errors import DatasetError

FOLDS = "folds.yaml"


@dataclass(frozen=True)
class Fold:
    """The session that was left out, and the bundle that was made without it."""

    session: str
    bundle_dir: Path


def read_folds(directory: Path) -> list[Fold]:
    """The folds in a directory. Raises DatasetError where there are none."""
    directory = Path(directory)
    try:
        table = yaml.safe_load((directory / FOLDS).read_text(encoding="utf-8"))
        return [Fold(str(session), directory / bundle) for session, bundle in table.items()]
    except (OSError, ValueError, yaml.YAMLError, AttributeError, TypeError) as error:
        raise DatasetError(
            f"{directory} holds no complete folds: run `cross-validate` with this directory as --out"
        ) from error
