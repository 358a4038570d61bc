"""Trials of the tracker: from no knowledge, and after a kidnap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from campus_visual_gps.tracking.tracker import Tracker
from training.fit.image_sequences import ImageSequence, step
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


def cold_starts(tracker: Tracker, sequence: ImageSequence, single_errors_m: np.ndarray) -> Iterator[Delay]:
    """From no knowledge, at a place of the sequence every minute."""
    for start in _trial_starts(sequence, 0):
        part = sequence.part(np.arange(start, min(len(sequence), start + _TRIAL_END)))
        yield _delay(_errors_until_found(tracker, part), single_errors_m[start : start + len(part)], part.times_s)


def kidnaps(tracker: Tracker, sequence: ImageSequence, single_errors_m: np.ndarray) -> Iterator[Delay]:
    """The sequence is cut every minute and goes on at another place of the site, where it was at another time."""
    rng = np.random.default_rng(_SEED)
    step_s = float(np.median(np.diff(sequence.times_s))) if len(sequence) > 1 else 0.0
    for cut in _trial_starts(sequence, FOUND_IMAGES):
        distances_m = position_errors_m(sequence.truth_enu_m, sequence.truth_enu_m[cut - 1][None])
        far = distances_m >= max(_KIDNAP_M, _KIDNAP_SHARE * float(distances_m.max()))
        places = np.flatnonzero(far)[np.flatnonzero(far) <= len(sequence) - TRIAL_IMAGES]
        if not len(places):
            continue
        place = int(rng.choice(places))
        after = np.arange(place, min(len(sequence), place + _TRIAL_END))
        times_s = sequence.times_s[after] - sequence.times_s[after[0]] + sequence.times_s[cut - 1] + step_s
        before = sequence.part(np.arange(max(0, cut - _IMAGES_BEFORE), cut))
        errors_m = _errors_until_found(tracker, sequence.part(after, times_s), before)
        yield _delay(errors_m, single_errors_m[after], times_s)


def _trial_starts(sequence: ImageSequence, first: int) -> list[int]:
    """Images at which a trial begins, none before `first` and each with enough images after it."""
    starts: list[int] = []
    for index in range(first, len(sequence) - TRIAL_IMAGES + 1):
        if not starts or sequence.times_s[index] - sequence.times_s[starts[-1]] >= TRIAL_EVERY_S:
            starts.append(index)
    return starts


def _errors_until_found(tracker: Tracker, part: ImageSequence, before: ImageSequence | None = None) -> np.ndarray:
    """Errors of the tracked positions, up to where the place is found."""
    tracker.reset()
    if before is not None:
        for index in range(len(before)):
            step(tracker, before, index)
    errors_m: list[float] = []
    for index in range(len(part)):
        position = step(tracker, part, index)
        errors_m.append(float(np.hypot(*(position.mean_enu_m - part.truth_enu_m[index]))))
        if first_found(np.array(errors_m[-FOUND_IMAGES:])) is not None:
            break
    return np.array(errors_m)


def _delay(tracked_errors_m: np.ndarray, single_errors_m: np.ndarray, times_s: np.ndarray) -> Delay:
    values = []
    for errors_m in (tracked_errors_m, single_errors_m):
        found = first_found(errors_m)
        values += [np.inf, np.inf] if found is None else [float(times_s[found] - times_s[0]), float(found)]
    return Delay(*values)
