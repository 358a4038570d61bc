"""Photo files as phones, programs and broken copies leave them: taken where they are whole, else named."""

import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from compatibility import Area, condition
from helpers import shared_data
from photo_helpers import blocks, make_exif, write_photo
from PIL import Image, ImageCms

from campus_visual_gps.errors import ImageError
from training.photos import photo_file
from training.photos.decode import DecodeTask, load_rgb, store_photo

ROOT = Path(__file__).resolve().parents[1]
SINCE = "2026-11-26"
SAMSUNG = b"\0\0\x81\x0a\x0f\0\0\0MCC_Data425SEFHj\0\0\0\1\0\0\0\0\0\x81\x0a\x1f\0\0\0\x1f\0\0\0\x24\0\0\0SEFT"


def row(text: str, outcome: str, *values, since=SINCE):
    return pytest.param(*values, marks=condition(Area.CONTAINERS, text, outcome, since=since), id=text)


def film() -> bytes:
    """The boxes of an MP4."""
    return b"\0\0\0\x14ftypmp42\0\0\0\0mp42" + b"\0\0\0\x10mdat" + b"filmfilm" + b"\0\0\0\x08free"


@pytest.mark.parametrize(
    "tail",
    [
        row("HEIC with Samsung's trailer", "taken", SAMSUNG),
        row("HEIC with a film behind it (motion photo)", "taken", film()),
        row("HEIC with a box mpvd that holds a film", "taken", (8 + len(film())).to_bytes(4, "big") + b"mpvd" + film()),
        row("HEIC with a film behind it that is cut", "taken", film()[:-12]),
        row("HEIC with zeros behind it", "taken", bytes(4096)),
        row("HEIC with other bytes behind it", "taken", b"/>\n<junk" * 50),
        row("HEIC with a few bytes behind it", "taken", b"\x01\x02\x03"),
    ],
)
def test_bytes_behind_a_heic_do_not_matter(tmp_path, tail):
    path = write_photo(tmp_path / "photo.heic", blocks(0, 320, 240))
    pixels = load_rgb(path)
    path.write_bytes(path.read_bytes() + tail)
    photo = store_photo(DecodeTask(path, "photo.heic", False, tmp_path / "images"))
    assert (photo.reject_reason, photo.exif.captured_at) == ("", "2025-12-22T09:47:11+02:00")
    assert np.array_equal(load_rgb(path), pixels)


@condition(Area.CONTAINERS, "HEIC cut anywhere", "rejected as truncated", since=SINCE)
def test_heic_cut_anywhere_is_rejected(tmp_path):
    data = write_photo(tmp_path / "photo.heic", blocks(0, 320, 240)).read_bytes()
    path = tmp_path / "cut.heic"
    for cut in [*range(40, len(data), 97), len(data) - 1]:
        for tail in (b"", SAMSUNG):
            path.write_bytes(data[:cut] + (tail if cut + len(tail) < len(data) else b""))
            with pytest.raises(ImageError):
                load_rgb(path)
    path.write_bytes(data[:-1])
    with pytest.raises(ImageError, match="truncated file: 1 bytes are missing"):
        load_rgb(path)


