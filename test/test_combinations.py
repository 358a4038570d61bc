"""Every head on every backbone is built, trained for a step with and without frozen stages, and read back."""

import pytest
import torch

from campus_visual_gps.models.backbones import BACKBONES, build_backbone, get_backbone
from campus_visual_gps.models.heads import HEADS, build_head
from campus_visual_gps.models.position_model import ModelConfig, PositionModel
from campus_visual_gps.models.stages import stage_names
from training.config import LossSettings, OptimizerSettings, SchedulerSettings
from training.fit.module import PositionModule

pytestmark = pytest.mark.slow  # builds networks

CELLS = torch.tensor([[0.0, 0.0], [20.0, 0.0], [0.0, 20.0]])
TARGETS = torch.tensor([[15.0, 2.0], [-3.0, 12.0]])
WEIGHTS = torch.tensor([1.5, 0.5])
LOSSES = {"linear": "mse", "mlp": "huber", "gaussian": "inverse_variance", "probability_map": "area_zscore"}


def _model(backbone, name, head):
    torch.manual_seed(1)
    layers = build_head(head, get_backbone(name).feature_dim, output_scale_m=10.0, cells_enu_m=CELLS)
    return PositionModel(ModelConfig(name, head, output_scale_m=10.0), backbone, layers)


def _train_one_step(module):
    """The loss before the step."""
    module.log_dict = lambda *_, **__: None
    optimizer = module.configure_optimizers()["optimizer"]
    loss = module.train().training_step((torch.rand(2, 3, 32, 32), TARGETS, WEIGHTS), 0)
    loss.backward()
    optimizer.step()
    return loss.detach()


def _snapshot(model):
    """The first parameter, of the stem, and those of the head."""
    kept = [next(model.named_parameters()), *(item for item in model.named_parameters() if item[0].startswith("head."))]
    return {name: parameter.detach().clone() for name, parameter in kept}


@pytest.mark.parametrize("frozen", ["nothing frozen", "all stages frozen"])
@pytest.mark.parametrize("name", BACKBONES)
def test_every_head_trains_on_every_backbone(name, frozen):
    backbone = build_backbone(name)
    stages = 0 if frozen == "nothing frozen" else len(stage_names(backbone))
    for head in HEADS:
        model = _model(backbone, name, head)
        before = _snapshot(model)
        optimizer = OptimizerSettings(lr=1e-3, head_lr=1e-2, frozen_stages=stages)
        module = PositionModule(
            model, LossSettings(name=LOSSES[head]), optimizer, SchedulerSettings(), steps_per_epoch=1
        )
        assert torch.isfinite(_train_one_step(module)), head
        after = _snapshot(module.merged_model())
        assert after.keys() == before.keys()
        changed = {key for key in before if not torch.equal(before[key], after[key])}
        assert any(key.startswith("head.") for key in changed), head
        first = next(iter(before))
        assert first.startswith("backbone.") and (first in changed) == (stages == 0), head
        backbone.requires_grad_(True)


def test_backbone_and_head_have_learning_rates_of_their_own_and_warm_up_scales_both():
    model = _model(build_backbone("resnet18"), "resnet18", "mlp")
    settings = OptimizerSettings(lr=1e-4, head_lr=1e-3, warmup_epochs=2.0)
    module = PositionModule(model, LossSettings(), settings, SchedulerSettings(), steps_per_epoch=5)
    groups = module.configure_optimizers()["optimizer"].param_groups
    assert [group["lr"] for group in groups] == [1e-4, 1e-3]
    assert [len(group["params"]) for group in groups] == [
        len(list(part.parameters())) for part in (model.backbone, model.head)
    ]
    assert module.warmup_steps == 10
