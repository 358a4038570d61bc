"""Images in time order through the tracker: tracked as on a robot, or smoothed afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from campus_visual_gps.tracking.smoother import smooth

from campus_visual_gps.estimation.grid import LocationGrid
from campus_visual_gps.tracking.calibration import TrackingCalibration
from campus_visual_gps.tracking.tracker import TrackedPosition, Tracker
from training.metrics.sequences import split_sequences


@dataclass(frozen=True)
class ImageSequence:
    """N images of one session in time order, without a long pause.

    `rows` (N,) index the table that they are of, `times_s` (N,) rise strictly, `grid_probs` (N, K) are NaN for images
    that must not be used, `truth_enu_m` is (N, 2) metres.
    """

    session: str
    number: int
    rows: np.ndarray
    times_s: np.ndarray
    grid_probs: np.ndarray
    truth_enu_m: np.ndarray
    cameras: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, chosen: np.ndarray, times_s: np.ndarray | None = None) -> ImageSequence:
        """Some of its images, in the order of `chosen`, at other times where they are given."""
        return ImageSequence(
            self.session,
            self.number,
            self.rows[chosen],
            self.times_s[chosen] if times_s is None else times_s,
            self.grid_probs[chosen],
            self.truth_enu_m[chosen],
            tuple(self.cameras[index] for index in chosen),
        )


@dataclass(frozen=True)
class TrackedImages:
    """What the tracker said at N images: (N, 2) metres, (N, 2, 2) square metres, probability (N,), flags (N,)."""

    mean_enu_m: np.ndarray
    cov_enu_m2: np.ndarray
    lost_probability: np.ndarray
    contradicted: np.ndarray

    @classmethod
    def of(cls, positions: Sequence[TrackedPosition]) -> TrackedImages:
        return cls(
            np.array([own.mean_enu_m for own in positions]).reshape(-1, 2),
            np.array([own.cov_enu_m2 for own in positions]).reshape(-1, 2, 2),
            np.array([own.lost_probability for own in positions]),
            np.array([own.contradicted for own in positions], dtype=bool),
        )


def image_sequences(
    sessions: Sequence[str] | np.ndarray,
    times_s: np.ndarray,
    grid_probs: np.ndarray,
    truth_enu_m: np.ndarray,
    cameras: Sequence[str] | None = None,
) -> list[ImageSequence]:
    """Images (N,) of any order -> their sequences, by session and time. Images without a time are in none."""
    names = np.asarray(sessions, dtype=object)
    numbers, found = split_sequences(names, times_s), []
    for session, number in sorted({(str(one), int(other)) for one, other in zip(names, numbers, strict=True)}):
        if number < 0:
            continue
        rows = np.flatnonzero((names == session) & (numbers == number))
        rows = rows[np.argsort(times_s[rows], kind="stable")]
        own = tuple("" for _ in rows) if cameras is None else tuple(str(cameras[row]) for row in rows)
        spread_s = spread_times_s(times_s[rows])
        found.append(ImageSequence(session, number, rows, spread_s, grid_probs[rows], truth_enu_m[rows], own))
    return found


def spread_times_s(times_s: np.ndarray) -> np.ndarray:
    """Times (N,), ascending, of which equal ones are spread over the second: cameras write whole seconds."""
    values, first, counts = np.unique(times_s, return_index=True, return_counts=True)
    room_s = np.minimum(np.append(np.diff(values), 1.0), 1.0)
    place = np.arange(len(times_s)) - np.repeat(first, counts)
    return np.repeat(values, counts) + place / np.repeat(counts, counts) * np.repeat(room_s, counts)


def track(tracker: Tracker, sequence: ImageSequence) -> TrackedImages:
    """The tracker from no knowledge over a sequence; an image without a posterior is predicted only."""
    tracker.reset()
    return TrackedImages.of([step(tracker, sequence, index) for index in range(len(sequence))])


def step(tracker: Tracker, sequence: ImageSequence, index: int) -> TrackedPosition:
    """One image of a sequence into the tracker."""
    time_s, probs = float(sequence.times_s[index]), sequence.grid_probs[index]
    if not np.isfinite(probs).all():
        return tracker.estimate(time_s)
    return tracker.update(time_s, probs, sequence.cameras[index])


def smooth_sequence(grid: LocationGrid, calibration: TrackingCalibration, sequence: ImageSequence) -> TrackedImages:
    """The smoother over a sequence; an image without a posterior says nothing."""
    probs = np.where(np.isfinite(sequence.grid_probs), sequence.grid_probs, 1.0 / len(grid))
    return TrackedImages.of(smooth(grid, calibration, sequence.times_s, probs))
