"""Trials of the tracker: from no knowledge, and after a kidnap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from campus_visual_gps.estimation.grid import LocationGrid
from campus_visual_gps.tracking.calibration import TrackingCalibration
from training.fit.image_sequences import ImageSequence, tracked_positions
from training.metrics.errors import position_errors_m
from training.metrics.sequences import FOUND_IMAGES, first_found

# A trial begins once in so many seconds of a sequence, and fewer images than these are no trial.
TRIAL_EVERY_S, TRIAL_IMAGES = 60.0, 20
# A trial that has not found its place after so many images has failed.
_TRIAL_END = 120
# The images before a kidnap, from which the belief is: enough to be sure of the place.
_IMAGES_BEFORE = 40
# A kidnap goes at least this far, and at least this share of the greatest distance that the sequence has to offer.
_KIDNAP_M, _KIDNAP_SHARE = 50.0, 0.5
_SEED = 20260103


@dataclass(frozen=True)
class Delay:
    """Of one trial: seconds and images until the place was found, infinite where it was not; by image alone, too."""

    tracked_s: float
    tracked_images: float
    single_s: float
    single_images: float


@dataclass(frozen=True)
class Trials:
    """The tracker as it is put to trials on one sequence: with its odometry or without.

    `single_errors_m` (N,) are the errors of the images alone.
    """

    grid: LocationGrid
    calibration: TrackingCalibration
    sequence: ImageSequence
    single_errors_m: np.ndarray
    with_odometry: bool = False

    def cold_starts(self) -> Iterator[Delay]:
        """From no knowledge, at a place of the sequence every minute."""
        for start in _trial_starts(self.sequence, 0):
            stop = min(len(self.sequence), start + _TRIAL_END)
            yield self._delay(self.sequence.part(start, stop), 0, self.single_errors_m[start:stop])

    def kidnaps(self) -> Iterator[Delay]:
        """The sequence is cut every minute and goes on at another place of the site, where it was at another time."""
        sequence, rng = self.sequence, np.random.default_rng(_SEED)
        step_s = float(np.median(np.diff(sequence.times_s))) if len(sequence) > 1 else 0.0
        for cut in _trial_starts(sequence, FOUND_IMAGES):
            distances_m = position_errors_m(sequence.truth_enu_m, sequence.truth_enu_m[cut - 1][None])
            far = distances_m >= max(_KIDNAP_M, _KIDNAP_SHARE * float(distances_m.max()))
            places = np.flatnonzero(far[: len(sequence) - TRIAL_IMAGES + 1])
            if not len(places):
                continue
            place = int(rng.choice(places))
            stop = min(len(sequence), place + _TRIAL_END)
            before = sequence.part(max(0, cut - _IMAGES_BEFORE), cut)
            moved = before.followed_by(sequence.part(place, stop), step_s)
            yield self._delay(moved, len(before), self.single_errors_m[place:stop])

    def _delay(self, trial: ImageSequence, first: int, single_errors_m: np.ndarray) -> Delay:
        """From the image `first` of a trial on."""
        errors_m: list[float] = []
        positions = tracked_positions(self.grid, self.calibration, trial, self.with_odometry)
        for position, truth_m in zip(positions, trial.truth_enu_m, strict=True):
            errors_m.append(float(np.hypot(*(position.mean_enu_m - truth_m))))
            if len(errors_m) >= first + FOUND_IMAGES and first_found(np.array(errors_m[-FOUND_IMAGES:])) is not None:
                break
        values = []
        for errors in (np.array(errors_m[first:]), single_errors_m):
            found = first_found(errors)
            delay_s = np.inf if found is None else float(trial.times_s[first + found] - trial.times_s[first])
            values += [delay_s, np.inf if found is None else float(found)]
        return Delay(*values)


def _trial_starts(sequence: ImageSequence, first: int) -> list[int]:
    """Images at which a trial begins, none before `first` and each with enough images after it."""
    starts: list[int] = []
    for index in range(first, len(sequence) - TRIAL_IMAGES + 1):
        if not starts or sequence.times_s[index] - sequence.times_s[starts[-1]] >= TRIAL_EVERY_S:
            starts.append(index)
    return starts
