"""Scale and floor are fitted to errors for likelihood and coverage together, under the site's bound."""

import numpy as np
import pytest

from campus_visual_gps.estimation.site_bound import SiteMoments
from training.fit.covariance_fit import fit_covariance, fit_scale_and_floor
from training.metrics.consistency import consistency_metrics, covered, gaussian_nll, nees
from training.report.consistency_section import _cells
from training.report.flatten import flat_consistency
from training.report.table_rows import TableRow

SITE = SiteMoments(np.zeros(2), np.diag([900.0, 8000.0]))


def heavy_tailed(seed: int, n: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """Errors that are wider than claimed, one in ten four times so, and the claimed covariances."""
    rng = np.random.default_rng(seed)
    claimed = rng.uniform(3.0, 15.0, n)
    true = 2.0 * claimed * np.where(rng.random(n) < 0.1, 4.0, 1.0)
    return true[:, None] * rng.normal(size=(n, 2)), claimed[:, None, None] ** 2 * np.eye(2)


@pytest.mark.parametrize("share", [0.9, 0.955, 0.99])
def test_the_ellipses_hold_the_share_that_was_asked_for_and_hardly_more(share):
    errors_m, covs_m2 = heavy_tailed(1)
    likeliest = fit_covariance(errors_m, covs_m2, coverage=None)
    held_before = covered(nees(errors_m, likeliest.apply(covs_m2)), 0.95).mean()
    held = covered(nees(errors_m, fit_covariance(errors_m, covs_m2, coverage=share).apply(covs_m2)), 0.95).mean()
    assert max(share, held_before) <= held <= max(share, held_before) + 0.01


def test_what_was_fitted_without_a_wish_is_the_likeliest():
    errors_m, covs_m2 = heavy_tailed(2)
    fitted = fit_covariance(errors_m, covs_m2, coverage=None)
    assert (fitted.scale, fitted.floor_sigma_m) == pytest.approx(fit_scale_and_floor(errors_m, covs_m2), rel=1e-6)
    best = gaussian_nll(errors_m, fitted.apply(covs_m2)).mean()
    for factor in (0.8, 1.25):
        assert gaussian_nll(errors_m, factor * fitted.apply(covs_m2)).mean() > best


def test_the_fit_knows_the_bound_that_it_will_be_applied_with():
    rng = np.random.default_rng(3)
    positions = rng.uniform([-50.0, -150.0], [50.0, 150.0], (400, 2))
    covs_m2, anywhere_m2 = np.tile(100.0 * np.eye(2), (400, 1, 1)), SITE.about(positions)
    match_score = rng.uniform(2.0, 100.0, 400)
    errors_m = np.where(match_score[:, None] < 20.0, 40.0, 8.0) * rng.normal(size=(400, 2))
    fitted = fit_covariance(errors_m, covs_m2, match_score, anywhere_m2)
    claimed = fitted.apply(covs_m2, match_score, anywhere_m2)
    assert fitted.bounded and fitted.reference_match_score == pytest.approx(np.quantile(match_score, 0.95))
    assert covered(nees(errors_m, claimed), 0.95).mean() >= 0.95
    above = np.linalg.eigvalsh(anywhere_m2 + fitted.floor_sigma_m**2 * np.eye(2) - claimed)
    assert above.min() >= -1e-6 * anywhere_m2.max()
    free = fit_covariance(errors_m, covs_m2, match_score)
    unbounded = gaussian_nll(errors_m, free.apply(covs_m2, match_score)).mean()
    assert gaussian_nll(errors_m, claimed).mean() < unbounded


def test_the_grids_own_nll_stands_beside_that_of_the_ellipse_where_there_is_a_grid():
    errors_m, covs_m2 = heavy_tailed(4, 60)
    nats = np.linspace(6.0, 9.0, 60)
    nats[3] = np.nan
    blocks = np.arange(60)
    metrics = consistency_metrics(errors_m, covs_m2, blocks, grid_nll=nats)
    assert flat_consistency(metrics)["grid_nll_mean"] == pytest.approx(np.nanmean(nats))
    assert any(cell.startswith(f"{np.nanmean(nats):.2f} [") for cell in _cells(TableRow("all", None, metrics)))
    assert "grid_nll_mean" not in flat_consistency(consistency_metrics(errors_m, covs_m2, blocks))
