"""Cut JPEGs: what lacks image data is rejected, what lacks only its end is taken; in the node and in ingest alike."""

import io
import os
import subprocess
import sys
import time
from array import array
from pathlib import Path

import cv2
import numpy as np
import pytest
from compatibility import Area, condition
from photo_helpers import make_exif
from PIL import Image
from sensor_msgs.msg import CompressedImage

from campus_visual_gps.errors import ImageError
from campus_visual_gps.jpeg import END, check_not_filled, complete_jpeg
from campus_visual_gps.ros.image_conversion import to_rgb
from training.photos.decode import load_rgb

ROOT = Path(__file__).resolve().parents[1]
OPENCV_4 = ROOT / ".venv" / "opencv4"  # made by scripts/environment.sh
SINCE = "2026-11-26"
# Encodings with their parameters of Pillow.
KINDS = {
    "baseline 4:2:0": {},
    "4:2:2": {"subsampling": 1},
    "4:4:4, quality 100": {"subsampling": 0, "quality": 100},
    "grey": {"mode": "L"},
    "CMYK": {"mode": "CMYK"},
    "optimised tables": {"optimize": True},
    "progressive": {"progressive": True},
    "restart intervals": {"restart_marker_blocks": 3},
    "progressive with restart intervals": {"progressive": True, "restart_marker_rows": 1},
}


def picture(width_px=155, height_px=110) -> Image.Image:
    coarse = np.random.default_rng(3).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width_px, height_px), Image.Resampling.BICUBIC)


def encode(kind="baseline 4:2:0", image=None, exif=None) -> bytes:
    options = dict(KINDS[kind])
    stream = io.BytesIO()
    converted = (image or picture()).convert(options.pop("mode", "RGB"))
    converted.save(stream, "JPEG", exif=(exif or make_exif()).tobytes(), **options)
    return stream.getvalue()


def message(data: bytes) -> CompressedImage:
    result = CompressedImage(format="jpeg")
    result.data = array("B", data)
    return result


def decode(data: bytes) -> np.ndarray | None:
    """The pixels by our rule, None for a truncated file."""
    try:
        whole = complete_jpeg(data)
        pixels = cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_COLOR)
        check_not_filled(whole, pixels)
    except ImageError as error:
        assert "truncated" in str(error)
        return None
    return pixels


def rows(text: str, outcome: str, area=Area.CONTAINERS):
    """A row of the table for each kind of JPEG."""
    return [pytest.param(kind, marks=condition(area, f"{text}: {kind}", outcome, since=SINCE)) for kind in KINDS]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tail", [b"", b"\0" * 300, b"ftypmp42 film" * 99, b"\xff\xd8\xff\xe1 a second picture"])
def test_whole_jpeg_is_taken_as_it_is_with_whatever_is_appended(kind, tail):
    data = encode(kind) + tail
    assert complete_jpeg(data) == data
    assert np.array_equal(decode(data), cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))


@pytest.mark.parametrize("kind", rows("JPEG without its end marker, or with half of it", "taken, every pixel"))
def test_jpeg_that_lacks_only_its_end_marker_is_taken(kind, tmp_path):
    data = encode(kind)
    node, camera = to_rgb(message(data)), load_rgb(write(tmp_path, data))
    for tail in (b"", END[:1], b"\0" * 4096, b"\xff" * 4096, b"SEFT trailer"):
        cut = data[:-2] + tail
        assert np.array_equal(to_rgb(message(cut)), node)
        assert np.array_equal(load_rgb(write(tmp_path, cut)), camera)


@pytest.mark.parametrize("kind", rows("JPEG cut anywhere", "rejected as truncated", Area.CAMERA))
def test_jpeg_cut_anywhere_is_rejected(kind):
    data = encode(kind)
    whole = decode(data)
    rng = np.random.default_rng(0)
    markers = [i + k for i in range(len(data)) if data[i] == 0xFF for k in range(3)]
    last = len(data) - 2  # the end marker
    cuts = {*rng.integers(2, last, 60), *range(last - 12, last), *rng.choice(markers, 40)}
    taken = [cut for cut in cuts if 2 <= cut < last and decode(data[:cut]) is not None]
    # the last bytes may hold nothing that is seen
    assert all(np.array_equal(decode(data[:cut]), whole) for cut in taken)
    assert not [cut for cut in taken if last - cut > 12]


