"""to_rgb: every colour or grey encoding, with padded rows and both byte orders, on every installed bridge."""

from array import array
from contextlib import suppress

import cv2
import numpy as np
import pytest
from compatibility import Area, condition
from helpers import textured_rgb
from sensor_msgs.msg import CompressedImage, Image

from campus_visual_gps.errors import ConfigError, ImageError
from campus_visual_gps.ros import image_conversion
from campus_visual_gps.ros.image_conversion import RAW_ENCODINGS, Bridge, to_rgb

HEIGHT, WIDTH = 48, 64
REAL_BRIDGE = image_conversion.bridge
BAYER_OFFSETS = {"rggb": ((0, 0), (1, 1)), "bggr": ((1, 1), (0, 0)), "gbrg": ((1, 0), (0, 1)), "grbg": ((0, 1), (1, 0))}


def importable_bridges() -> list[Bridge]:
    bridges = []
    for load in (image_conversion.cv_bridge, image_conversion.rosbags_bridge):
        with suppress(Exception):  # built for another numpy, cv_bridge fails with more than ImportError
            bridges.append(load())
    return bridges


@pytest.fixture(params=importable_bridges(), ids=lambda bridge: bridge.name, autouse=True)
def bridge(request, monkeypatch):
    """Every bridge that is on this machine."""
    monkeypatch.setattr(image_conversion, "bridge", lambda: request.param)
    return request.param


@pytest.fixture(scope="module")
def rgb():
    return textured_rgb(HEIGHT, WIDTH)


def raw(samples: np.ndarray, encoding: str, *, padding: int = 0, big_endian: bool = False, height=HEIGHT) -> Image:
    """A message whose rows are `samples` (rows, bytes or 16-bit values) and `padding` more bytes of other values."""
    if samples.dtype == np.uint16:
        samples = samples.astype(">u2" if big_endian else "<u2")
    rows = np.ascontiguousarray(samples).reshape(len(samples), -1).view(np.uint8)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=171)
    message = Image(height=height, width=WIDTH, encoding=encoding, step=rows.shape[1], is_bigendian=int(big_endian))
    message.data = array("B", rows.tobytes())
    return message


