"""The rule of whole sessions: neighbours of a photo that trains tell a network where the rest of its walk was taken.

Scores on sessions of which photos trained, or were moved to training, are therefore told apart from untouched sessions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from campus_visual_gps.bundle import Bundle
from training.photos.decisions import TRAIN as TO_TRAIN
from training.photos.manifest import TRAIN, read_subsets
from training.photos.photo_id import photo_key

# Columns of predictions.csv: photos of the same session that trained the bundle, and that a decision moves to training.
SESSION_TRAINED, SESSION_MOVED = "session_trained_photos", "session_moved_photos"


@dataclass(frozen=True)
class TouchedSessions:
    """Scored sessions that are on both sides.

    Attributes:
        sessions: Their names.
        n_scored: Scored photos of these sessions that are not of the training subset.
        n_trained: Other or the same photos of them that trained the bundle.
        n_moved: Photos of them that a decision moves to training.
    """

    sessions: tuple[str, ...]
    n_scored: int
    n_trained: int
    n_moved: int

    @property
    def title(self) -> str:
        """The row of these sessions in tables."""
        return "sessions with moved photos" if self.n_moved else "sessions with training photos"

    @property
    def warning(self) -> str:
        """What to know of scores on these sessions, in one line."""
        moved = f", {self.n_moved} of them moved there by a decision" if self.n_moved else ""
        return (
            f"{_listed(self.sessions)} on both sides: {max(self.n_trained, self.n_moved)} of their photos train{moved}"
            f", and {self.n_scored} are scored here. Photos of one walk resemble each other: compare models by the row "
            "'untouched sessions'"
        )


def _listed(names: tuple[str, ...]) -> str:
    if len(names) == 1:
        return f"session {names[0]} is"
    return f"{len(names)} sessions ({', '.join(names[:4])}{', ...' if len(names) > 4 else ''}) are"


def session_columns(photos: pd.DataFrame, dataset_dir: Path | None, bundle: Bundle) -> dict[str, np.ndarray]:
    """The columns SESSION_TRAINED and SESSION_MOVED of scored photos (N,); without a data set, of the photos alone."""
    everything = photos if dataset_dir is None else read_subsets(dataset_dir)
    return {
        SESSION_TRAINED: _count(photos, everything["session"][_trained(everything["photo_id"], bundle)]),
        SESSION_MOVED: _count(photos, _moved_sessions(everything)),
    }


def _moved_sessions(photos: pd.DataFrame) -> pd.Series:
    """The session of each photo that a decision moves out of a held-out session."""
    if "decision" not in photos:
        return photos["session"].iloc[:0]
    held_out = set(photos["session"][~photos["subset"].isin([TRAIN, ""])])
    return photos["session"][(photos["decision"] == TO_TRAIN) & photos["session"].isin(held_out)]


def _trained(photo_ids: Iterable[str], bundle: Bundle) -> np.ndarray:
    seen = {photo_key(str(photo_id)) for photo_id in bundle.training.get("photo_ids") or []}
    return np.array([photo_key(str(photo_id)) in seen for photo_id in photo_ids], dtype=bool)


def _count(photos: pd.DataFrame, sessions: pd.Series) -> np.ndarray:
    return photos["session"].map(sessions.value_counts()).fillna(0).to_numpy(dtype=np.int64)


def seen_in_training(predictions: pd.DataFrame) -> int:
    """Photos of the scored sessions that the bundle was trained on, whether they are scored or not."""
    return int(predictions.groupby("session")[SESSION_TRAINED].max().sum())


def touched_rows(predictions: pd.DataFrame) -> np.ndarray:
    """Rows (N,) bool of the sessions with photos that trained or are moved; none where this is unknown."""
    if SESSION_TRAINED not in predictions or SESSION_MOVED not in predictions:
        return np.zeros(len(predictions), dtype=bool)
    return ((predictions[SESSION_TRAINED] > 0) | (predictions[SESSION_MOVED] > 0)).to_numpy()


def touched_sessions(predictions: pd.DataFrame) -> TouchedSessions | None:
    """The scored sessions with photos that trained or are moved; None without any, or where only training is scored."""
    rows = predictions[touched_rows(predictions)]
    rows = rows[rows["subset"] != TRAIN]
    if rows.empty:
        return None
    by_session = rows.groupby("session")[[SESSION_TRAINED, SESSION_MOVED]].max()
    n_trained, n_moved = (int(by_session[name].sum()) for name in (SESSION_TRAINED, SESSION_MOVED))
    return TouchedSessions(tuple(map(str, by_session.index)), len(rows), n_trained, n_moved)