@condition(
    Area.CONTAINERS,
    "HEIC with zeros in the place of image data",
    "rejected as truncated",
    since=SINCE,
)
def test_heic_of_which_zeros_replace_a_block_is_rejected(tmp_path):
    data = write_photo(tmp_path / "photo.heic", blocks(0, 320, 240)).read_bytes()
    path = tmp_path / "copied.heic"
    start = data.index(b"mdat") + 64
    for begin, end in [(start, start + 40), (len(data) // 2, len(data) // 2 + 512), (start, len(data))]:
        path.write_bytes(data[:begin] + bytes(end - begin) + data[end:])
        with pytest.raises(ImageError, match="truncated file: zeros in the place of image data"):
            load_rgb(path)


@pytest.mark.shared_data
def test_bytes_behind_a_real_heic_of_tiles_do_not_matter(tmp_path):
    data = shared_data("exif_samples", "heic", "IMG_5195.HEIC").read_bytes()
    path = tmp_path / "photo.heic"
    for tail in (SAMSUNG, film()):
        path.write_bytes(data + tail)
        assert load_rgb(path).size > 1e6


def save(path: Path, image: Image.Image, format_name: str, **options) -> Path:
    image.save(path, format_name, exif=make_exif().tobytes(), **options)
    return path


@pytest.mark.parametrize(
    ("name", "format_name"),
    [
        row("HEIC named .jpg", "taken", "photo.jpg", "HEIF"),
        row("JPEG named .HEIC", "taken", "photo.HEIC", "JPEG"),
        row("PNG named .JPG", "taken", "photo.JPG", "PNG"),
        row("JPEG of two pictures (MPO)", "its first taken", "photo.jpg", "MPO"),
    ],
)
def test_the_content_counts_and_not_the_name(tmp_path, name, format_name):
    pillow_heif.register_heif_opener()
    options = {"subsampling": 0} if format_name in ("JPEG", "MPO") else {}
    options |= {"save_all": True, "append_images": [blocks(5)]} if format_name == "MPO" else {}
    path = save(tmp_path / name, blocks(), format_name, quality=95, **options)
    photo = store_photo(DecodeTask(path, name, False, tmp_path / "images"))
    assert (photo.reject_reason, photo.width_px, photo.height_px) == ("", 64, 48)
    assert np.abs(load_rgb(path).astype(int) - np.asarray(blocks())).mean() < 6


@condition(Area.CONTAINERS, "HEIC of several pictures", "its primary one taken", since=SINCE)
def test_primary_picture_of_a_heic_is_taken(tmp_path):
    heif = pillow_heif.from_pillow(blocks(1))
    heif.add_from_pillow(blocks(2))
    heif.save(tmp_path / "photo.heic", quality=95, primary_index=1)
    assert np.abs(load_rgb(tmp_path / "photo.heic").astype(int) - np.asarray(blocks(2))).mean() < 6


@pytest.mark.parametrize(
    ("format_name", "mode"),
    [
        row("PNG of 16-bit grey", "scaled to 8 bits", "PNG", "I;16", since="2026-11-22"),
        row("JPEG in CMYK", "converted to RGB", "JPEG", "CMYK", since="2026-11-22"),
        row("grey JPEG", "taken", "JPEG", "L"),
        row("PNG with a palette", "taken", "PNG", "P", since="2026-11-22"),
        row("PNG with alpha", "taken without it", "PNG", "RGBA", since="2026-11-22"),
        row("PNG of 1 bit", "taken", "PNG", "1", since="2026-11-22"),
    ],
)
def test_every_mode_becomes_rgb(tmp_path, format_name, mode):
    if mode == "I;16":
        image = Image.fromarray(np.asarray(blocks().convert("L")).astype(np.uint16) * 257)
    else:
        image = blocks().convert(mode)
    rgb = load_rgb(save(tmp_path / "photo", image, format_name))
    assert (rgb.shape, rgb.dtype) == ((48, 64, 3), np.uint8)
    expected = np.asarray((blocks() if mode == "I;16" else image.convert("RGB")).convert("L")).astype(int)
    assert np.abs(np.asarray(Image.fromarray(rgb).convert("L")).astype(int) - expected).mean() < 8


@condition(Area.CONTAINERS, "photo with a colour profile (Display P3)", "its numbers taken as sRGB", since=SINCE)
def test_a_colour_profile_does_not_change_the_numbers(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    plain = load_rgb(save(tmp_path / "a.jpg", blocks(), "JPEG", quality=95))
    assert np.array_equal(load_rgb(save(tmp_path / "b.jpg", blocks(), "JPEG", quality=95, icc_profile=profile)), plain)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        row("empty file", "rejected by name", b"", "empty file", since="2026-11-22"),
        row("file of zeros", "rejected by name", bytes(5000), "nothing but zeros"),
        row("AVIF named .jpg", "rejected by name", b"\0\0\0\x1cftypavif" + bytes(16), "AVIF"),
        row("film named .heic", "rejected by name", film(), "film"),
        row("GIF named .jpg", "rejected by name", b"GIF89a" + bytes(50), "GIF"),
        row("WebP named .jpg", "rejected by name", b"RIFF\x20\0\0\0WEBPVP8 " + bytes(50), "WebP"),
        row("TIFF or raw named .jpg", "rejected by name", b"II*\0" + bytes(50), "TIFF or raw"),
        row("web page named .jpg (failed download)", "rejected by name", b"<!DOCTYPE html><html>", "web page"),
        row("AppleDouble file of macOS", "rejected by name", b"\0\x05\x16\x07\0\x02\0\0Mac OS X", "AppleDouble"),
        row("pointer of Git LFS", "rejected by name", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        row("JPEG header and nothing else", "rejected as truncated", b"\xff\xd8\xff\xe0", "truncated"),
        row("text named .png", "rejected by name", b"hello", "not a HEIC, JPEG or PNG"),
    ],
)
def test_file_that_is_no_photo_is_rejected_with_what_it_is(tmp_path, content, reason):
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    photo = store_photo(DecodeTask(path, "photo.jpg", True, tmp_path / "images"))
    assert photo.reject_reason.startswith("unreadable: ")
    assert reason in photo.reject_reason


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        row("named pipe with the name of a photo", "rejected, without waiting", "pipe", "a named pipe"),
        row("socket with the name of a photo", "rejected", "socket", "a socket"),
        row("link to a device (/dev/zero)", "rejected, without reading", "device", "a device"),
        row("folder with the name of a photo, by a link", "rejected", "folder", "a folder"),
        row("link to itself", "rejected", "loop", "symbolic links"),
        row("broken link", "rejected", "broken", "No such file", since="2026-11-22"),
        row("sparse file of a terabyte", "rejected, without reading", "sparse", "up to 512 MiB"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="special files of Unix")
def test_what_is_no_file_neither_hangs_nor_stops(tmp_path, kind, reason, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    path = Path("photo.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        {
            "pipe": lambda: os.mkfifo(path),
            "socket": lambda: listener.bind(str(path)),
            "device": lambda: path.symlink_to("/dev/zero"),
            "folder": lambda: path.symlink_to(tmp_path),
            "loop": lambda: path.symlink_to(path),
            "broken": lambda: path.symlink_to("nowhere"),
            "sparse": lambda: (path.touch(), os.truncate(path, 1 << 40)),
        }[kind]()
        photo = store_photo(DecodeTask(path, "photo.jpg", True, tmp_path / "images"))
    assert reason in photo.reject_reason


@condition(Area.CONTAINERS, "file without permission to read", "rejected by name", since=SINCE)
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every file")
def test_file_without_permission_is_rejected(tmp_path):
    path = write_photo(tmp_path / "photo.jpg")
    path.chmod(0)
    photo = store_photo(DecodeTask(path, "photo.jpg", True, tmp_path / "images"))
    assert photo.reject_reason == "unreadable: Permission denied"


@pytest.mark.slow
@condition(Area.CONTAINERS, "JPEG of 200 megapixels", "taken, reduced while it is decoded, in 1 GB", since=SINCE)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from Linux's /proc")
def test_largest_photos_are_taken_within_a_bound_of_memory(tmp_path):
    path = tmp_path / "photo.jpg"
    ramp = Image.linear_gradient("L").resize((16320, 12240), Image.Resampling.NEAREST).convert("RGB")
    ramp.save(path, exif=make_exif().tobytes())
    del ramp
    code = (
        "from pathlib import Path; from training.photos.decode import DecodeTask, store_photo\n"
        f"photo = store_photo(DecodeTask(Path({str(path)!r}), 'photo', False, Path({str(tmp_path / 'images')!r})))\n"
        "assert photo.reject_reason == '', photo.reject_reason\n"
        "status = Path('/proc/self/status').read_text().split()\n"
        "print(photo.width_px, photo.height_px, int(status[status.index('VmHWM:') + 1]) >> 10)"
    )
    output = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    width, height, peak_mib = map(int, output.split())
    assert (width, height) == (16320, 12240)
    (stored,) = (tmp_path / "images").glob("*.jpg")
    grey = np.asarray(Image.open(stored).convert("L")).astype(int)
    assert abs(grey[10].mean() - 8) < 4
    assert abs(grey[-10].mean() - 248) < 4
    assert peak_mib < 1024


@pytest.mark.parametrize(
    "suffix",
    [
        row("JPEG of more than 64 megapixels", "taken, reduced", ".jpg"),
        row("PNG of more than 64 megapixels (108)", "taken, reduced", ".png"),
        row("HEIC of more than 64 megapixels (108)", "taken, reduced", ".heic"),
    ],
)
def test_large_photos_are_reduced_and_keep_their_picture(tmp_path, suffix, monkeypatch):
    picture = blocks(3, 480, 360)
    path = write_photo(tmp_path / f"photo{suffix}", picture, make_exif(orientation=6))
    whole = load_rgb(path)
    monkeypatch.setattr(photo_file, "_REDUCED_FROM_PIXELS", 100 * 100)
    photo = store_photo(DecodeTask(path, "photo", False, tmp_path / "images"))
    assert (photo.width_px, photo.height_px) == (360, 480)
    reduced = load_rgb(path)
    assert reduced.shape == (60, 45, 3)
    expected = np.asarray(Image.fromarray(whole).reduce(8)).astype(int)
    assert np.abs(reduced - expected).mean() < 6


@condition(Area.CONTAINERS, "PNG or HEIC of more than 178 megapixels", "rejected in one line", since=SINCE)
def test_png_larger_than_the_bound_is_rejected(tmp_path, monkeypatch):
    path = write_photo(tmp_path / "photo.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 48 // 3)  # Pillow's limit is twice that
    photo = store_photo(DecodeTask(path, "photo.png", True, tmp_path / "images"))
    assert photo.reject_reason == "unreadable: more than 178 megapixels, or a decompression bomb; save it as a JPEG"


@condition(Area.CONTAINERS, "JPEG header of 65500 x 65500 px without a picture", "rejected", since=SINCE)
def test_claimed_size_costs_no_memory(tmp_path):
    path = write_photo(tmp_path / "photo.jpg")
    data = bytearray(path.read_bytes())
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = b"\xff\xdc\xff\xdc"
    path.write_bytes(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    photo = store_photo(DecodeTask(path, "photo.jpg", True, tmp_path / "images"))
    assert "megapixels" in photo.reject_reason
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10


def test_file_that_becomes_a_pipe_does_not_block(tmp_path, monkeypatch):
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"x")
    status = path.stat()
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr(photo_file.Path, "stat", lambda _: status)
    assert photo_file.read_file(path) == b""
