"""Leading stages apart: the network without them reads their feature map, and put together again it is the same."""

import pytest
import torch

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.models.backbones import BACKBONES, build_backbone
from campus_visual_gps.models.stages import (
    StagedBackbone,
    merge_frozen_stages,
    shared_stage_count,
    split_frozen_stages,
    stage_names,
    without_stages,
)
from training.config import load_config

pytestmark = pytest.mark.slow  # builds networks


@pytest.mark.parametrize("name", BACKBONES)
def test_frozen_stages_and_the_rest_are_the_whole(name):
    torch.manual_seed(0)
    backbone = build_backbone(name).eval()
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        whole = backbone(images)
        feature_map = StagedBackbone(backbone, [2], skip=0, with_output=False)(images)["stage_2"]
        names, weights = list(backbone.state_dict()), {id(tensor) for tensor in backbone.parameters()}
        rest = without_stages(backbone, 3)
        torch.testing.assert_close(rest(feature_map), whole)
        torch.testing.assert_close(backbone(images), whole)  # left as it was
        frozen = split_frozen_stages(backbone, 3)
        torch.testing.assert_close(backbone(frozen(images)), whole)
        merge_frozen_stages(backbone, frozen)
        torch.testing.assert_close(backbone(images), whole)
    assert list(backbone.state_dict()) == names
    assert {id(tensor) for tensor in rest.parameters()} < weights  # shared, no copies


def test_stages_are_shared_up_to_the_first_that_differs():
    one, other = build_backbone("efficientnet_lite0"), build_backbone("efficientnet_lite0")
    assert shared_stage_count([one, other]) == 0
    other.load_state_dict(one.state_dict())
    assert shared_stage_count([one, other]) == len(stage_names(one))
    with torch.no_grad():
        next(other.blocks[4].parameters()).add_(1e-3)
    # the stem is the first stage
    assert shared_stage_count([one, other]) == 5 and shared_stage_count([one]) == 0
    assert shared_stage_count([one, build_backbone("resnet18")]) == 0


def test_frozen_stages_do_not_learn_and_keep_their_batch_statistics():
    frozen = split_frozen_stages(build_backbone("resnet18"), 2).train()
    before = frozen[1].running_mean.clone()
    frozen(torch.rand(4, 3, 64, 64))
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    torch.testing.assert_close(frozen[1].running_mean, before)


def test_more_stages_than_there_are_is_an_error():
    backbone = build_backbone("resnet18")
    assert len(stage_names(backbone)) == 5
    with pytest.raises(ConfigError, match="the backbone has 5"):
        split_frozen_stages(backbone, 6)


def test_features_of_stages_that_are_trained_cannot_be_cached(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("trainer:\n  cached_views: 4\n")
    with pytest.raises(ConfigError, match="frozen_stages"):
        load_config(path)
