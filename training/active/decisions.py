"""Decisions on blind spots: a table that a person fills, or the log that a page of the audit appends to.

Each row names a photo and has one of the decisions of `training.photos.decisions` (paper, section 3.5). A row without
a decision and without a position is undecided. In a log, which has the column `decided_at`, a later row on the same
photo replaces the earlier one; in another table a photo must not occur twice.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from campus_visual_gps.errors import DatasetError
from training.photos.correction_batch import Correction, to_correction
from training.photos.csv_text import format_record
from training.photos.decisions import AMBIGUOUS, EXCLUDE, KEEP, LABEL, TRAIN
from training.photos.map_files import read_feature_rows
from training.photos.photo_names import PhotoNames
from training.photos.user_tables import UserRow

# As people write them (paper, section 3.5), by their names in labels.csv.
SPELLINGS = {
    LABEL: "fix_label",
    AMBIGUOUS: "ambiguous",
    TRAIN: "move_to_training",
    EXCLUDE: "exclude",
    KEEP: "keep",
}
BATCH_COLUMNS = ("photo_id", "file", "decision", "latitude_deg", "longitude_deg", "gps_accuracy_m", "note")
DECIDED_AT = "decided_at"
_SHOWN_PROBLEMS = 5


@dataclass(frozen=True)
class Decisions:
    """What a file decides.

    Attributes:
        path: The file.
        corrections: One for each decided photo, in the order of the file.
        undecided: Number of rows without a decision.
    """

    path: Path
    corrections: tuple[Correction, ...]
    undecided: int

    @property
    def counts(self) -> dict[str, int]:
        """Number of photos by decision, every decision that there is."""
        found = Counter(correction.decision for correction in self.corrections)
        return {spelling: found[name] for name, spelling in SPELLINGS.items()}

    def photo_ids(self, decision: str) -> list[str]:
        """The photos with a decision."""
        return [correction.photo_id for correction in self.corrections if correction.decision == decision]

    def as_batch(self, files: Mapping[str, str]) -> bytes:
        """The decided rows as a file of corrections; equal decisions give equal bytes.

        Args:
            files: Path of each photo by photo_id.
        """
        ordered = sorted(self.corrections, key=lambda correction: files[correction.photo_id])
        rows = [_batch_row(correction, files[correction.photo_id]) for correction in ordered]
        return b"".join(format_record(row) for row in [BATCH_COLUMNS, *rows])


def read_decisions(path: Path, names: PhotoNames) -> Decisions:
    """Read a file of decisions: a table or a map, as `apply-corrections` reads them.

    Raises:
        DatasetError: The file is no such table, or rows are invalid; all of them are named.
    """
    path = Path(path)
    rows = read_feature_rows(path, is_known=names.knows)
    decided = [row for row in rows if not _is_undecided(row)]
    corrections: dict[str, Correction] = {}
    problems: list[str] = []
    for row in decided:
        try:
            correction = to_correction(row, names)
        except DatasetError as error:
            problems.append(str(error).removeprefix(f"{path}, "))
            continue
        earlier = corrections.get(correction.photo_id)
        if earlier is not None and not row.text(DECIDED_AT):
            problems.append(f"{row.place}: repeats the photo of {earlier.row.place}; delete one of the rows")
        corrections[correction.photo_id] = correction
    raise_problems(path, problems)
    return Decisions(path, tuple(corrections.values()), len(rows) - len(decided))


def raise_problems(path: Path, problems: Sequence[str]) -> None:
    """Raise one DatasetError for all problems of a file of decisions, if there are any."""
    if not problems:
        return
    more = f"; and {len(problems) - _SHOWN_PROBLEMS} more" if len(problems) > _SHOWN_PROBLEMS else ""
    raise DatasetError(f"{path}: {'; '.join(problems[:_SHOWN_PROBLEMS])}{more} (nothing was changed)")


def _is_undecided(row: UserRow) -> bool:
    return not any(row.text(name) for name in ("decision", "latitude_deg", "longitude_deg"))


def _batch_row(correction: Correction, file: str) -> list[str]:
    numbers = (correction.latitude_deg, correction.longitude_deg, correction.accuracy_m)
    position = ["" if math.isnan(value) or not correction.moves else repr(value) for value in numbers]
    return [correction.photo_id, file, SPELLINGS[correction.decision], *position, correction.row.text("note")]
