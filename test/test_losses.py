"""Each head is trained with its own loss, under its own settings."""

import pytest
import torch

from campus_visual_gps.models.heads import HeadOutput
from training.config import LossSettings
from training.fit.losses import beta_nll, grid_cross_entropy, huber, loss_for_head

TARGET = torch.tensor([[3.0, -4.0], [0.5, 0.2]])
CELLS = torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]])
OUTPUT = HeadOutput(
    torch.tensor([[0.0, 0.0], [1.0, 0.0]]),
    torch.eye(2, dtype=torch.float64).repeat(2, 1, 1) * 4.0,
    torch.log_softmax(torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]]), dim=1),
)
SETTINGS = LossSettings(huber_delta_m=2.0, nll_beta=0.25, target_sigma_m=3.0)


def test_point_heads_have_the_huber_loss():
    for head in ("mlp", "linear"):
        loss = loss_for_head(head, SETTINGS, OUTPUT, TARGET)
        torch.testing.assert_close(loss, huber(OUTPUT.mean_enu_m, TARGET, delta_m=2.0))


def test_the_gaussian_head_has_the_beta_nll():
    expected = beta_nll(OUTPUT.mean_enu_m, OUTPUT.cov_enu_m2, TARGET, beta=0.25)
    torch.testing.assert_close(loss_for_head("gaussian", SETTINGS, OUTPUT, TARGET), expected)


def test_the_grid_head_has_the_cross_entropy_over_its_cells():
    expected = grid_cross_entropy(OUTPUT.grid_log_probs, CELLS, TARGET, sigma_m=3.0)
    torch.testing.assert_close(loss_for_head("probability_map", SETTINGS, OUTPUT, TARGET, CELLS), expected)


def test_a_grid_head_without_a_grid_is_an_error():
    with pytest.raises(ValueError, match="without a grid"):
        loss_for_head("probability_map", SETTINGS, OUTPUT._replace(grid_log_probs=None), TARGET, CELLS)


def test_the_squared_error_of_point_heads_is_that_of_mse_and_of_both_weighted_losses():
    expected = torch.tensor([(3.0**2 + 4.0**2) / 2, (0.5**2 + 0.2**2) / 2])
    for name in ("mse", "inverse_variance", "area_zscore"):
        for head in ("mlp", "linear"):
            torch.testing.assert_close(loss_for_head(head, LossSettings(name=name), OUTPUT, TARGET), expected)


@pytest.mark.parametrize("name", ["mse", "inverse_variance", "area_zscore"])
def test_gaussian_and_grid_heads_keep_their_own_loss_under_every_name(name):
    named = LossSettings(name=name)
    for head, cells in (("gaussian", None), ("probability_map", CELLS)):
        own = loss_for_head(head, LossSettings(), OUTPUT, TARGET, cells)
        torch.testing.assert_close(loss_for_head(head, named, OUTPUT, TARGET, cells), own)
