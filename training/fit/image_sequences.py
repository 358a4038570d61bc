"""Images in time order through the tracker: tracked as on a robot, or smoothed afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from campus_visual_gps.estimation.grid import LocationGrid
from campus_visual_gps.estimation.integrity import RejectionReason
from campus_visual_gps.tracking.calibration import TrackingCalibration
from campus_visual_gps.tracking.session import ODOMETRY, RANDOM_WALK, TrackingSession
from campus_visual_gps.tracking.smoother import smooth
from campus_visual_gps.tracking.tracker import TrackedPosition
from training.metrics.sequences import split_sequences


class Pose(NamedTuple):
    """A pose of the odometry, as `TrackingSession.odometry` takes it."""

    stamp_s: float
    position_odom_m: np.ndarray
    yaw_odom_rad: float | None
    cov_odom_m2: np.ndarray | None
    frame: str


@dataclass(frozen=True)
class ImageSequence:
    """N images of one session in time order, without a long pause.

    `rows` (N,) index the table that they are of, `times_s` (N,) rise strictly, `grid_probs` (N, K) are NaN for images
    that say nothing, `truth_enu_m` is (N, 2) metres, `unlike` (N,) flags those that the gate calls out of distribution.
    `odometry` has poses in the order of their stamps; `cameras` are N names, empty where there is one camera.
    """

    session: str
    number: int
    rows: np.ndarray
    times_s: np.ndarray
    grid_probs: np.ndarray
    truth_enu_m: np.ndarray
    unlike: np.ndarray
    odometry: tuple[Pose, ...] = ()
    cameras: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, start: int, stop: int) -> ImageSequence:
        """The images from `start` to before `stop`, with the odometry between them."""
        chosen = slice(start, stop)
        first_s, last_s = self.times_s[start], self.times_s[stop - 1]
        return replace(
            self,
            rows=self.rows[chosen],
            times_s=self.times_s[chosen],
            grid_probs=self.grid_probs[chosen],
            truth_enu_m=self.truth_enu_m[chosen],
            unlike=self.unlike[chosen],
            odometry=tuple(pose for pose in self.odometry if first_s <= pose.stamp_s <= last_s),
            cameras=self.cameras[chosen],
        )

    def followed_by(self, other: ImageSequence, pause_s: float) -> ImageSequence:
        """This one and then another, as if nothing had happened between: times and odometry go on where this one ends.

        The odometry's frame stays, so that what is in the odometry is the motion within both alone.
        """
        shift_s = self.times_s[-1] + pause_s - other.times_s[0]
        odometry = self.odometry
        if odometry and other.odometry:
            shift_m = odometry[-1].position_odom_m - other.odometry[0].position_odom_m
            odometry += tuple(
                pose._replace(stamp_s=pose.stamp_s + shift_s, position_odom_m=pose.position_odom_m + shift_m)
                for pose in other.odometry
            )
        return replace(
            self,
            rows=np.concatenate([self.rows, other.rows]),
            times_s=np.concatenate([self.times_s, other.times_s + shift_s]),
            grid_probs=np.concatenate([self.grid_probs, other.grid_probs]),
            truth_enu_m=np.concatenate([self.truth_enu_m, other.truth_enu_m]),
            unlike=np.concatenate([self.unlike, other.unlike]),
            odometry=odometry,
            cameras=self.cameras + other.cameras,
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
    unlike: np.ndarray | None = None,
) -> list[ImageSequence]:
    """Images (N,) of any order -> their sequences, by session and time.

    Images without a time are in none, nor is one alone between two pauses: there is nothing to track.
    """
    names = np.asarray(sessions, dtype=object)
    numbers, found = split_sequences(names, times_s), []
    for session, number in sorted({(str(one), int(other)) for one, other in zip(names, numbers, strict=True)}):
        rows = np.flatnonzero((names == session) & (numbers == number))
        if number < 0 or len(rows) < 2:
            continue
        rows = rows[np.argsort(times_s[rows], kind="stable")]
        own = np.zeros(len(rows), dtype=bool) if unlike is None else unlike[rows]
        spread_s = spread_times_s(times_s[rows])
        found.append(ImageSequence(session, number, rows, spread_s, grid_probs[rows], truth_enu_m[rows], own))
    return found


def spread_times_s(times_s: np.ndarray) -> np.ndarray:
    """Times (N,), ascending, of which equal ones are spread over the second: cameras write whole seconds."""
    values, first, counts = np.unique(times_s, return_index=True, return_counts=True)
    room_s = np.minimum(np.append(np.diff(values), 1.0), 1.0)
    place = np.arange(len(times_s)) - np.repeat(first, counts)
    return np.repeat(values, counts) + place / np.repeat(counts, counts) * np.repeat(room_s, counts)


def tracked_positions(
    grid: LocationGrid, calibration: TrackingCalibration, sequence: ImageSequence, with_odometry: bool = False
) -> Iterator[TrackedPosition]:
    """One position for each image of a sequence, as the node would give it, from no knowledge on.

    Args:
        grid: Of the posteriors.
        calibration: Of the tracker.
        sequence: An image without a posterior is predicted only.
        with_odometry: Whether the sequence's odometry moves the belief; else it walks at random.
    """
    session = TrackingSession(grid, calibration, ODOMETRY if with_odometry else RANDOM_WALK)
    poses = iter(sequence.odometry if with_odometry else ())
    waiting = next(poses, None)
    cameras = sequence.cameras or ("",) * len(sequence)
    columns = (sequence.times_s, sequence.grid_probs, sequence.unlike, cameras)
    for time_s, probs, unlike, camera in zip(*columns, strict=True):
        while waiting is not None and waiting.stamp_s <= time_s:
            session.odometry(*waiting)
            waiting = next(poses, None)
        reason = RejectionReason.OUT_OF_DISTRIBUTION if unlike else None
        yield session.image(float(time_s), probs if np.isfinite(probs).all() else None, camera, reason)


def track(
    grid: LocationGrid, calibration: TrackingCalibration, sequence: ImageSequence, with_odometry: bool = False
) -> TrackedImages:
    """As `tracked_positions`, all images at once."""
    return TrackedImages.of(list(tracked_positions(grid, calibration, sequence, with_odometry)))


def smooth_sequence(grid: LocationGrid, calibration: TrackingCalibration, sequence: ImageSequence) -> TrackedImages:
    """The smoother over a sequence; an image without a posterior says nothing."""
    probs = np.where(np.isfinite(sequence.grid_probs), sequence.grid_probs, 1.0 / len(grid))
    return TrackedImages.of(smooth(grid, calibration, sequence.times_s, probs))
