"""What training does to networks before they are measured and stored."""

import numpy as np
import pytest
import torch
from helpers import make_bundle, make_members, textured_rgb

from campus_visual_gps import Localizer
from campus_visual_gps.bundle import load_bundle
from training.fit.trained_member import round_to_float16

pytestmark = pytest.mark.slow  # builds networks


def test_networks_that_training_has_rounded_take_half_of_the_bytes(tmp_path):
    plain = make_bundle(tmp_path / "plain", members=make_members((42,)))
    network = round_to_float16(make_members((42,))[0][1])
    rounded = make_bundle(tmp_path / "rounded", members=[(42, network)])
    file = "member-42.safetensors"
    assert (rounded / file).stat().st_size < 0.52 * (plain / file).stat().st_size
    loaded = load_bundle(rounded).load_members()[0].state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in network.state_dict().items())
    first, second = (Localizer.load(path, device="cpu", warm_up=False) for path in (plain, rounded))
    means = [localizer.localize(textured_rgb()).mean_enu_m for localizer in (first, second)]
    assert np.linalg.norm(means[0] - means[1]) < 0.1


def test_rounding_leaves_biases_and_what_float16_cannot_hold():
    network = make_members((42,))[0][1]
    with torch.no_grad():
        network.backbone.layer1[0].conv1.weight[0, 0, 0, 0] = 1e6
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    after = round_to_float16(network).state_dict()
    untouched = {"backbone.layer1.0.conv1.weight", "head.layers.bias", "backbone.bn1.weight"}
    for name, tensor in before.items():
        if name in untouched or tensor.ndim < 2:
            assert torch.equal(after[name], tensor)
        else:
            assert torch.equal(after[name], tensor.half().float())