def encode(rgb: np.ndarray, encoding: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows of `rgb` in an encoding, and the (H, W, 3) RGB that a perfect reader would see."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    alpha = np.full((*rgb.shape[:2], 1), 200, np.uint8)
    plain = {
        "rgb": rgb,
        "bgr": rgb[..., ::-1],
        "rgba": np.concatenate([rgb, alpha], axis=2),
        "bgra": np.concatenate([rgb[..., ::-1], alpha], axis=2),
        "mono": grey,
    }
    plain |= {"UC1": plain["mono"], "UC3": plain["bgr"], "UC4": plain["bgra"]}
    base = encoding.removesuffix("16").removesuffix("8").removeprefix("16").removeprefix("8")
    if base in plain:
        rows = plain[base]
        truth = np.dstack([grey] * 3) if rows is grey else rgb
    elif base.startswith("bayer"):
        rows, truth = mosaic(rgb, base.removeprefix("bayer_")), rgb
    else:
        truth = rgb[::2, ::2].repeat(2, axis=0).repeat(2, axis=1)  # as coarse as the chroma, so nothing is lost
        rows = yuv(truth, encoding)
    return (rows.astype(np.uint16) * 257 if "16" in encoding else rows), truth


def mosaic(rgb: np.ndarray, tile: str) -> np.ndarray:
    """What a sensor with this colour filter sees; the tile's letters are its first two rows."""
    rows = rgb[..., 1].copy()
    for channel, (row, column) in zip((0, 2), BAYER_OFFSETS[tile], strict=True):
        rows[row::2, column::2] = rgb[row::2, column::2, channel]
    return rows


def yuv(rgb: np.ndarray, encoding: str) -> np.ndarray:
    """BT.601 video range, the chroma averaged as the format's sampling asks."""
    r, g, b = np.moveaxis(rgb.astype(np.float64), -1, 0)
    luma = 16 + (65.738 * r + 129.057 * g + 25.064 * b) / 256
    u = 128 + (-37.945 * r - 74.494 * g + 112.439 * b) / 256
    v = 128 + (112.439 * r - 94.154 * g - 18.285 * b) / 256
    luma, u, v = (np.round(plane).astype(np.uint8) for plane in (luma, u, v))
    if encoding == "nv24":
        return np.concatenate([luma, np.dstack([u, v]).reshape(2 * HEIGHT, WIDTH)])
    if encoding in ("nv12", "nv21"):
        pair = (u, v) if encoding == "nv12" else (v, u)
        halves = [cv2.resize(plane, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA) for plane in pair]
        return np.concatenate([luma, np.dstack(halves).reshape(HEIGHT // 2, WIDTH)])
    u, v = (cv2.resize(plane, (WIDTH // 2, HEIGHT), interpolation=cv2.INTER_AREA) for plane in (u, v))
    order = (
        (u, luma[:, ::2], v, luma[:, 1::2]) if encoding in ("uyvy", "yuv422") else (luma[:, ::2], u, luma[:, 1::2], v)
    )
    return np.dstack(order).reshape(HEIGHT, 2 * WIDTH)


def assert_alike(found: np.ndarray, expected: np.ndarray, mean_limit: float) -> None:
    assert found.shape == expected.shape
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - expected).mean() <= mean_limit


@pytest.mark.parametrize("padding", [0, 7, 64])
@pytest.mark.parametrize(
    "encoding",
    [
        pytest.param(
            name,
            marks=condition(
                Area.CAMERA, f"raw image, encoding {name}, rows padded or not", "converted to RGB", since="2026-11-22"
            ),
        )
        for name in RAW_ENCODINGS
    ],
)
def test_every_encoding_gives_the_same_picture(encoding, padding, rgb):
    rows, truth = encode(rgb, encoding)
    # chroma and mosaics are interpolated; everything else is exact
    limit = 2.0 if encoding.startswith(("bayer", "yuv", "nv", "uyvy", "yuyv")) else 0.0
    padding = padding // 2 * 2 if "16" in encoding else padding
    assert_alike(to_rgb(raw(rows, encoding, padding=padding)), truth, limit)


@condition(
    Area.CAMERA, "16-bit raw image, big-endian or little-endian", "both byte orders are read", since="2026-11-22"
)
@pytest.mark.parametrize("encoding", [name for name in RAW_ENCODINGS if "16" in name])
def test_both_byte_orders_are_read(encoding, rgb):
    rows, _ = encode(rgb, encoding)
    little = to_rgb(raw(rows, encoding))
    assert np.array_equal(to_rgb(raw(rows, encoding, big_endian=True, padding=6)), little)


@condition(Area.CAMERA, "8-bit raw image with is_bigendian set", "the flag is ignored", since="2026-11-22")
def test_byte_order_of_8_bit_images_is_ignored(rgb):
    assert np.array_equal(to_rgb(raw(rgb, "rgb8", big_endian=True)), rgb)


def test_16_bits_are_scaled_and_rounded():
    samples = np.zeros((HEIGHT, WIDTH), np.uint16)
    samples[0, :4] = [128, 129, 65535, 32768]
    assert to_rgb(raw(samples, "mono16"))[0, :4, 0].tolist() == [0, 1, 255, 128]


def test_rgb8_without_padding_is_not_copied(rgb):
    message = raw(rgb, "rgb8")
    assert np.shares_memory(to_rgb(message), np.frombuffer(message.data, np.uint8))


@condition(Area.CAMERA, "compressed image whose format is wrong or empty", "decoded by its bytes", since="2026-11-22")
@pytest.mark.parametrize("extension", [".png", ".jpg"])
@pytest.mark.parametrize("text", ["png", "jpeg", "rgb8; jpeg compressed bgr8", "bgr8; png compressed bgr8", ""])
def test_compressed_colour_is_read_whatever_the_format_is_called(extension, text, rgb):
    data = cv2.imencode(extension, rgb[..., ::-1])[1].tobytes()
    assert_alike(to_rgb(compressed(data, text)), rgb, 0.0 if extension == ".png" else 3.0)


@condition(Area.CAMERA, "compressed grey image of 8 or 16 bits", "converted to RGB", since="2026-11-22")
@pytest.mark.parametrize("bits", [8, 16])
def test_compressed_grey_is_read(bits, rgb):
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    samples = grey.astype(np.uint16) * 257 if bits == 16 else grey
    data = cv2.imencode(".png", samples)[1].tobytes()
    assert_alike(to_rgb(compressed(data, f"mono{bits}; png compressed ")), np.dstack([grey] * 3), 1.0)


@condition(Area.CAMERA, "compressed image of 16 bits, or with alpha", "converted to RGB", since="2026-11-22")
def test_compressed_16_bit_colour_and_alpha_are_read(rgb):
    bgr16 = rgb[..., ::-1].astype(np.uint16) * 257
    bgra = np.dstack([rgb[..., ::-1], np.full(rgb.shape[:2], 9, np.uint8)])
    for samples in (bgr16, bgra):
        data = cv2.imencode(".png", samples)[1].tobytes()
        assert_alike(to_rgb(compressed(data, "png")), rgb, 1.0)


@condition(
    Area.CAMERA,
    "compressed image whose channels were swapped by its encoder",
    "the order is restored",
    since="2026-11-22",
)
def test_compressed_rgb_order_of_image_transport_is_undone(rgb):
    data = cv2.imencode(".png", rgb)[1].tobytes()
    assert_alike(to_rgb(compressed(data, "rgb8; png compressed rgb8")), rgb, 0.0)


@condition(Area.CAMERA, "compressed Bayer mosaic", "demosaiced", since="2026-11-22")
def test_compressed_mosaic_is_coloured(rgb):
    data = cv2.imencode(".png", mosaic(rgb, "grbg"))[1].tobytes()
    assert_alike(to_rgb(compressed(data, "bayer_grbg8; png compressed ")), rgb, 3.0)


def compressed(data: bytes, text: str) -> CompressedImage:
    message = CompressedImage(format=text)
    message.data = array("B", data)
    return message


@condition(
    Area.CAMERA,
    "raw image, unknown encoding or depth (32FC1, nv42, empty)",
    "rejected as bad_image, the encoding named",
    since="2026-11-22",
)
@pytest.mark.parametrize("encoding", ["32FC1", "8SC3", "16UC2", "8UC2", "", "rgb", "nv42", "64FC1"])
def test_an_encoding_that_is_neither_colour_nor_grey_is_named_in_the_error(encoding, rgb):
    with pytest.raises(ImageError, match=f"encoding '{encoding}' is not a colour or grey image"):
        to_rgb(raw(rgb, encoding))


@condition(
    Area.CAMERA,
    "raw image whose step, height, width or data contradict each other",
    "rejected as bad_image, the sizes named",
    since="2026-11-22",
)
@pytest.mark.parametrize(
    "change",
    [
        {"step": 10},
        {"step": 0},
        {"step": WIDTH * 3 + 1},
        {"height": HEIGHT + 1},
        {"height": HEIGHT - 1},
        {"width": WIDTH + 1},
        {"height": 0},
        {"width": 0},
        {"width": 4_000_000_000, "step": 4_000_000_000},
        {"data": array("B")},
        {"data": array("B", b"12345")},
    ],
)
def test_sizes_that_contradict_each_other_are_errors(change, rgb):
    message = raw(rgb, "rgb8")
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(ImageError, match="image of"):
        to_rgb(message)


@condition(Area.CAMERA, "YUV image with an odd side", "rejected as bad_image, the size named", since="2026-11-22")
@pytest.mark.parametrize("encoding", ["yuv422", "yuyv", "nv12", "nv24"])
def test_odd_sides_of_shared_chroma_are_errors(encoding):
    message = Image(height=HEIGHT, width=33, encoding=encoding, step=66)
    message.data = array("B", bytes(66 * {"nv12": 72, "nv24": 144}.get(encoding, HEIGHT)))
    with pytest.raises(ImageError, match=r"expected (an even width|even sides)"):
        to_rgb(message)


@condition(
    Area.NODE,
    "neither cv_bridge nor rosbags-image installed",
    "the node waits unconfigured; one line says what to install",
    since="2026-11-22",
)
def test_a_machine_without_a_bridge_is_told_what_to_install(monkeypatch):
    def missing() -> Bridge:
        raise ImportError("No module named 'this'")

    for name in ("cv_bridge", "rosbags_bridge"):
        monkeypatch.setattr(image_conversion, name, missing)
    monkeypatch.setattr(image_conversion, "bridge", REAL_BRIDGE.__wrapped__)
    with pytest.raises(ConfigError, match=r"install cv_bridge .* or rosbags-image"):
        image_conversion.bridge()


@condition(
    Area.CAMERA,
    "compressed image that is empty or no image",
    "rejected as bad_image, the size and format named",
    since="2026-11-22",
)
@pytest.mark.parametrize("data", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_undecodable_bytes_are_errors(data):
    with pytest.raises(ImageError, match="compressed image of"):
        to_rgb(compressed(data, "jpeg"))


@condition(Area.CAMERA, "compressed depth image", "rejected as bad_image", since="2026-11-22")
def test_compressed_depth_is_an_error(rgb):
    data = bytes(12) + cv2.imencode(".png", rgb[..., 0].astype(np.uint16))[1].tobytes()
    with pytest.raises(ImageError, match="expected a colour or grey image"):
        to_rgb(compressed(data, "16UC1; compressedDepth png"))
