"""sensor_msgs Image and CompressedImage -> (H, W, 3) uint8 RGB, the one function `to_rgb`.

Encodings: sensor_msgs/image_encodings.hpp. A raw message is checked and repacked here (sizes, padded rows, byte
order, 16 bits to 8) before a bridge converts its colours: bridges read padded rows wrongly without an error, swap
bytes with a numpy call that numpy 2 lacks, and round 16 bits differently. The bridge is cv_bridge where a ROS
distribution brings it and rosbags-image elsewhere. OpenCV alone does what not all of them can: YUV (no bridge reads
NV24, older cv_bridges know only `yuv422`), and compressed images, which the bridges decode without a way to take grey
or 16-bit ones to RGB.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from types import SimpleNamespace
from typing import NamedTuple

import cv2
import numpy as np

from campus_visual_gps.errors import ConfigError, ImageError

MAX_SIDE_PX = 1 << 15  # cv2.remap's own limit; a larger side is a damaged message


class _Packed(NamedTuple):
    """Rows of `channels` samples of `bits` each, and the 8-bit encoding, or OpenCV's code, that converts them."""

    channels: int
    bits: int
    conversion: str | int


_BAYER = ("rggb", "bggr", "gbrg", "grbg")
# The generic types carry no colour names; OpenCV's own order is BGR.
_PACKED = {
    **{f"{order}{bits}": _Packed(len(order), bits, f"{order}8") for order in ("rgb", "bgr") for bits in (8, 16)},
    **{f"{order}{bits}": _Packed(4, bits, f"{order}8") for order in ("rgba", "bgra") for bits in (8, 16)},
    **{f"mono{bits}": _Packed(1, bits, "mono8") for bits in (8, 16)},
    **{f"bayer_{tile}{bits}": _Packed(1, bits, f"bayer_{tile}8") for tile in _BAYER for bits in (8, 16)},
    **{f"{bits}UC1": _Packed(1, bits, "mono8") for bits in (8, 16)},
    **{f"{bits}UC3": _Packed(3, bits, "bgr8") for bits in (8, 16)},
    **{f"{bits}UC4": _Packed(4, bits, "bgra8") for bits in (8, 16)},
    **{name: _Packed(2, 8, cv2.COLOR_YUV2RGB_UYVY) for name in ("uyvy", "yuv422")},
    **{name: _Packed(2, 8, cv2.COLOR_YUV2RGB_YUY2) for name in ("yuyv", "yuv422_yuy2")},
}
# Bytes of the chroma plane per byte of the luma plane before it, and OpenCV's conversion.
_PLANAR = {
    "nv12": (0.5, cv2.COLOR_YUV2RGB_NV12),
    "nv21": (0.5, cv2.COLOR_YUV2RGB_NV21),
    "nv24": (2.0, cv2.COLOR_YUV2RGB_NV12),
}
RAW_ENCODINGS = (*_PACKED, *_PLANAR)


def to_rgb(message) -> np.ndarray:
    """sensor_msgs/Image or sensor_msgs/CompressedImage -> (H, W, 3) uint8 RGB, 0..255.

    16-bit samples are scaled by 255 / 65535, alpha is dropped, grey is repeated. The array of an rgb8 message shares
    the message's memory. Raises ImageError that says what came for anything that is no colour or grey image.
    """
    try:
        return _from_compressed(message) if hasattr(message, "format") else _from_raw(message)
    except cv2.error as error:
        raise ImageError(f"OpenCV cannot convert {_describe(message)}: {_one_line(error)}") from error


def _from_raw(message) -> np.ndarray:
    if not (0 < message.width <= MAX_SIDE_PX and 0 < message.height <= MAX_SIDE_PX):
        raise ImageError(f"{_describe(message)} has no usable size (1..{MAX_SIDE_PX} px a side)")
    if message.encoding in _PLANAR:
        return _from_planar(message)
    if message.encoding not in _PACKED:
        raise ImageError(f"encoding {message.encoding!r} is no colour or grey image; known: {', '.join(RAW_ENCODINGS)}")
    packed = _PACKED[message.encoding]
    pixels = _packed_pixels(message, packed)
    if packed.conversion == "rgb8":
        return pixels
    if isinstance(packed.conversion, str):
        return bridge().convert(pixels, packed.conversion)
    if message.width % 2:
        raise ImageError(f"{_describe(message)} has an odd width; its pixels share colour in pairs")
    return cv2.cvtColor(pixels, packed.conversion)


