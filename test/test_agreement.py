"""How far members agree and what all of them miss, from the rows of predictions.csv alone."""

import numpy as np
import pandas as pd
import pytest

from training.evaluate.agreement import agreement_metrics, impossible_photos, member_errors_m, missed_by_all

NAMES = ["42", "42-efficientnet_b0", "7"]


def table(offsets_m: np.ndarray) -> pd.DataFrame:
    """Rows for offsets (N, M, 2) of the members from the truth, metres."""
    count = len(offsets_m)
    truth = np.random.default_rng(0).uniform(-100, 100, (count, 2))
    columns = {
        "photo_id": [f"p{row:016x}" for row in range(count)],
        "session": ["walk"] * count,
        "true_east_m": truth[:, 0],
        "true_north_m": truth[:, 1],
        "error_m": np.linalg.norm(offsets_m.mean(axis=1), axis=1),
        "rejection_reason": [""] * count,
    }
    for index, name in enumerate(NAMES[: offsets_m.shape[1]]):
        east, north = (truth + offsets_m[:, index]).T
        columns |= {f"member_{name}_east_m": east, f"member_{name}_north_m": north}
    return pd.DataFrame(columns)


def test_members_with_the_same_mistakes_correlate_and_with_their_own_do_not():
    random = np.random.default_rng(1)
    common = random.normal(0, 10, (500, 1, 2))
    alike = agreement_metrics(table(common + random.normal(0, 0.1, (500, 3, 2))), NAMES)
    apart = agreement_metrics(table(random.normal(0, 10, (500, 3, 2))), NAMES)
    assert len(alike.pairs) == 3 and alike.error_correlation > 0.99
    assert abs(apart.error_correlation) < 0.1
    assert alike.mean_distance_m < 0.3 and apart.mean_distance_m > 10.0


def test_distances_are_the_mean_over_photos_of_each_pair():
    offsets = np.zeros((2, 3, 2))
    offsets[:, 1] = [[3.0, 4.0], [6.0, 8.0]]
    metrics = agreement_metrics(table(offsets), NAMES)
    by_pair = {pair.names: pair for pair in metrics.pairs}
    assert by_pair["42", "42-efficientnet_b0"].mean_distance_m == pytest.approx(7.5)
    assert by_pair["42", "7"].mean_distance_m == 0.0
    assert metrics.mean_distance_m == pytest.approx(5.0)


def test_a_photo_is_impossible_only_if_every_member_misses_it_by_more_than_the_limit():
    offsets = np.zeros((4, 3, 2))
    offsets[0, :, 0] = [25.0, 40.0, 30.0]
    offsets[1, :, 0] = [25.0, 40.0, 20.0]  # one member is within 20 m
    offsets[2, :, 0] = [90.0, 60.0, 70.0]
    predictions = table(offsets)
    rows = impossible_photos(predictions, NAMES, 20.0)
    assert rows["photo_id"].tolist() == [f"p{row:016x}" for row in (2, 0)]
    assert rows["least_error_m"].tolist() == pytest.approx([60.0, 25.0])
    assert rows["member_42-efficientnet_b0_error_m"].tolist() == pytest.approx([60.0, 40.0])
    metrics = agreement_metrics(predictions, NAMES, 20.0)
    assert (metrics.n_impossible, metrics.n_missed_by_any, metrics.n_missed_by_ensemble) == (2, 3, 3)
    assert agreement_metrics(predictions, NAMES, 30.0).n_impossible == 1
    assert impossible_photos(predictions, NAMES, 100.0).empty


def test_a_member_without_a_position_misses_the_photo_and_stops_no_number():
    offsets = np.zeros((3, 3, 2))
    offsets[0] = np.nan
    offsets[1, :, 0] = 50.0
    predictions = table(offsets)
    assert missed_by_all(member_errors_m(predictions, NAMES), 20.0).tolist() == [True, True, False]
    metrics = agreement_metrics(predictions, NAMES)
    assert metrics.mean_distance_m == 0.0 and metrics.n_impossible == 2
    assert len(impossible_photos(predictions, NAMES)) == 2


def test_a_single_member_has_nobody_to_agree_with():
    assert agreement_metrics(table(np.zeros((3, 1, 2))), NAMES[:1]) is None
