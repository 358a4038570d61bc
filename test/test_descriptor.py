"""Places are told apart by descriptors in a learned metric, and photos of one place by parts that agree."""

import numpy as np
import pytest

from campus_visual_gps.errors import BundleError
from campus_visual_gps.retrieval.descriptor import (
    MARGIN,
    TRANSLATION_TOLERANCE,
    DescriptorExtractor,
    Place,
    RetrievalIndex,
    agreements,
)
from training.fit.descriptor_fit import fit_descriptor_extractor, whitened_lda

PHOTOS, SIDE, CHANNELS = 60, 8, 12


def features(rng, photos=PHOTOS):
    """Statistics, two stages' activations and positions of photos, four at every one of the places of a line."""
    places = np.arange(photos) // 4
    scene = np.random.default_rng(7).normal(size=(photos // 4 + 1, SIDE, SIDE, CHANNELS))[places]
    local = scene + 0.5 * rng.normal(size=scene.shape)
    coarse = local.reshape(photos, SIDE // 2, 2, SIDE // 2, 2, CHANNELS).mean(axis=(2, 4))
    statistics = np.concatenate([local.mean(axis=(1, 2)), local.std(axis=(1, 2))], axis=1)
    positions = np.stack([places * 40.0, np.zeros(photos)], axis=1) + rng.normal(size=(photos, 2))
    return statistics.astype(np.float32), (local.astype(np.float16), coarse.astype(np.float16)), positions


def unit_parts(rng, side=6, size=16):
    parts = rng.normal(size=(side * side, size))
    return np.round(127 * parts / np.linalg.norm(parts, axis=1, keepdims=True)).astype(np.int8)


def shifted(parts, rows, columns, rng):
    """The same scene, seen from one side: displaced, and other things where it has left the picture."""
    side = int(np.sqrt(len(parts)))
    table, new = parts.reshape(side, side, -1), unit_parts(rng, side, parts.shape[1]).reshape(side, side, -1)
    new[rows:, columns:] = table[: side - rows, : side - columns]
    return new.reshape(len(parts), -1)


def test_new_photos_find_those_of_their_own_place():
    statistics, local, positions = features(np.random.default_rng(0))
    space = fit_descriptor_extractor(statistics, local, positions)
    places = [space.place(*photo) for photo in zip(statistics, zip(*local, strict=True), strict=True)]
    descriptors, parts = (np.stack(values) for values in zip(*places, strict=True))
    np.testing.assert_allclose(np.linalg.norm(descriptors, axis=1), 1.0, rtol=1e-4)
    index = RetrievalIndex(space, descriptors.astype(np.float16), parts, positions)
    statistics, local, truth = features(np.random.default_rng(1))
    found = [index.nearest(space.place(*photo), 3) for photo in zip(statistics, zip(*local, strict=True), strict=True)]
    errors_m = [np.linalg.norm(near.positions_enu_m[0] - place) for near, place in zip(found, truth, strict=True)]
    assert np.median(errors_m) < 5.0 and np.mean(np.array(errors_m) < 10.0) > 0.9
    assert all(near.agreements.shape == (3,) and near.agreements.min() >= 1.0 for near in found)


def test_the_metric_forgets_what_differs_between_photos_of_one_place():
    rng = np.random.default_rng(2)
    places = np.arange(400) // 8
    where = np.random.default_rng(3).normal(size=(50, 5))[places]
    light = 2.0 * rng.normal(size=(400, 3))
    positions = np.stack([places * 50.0, np.zeros(400)], axis=1)
    joined = np.concatenate([where + 0.1 * rng.normal(size=where.shape), light], axis=1)
    metric = whitened_lda(joined, positions)
    centred = (joined - joined.mean(axis=0)) @ metric
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    cosines = unit @ unit.T
    same = places[:, None] == places
    np.fill_diagonal(same, False)
    assert cosines[same].mean() > 0.8 > 0.1 > np.abs(cosines[~same & ~np.eye(400, dtype=bool)].mean())
    bare = (joined - joined.mean(axis=0)) / np.linalg.norm(joined - joined.mean(axis=0), axis=1, keepdims=True)
    assert (bare @ bare.T)[same].mean() < 0.4


def test_parts_agree_with_themselves_and_with_the_same_scene_seen_from_one_side():
    rng = np.random.default_rng(4)
    parts = unit_parts(rng, side=10, size=64)
    others = np.stack([parts, shifted(parts, 1, 4, rng), unit_parts(rng, 10, 64), rng.permutation(parts)])
    same, aside, other, mixed = agreements(parts, others)
    assert same > aside > 0.4 * same
    # the same things in another order are no scene
    assert 1.0 <= other < 0.1 * aside and 1.0 <= mixed < 0.5 * same


def test_what_is_alike_all_over_the_picture_agrees_with_nothing():
    rng = np.random.default_rng(6)
    few = unit_parts(rng, side=2, size=64)  # four kinds of ground
    grass = few[(np.arange(10)[:, None] % 4 < 2) * 2 + (np.arange(10)[None, :] % 4 < 2)].reshape(100, 64)
    assert agreements(grass, grass[None])[0] == pytest.approx(1.0)
    tree = grass.copy()
    tree[44] = unit_parts(rng, side=1, size=64)[0]
    assert agreements(tree, tree[None])[0] > 2.0


def test_agreement_is_counted_as_by_hand():
    rng = np.random.default_rng(5)
    one, two = unit_parts(rng, 5, 8), np.stack([unit_parts(rng, 5, 8) for _ in range(6)])
    for other, found in zip(two, agreements(one, two), strict=True):
        cosines = other.astype(float) @ one.T.astype(float) / 127**2
        votes = {}
        for own in range(25):
            there = cosines[:, own].argmax()
            if cosines[there].argmax() == own:
                elsewhere = [
                    cosines[part, own]
                    for part in range(25)
                    if max(abs(part // 5 - there // 5), abs(part % 5 - there % 5)) > 1
                ]
                shift = (there // 5 - own // 5, there % 5 - own % 5)
                margin = (cosines[there, own] - max(*elsewhere, 0.0)) / MARGIN
                votes[shift] = votes.get(shift, 0.0) + max(margin, 0.0)
        around = [
            (i, j)
            for i in range(-TRANSLATION_TOLERANCE, TRANSLATION_TOLERANCE + 1)
            for j in range(-TRANSLATION_TOLERANCE, TRANSLATION_TOLERANCE + 1)
        ]
        best = max(
            sum(votes.get((row + i, column + j), 0.0) for i, j in around)
            for row in range(-4, 5)
            for column in range(-4, 5)
        )
        assert found == pytest.approx(1.0 + best, rel=1e-5)


def test_a_space_survives_the_bundle_and_tells_when_it_is_not_whole():
    statistics, local, positions = features(np.random.default_rng(6))
    space = fit_descriptor_extractor(statistics, local, positions)
    tensors = space.tensors()
    again = DescriptorExtractor.from_tensors(tensors | {"features": np.zeros(3)})
    photo = (statistics[0], [stage[0] for stage in local])
    for first, second in zip(space.place(*photo), again.place(*photo), strict=True):
        np.testing.assert_array_equal(first, second)
    assert DescriptorExtractor.from_tensors({"features": np.zeros(3)}) is None
    with pytest.raises(BundleError, match=r"place\.0\.words"):
        DescriptorExtractor.from_tensors({name: value for name, value in tensors.items() if name != "place.0.words"})
    with pytest.raises(BundleError, match="not finite"):
        DescriptorExtractor.from_tensors(tensors | {"place.mean": np.full_like(space.mean, np.nan)})
    with pytest.raises(BundleError, match="channels"):
        space.place(statistics[0][:-1], [stage[0] for stage in local])


def test_a_network_that_has_diverged_has_no_space():
    statistics, local, positions = features(np.random.default_rng(8))
    assert fit_descriptor_extractor(np.full_like(statistics, np.inf), local, positions) is None
    assert fit_descriptor_extractor(statistics[:1], [stage[:1] for stage in local], positions[:1]) is None


def test_photos_that_are_all_alike_still_have_places():
    statistics, local, positions = features(np.random.default_rng(9), photos=4)
    statistics[:], alike = statistics[0], [np.repeat(stage[:1], 4, axis=0) for stage in local]
    space = fit_descriptor_extractor(statistics, alike, positions)
    place = space.place(statistics[0], [stage[0] for stage in alike])
    assert np.isfinite(place.descriptor).all() and place.parts.dtype == np.int8


def test_parts_of_other_photos_are_refused():
    statistics, local, positions = features(np.random.default_rng(10))
    space = fit_descriptor_extractor(statistics, local, positions)
    place = space.place(statistics[0], [stage[0] for stage in local])
    assert isinstance(place, Place)
    with pytest.raises(BundleError, match="parts"):
        RetrievalIndex(space, np.ones((3, 4)), np.ones((2, 9, 4), np.int8), np.zeros((3, 2)))
