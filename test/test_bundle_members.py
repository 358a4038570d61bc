"""Members in a bundle: their names, and bundles of the version before members had one."""

import dataclasses

import numpy as np
import pytest
from helpers import make_bundle, make_members, make_reference, textured_rgb
from test_bundle import _edit, _sharing_members

from campus_visual_gps import Localizer
from campus_visual_gps import bundle as bundles
from campus_visual_gps.bundle import load_bundle
from campus_visual_gps.errors import BundleError
from campus_visual_gps.preprocess import ImageSpec
from campus_visual_gps.retrieval.index import cosine_top_k, unit_rows

pytestmark = pytest.mark.slow  # builds networks


@pytest.fixture
def bundle_dir(tmp_path):
    return make_bundle(tmp_path / "bundle")


def _as_version_4(data):
    members = data["members"]
    for entry in members:
        for key in ("name", "mean", "std"):
            entry.pop(key)
    shared = [{key: own[key] for key in ("count", "file", "sha256")} for own in data["shared_stages"]]
    data["calibration"].pop("covariance")
    data.update(format_version=4, shared_stages=shared[0] if shared else None)


def test_a_bundle_of_version_4_gives_the_same_answers(tmp_path):
    path = make_bundle(tmp_path / "bundle", members=_sharing_members(2))
    before = Localizer.load(path, device="cpu", warm_up=False).localize(textured_rgb())
    _edit(path, _as_version_4)
    bundle = load_bundle(path)
    assert [member.name for member in bundle.members] == ["42", "123"]
    after = Localizer.load(path, device="cpu", warm_up=False).localize(textured_rgb())
    np.testing.assert_array_equal(after.member_means_enu_m, before.member_means_enu_m)
    np.testing.assert_array_equal(after.cov_enu_m2, before.cov_enu_m2)


def test_a_bundle_of_version_5_is_searched_by_the_cosine_alone(tmp_path):
    """Its prior was fitted on cosines."""
    members, image = make_members(), ImageSpec(64, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    new = make_reference(members, image, np.random.default_rng(5).uniform(-50, 50, (12, 2)))
    old = dataclasses.replace(new, neighbourhood_similarity=None)
    path = make_bundle(tmp_path / "bundle", members=members, reference=old, image=image)
    _edit(path, lambda data: data.update(format_version=5))
    queries = np.asarray(new.descriptors[:3], dtype=np.float32)
    found = load_bundle(path).load_reference().index().search(queries, k=5)
    np.testing.assert_array_equal(
        found.similarities, cosine_top_k(unit_rows(queries), unit_rows(old.descriptors), 5)[1]
    )
    assert (new.index().search(queries, k=5).similarities != found.similarities).any()


def test_two_members_with_one_name_are_an_error(bundle_dir):
    _edit(bundle_dir, lambda data: data["members"][1].update(name="42"))
    with pytest.raises(BundleError, match="two members have the same name"):
        load_bundle(bundle_dir)


@pytest.mark.parametrize(
    "members, names",
    [
        ([(42, "a"), (7, "a")], ["42", "7"]),
        ([(42, "a"), (7, "b")], ["42-a", "7-b"]),
        ([(42, "a"), (42, "a"), (42, "b")], ["42-a", "42-a-2", "42-b"]),
    ],
)
def test_names_of_members_are_their_seeds_unless_these_are_not_enough(members, names):
    assert bundles.member_names(members) == names
