"""The rounds of a data set: rounds.yaml, and rounds/ with the evaluations that table 14 is drawn from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pandas as pd
import yaml

from campus_visual_gps.errors import DatasetError
from training.photos.manifest import SPLIT_COLUMNS, SUBSETS, TEST, read_splits, write_yaml
from training.photos.photo_id import photo_key
from training.photos.tables import write_table

ROUNDS_YAML, ROUNDS_DIR = "rounds.yaml", "rounds"
BEFORE = "before"  # the stage before the first round
BEGUN, DONE = "begun", "done"


@dataclass(frozen=True)
class Sizes:
    """Number of photos by subset, and which photos the test set is."""

    photos: dict[str, int]
    test_set: str


@dataclass(frozen=True)
class Round:
    """One round.

    Attributes:
        name: Such as round-1; also that of the stage after it.
        state: BEGUN until all of it is done.
        at: When it began, ISO 8601.
        batch: Its file of corrections, relative to the data set.
        batch_sha256: Hash of that file as it was written.
        decisions: Number of photos by decision.
        undecided: Number of photos of the list without one.
        moved_to_training: Their photo_ids.
        subsets_before: Subset that each decided photo had before, by photo_id.
        before, after: Sizes; `after` as computed before anything was written.
        evaluation: Metrics of the evaluation before the round, and where they come from; empty without one.
    """

    name: str
    state: str
    at: str
    batch: str
    batch_sha256: str
    decisions: dict[str, int]
    undecided: int
    moved_to_training: list[str]
    subsets_before: dict[str, str]
    before: Sizes
    after: Sizes
    evaluation: dict = field(default_factory=dict)


def sizes_of(splits: pd.DataFrame) -> Sizes:
    """Of a table of SPLIT_COLUMNS."""
    counts = {subset: int((splits["subset"] == subset).sum()) for subset in SUBSETS}
    return Sizes(counts, test_set_of(splits["photo_id"][splits["subset"] == TEST]))


def test_set_of(photo_ids: Iterable[str]) -> str:
    """A name for a set of photos: the same photos in any order have the same name, and no others do."""
    keys = sorted(photo_key(photo_id) for photo_id in photo_ids)
    return hashlib.sha256("\n".join(keys).encode("utf-8", "surrogatepass")).hexdigest()[:12] if keys else "none"


def test_subset_text(sizes: Sizes) -> str:
    """Sizes in one line."""
    counts = ", ".join(f"{subset} {count}" for subset, count in sizes.photos.items() if count)
    return f"{counts} (test set {sizes.test_set})"


def stage_predictions(dataset_dir: Path, stage: str) -> Path:
    """Where the predictions of a stage are kept: BEFORE, or the name of a round."""
    return Path(dataset_dir) / ROUNDS_DIR / f"{stage}.csv"


def read_history(dataset_dir: Path) -> list[Round]:
    """The rounds in their order; none where there is no rounds.yaml. Raises DatasetError if it is damaged."""
    path = Path(dataset_dir) / ROUNDS_YAML
    if not path.exists():
        return []
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return [_to_round(entry) for entry in content["rounds"]]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise DatasetError(f"{path}: not a history of rounds ({what}); restore it, or move it away") from None


def restore_subsets(dataset_dir: Path, rounds: Sequence[Round]) -> None:
    """Rewrite splits.csv as if some rounds, the last ones of the history, had not been.

    `split` alone leaves a photo in training that was moved there once, so that it is not scored as test by mistake.
    """
    splits = read_splits(dataset_dir)
    for entry in reversed(rounds):
        before = splits["photo_id"].map(entry.subsets_before)
        splits["subset"] = before.where(before.notna(), splits["subset"])
    write_table(Path(dataset_dir) / "splits.csv", splits[list(SPLIT_COLUMNS)])


def write_history(dataset_dir: Path, rounds: list[Round]) -> None:
    """Write rounds.yaml. Raises DatasetError."""
    write_yaml(Path(dataset_dir) / ROUNDS_YAML, {"rounds": [asdict(entry) for entry in rounds]})


def _to_round(entry: dict) -> Round:
    fields = dict(entry)
    return Round(**fields | {"before": Sizes(**fields["before"]), "after": Sizes(**fields["after"])})
