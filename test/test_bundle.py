"""A bundle comes back as it was saved; a damaged one is one clear line."""

import numpy as np
import pytest
import yaml
from helpers import make_bundle

from campus_visual_gps.bundle import MANIFEST, load_bundle
from campus_visual_gps.errors import BundleError


@pytest.fixture
def bundle_dir(tmp_path):
    return make_bundle(tmp_path / "bundle")


def _edit(bundle_dir, change):
    path = bundle_dir / MANIFEST
    data = yaml.safe_load(path.read_text())
    change(data)
    path.write_text(yaml.safe_dump(data))


def test_what_was_saved_is_loaded(bundle_dir):
    bundle = load_bundle(bundle_dir)
    assert [member.seed for member in bundle.members] == [42, 123]
    assert bundle.calibration.floor_sigma_m == 5.0
    assert bundle.altitude.altitude_m == 300.0
    assert bundle.site_polygon_enu_m.shape == (4, 2)
    assert len(bundle.load_members()) == 2
    reference = bundle.load_reference()
    assert reference.features.shape[0] == reference.positions_enu_m.shape[0] == 6
    assert (bundle_dir / "MODEL_CARD.md").read_text().startswith("#")


def test_nothing_but_the_bundle_is_left_behind(tmp_path):
    make_bundle(tmp_path / "bundle")
    make_bundle(tmp_path / "bundle")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "bundle-members"]


def test_another_directory_is_never_replaced(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(BundleError, match="no model bundle"):
        make_bundle(tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_a_failed_save_leaves_the_old_bundle(bundle_dir):
    before = (bundle_dir / MANIFEST).read_text()
    with pytest.raises(FileNotFoundError):
        make_bundle(bundle_dir, members=[(1, load_bundle(bundle_dir).members[0].model, bundle_dir / "none")])
    assert (bundle_dir / MANIFEST).read_text() == before
    assert len(load_bundle(bundle_dir).load_members()) == 2


def test_a_flipped_byte_is_found(bundle_dir):
    path = bundle_dir / "member-42.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match=r"member-42.*damaged"):
        load_bundle(bundle_dir).load_members()


def test_a_missing_member_is_named(bundle_dir):
    (bundle_dir / "member-123.safetensors").unlink()
    with pytest.raises(BundleError, match=r"member-123.*missing"):
        load_bundle(bundle_dir).load_members()


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda d: d.update(format_version=99), "format version 99"),
        (lambda d: d.pop("format_version"), "format_version"),
        (lambda d: d.pop("frame"), "frame"),
        (lambda d: d["frame"].update(latitude_ref_deg=float("nan")), "finite"),
        (lambda d: d["altitude"].update(altitude_m=float("nan")), "altitude"),
        (lambda d: d["calibration"].update(floor_sigma_m=0.0), "floor"),
        (lambda d: d["calibration"].update(typo=1), "typo"),
        (lambda d: d.update(members=[]), "no members"),
        (lambda d: d.update(members=None), "damaged"),
        (lambda d: d["members"][0].update(file="../../etc/passwd"), "directory"),
        (lambda d: d["members"][0].update(backbone=3), "backbone"),
        (lambda d: d.update(site_polygon_enu_m=[[0, 0]]), "site_polygon"),
        (lambda d: d["image"].update(size_px=-1), "image size"),
    ],
)
def test_a_bad_manifest_is_one_line_that_names_the_file(bundle_dir, change, says):
    _edit(bundle_dir, change)
    with pytest.raises(BundleError, match=says) as caught:
        load_bundle(bundle_dir).load_members()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[1, 2", b"\xff\xfe\x00", b"just text"])
def test_a_manifest_that_is_no_yaml_table_is_refused(bundle_dir, content):
    (bundle_dir / MANIFEST).write_bytes(content)
    with pytest.raises(BundleError, match=r"bundle\.yaml"):
        load_bundle(bundle_dir)


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(BundleError, match="nowhere"):
        load_bundle(tmp_path / "nowhere")


def test_reference_positions_keep_their_precision(bundle_dir):
    positions = load_bundle(bundle_dir).load_reference().positions_enu_m
    np.testing.assert_array_equal(positions, np.random.default_rng(1).uniform(-200, 200, (6, 2)))