@pytest.mark.parametrize("kind", rows("JPEG cut in the middle", "rejected as truncated"))
@pytest.mark.parametrize(
    "tail", [b"", b"\0" * 5000, b"\xff" * 5000, END], ids=["bare", "zeros", "erased", "end marker"]
)
def test_half_a_jpeg_is_rejected_in_the_node_and_in_ingest(kind, tail, tmp_path):
    data = encode(kind)
    half = data[: len(data) // 2] + tail
    with pytest.raises(ImageError, match="truncated"):
        to_rgb(message(half))
    with pytest.raises(ImageError, match="truncated"):
        load_rgb(write(tmp_path, half))


@condition(Area.CONTAINERS, "JPEG cut in the middle, another file behind it", "rejected as truncated", since=SINCE)
def test_half_a_jpeg_with_another_one_behind_it_is_rejected():
    data = encode()
    assert decode(data[: len(data) * 2 // 3] + encode("grey")) is None


@condition(Area.CONTAINERS, "JPEG cut behind its thumbnail", "rejected as truncated", since=SINCE)
def test_the_end_marker_of_a_thumbnail_is_not_that_of_the_picture():
    data = encode()
    thumbnail = b"\xff\xe1" + (2 + len(encode("grey"))).to_bytes(2, "big") + encode("grey")
    data = data[:2] + thumbnail + data[2:]
    assert complete_jpeg(data) == data
    assert decode(data[: 2 + len(thumbnail)]) is None
    assert decode(data[: len(data) - 300]) is None


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_lost_blocks_are_seen_whichever_way_the_picture_is_turned(orientation, tmp_path):
    data = encode(exif=make_exif(orientation=orientation))
    with pytest.raises(ImageError, match="truncated"):
        to_rgb(message(data[: len(data) * 2 // 3] + END))
    with pytest.raises(ImageError, match="truncated"):
        load_rgb(write(tmp_path, data[: len(data) * 2 // 3] + END))


@condition(Area.CAMERA, "JPEG of a grey picture (128, 128, 128)", "taken", since=SINCE)
def test_a_picture_that_is_grey_is_not_taken_for_lost_blocks():
    for kind in KINDS:
        data = encode(kind, Image.new("RGB", (64, 48), (128, 128, 128)))
        assert decode(data) is not None


def test_scan_of_a_component_that_does_not_exist_is_an_error():
    data = bytearray(encode("restart intervals")[:-2])
    data[data.index(b"\xff\xda") + 5] = 77
    with pytest.raises(ImageError, match=r"truncated JPEG: .* no image data"):
        complete_jpeg(bytes(data))


def test_bytes_between_segments_are_skipped_as_decoders_do():
    data = encode()
    dqt = data.index(b"\xff\xdb")
    assert decode(data[:dqt] + b"\0\x12" + data[dqt:]) is not None


def test_healthy_image_of_a_camera_is_checked_within_a_millisecond():
    rgb = np.asarray(picture(1920, 1080))
    data = cv2.imencode(".jpg", rgb)[1].tobytes()
    times_s = []
    for _ in range(20):
        start = time.perf_counter()
        check_not_filled(complete_jpeg(data), rgb)
        times_s.append(time.perf_counter() - start)
    assert min(times_s) < 1e-3


@condition(Area.CAMERA, "OpenCV 4, as ROS distributions ship it, or OpenCV 5", "the same images taken", since=SINCE)
@pytest.mark.slow
def test_opencv_4_gives_the_same():
    if not (OPENCV_4 / "cv2").is_dir():
        pytest.skip("no OpenCV 4 in .venv/opencv4; scripts/test installs it where PyPI can be reached")
    if cv2.__version__.startswith("4."):
        pytest.skip("this is OpenCV 4, and the other tests of this module ran on it")
    found = run(["-c", "import cv2; print(cv2.__version__)"])
    assert found.stdout.startswith("4."), found.stderr
    done = run(["-m", "pytest", __file__, "-q", "-p", "no:cacheprovider", "-m", "not slow"])
    assert done.returncode == 0, done.stdout[-3000:]


def run(arguments: list[str]) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(OPENCV_4), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)


def write(folder: Path, data: bytes) -> Path:
    path = folder / "photo.jpg"
    path.write_bytes(data)
    return path