def _packed_pixels(message, packed: _Packed) -> np.ndarray:
    """Contiguous (H, W) or (H, W, channels) uint8; a view of the message where its rows are not padded."""
    rows = _rows(message, message.height, message.width * packed.channels * packed.bits // 8)
    if packed.bits == 16:
        rows = _to_8_bits(rows.view(">u2" if message.is_bigendian else "<u2"))
    shape = (message.height, message.width, packed.channels)
    return rows.reshape(shape if packed.channels > 1 else shape[:2])


def _rows(message, row_count: int, row_bytes: int) -> np.ndarray:
    """Contiguous (row_count, row_bytes) uint8 without the rows' padding. Raises ImageError on wrong sizes."""
    data = np.frombuffer(message.data, dtype=np.uint8)
    if message.step < row_bytes or data.size != message.step * row_count:
        raise ImageError(
            f"{_describe(message)} has {data.size} bytes and step {message.step}; "
            f"expected {row_count} rows of {row_bytes} bytes or more"
        )
    return np.ascontiguousarray(data.reshape(row_count, message.step)[:, :row_bytes])


def _to_8_bits(samples: np.ndarray) -> np.ndarray:
    """uint16 of either byte order -> uint8, rounded; 65535 becomes 255."""
    native = samples.astype(np.uint16, copy=False)
    return cv2.convertScaleAbs(native, alpha=255.0 / 65535.0)


def _from_planar(message) -> np.ndarray:
    """A luma plane followed by one of interleaved chroma, BT.601 video range like the other YUV encodings."""
    chroma_ratio, conversion = _PLANAR[message.encoding]
    height, width = message.height, message.width
    if height % 2 or width % 2:
        raise ImageError(f"{_describe(message)} has an odd side; its pixels share colour in blocks of 2 x 2")
    rows = _rows(message, int(height * (1.0 + chroma_ratio)), width)
    if message.encoding == "nv24":
        rows = _nv24_to_nv12(rows, height, width)
    return cv2.cvtColor(rows, conversion)


def _nv24_to_nv12(rows: np.ndarray, height: int, width: int) -> np.ndarray:
    """OpenCV has no conversion of NV24: average its chroma over 2 x 2 pixels, which no network's input shows."""
    # two luma-wide rows hold the chroma pairs of one row of pixels
    chroma = rows[height:].reshape(height, width, 2)
    halved = cv2.resize(chroma, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return np.concatenate([rows[:height], halved.reshape(height // 2, width)])


def _from_compressed(message) -> np.ndarray:
    """JPEG, PNG and whatever else OpenCV decodes; EXIF orientation is applied, as `ingest` does.

    The format string follows image_transport: "jpeg", or "ENCODING; jpeg compressed ORDER".
    """
    data = np.frombuffer(message.data, dtype=np.uint8)
    if data.size == 0 or "compressedDepth" in message.format:
        raise ImageError(f"{_describe(message)} is no colour or grey image")
    original, _, compressed = message.format.partition(";")
    mosaic = original.startswith("bayer_") and original in _PACKED
    image = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE if mosaic else cv2.IMREAD_COLOR)
    if image is None:
        raise ImageError(f"{_describe(message)} cannot be decoded: truncated, or no JPEG or PNG")
    if mosaic:
        return bridge().convert(image, _PACKED[original].conversion)
    # "compressed rgb8": the encoder was handed RGB where it takes BGR, so what comes out is RGB already
    return image if "compressed rgb" in compressed else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


class Bridge(NamedTuple):
    """A message bridge: its name, and (pixels uint8 contiguous, encoding) -> (H, W, 3) uint8 RGB."""

    name: str
    convert: Callable[[np.ndarray, str], np.ndarray]


@lru_cache(maxsize=1)
def bridge() -> Bridge:
    """cv_bridge where it can be imported, else rosbags-image. Raises ConfigError where there is neither."""
    # built for numpy 1, cv_bridge fails under numpy 2 with errors of other types than ImportError
    problems = []
    for load in (cv_bridge, rosbags_bridge):
        try:
            return load()
        except Exception as error:
            problems.append(f"{type(error).__name__}: {_one_line(error)}")
    raise ConfigError(
        "no image bridge: install cv_bridge (ROS distribution) or rosbags-image (pip); " + "; ".join(problems)
    )


def cv_bridge() -> Bridge:
    """The bridge of a ROS distribution. Raises whatever its import raises."""
    from cv_bridge import CvBridge, CvBridgeError
    from cv_bridge.boost.cv_bridge_boost import cvtColor2  # noqa: F401  compiled part, else loaded at the first image

    converter = CvBridge()

    def convert(pixels: np.ndarray, encoding: str) -> np.ndarray:
        try:
            return converter.imgmsg_to_cv2(_bare_message(pixels, encoding), desired_encoding="rgb8")
        except CvBridgeError as error:
            raise ImageError(f"cv_bridge cannot convert {encoding}: {_one_line(error)}") from error

    return Bridge("cv_bridge", convert)


def rosbags_bridge() -> Bridge:
    """The pure Python bridge of PyPI. Raises ImportError."""
    from rosbags.image import ImageError as RosbagsImageError
    from rosbags.image import image_to_cvimage

    def convert(pixels: np.ndarray, encoding: str) -> np.ndarray:
        try:
            return image_to_cvimage(_bare_message(pixels, encoding), "rgb8")
        except RosbagsImageError as error:
            raise ImageError(f"rosbags-image cannot convert {encoding}: {_one_line(error)}") from error

    return Bridge("rosbags-image", convert)


def _bare_message(pixels: np.ndarray, encoding: str) -> SimpleNamespace:
    """What a bridge reads of a message. A real one would copy the pixels."""
    height, width = pixels.shape[:2]
    return SimpleNamespace(
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(sys.byteorder == "big"),
        step=pixels.strides[0],
        data=pixels,
    )


def _describe(message) -> str:
    if hasattr(message, "format"):
        return f"compressed image of {len(message.data)} bytes, format {message.format!r},"
    return f"image of {message.width} x {message.height} px, encoding {message.encoding!r},"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
