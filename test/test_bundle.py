"""A bundle comes back as it was saved; a damaged one is one clear line."""

import os
import shutil

import numpy as np
import pytest
import torch
import yaml
from compatibility import Area, condition
from helpers import make_bundle, make_members, make_reference, textured_rgb
from safetensors import safe_open

from campus_visual_gps import Localizer, bundle_files
from campus_visual_gps import bundle as bundles
from campus_visual_gps.bundle import MANIFEST, MODEL_CARD, REFERENCE, load_bundle
from campus_visual_gps.bundle_files import SHARED_STAGES
from campus_visual_gps.errors import BundleError
from campus_visual_gps.models.stages import stage_names
from campus_visual_gps.preprocess import ImageSpec

pytestmark = pytest.mark.slow  # builds networks

SINCE = "2026-11-22"
SHARED = {"count": 1, "members": ["42"], "file": "x", "sha256": ""}


@pytest.fixture(scope="module")
def intact_dir(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("intact") / "bundle")


@pytest.fixture
def bundle_dir(intact_dir, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(intact_dir, tmp_path / "bundle")


def _edit(bundle_dir, change):
    path = bundle_dir / MANIFEST
    data = yaml.safe_load(path.read_text())
    change(data)
    path.write_text(yaml.safe_dump(data))


def _dtypes(path):
    """Name -> type of the tensors of a file, as they are stored."""
    with safe_open(path, "pt") as file:
        return {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118


def _sharing_members(shared_stages=3):
    """Two members whose leading stages have the same weights."""
    members = make_members()
    one, other = (network.backbone for _, network in members)
    for names in stage_names(one)[:shared_stages]:
        for name in names:
            other.get_submodule(name).load_state_dict(one.get_submodule(name).state_dict())
    return members


def test_what_was_saved_is_loaded(bundle_dir):
    bundle = load_bundle(bundle_dir)
    assert [member.seed for member in bundle.members] == [42, 123]
    assert bundle.calibration.floor_sigma_m == 5.0
    assert bundle.altitude.altitude_m == 300.0
    assert bundle.site_polygon_enu_m.shape == (4, 2)
    assert len(bundle.load_members()) == 2 and bundle.shared_stages == ()
    reference = bundle.load_reference()
    assert reference.descriptors.shape[0] == reference.positions_enu_m.shape[0] == 6
    assert reference.extractor is None and reference.index() is None
    assert (bundle_dir / MODEL_CARD).read_text().startswith("#")


def test_weights_come_back_bit_by_bit(tmp_path):
    members = make_members()
    for (_, saved), loaded in zip(
        members, load_bundle(make_bundle(tmp_path / "bundle", members=members)).load_members(), strict=True
    ):
        state = loaded.state_dict()
        assert list(state) == list(saved.state_dict())
        for name, tensor in saved.state_dict().items():
            assert state[name].dtype == tensor.dtype and torch.equal(state[name], tensor)


def test_stages_that_members_share_are_stored_once(tmp_path):
    members = _sharing_members(3)
    bundle = load_bundle(make_bundle(tmp_path / "bundle", members=members))
    assert [own.count for own in bundle.shared_stages] == [3]
    shared, own = _dtypes(bundle.path / SHARED_STAGES), _dtypes(bundle.path / "member-42.safetensors")
    assert not set(shared) & set(own) and set(shared) | set(own) == set(members[0][1].state_dict())
    assert all(
        name.startswith(("backbone.conv1", "backbone.bn1", "backbone.layer1", "backbone.layer2")) for name in shared
    )
    separate = make_bundle(tmp_path / "separate")
    saved = sum(file.stat().st_size for file in bundle.path.iterdir())
    stored_twice = sum(file.stat().st_size for file in separate.iterdir())
    assert stored_twice - saved == pytest.approx((bundle.path / SHARED_STAGES).stat().st_size, rel=0.05)
    for (_, network), loaded in zip(members, bundle.load_members(), strict=True):
        for name, tensor in network.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], tensor)
    model = bundle.load_site_model()
    assert model.shared_stages == 3 and model.member_count == 2


def test_tensors_are_stored_in_float16_only_where_nothing_is_lost(tmp_path):
    members = make_members((42,))
    network = members[0][1]
    with torch.no_grad():
        network.backbone.conv1.weight.copy_(network.backbone.conv1.weight.half().float())
        network.backbone.layer1[0].conv1.weight[0, 0, 0, 0] = 1e6  # float16 cannot hold it
    bundle_dir = make_bundle(tmp_path / "bundle", members=members)
    stored = _dtypes(bundle_dir / "member-42.safetensors")
    assert stored["backbone.conv1.weight"] == "F16"
    assert stored["backbone.layer1.0.conv1.weight"] == stored["backbone.layer4.1.conv2.weight"] == "F32"
    assert stored["backbone.bn1.num_batches_tracked"] == "I64"
    loaded = load_bundle(bundle_dir).load_members()[0].state_dict()
    for name, tensor in network.state_dict().items():
        assert loaded[name].dtype == tensor.dtype and torch.equal(loaded[name], tensor)


