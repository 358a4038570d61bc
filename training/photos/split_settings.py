"""Settings of a split: what splits.yaml keeps, and what another call changes."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from campus_visual_gps.errors import DatasetError
from training.photos.manifest import NIGHT_HOLDOUT, TEST, VAL

SPLITS_YAML = "splits.yaml"
SESSION_SETTINGS = {TEST: "test_sessions", NIGHT_HOLDOUT: "night_holdout_sessions", VAL: "val_sessions"}


@dataclass(frozen=True)
class SplitSettings:
    """As of `split`: whole sessions by subset, and how validation and night photos are drawn."""

    test_sessions: tuple[str, ...] = ()
    night_holdout_sessions: tuple[str, ...] = ()
    val_sessions: tuple[str, ...] = ()
    val_fraction: float = 0.15
    random: bool = False
    allow_shared_sessions: bool = False
    night_holdout: int = 0
    seed: int = 42

    def named(self) -> dict[str, tuple[str, ...]]:
        """Sessions by subset."""
        return {subset: getattr(self, name) for subset, name in SESSION_SETTINGS.items()}

    def content(self) -> dict[str, Any]:
        """The settings as plain values for splits.yaml."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def options(self) -> str:
        """The settings as options of the command; "" where all have their defaults."""
        options = {"test": "--test", "night_holdout": "--night-holdout-session", "val": "--val"}
        words = [f"{options[subset]} {shlex.quote(name)}" for subset, names in self.named().items() for name in names]
        if not self.val_sessions and self.val_fraction != SplitSettings.val_fraction:
            words.append(f"--val-fraction {self.val_fraction:g}")
        words += ["--random"] if self.random else []
        words += ["--allow-shared-sessions"] if self.allow_shared_sessions else []
        words += [f"--night-holdout {self.night_holdout}"] if self.night_holdout else []
        words += [f"--seed {self.seed}"] if self.seed != SplitSettings.seed else []
        return " ".join(words)

    def changed(self, given: Mapping[str, Any]) -> SplitSettings:
        """The settings with those of a call; None keeps a setting.

        A session that is named goes to that subset alone. Validation sessions and a way to draw validation photos
        replace each other.
        """
        new = {name: value for name, value in given.items() if value is not None}
        named = {session for name, value in new.items() if _is_sessions(name) for session in value}
        kept: dict[str, Any] = {
            name: tuple(session for session in getattr(self, name) if session not in named)
            for name in SESSION_SETTINGS.values()
            if name not in new
        }
        if "val_sessions" in new:
            kept["random"] = False
        elif "val_fraction" in new or new.get("random"):
            kept["val_sessions"] = ()
        return replace(self, **(kept | new))


def _is_sessions(name: str) -> bool:
    return name in SESSION_SETTINGS.values()


def read_settings(dataset_dir: Path) -> SplitSettings | None:
    """The settings in splits.yaml; None without that file.

    Raises:
        DatasetError: It is damaged. What it said cannot be told.
    """
    path = Path(dataset_dir) / SPLITS_YAML
    if not path.exists():
        return None
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        values = {field.name: _value(field.default, content[field.name]) for field in fields(SplitSettings)}
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        raise DatasetError(
            f"{path}: damaged ({type(error).__name__}): it does not say which sessions are held out; delete it, and "
            "`split` reads them from splits.csv"
        ) from error
    return SplitSettings(**values)


def _value(default: Any, value: Any) -> Any:
    """The value as of the default's type. Raises TypeError, ValueError."""
    if isinstance(default, tuple):
        if not isinstance(value, list):
            raise TypeError
        return tuple(str(name) for name in value)
    if isinstance(default, bool) and not isinstance(value, bool):
        raise TypeError
    return type(default)(value)


def settings_of_table(splits: pd.DataFrame) -> SplitSettings:
    """What splits.csv tells where splits.yaml is missing: the sessions that are held out whole."""
    named: dict[str, list[str]] = {name: [] for name in SESSION_SETTINGS.values()}
    shared = False
    for session, rows in splits[splits["subset"] != "excluded"].groupby("session"):
        held_out = set(rows["subset"]) & set(SESSION_SETTINGS)
        shared = shared or len(held_out) > 1 or (VAL in held_out and len(set(rows["subset"])) > 1)
        if len(held_out) == 1:
            named[SESSION_SETTINGS[held_out.pop()]].append(str(session))
    if shared:
        named["val_sessions"] = []
    fraction = SplitSettings.val_fraction if (splits["subset"] == VAL).any() else 0.0
    settings = SplitSettings(val_fraction=fraction, random=shared, allow_shared_sessions=shared)
    return settings.changed({name: tuple(sessions) for name, sessions in named.items() if sessions})
