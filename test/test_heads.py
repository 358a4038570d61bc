"""Heads that give a distribution, and the losses that train them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.models.heads import MIN_SIGMA_M, build_head
from campus_visual_gps.models.position_model import ModelConfig, build_from_state, build_model
from training.fit.losses import beta_nll, grid_cross_entropy
from training.fit.site_cells import site_cells

CELLS = torch.tensor([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0], [60.0, 6.0]])


@given(st.integers(0, 10_000), st.floats(0.1, 1e3))
def test_a_gaussian_is_positive_definite_whatever_the_features(seed, scale):
    torch.manual_seed(seed)
    head = build_head("gaussian", 8, output_scale_m=50.0).eval()
    output = head(scale * torch.randn(5, 8))
    eigenvalues = torch.linalg.eigvalsh(output.cov_enu_m2.double())
    torch.testing.assert_close(output.cov_enu_m2, output.cov_enu_m2.mT)
    assert eigenvalues.min() > 0 and output.cov_enu_m2.diagonal(dim1=1, dim2=2).min() >= MIN_SIGMA_M**2 * (1 - 1e-12)


def test_the_moments_of_a_grid_are_those_of_its_cells():
    torch.manual_seed(0)
    head = build_head("probability_map", 8, cells_enu_m=CELLS).eval()
    output = head(torch.randn(3, 8))
    weights = output.grid_log_probs.exp().detach().double().numpy()
    np.testing.assert_allclose(weights.sum(1), 1.0, atol=1e-6)
    for row in range(3):
        mean = weights[row] @ CELLS.numpy()
        np.testing.assert_allclose(output.mean_enu_m[row].detach(), mean, atol=1e-3)
        expected = np.cov(CELLS.numpy().T, aweights=weights[row], ddof=0)
        np.testing.assert_allclose(output.cov_enu_m2[row].detach(), expected, atol=0.05)


def test_a_grid_head_needs_cells():
    with pytest.raises(ConfigError, match="cells"):
        build_head("probability_map", 8)
    with pytest.raises(ConfigError, match="cell_m"):
        ModelConfig(cell_m=0.0)


def test_a_model_with_a_grid_is_built_from_its_state_alone():
    config = ModelConfig("resnet18", "probability_map")
    model = build_model(config, cells_enu_m=CELLS)
    again = build_from_state(config, model.state_dict())
    torch.testing.assert_close(again.cells_enu_m, CELLS)
    images = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(again.eval()(images).grid_log_probs, model.eval()(images).grid_log_probs)


def test_with_beta_zero_the_loss_is_the_negative_log_likelihood():
    cov = torch.tensor([[[9.0, 2.0], [2.0, 16.0]]], dtype=torch.float64)
    offset = torch.tensor([[3.0, -4.0]], dtype=torch.float64)
    expected = -torch.distributions.MultivariateNormal(torch.zeros(1, 2).double(), cov).log_prob(offset)
    found = beta_nll(torch.zeros(1, 2).double(), cov, offset, beta=0.0)
    assert float(found) == pytest.approx(float(expected) - math.log(2 * math.pi))


def test_beta_weighs_by_the_variance_and_is_not_learned_from():
    cov = (torch.eye(2) * 16.0).unsqueeze(0).requires_grad_()
    zero, one = (beta_nll(torch.zeros(1, 2), cov, torch.ones(1, 2), beta) for beta in (0.0, 1.0))
    assert one.item() == pytest.approx(16.0 * zero.item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(one.sum(), cov)
    (unweighted,) = torch.autograd.grad(beta_nll(torch.zeros(1, 2), cov, torch.ones(1, 2), 0.0).sum(), cov)
    torch.testing.assert_close(gradient, 16.0 * unweighted)


def test_a_grid_is_taught_a_gaussian_around_the_label():
    squared = (CELLS - torch.tensor([1.0, 1.0])).square().sum(1)
    target = torch.softmax(-squared / (2 * 8.0**2), 0)
    best = grid_cross_entropy(target.log().unsqueeze(0), CELLS, torch.tensor([[1.0, 1.0]]), 8.0)
    entropy = -(target * target.log()).sum()
    assert float(best) == pytest.approx(float(entropy), rel=1e-5)
    even = torch.full((1, 4), math.log(0.25))
    assert grid_cross_entropy(even, CELLS, torch.tensor([[1.0, 1.0]]), 8.0) > best


def test_cells_cover_the_photos_with_a_margin_and_nothing_else():
    photos = np.array([[0.0, 0.0], [100.0, 0.0]])
    cells = site_cells(photos, 6.0, 20.0)
    distances = np.linalg.norm(cells[:, None] - photos, axis=2).min(axis=1)
    assert distances.max() <= 20.0 and len(cells) == pytest.approx(2 * math.pi * 20**2 / 36, rel=0.15)
    np.testing.assert_allclose(cells % 6.0, 0.0)


def test_a_margin_below_a_cell_still_gives_every_photo_a_cell():
    photos = np.random.default_rng(0).uniform(0, 200, (30, 2))
    cells = site_cells(photos, 10.0, 0.0)
    assert np.linalg.norm(cells[:, None] - photos, axis=2).min(axis=0).max() <= 10.0