def test_a_bundle_of_a_bundle_is_the_same(tmp_path):
    """As `recalibrate` copies one: rounding once is all the rounding."""
    first = load_bundle(make_bundle(tmp_path / "first", members=_sharing_members(3)))
    copied = [(member.seed, network) for member, network in zip(first.members, first.load_members(), strict=True)]
    second = load_bundle(make_bundle(tmp_path / "second", members=copied, reference=first.load_reference()))
    assert (second.members, second.shared_stages) == (first.members, first.shared_stages)
    assert second.reference_sha256 == first.reference_sha256


def test_the_extractor_and_the_local_descriptors_come_back(tmp_path):
    members = make_members()
    image = ImageSpec(64, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    positions = np.random.default_rng(5).uniform(-50, 50, (12, 2))
    reference = make_reference(members, image, positions)
    loaded = load_bundle(make_bundle(tmp_path / "bundle", reference=reference, image=image)).load_reference()
    np.testing.assert_array_equal(loaded.local_descriptors, reference.local_descriptors)
    np.testing.assert_array_equal(loaded.neighbourhood_similarity, reference.neighbourhood_similarity)
    np.testing.assert_array_equal(loaded.positions_enu_m, positions)
    assert loaded.descriptors.dtype == np.float16 and loaded.local_descriptors.dtype == np.int8
    saved = reference.extractor.state_dict()
    assert all(torch.equal(tensor, saved[name]) for name, tensor in loaded.extractor.state_dict().items())
    assert len(loaded.index()) == 12


def test_nothing_but_the_bundle_is_left_in_the_directory(tmp_path):
    make_bundle(tmp_path / "bundle")
    make_bundle(tmp_path / "bundle")
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


@condition(Area.BUNDLES, "directory of something else as the bundle's", "never replaced", since=SINCE)
def test_another_directory_is_never_replaced(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(BundleError, match="no model bundle"):
        make_bundle(tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").exists()


@condition(Area.BUNDLES, "disk full while a bundle is saved", "the old bundle stays", since=SINCE)
def test_a_failed_save_leaves_the_old_bundle(bundle_dir, monkeypatch):
    before = (bundle_dir / MANIFEST).read_text()

    def no_space(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(bundles, "save_reference", no_space)
        with pytest.raises(OSError, match="No space left"):
            make_bundle(bundle_dir)
    assert (bundle_dir / MANIFEST).read_text() == before
    assert len(load_bundle(bundle_dir).load_members()) == 2
    assert [path.name for path in bundle_dir.parent.iterdir()] == ["bundle"]


@condition(Area.BUNDLES, "a flipped bit in the weights or reference photos", "error that names the file", since=SINCE)
@pytest.mark.parametrize("name", ["member-42.safetensors", REFERENCE, SHARED_STAGES])
def test_a_flipped_byte_is_found(tmp_path, name):
    path = make_bundle(tmp_path / "bundle", members=_sharing_members(2)) / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match=rf"{name}.*damaged"):
        Localizer.load(path.parent, device="cpu", warm_up=False)


@condition(Area.BUNDLES, "a file of the bundle is missing", "error that names it", since=SINCE)
@pytest.mark.parametrize("name", ["member-123.safetensors", REFERENCE, SHARED_STAGES])
def test_a_missing_file_is_named(tmp_path, name):
    path = make_bundle(tmp_path / "bundle", members=_sharing_members(2)) / name
    path.unlink()
    with pytest.raises(BundleError, match=rf"{name}.*missing"):
        Localizer.load(path.parent, device="cpu", warm_up=False)


@condition(Area.BUNDLES, "a file of the bundle may not be read", "one line that names it", since="2026-11-26")
@pytest.mark.parametrize("name", ["member-42.safetensors", REFERENCE])
def test_a_file_that_may_not_be_read_is_one_line_that_names_it(bundle_dir, name, monkeypatch):
    if os.geteuid() == 0:  # root may read everything

        def denied(path):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(bundle_files, "sha256_of", denied)
    else:
        (bundle_dir / name).chmod(0)
    bundle = load_bundle(bundle_dir)
    with pytest.raises(BundleError, match=rf"{name}.*Permission denied") as caught:
        bundle.load_reference() if name == REFERENCE else bundle.load_members()
    assert "\n" not in str(caught.value)


@condition(Area.BUNDLES, "bundle of an earlier format", "one line: train it again", since=SINCE)
def test_a_bundle_of_the_previous_format_is_one_line_that_says_what_to_do(bundle_dir):
    _edit(bundle_dir, lambda data: data.update(format_version=3))
    with pytest.raises(BundleError, match=r"format version 3, this program reads 4, 5 and 6; train") as caught:
        load_bundle(bundle_dir)
    assert "\n" not in str(caught.value)


@condition(
    Area.BUNDLES, "bundle.yaml with a missing, unknown or impossible value", "one line that names it", since=SINCE
)
@condition(Area.BUNDLES, "bundle.yaml that leads out of the bundle (../../etc/passwd)", "not followed", since=SINCE)
@pytest.mark.parametrize(
    "change, says",
    [
        (lambda d: d.update(format_version=99), "format version 99"),
        (lambda d: d.pop("format_version"), "format_version"),
        (lambda d: d.pop("frame"), "frame"),
        (lambda d: d["frame"].update(latitude_ref_deg=float("nan")), "finite"),
        (lambda d: d["altitude"].update(altitude_m=float("nan")), "altitude"),
        (lambda d: d["calibration"].update(floor_sigma_m=0.0), "floor"),
        (lambda d: d["calibration"].update(point_estimator="mode"), "point_estimator"),
        (lambda d: d["calibration"].update(typo=1), "typo"),
        (lambda d: d["gates"].update(typo=1), "typo"),
        (lambda d: d.update(members=[]), "no members"),
        (lambda d: d.update(members=None), "damaged"),
        (lambda d: d["members"][0].update(file="../../etc/passwd"), "directory"),
        (lambda d: d["members"][0].update(backbone=3), "backbone"),
        (lambda d: d.update(shared_stages=[SHARED | {"file": "../x"}]), "directory"),
        (lambda d: d.update(shared_stages=[SHARED]), "x is missing"),
        (lambda d: d.pop("shared_stages"), "shared_stages"),
        (lambda d: d.update(site_polygon_enu_m=[[0, 0]]), "site_polygon"),
        (lambda d: d.update(unreachable_enu_m=[[[[0, 0], [1, 0]]]]), "unreachable_enu_m"),
        (lambda d: d.update(unreachable_enu_m=3), "unreachable_enu_m must be a list"),
        (lambda d: d["calibration"].update(tracking={"typo": 1}), "typo"),
        (lambda d: d["image"].update(size_px=-1), "image size"),
    ],
)
def test_a_bad_manifest_is_one_line_that_names_the_file(bundle_dir, change, says):
    _edit(bundle_dir, change)
    with pytest.raises(BundleError, match=says) as caught:
        load_bundle(bundle_dir).load_members()
    assert "\n" not in str(caught.value)


@condition(Area.BUNDLES, "weights of another architecture", "one line that names both", since=SINCE)
def test_weights_of_another_architecture_are_one_line(bundle_dir):
    _edit(bundle_dir, lambda data: data["members"][0].update(backbone="efficientnet_b0"))
    with pytest.raises(BundleError, match=r"member-42.*does not fit efficientnet_b0/linear") as caught:
        load_bundle(bundle_dir).load_members()
    assert "\n" not in str(caught.value)


@condition(Area.BUNDLES, "bundle.yaml empty, cut off, binary or text", "error that names it", since=SINCE)
@pytest.mark.parametrize("content", [b"", b"[1, 2", b"\xff\xfe\x00", b"just text"])
def test_a_manifest_that_is_no_yaml_table_is_an_error(bundle_dir, content):
    (bundle_dir / MANIFEST).write_bytes(content)
    with pytest.raises(BundleError, match=r"bundle\.yaml"):
        load_bundle(bundle_dir)


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(BundleError, match="nowhere"):
        load_bundle(tmp_path / "nowhere")


def test_reference_positions_keep_their_precision(bundle_dir):
    positions = load_bundle(bundle_dir).load_reference().positions_enu_m
    np.testing.assert_array_equal(positions, np.random.default_rng(1).uniform(-200, 200, (6, 2)))


def test_what_the_members_answer_does_not_depend_on_how_they_are_stored(tmp_path):
    """Stored apart or with shared stages: the same weights give the same answers."""
    members = _sharing_members(3)
    together = Localizer.load(make_bundle(tmp_path / "a", members=members), device="cpu", warm_up=False)
    for index, member in enumerate(members):
        alone = Localizer.load(make_bundle(tmp_path / f"b{index}", members=[member]), device="cpu", warm_up=False)
        expected = alone.localize(textured_rgb()).mean_enu_m
        np.testing.assert_allclose(together.localize(textured_rgb()).member_means_enu_m[index], expected, atol=1e-4)


def test_areas_where_nobody_can_be_come_back_with_their_holes(tmp_path):
    outline, hole = np.array([[0, 0], [9, 0], [9, 9]]) * 1.5, np.array([[3, 1], [4, 1], [4, 2]]) * 1.5
    bundle = load_bundle(make_bundle(tmp_path / "bundle", unreachable_enu_m=((outline, hole), (hole,))))
    assert [len(rings) for rings in bundle.unreachable_enu_m] == [2, 1]
    assert (bundle.unreachable_enu_m[0][0] == outline).all() and (bundle.unreachable_enu_m[1][0] == hole).all()
