"""Decoding camera files: upright, 8-bit RGB, and never half of a picture."""

import struct
import zlib

import numpy as np
import pytest
from compatibility import Area, condition
from helpers import shared_data
from photo_helpers import blocks, make_exif, write_photo
from PIL import Image

from campus_visual_gps.errors import ImageError
from training.photos.decode import DecodeTask, load_rgb, store_photo


@condition(Area.CONTAINERS, "EXIF orientation in HEIC, JPEG and PNG", "turned upright, once", since="2026-11-22")
@pytest.mark.parametrize("suffix", [".heic", ".jpg", ".png"])
@pytest.mark.parametrize(
    ("orientation", "shape", "red", "black"),
    [
        (1, (48, 80), (24, 4), (24, -5)),
        (2, (48, 80), (24, -5), (24, 4)),
        (3, (48, 80), (24, -5), (24, 4)),
        (6, (80, 48), (4, 24), (-5, 24)),
        (8, (80, 48), (-5, 24), (4, 24)),
    ],
)
def test_orientation_is_applied_exactly_once(tmp_path, suffix, orientation, shape, red, black):
    pixels = np.zeros((48, 80, 3), np.uint8)
    pixels[:, :40, 0] = 255  # before turning, the left half is red
    path = write_photo(tmp_path / f"photo{suffix}", Image.fromarray(pixels), make_exif(orientation=orientation))
    rgb = load_rgb(path)
    assert rgb.shape == (*shape, 3)
    assert rgb[red][0] > 200
    assert rgb[black][0] < 50


@pytest.mark.parametrize("suffix", [".heic", ".jpg"])
def test_size_in_the_manifest_is_that_of_the_upright_photo(tmp_path, suffix):
    path = write_photo(tmp_path / f"photo{suffix}", blocks(0, 80, 48), make_exif(orientation=6))
    photo = store_photo(DecodeTask(path, path.name, False, tmp_path / "images"))
    assert (photo.width_px, photo.height_px) == (48, 80)


@condition(Area.CONTAINERS, "HEIC, JPEG or PNG cut near its end", "rejected as truncated", since="2026-11-22")
@pytest.mark.parametrize("suffix", [".heic", ".jpg", ".png"])
def test_truncated_photo_is_an_error_not_padded(tmp_path, suffix):
    path = write_photo(tmp_path / f"photo{suffix}", blocks(0, 320, 240))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ImageError, match=r"truncated"):
        load_rgb(path)


@pytest.mark.shared_data
def test_truncated_heic_of_tiles_is_an_error(tmp_path):
    data = shared_data("exif_samples", "heic", "IMG_5195.HEIC").read_bytes()
    path = tmp_path / "photo.heic"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError, match=r"truncated file: 416642 bytes"):
        load_rgb(path)


@pytest.mark.shared_data
def test_rotated_iphone_photo_is_upright():
    rgb = load_rgb(shared_data("exif_samples", "heic", "mobile", "iphone_13_pro_max.HEIC"))
    assert rgb.shape == (4032, 3024, 3)
    # A kitchen: the white ceiling is at the top, a blue table mat at the bottom right.
    red, _, blue = rgb[-600:-300, 1400:2600].mean(axis=(0, 1))
    assert rgb[100:300, 200:1000].mean() > 150
    assert blue > red + 10


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n", b"\0\0\0\x18ftypheic"])
def test_file_that_is_no_picture_is_an_error(tmp_path, content):
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"photo\.jpg"):
        load_rgb(path)


@pytest.mark.parametrize("mode", ["RGBA", "P", "L", "LA", "1"])
def test_every_colour_mode_of_png_becomes_rgb(tmp_path, mode):
    path = write_photo(tmp_path / "photo.png", blocks().convert(mode))
    rgb = load_rgb(path)
    assert (rgb.shape, rgb.dtype) == ((48, 64, 3), np.uint8)
    assert np.ptp(rgb) > 100


def test_cmyk_jpeg_keeps_its_brightness(tmp_path):
    rgb = load_rgb(write_photo(tmp_path / "photo.jpg", blocks().convert("CMYK")))
    assert np.abs(rgb.astype(int) - np.asarray(blocks()).astype(int)).mean() < 5


def test_16_bit_grey_is_scaled_not_clipped(tmp_path):
    ramp = np.linspace(0, 65535, 64 * 48).astype(np.uint16).reshape(48, 64)
    path = tmp_path / "photo.png"
    Image.fromarray(ramp).save(path)
    rgb = load_rgb(path)
    assert np.array_equal(rgb[..., 0], (ramp // 257).astype(np.uint8))


@condition(Area.CONTAINERS, "PNG that claims 60000 x 60000 px", "rejected in one line", since="2026-11-22")
def test_decompression_bomb_is_an_error(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(_png_that_claims(60000, 60000))
    with pytest.raises(ImageError, match=r"bomb"):
        load_rgb(path)


def _png_that_claims(width_px: int, height_px: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width_px, height_px, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )
