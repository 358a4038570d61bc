"""sample/bundle gives the answers that it gave before: no change of the code may move a fix unnoticed."""

import numpy as np
import pytest
from make_golden import BUNDLE, answers, covariance, position, read_golden

pytestmark = pytest.mark.slow

# Sums in another order move answers by less; a change of the method moves them by more.
POSITION_M, RELATIVE_COVARIANCE = 1e-3, 1e-3


@pytest.fixture(scope="module")
def now():
    return {row["image"]: row for row in answers()}


def test_every_image_is_answered(now):
    assert BUNDLE.is_dir()
    assert now.keys() == read_golden().keys() and len(now) > 80


def test_positions_and_covariances_are_those_of_the_golden_file(now):
    moved_m, changed = {}, {}
    for image, before in read_golden().items():
        moved_m[image] = float(np.abs(position(now[image]) - position(before)).max())
        difference = np.abs(covariance(now[image]) - covariance(before)).max()
        changed[image] = float(difference / np.abs(covariance(before)).max())
    worst = max(moved_m, key=moved_m.__getitem__)
    assert moved_m[worst] <= POSITION_M, f"{worst} moved {moved_m[worst]:.4f} m"
    worst = max(changed, key=changed.__getitem__)
    assert changed[worst] <= RELATIVE_COVARIANCE, f"covariance of {worst} changed by {changed[worst]:.2%}"


def test_scores_and_rejections_are_those_of_the_golden_file(now):
    for image, before in read_golden().items():
        assert now[image]["rejection"] == before["rejection"]
        np.testing.assert_allclose(float(now[image]["match_score"]), float(before["match_score"]), rtol=1e-2)
        np.testing.assert_allclose(float(now[image]["ood_score"]), float(before["ood_score"]), atol=1e-4)
