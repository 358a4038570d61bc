"""SiteModel of members with different backbones: each sees the image as it was trained to."""

import numpy as np
import pytest
import torch
from helpers import make_members
from test_site_model import CELLS, greatest_difference, image_spec, images, networks, run

from campus_visual_gps.models.site_model import GRID_LOG_PROBS, MEMBER_MEANS, OOD_FEATURES, SiteModel
from campus_visual_gps.preprocess import normalise

pytestmark = pytest.mark.slow  # builds networks


def hybrid_networks(cells: np.ndarray | None = CELLS):
    """Two ResNets that share stages, and between them a network with another normalisation; with the specifications."""
    one, other = networks("resnet18", shared_stages=3, cells=cells)
    between = make_members((5,), "efficientnet_lite0", cells_enu_m=cells)[0][1]
    return [one, between, other], [image_spec(name) for name in ("resnet18", "efficientnet_lite0", "resnet18")]


def test_members_of_several_backbones_each_see_their_own_normalisation():
    members, specs = hybrid_networks()
    model, batch = SiteModel(members, specs[0], member_images=specs), images(2)
    together = run(model, batch)
    assert model.shared_stages == 3 and model.member_count == 3 and len(model.groups) == 2
    with torch.inference_mode():
        alone = [member(normalise(batch, image)) for member, image in zip(members, specs, strict=True)]
    for index, own in enumerate(alone):
        torch.testing.assert_close(together[MEMBER_MEANS][:, index], own.mean_enu_m, atol=1e-4, rtol=0)
        torch.testing.assert_close(together[GRID_LOG_PROBS][:, index], own.grid_log_probs, atol=1e-4, rtol=0)
    first = run(SiteModel(members[:1], specs[0]), batch)
    torch.testing.assert_close(together[OOD_FEATURES], first[OOD_FEATURES], atol=1e-4, rtol=1e-4)


def test_a_hybrid_is_exported_as_one_graph():
    members, specs = hybrid_networks()
    model = SiteModel(members[:2], specs[0], member_images=specs[:2])
    batch = {0: torch.export.Dim("batch", min=1, max=64)}
    exported = torch.export.export(model, (images(2),), dynamic_shapes=(batch,)).module()
    assert greatest_difference(run(exported, images(3)), run(model, images(3))) < 1e-3
