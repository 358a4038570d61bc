"""`ingest` of real photos, which are not part of the repository."""

import pytest
from helpers import shared_data

from training.photos.ingest import ingest
from training.photos.manifest import read_photos, read_rejected

pytestmark = [pytest.mark.slow, pytest.mark.shared_data]


def test_all_campus_photos_are_taken(tmp_path):
    campus = shared_data("campus")
    summary = ingest(campus / "photos", tmp_path / "dataset", campus / "labels.csv", progress=False)
    assert (summary.photos, summary.rejected) == (1050, 0)
    assert summary.sessions["2025-12-22-night"] == 451
    photos = read_photos(tmp_path / "dataset")
    assert int(photos["night"].sum()) == 451


def test_camera_files_with_a_position_are_taken_and_the_others_rejected(tmp_path):
    summary = ingest(shared_data("exif_samples"), tmp_path / "dataset", progress=False)
    assert summary.photos == 13
    assert dict(read_rejected(tmp_path / "dataset").itertuples(index=False)) == {
        "heic/mobile/iphone_13_pro_max.HEIC": "no position in the EXIF",
        "heic/samplefilehub.heif": "no position in the EXIF",
        "jpg/mobile/jolla.jpg": "no position in the EXIF",
    }
