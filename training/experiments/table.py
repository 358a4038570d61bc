"""A table of experiments: a base configuration and rows that differ from it, read from strict, typed YAML."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from campus_visual_gps.errors import ConfigError
from training.config import TrainConfig
from training.config_parsing import STRICT, read_settings, set_key, validated
from training.evaluate.tta_columns import TtaMode

_RESERVED = ("runs", "tables", "datasets")

Name = Annotated[str, Field(pattern="^[a-z0-9][a-z0-9_-]*$")]  # of a directory


@dataclass(frozen=True, config=STRICT)
class PaperReference:
    """Where the paper has the table: its number, the sections, and what to know of its numbers."""

    table: PositiveInt
    section: str
    remark: str = ""


@dataclass(frozen=True, config=STRICT)
class RowSettings:
    """A row: a training, or something made of the trainings of other rows.

    Attributes:
        name: Of its directory.
        label: As the table prints it.
        overrides: A training with these changes of the base, in the layout of a training configuration.
        seeds: Of that training; one member each, combined into an ensemble. None takes those of the command line.
        best_of: Of several rows, the one with the smallest loss on the validation photos.
        combine: An ensemble of all members of several rows.
        of: The row whose ensemble is evaluated once more, with `tta`.
        tta: The mode of the test-time augmentation.
        round: A training on the photos as they stood after this round of the active learning; 0 is before the first.
        baseline: Whether the other rows are compared with this one.
        paper: The paper's own numbers of this row, by the name of the metric.
    """

    name: Name
    label: str
    overrides: dict[str, Any] | None = None
    seeds: tuple[NonNegativeInt, ...] | None = None
    best_of: tuple[Name, ...] = ()
    combine: tuple[Name, ...] = ()
    of: Name | None = None
    tta: TtaMode | None = None
    round: NonNegativeInt | None = None
    baseline: bool = False
    paper: dict[str, float | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        kinds = [self.overrides is not None, bool(self.best_of), bool(self.combine), self.of is not None]
        if sum(kinds) != 1:
            raise ConfigError(f"row {self.name}: expected exactly one of overrides, best_of, combine and of")
        if (self.of is None) != (self.tta is None):
            raise ConfigError(f"row {self.name}: expected of and tta together: a row, and the mode of its evaluation")
        if self.overrides is None and (self.seeds is not None or self.round is not None):
            raise ConfigError(f"row {self.name}: seeds and round belong to a row with overrides, which is trained")
        if self.seeds is not None and (not self.seeds or len(set(self.seeds)) != len(self.seeds)):
            raise ConfigError(f"row {self.name}: seeds: expected one or more different integers")

    @property
    def sources(self) -> tuple[str, ...]:
        """The rows that this one is made of."""
        return (*self.best_of, *self.combine, *(() if self.of is None else (self.of,)))


@dataclass(frozen=True, config=STRICT)
class TableSettings:
    """The content of a table's file.

    Attributes:
        title: Of the table.
        paper: Where the paper has it.
        base: The training configuration that all rows start from, relative to this file.
        overrides: Changes of it for all rows.
        rows: In the order of the table.
    """

    title: str
    paper: PaperReference
    base: str
    rows: tuple[RowSettings, ...]
    overrides: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.rows:
            raise ConfigError("rows: expected one or more")
        names: list[str] = []
        ensembles: list[str] = []  # what other rows can be made of
        for row in self.rows:
            if row.name in names:
                raise ConfigError(f"row {row.name}: the name is there twice")
            for source in row.sources:
                if source not in ensembles:
                    raise ConfigError(
                        f"row {row.name}: expected the name of a trained or combined row above it, got {source!r}"
                    )
            names.append(row.name)
            if row.overrides is not None or row.combine:
                ensembles.append(row.name)
        if sum(row.baseline for row in self.rows) != 1:
            raise ConfigError("rows: expected one with `baseline: true`")


@dataclass(frozen=True)
class ExperimentTable:
    """A table whose rows are known to be valid: its name, its file, its content and the resolved base.

    `base` is the content of a training configuration: the base file, then the table's overrides, then the settings of
    the command line.
    """

    name: str
    path: Path
    settings: TableSettings
    base: dict[str, Any]

    def base_config(self) -> TrainConfig:
        """The configuration that no row has changed. Raises ConfigError."""
        return validated(self.base, TrainConfig, f"{self.path}: base")

    def config_of(self, row: RowSettings) -> TrainConfig:
        """The configuration of a row with overrides. Raises ConfigError."""
        return validated(merged(self.base, row.overrides or {}), TrainConfig, f"{self.path}: row {row.name}")

    def trainings(self) -> Iterator[tuple[RowSettings, TrainConfig]]:
        """The rows that are trained, with their configurations."""
        for row in self.settings.rows:
            if row.overrides is not None:
                yield row, self.config_of(row)


def load_table(path: Path, settings: Sequence[str] = ()) -> ExperimentTable:
    """Read a table and check all of its rows.

    Args:
        path: YAML file.
        settings: Replacements of any key of the base, such as "model.backbone=resnet18". A row's own override wins.

    Raises:
        ConfigError: One line with the file, the row, the key, what was expected and what came.
    """
    path = Path(path)
    if path.stem in _RESERVED:
        raise ConfigError(f"{path}: {path.stem} is a directory of the output; give the file another name")
    content = validated(read_settings(path), TableSettings, path)
    base = merged(read_settings(path.parent / content.base), content.overrides)
    for setting in settings:
        set_key(base, setting)
    table = ExperimentTable(path.stem, path, content, base)
    table.base_config()
    for _ in table.trainings():  # an error in the last row is told before the first is trained
        pass
    return table


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy of nested tables of keys with changes; what is no table of keys is replaced whole."""
    result = copy.deepcopy(base)
    for key, value in changes.items():
        before = result.get(key)
        result[key] = merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return result
