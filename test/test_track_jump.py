"""Jumps in the receiver's own track: what neither its claim nor the motion of a robot explains."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from receiver_scene import degrees

from campus_visual_gps.gnss.track_jump import ReceiverTrack


def track_of(stamps_s: np.ndarray, positions_m: np.ndarray, sigma_m: float = 3.0) -> list[float]:
    """The sizes of all jumps that are found in a track."""
    track, found = ReceiverTrack(), []
    for stamp_s, position_m in zip(stamps_s, positions_m, strict=True):
        before = track.jump
        track.add(1000.0 + stamp_s, *degrees(position_m), sigma_m)
        if track.jump is not None and track.jump is not before:
            found.append(track.jump.size_m)
    return found


def walk(stamps_s: np.ndarray, speed_mps: float = 1.4) -> np.ndarray:
    return np.stack([speed_mps * stamps_s, np.zeros_like(stamps_s)], axis=1)


def driven(stamps_s: np.ndarray, seed: int, max_speed_mps: float, acceleration_mps2: float) -> np.ndarray:
    """A robot that stands, starts, brakes and turns, each at random, with a bounded acceleration."""
    random, step_s = np.random.default_rng(seed), 0.05
    velocity, place, places = np.zeros(2), np.zeros(2), []
    target = np.zeros(2)
    for _ in range(round(stamps_s[-1] / step_s) + 2):
        if random.uniform() < step_s / 3.0:  # another aim every 3 s
            heading = random.uniform(0.0, 2.0 * math.pi)
            target = random.choice([0.0, 0.5, 1.0]) * max_speed_mps * np.array([math.cos(heading), math.sin(heading)])
        wanted = target - velocity
        velocity = velocity + wanted * min(1.0, acceleration_mps2 * step_s / max(np.linalg.norm(wanted), 1e-9))
        place = place + velocity * step_s
        places.append(place)
    return np.array(places)[np.round(stamps_s / step_s).astype(int)]


@pytest.mark.parametrize("rate_hz", [0.5, 1.0, 5.0, 10.0])
@pytest.mark.parametrize("over_s", [0.0, 1.0])
def test_30_m_that_a_walking_robot_did_not_walk_are_a_jump(rate_hz, over_s):
    stamps_s = np.arange(0.0, 30.0, 1.0 / rate_hz)
    off = np.clip((stamps_s - 14.9) / over_s if over_s else (stamps_s >= 14.9) * 1.0, 0.0, 1.0)
    found = track_of(stamps_s, walk(stamps_s) + np.outer(30.0 * off, [0.0, 1.0]))
    assert max(found) == pytest.approx(30.0, abs=6.0)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.5, 1.0, 2.0, 5.0, 10.0]), st.sampled_from([1.5, 5.0, 15.0]))
def test_no_start_stop_or_turn_of_a_robot_is_a_jump(seed, rate_hz, max_speed_mps):
    stamps_s = np.arange(0.0, 60.0, 1.0 / rate_hz)
    way_m = driven(stamps_s, seed, max_speed_mps, acceleration_mps2=3.0)
    assert track_of(stamps_s, way_m, sigma_m=1.5) == []


@pytest.mark.parametrize("rate_hz", [1.0, 10.0])
def test_errors_within_the_claim_are_hardly_ever_a_jump_even_where_each_fix_has_its_own(rate_hz):
    random = np.random.default_rng(0)
    stamps_s = np.arange(0.0, 3000.0 / rate_hz, 1.0 / rate_hz)
    way_m = walk(stamps_s) + 1.5 * random.standard_normal((len(stamps_s), 2))
    # chi-square: 4 sigmas once in 3000 fixes, each with two ways to it
    assert len(track_of(stamps_s, way_m, sigma_m=1.5)) <= len(stamps_s) / 1000


def test_a_corner_and_a_turn_on_the_spot_are_no_jump():
    stamps_s = np.arange(0.0, 40.0, 1.0)
    for speed_mps in (1.4, 5.0):
        for turn in (np.array([0.0, 1.0]), np.array([-1.0, 0.0])):
            way_m = walk(np.minimum(stamps_s, 20.3), speed_mps)
            way_m += np.outer(speed_mps * np.maximum(stamps_s - 20.3, 0.0), turn)
            assert track_of(stamps_s, way_m, sigma_m=1.5) == []


def test_a_bias_that_creeps_is_no_jump_and_neither_is_a_gap():
    stamps_s = np.arange(0.0, 60.0, 0.2)
    assert track_of(stamps_s, walk(stamps_s) + np.outer(0.5 * stamps_s, [0.0, 1.0])) == []
    gap_s = np.concatenate([np.arange(0.0, 20.0), np.arange(23.0, 40.0)])
    assert track_of(gap_s, walk(gap_s) + np.outer(30.0 * (gap_s > 20.0), [0.0, 1.0])) == []


def test_a_jump_is_forgotten_with_the_track():
    track = ReceiverTrack()
    for stamp_s in range(20):
        track.add(1000.0 + stamp_s, *degrees(np.array([30.0 * (stamp_s >= 10), 0.0])), 1.5)
    assert track.jump.size_m == pytest.approx(30.0, rel=0.01)
    assert track.jump.before_s == 1009.0
    track.clear()
    assert track.jump is None
