"""A share of the held-out photos is calibrated on as if no reference photo showed where they were taken."""

import dataclasses

import numpy as np
import pytest
from calibration_sets import grid_set, nees_of, outputs_of

from campus_visual_gps.retrieval.index import TOP_K, RetrievalIndex, RetrievalResult
from training.fit.calibration import fit_calibration, fit_covariance_of_sets
from training.fit.withheld_spots import WITHHELD_EVERY, WITHHELD_RADIUS_M, retrieve_elsewhere, withheld_spots
from training.metrics.consistency import covered


def photos_far_from(truth, rng, match_score=5.0) -> RetrievalResult:
    """Of photos (N, 2) the answers where their spot is not shown: photos of other spots, all over the site."""
    rows = rng.integers(0, len(truth), (len(truth), TOP_K))
    similarities = np.sort(rng.uniform(0.3, 0.6, rows.shape))[:, ::-1]
    return RetrievalResult(rows, similarities, truth[rows], np.full(rows.shape, match_score))


def site_set(rng, n=200):
    own = grid_set(rng, 20.0, 20.0, n)
    return dataclasses.replace(own, retrieval_elsewhere=photos_far_from(own.truth_enu_m, rng))


def test_the_photos_found_elsewhere_were_not_taken_near_the_truth():
    rng = np.random.default_rng(1)
    positions, truth = rng.uniform(0.0, 60.0, (300, 2)), rng.uniform(0.0, 60.0, (40, 2))
    index = RetrievalIndex(rng.normal(size=(300, 8)), positions)
    outputs = dataclasses.replace(
        outputs_of(truth[:, None], np.zeros((40, 1, 2, 2))), descriptors=rng.normal(size=(40, 8)).astype(np.float32)
    )
    found = retrieve_elsewhere(outputs, index, truth)
    distances_m = np.linalg.norm(found.positions_enu_m - truth[:, None], axis=-1)
    assert distances_m.min() > WITHHELD_RADIUS_M
    for own, rows, ranking in zip(truth, found.rows, index.search(outputs.descriptors, k=300).rows, strict=True):
        far = np.linalg.norm(positions - own, axis=1) > WITHHELD_RADIUS_M
        np.testing.assert_array_equal(rows, ranking[far[ranking]][:TOP_K])


def test_nothing_is_searched_without_an_index_or_descriptors():
    outputs = outputs_of(np.zeros((2, 1, 2)), np.zeros((2, 1, 2, 2)))
    assert retrieve_elsewhere(outputs, None, np.zeros((2, 2))) is None
    assert retrieve_elsewhere(outputs, RetrievalIndex(np.ones((3, 4)), np.zeros((3, 2))), np.zeros((2, 2))) is None


def test_a_share_of_the_photos_counts_once_more():
    own = site_set(np.random.default_rng(2), n=23)
    (spots,) = withheld_spots([own])
    chosen = np.arange(0, 23, WITHHELD_EVERY)
    np.testing.assert_array_equal(spots.truth_enu_m, own.truth_enu_m[chosen])
    np.testing.assert_array_equal(spots.retrieval.rows, own.retrieval_elsewhere.rows[chosen])
    # what the networks learnt from the photos of the spot is withheld too
    np.testing.assert_allclose(np.exp(spots.outputs.grid_log_probs), 1.0 / len(own.grid))


def test_photos_to_which_too_few_reference_photos_are_left_do_not_count():
    own = site_set(np.random.default_rng(3), n=20)
    own.retrieval_elsewhere.rows[:10, -1] = -1
    (spots,) = withheld_spots([own])
    np.testing.assert_array_equal(spots.truth_enu_m, own.truth_enu_m[[12, 15, 18]])
    own.retrieval_elsewhere.rows[:] = -1
    assert withheld_spots([own]) == []
    assert withheld_spots([dataclasses.replace(own, retrieval=None, retrieval_elsewhere=None)]) == []


@pytest.mark.slow
def test_covariances_hold_better_at_spots_that_no_reference_photo_shows():
    rng = np.random.default_rng(4)
    sets = [site_set(rng) for _ in range(2)]
    unseen = [dataclasses.replace(own, retrieval=own.retrieval_elsewhere) for own in (site_set(rng), site_set(rng))]
    blind = [dataclasses.replace(own, retrieval_elsewhere=None) for own in sets]
    before, after = (fit_calibration(own, retrieval_prior=True) for own in (blind, sets))
    assert (before.measured["withheld_spots"], after.measured["withheld_spots"]) == (
        0,
        2 * len(range(0, 200, WITHHELD_EVERY)),
    )
    held = [float(covered(nees_of(unseen, calibration), 0.95).mean()) for calibration in (before, after)]
    assert held[1] > held[0] + 0.05


def test_photos_of_withheld_spots_do_not_count_where_no_prior_is_asked_for():
    own = site_set(np.random.default_rng(5))
    calibration = fit_calibration([own])
    assert calibration.measured["withheld_spots"] == 0
    alone = fit_covariance_of_sets([dataclasses.replace(own, retrieval_elsewhere=None)], calibration)
    assert (calibration.scale, calibration.floor_sigma_m) == (alone.scale, alone.floor_sigma_m)
