"""Local descriptors of two images of one scene match with one displacement, and those of other images do not."""

import numpy as np
import pytest

from campus_visual_gps.retrieval.matching import SCORE_MARGIN, TRANSLATION_TOLERANCE, match_scores


def random_descriptors(rng, side=6, size=16):
    """Local descriptors (side * side, size) int8 of a raster of unrelated things."""
    descriptors = rng.normal(size=(side * side, size))
    return np.round(127 * descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True)).astype(np.int8)


def displaced(descriptors, rows, columns, rng):
    """The same scene from one side: displaced, with other things where it has left the image."""
    side = int(np.sqrt(len(descriptors)))
    table = descriptors.reshape(side, side, -1)
    new = random_descriptors(rng, side, descriptors.shape[1]).reshape(side, side, -1)
    new[rows:, columns:] = table[: side - rows, : side - columns]
    return new.reshape(len(descriptors), -1)


def test_an_image_matches_itself_and_the_same_scene_displaced():
    rng = np.random.default_rng(4)
    own = random_descriptors(rng, side=10, size=64)
    others = np.stack([own, displaced(own, 1, 4, rng), random_descriptors(rng, 10, 64), rng.permutation(own)])
    same, aside, other, mixed = match_scores(own, others)
    assert same > aside > 0.4 * same
    # the same things in another order are another scene
    assert 1.0 <= other < 0.1 * aside and 1.0 <= mixed < 0.5 * same


def test_texture_that_repeats_all_over_the_image_matches_nothing():
    rng = np.random.default_rng(6)
    few = random_descriptors(rng, side=2, size=64)  # four kinds of ground
    grass = few[(np.arange(10)[:, None] % 4 < 2) * 2 + (np.arange(10)[None, :] % 4 < 2)].reshape(100, 64)
    assert match_scores(grass, grass[None])[0] == pytest.approx(1.0)
    tree = grass.copy()
    tree[44] = random_descriptors(rng, side=1, size=64)[0]
    assert match_scores(tree, tree[None])[0] > 2.0


def test_the_score_is_counted_as_by_hand():
    rng = np.random.default_rng(5)
    own, others = random_descriptors(rng, 5, 8), np.stack([random_descriptors(rng, 5, 8) for _ in range(6)])
    for other, found in zip(others, match_scores(own, others), strict=True):
        assert found == pytest.approx(score_by_hand(own, other), rel=1e-5)


def score_by_hand(own, other, side=5):
    cosines = other.astype(float) @ own.T.astype(float) / 127**2
    votes = {}
    for here in range(side * side):
        there = cosines[:, here].argmax()
        if cosines[there].argmax() != here:
            continue
        elsewhere = [
            cosines[position, here]
            for position in range(side * side)
            if max(abs(position // side - there // side), abs(position % side - there % side)) > 1
        ]
        shift = (there // side - here // side, there % side - here % side)
        margin = (cosines[there, here] - max(*elsewhere, 0.0)) / SCORE_MARGIN
        votes[shift] = votes.get(shift, 0.0) + max(margin, 0.0)
    steps = range(-TRANSLATION_TOLERANCE, TRANSLATION_TOLERANCE + 1)
    shifts = range(1 - side, side)
    best = max(
        sum(votes.get((row + i, column + j), 0.0) for i in steps for j in steps) for row in shifts for column in shifts
    )
    return 1.0 + best


def test_descriptors_of_zeros_have_the_least_score():
    own = random_descriptors(np.random.default_rng(8))
    zeros = np.zeros_like(own)
    np.testing.assert_array_equal(match_scores(zeros, np.stack([own, zeros])), [1.0, 1.0])
    np.testing.assert_array_equal(match_scores(own, zeros[None]), [1.0])
