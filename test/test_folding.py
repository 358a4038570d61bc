"""Folding batch norms into convolutions changes the speed of a backbone and nothing else."""

import pytest
import torch
from torch import nn

from campus_visual_gps.models.backbones import BACKBONES, build_backbone
from campus_visual_gps.models.folding import fold_batch_norms


def with_random_statistics(backbone: nn.Module) -> nn.Module:
    """New networks have means of 0 and variances of 1, which a wrong folding would not show."""
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return backbone.eval()


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONES)
def test_a_folded_backbone_gives_the_same_features_and_leaves_the_original_alone(name):
    torch.manual_seed(0)
    backbone = with_random_statistics(build_backbone(name))
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    folded = fold_batch_norms(backbone)
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(folded(images), backbone(images), rtol=1e-3, atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())


def test_a_batch_norm_that_follows_no_convolution_stays():
    norm_first = with_random_statistics(nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 5, 1), nn.BatchNorm2d(5)))
    folded = fold_batch_norms(norm_first)
    assert [type(module) for module in folded] == [nn.BatchNorm2d, nn.Conv2d, nn.Identity]
    images = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(folded(images), norm_first(images))
