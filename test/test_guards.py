"""Guards of a training: divergence stops it with advice, and a growing gap is reported."""

import logging
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from campus_visual_gps.errors import VisualGpsError
from campus_visual_gps.models.position_model import ModelConfig
from training.config import GuardSettings, OptimizerSettings, TrainConfig, TrainerSettings
from training.fit.guards import (
    DivergenceGuard,
    GapReport,
    gap_growth,
    loss_gap,
    median_position_error_m,
    warn_of_device,
)
from training.fit.training_curves import learning_rate_steps

CONFIG = TrainConfig(optimizer=OptimizerSettings(lr=0.5), trainer=TrainerSettings(batch_size=8))


def _trainer(epoch=0, step=3, processes=1, **metrics):
    values = {name: torch.tensor(float(value)) for name, value in metrics.items()}
    return SimpleNamespace(
        current_epoch=epoch, global_step=step, world_size=processes, callback_metrics=values, is_global_zero=True
    )


def _guard(config=CONFIG, median_error_m=100.0):
    return DivergenceGuard(config, 7, median_error_m)


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_loss_that_is_not_finite_stops_at_its_step_with_advice(value):
    with pytest.raises(
        VisualGpsError, match=f"seed 7: training has diverged in epoch 1: the loss is {value}"
    ) as caught:
        _guard().on_train_batch_end(_trainer(), None, {"loss": torch.tensor(float(value))}, None, 0)
    message = str(caught.value)
    for advice in ("warm-up", "optimizer.lr, now 0.5", "batches of 24", "now 8", "AdamW", "--out", "section 6.1"):
        assert advice in message
    assert "\n" not in message


def test_finite_losses_go_on_whatever_their_size():
    _guard().on_train_batch_end(_trainer(), None, {"loss": torch.tensor(1e30)}, None, 0)


def test_a_validation_loss_that_is_not_finite_stops_after_its_epoch_and_one_that_is_missing_does_not():
    good = {"train_loss": 1.0, "train_mean_error_m": 1.0}
    _guard().on_train_epoch_end(_trainer(epoch=40, **good), None)
    with pytest.raises(VisualGpsError, match="epoch 41: val_loss is nan"):
        _guard().on_train_epoch_end(_trainer(epoch=40, **good, val_loss="nan"), None)


def test_errors_far_above_those_of_the_median_position_stop_the_first_epochs_only():
    wrong = {"train_loss": 9e4, "train_mean_error_m": 304.0, "val_loss": 1.0}
    with pytest.raises(VisualGpsError, match=r"is 304 m \(loss 9e\+04\); the median position has 100 m"):
        _guard().on_train_epoch_end(_trainer(epoch=4, **wrong), None)
    _guard().on_train_epoch_end(_trainer(epoch=5, **wrong), None)
    off = TrainConfig(guards=GuardSettings(divergence_epochs=0))
    _guard(off).on_train_epoch_end(_trainer(epoch=0, **wrong), None)


@pytest.mark.parametrize("scale_m", [1.0, 50.0])
@pytest.mark.parametrize("site_m", [5.0, 300.0, 3000.0])
def test_a_fresh_network_is_never_taken_for_one_that_has_diverged(scale_m, site_m):
    """The paper's head answers near 0 at first; another scale answers within some of it."""
    positions = np.random.default_rng(0).uniform(-site_m / 2, site_m / 2, (200, 2))
    config = TrainConfig(model=ModelConfig(output_scale_m=scale_m))
    fresh = positions + np.random.default_rng(1).normal(0, scale_m, (200, 2))
    error_m = float(np.linalg.norm(fresh, axis=1).mean())
    metrics = {"train_loss": error_m**2, "train_mean_error_m": error_m}
    DivergenceGuard(config, 1, median_position_error_m(positions)).on_train_epoch_end(_trainer(**metrics), None)


def test_the_median_position_is_taken_by_axis():
    assert median_position_error_m(np.array([[0.0, 0.0], [3.0, 4.0], [-3.0, -4.0]])) == pytest.approx(10 / 3)


def test_the_gap_is_the_ratio_of_the_losses_and_unknown_where_it_means_nothing():
    assert loss_gap(2.2, 4.18) == pytest.approx(1.9)
    for losses in ((0.0, 1.0), (-1.0, 2.0), (1.0, -2.0), (float("nan"), 1.0), (1.0, float("inf"))):
        assert np.isnan(loss_gap(*losses))


def test_growth_of_the_gap_counts_from_the_best_epoch_and_not_from_one_noisy_epoch():
    falling = [(100.0, 110.0), (50.0, 60.0), (20.0, 30.0)]
    assert np.isnan(gap_growth(falling)[0])
    assert np.isnan(gap_growth([*falling, (18.0, 90.0)])[0])
    growth, best = gap_growth([*falling, (15.0, 33.0), (12.0, 34.0), (10.0, 36.0)])
    assert growth == pytest.approx(3.6 / 1.5) and best == 2


def test_a_growing_gap_is_warned_of_once_and_again_only_when_it_has_grown_further(caplog):
    report = GapReport(TrainConfig(), 7)
    losses = [(20.0, 30.0), *[(18.0, 31.0)] * 3, (12.0, 33.0), (11.9, 33.0), (11.8, 33.0), (5.0, 40.0), (5.0, 40.0)]
    warned = []
    with caplog.at_level(logging.WARNING):
        for epoch, (train_loss, val_loss) in enumerate(losses):
            caplog.clear()
            report.on_train_epoch_end(_trainer(epoch, train_loss=train_loss, val_loss=val_loss), None)
            warned += [(epoch, record.getMessage()) for record in caplog.records]
            resumed = GapReport(TrainConfig(), 7)
            resumed.load_state_dict(report.state_dict())
            report = resumed
    assert [epoch for epoch, _ in warned] == [4, 7]
    assert "epoch 5: validation loss / training loss has grown from 1.50 in epoch 1, the best, to 2.75" in warned[0][1]


def test_without_validation_photos_there_is_no_gap(caplog):
    report = GapReport(TrainConfig(), 7)
    for epoch in range(5):
        report.on_train_epoch_end(_trainer(epoch, train_loss=1.0), None)
    assert not caplog.records


def test_training_on_mps_warns_with_the_settings_that_diverged_there(caplog):
    warn_of_device(torch.device("cpu"), CONFIG)
    assert not caplog.records
    warn_of_device(torch.device("mps"), CONFIG)
    assert "section 6.1" in caplog.text and "trainer.batch_size is 8 and optimizer.warmup_epochs 0" in caplog.text


def test_learning_rate_steps_are_those_of_a_plateau_and_not_of_warm_up_or_cosine():
    plateau = pd.Series([5e-5, 1e-4, 1e-4, 1e-4, 5e-5, 5e-5, 5e-5, 2.5e-5], index=range(1, 9))
    assert learning_rate_steps(plateau) == [5, 8]
    cosine = pd.Series(1e-4 * (1 + np.cos(np.pi * np.arange(12) / 12)) / 2, index=range(1, 13))
    assert learning_rate_steps(cosine) == []
    assert learning_rate_steps(pd.Series([1e-4], index=[1])) == []
