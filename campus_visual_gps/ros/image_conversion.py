"""sensor_msgs Image and CompressedImage to (H, W, 3) uint8 RGB: `to_rgb`.

Encodings are those of sensor_msgs/image_encodings.hpp. A raw message is checked and repacked here (sizes, padded rows,
byte order, 16 bits to 8) before a bridge converts its colours, because bridges read padded rows wrongly without an
error, swap bytes with a numpy call that numpy 2 lacks, and round 16 bits differently. The bridge is cv_bridge where a
ROS distribution provides it, and rosbags-image elsewhere. OpenCV itself converts what not every bridge can: YUV (no
bridge reads NV24, older versions of cv_bridge only `yuv422`), and compressed images, which the bridges cannot convert
to RGB if they are grey or have 16 bits.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, NamedTuple

import cv2
import numpy as np

from campus_visual_gps.errors import ConfigError, ImageError
from campus_visual_gps.jpeg import check_not_filled, complete_jpeg, is_jpeg
from campus_visual_gps.ros.bit_depth import BitDepthTracker

MAX_SIDE_PX = 1 << 15  # cv2.remap's own limit; a larger side is a damaged message


class _Packed(NamedTuple):
    """Layout of an encoding with packed pixels: `channels` samples of `bits` each.

    `conversion` is the 8-bit encoding that a bridge converts, or OpenCV's conversion code.
    """

    channels: int
    bits: int
    conversion: str | int


_BAYER = ("rggb", "bggr", "gbrg", "grbg")
# The generic types do not name their channels; OpenCV's order is BGR.
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


def to_rgb(message, bit_depths: BitDepthTracker | None = None) -> np.ndarray:
    """Convert a message to RGB.

    Args:
        message: sensor_msgs/Image or sensor_msgs/CompressedImage.
        bit_depths: The bit depths of the stream that the message belongs to; None judges the message by itself.

    Returns:
        (H, W, 3) uint8 RGB, 0..255. 16-bit samples are scaled by the bit depth that they show (see bit_depth.py), alpha
        is dropped, grey is repeated. The array of an rgb8 message shares the message's memory.

    Raises:
        ImageError: The message is not a colour or grey image, or its sizes contradict each other.
    """
    try:
        convert = _from_compressed if hasattr(message, "format") else _from_raw
        return convert(message, bit_depths or BitDepthTracker())
    except cv2.error as error:
        raise ImageError(f"OpenCV cannot convert {_describe(message)}: {_one_line(error)}") from error


def _from_raw(message, bit_depths: BitDepthTracker) -> np.ndarray:
    if not (0 < message.width <= MAX_SIDE_PX and 0 < message.height <= MAX_SIDE_PX):
        raise ImageError(f"expected sides of 1 to {MAX_SIDE_PX} px, got {_describe(message)}")
    if message.encoding in _PLANAR:
        return _from_planar(message)
    if message.encoding not in _PACKED:
        raise ImageError(
            f"encoding {message.encoding!r} is not a colour or grey image; expected one of {', '.join(RAW_ENCODINGS)}"
        )
    packed = _PACKED[message.encoding]
    pixels = _packed_pixels(message, packed, bit_depths)
    if packed.conversion == "rgb8":
        return pixels
    if isinstance(packed.conversion, str):
        return bridge().convert(pixels, packed.conversion)
    if message.width % 2:
        raise ImageError(f"expected an even width for this encoding, got {_describe(message)}")
    return cv2.cvtColor(pixels, packed.conversion)


def _packed_pixels(message, packed: _Packed, bit_depths: BitDepthTracker) -> np.ndarray:
    """Contiguous (H, W) or (H, W, channels) uint8; a view of the message if its rows are not padded."""
    rows = _rows(message, message.height, message.width * packed.channels * packed.bits // 8)
    if packed.bits == 16:
        samples = rows.view(">u2" if message.is_bigendian else "<u2").astype(np.uint16, copy=False)
        rows = bit_depths.to_8_bits(samples, message.encoding)
    shape = (message.height, message.width, packed.channels)
    return rows.reshape(shape if packed.channels > 1 else shape[:2])


def _rows(message, row_count: int, row_bytes: int) -> np.ndarray:
    """Contiguous (row_count, row_bytes) uint8 without the rows' padding. Raises ImageError for wrong sizes."""
    data = np.frombuffer(message.data, dtype=np.uint8)
    if message.step < row_bytes or data.size != message.step * row_count:
        raise ImageError(
            f"expected {row_count} rows of {row_bytes} bytes or more, "
            f"got {data.size} bytes with step {message.step} for {_describe(message)}"
        )
    return np.ascontiguousarray(data.reshape(row_count, message.step)[:, :row_bytes])


def _from_planar(message) -> np.ndarray:
    """A luma plane followed by a plane of interleaved chroma; BT.601, video range, as the other YUV encodings."""
    chroma_ratio, conversion = _PLANAR[message.encoding]
    height, width = message.height, message.width
    if height % 2 or width % 2:
        raise ImageError(f"expected even sides for this encoding, got {_describe(message)}")
    rows = _rows(message, int(height * (1.0 + chroma_ratio)), width)
    if message.encoding == "nv24":
        rows = _nv24_to_nv12(rows, height, width)
    return cv2.cvtColor(rows, conversion)


def _nv24_to_nv12(rows: np.ndarray, height: int, width: int) -> np.ndarray:
    """Average the chroma over 2 x 2 pixels, because OpenCV cannot convert NV24; the network's input is coarser."""
    # two luma-wide rows hold the chroma pairs of one row of pixels
    chroma = rows[height:].reshape(height, width, 2)
    halved = cv2.resize(chroma, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return np.concatenate([rows[:height], halved.reshape(height // 2, width)])


def _from_compressed(message, bit_depths: BitDepthTracker) -> np.ndarray:
    """Decode JPEG, PNG and the other formats of OpenCV; the EXIF orientation is applied, as in `ingest`.

    The format string is that of image_transport: "jpeg", or "ENCODING; jpeg compressed ORDER".
    """
    data = np.frombuffer(message.data, dtype=np.uint8)
    if data.size == 0 or "compressedDepth" in message.format:
        raise ImageError(f"expected a colour or grey image, got {_describe(message)}")
    original, _, compressed = message.format.partition(";")
    mosaic = _PACKED[original].conversion if original.startswith("bayer_") and original in _PACKED else None
    # a PNG of 16 bits keeps them until its bit depth is known
    image = _decode(message, data, cv2.IMREAD_ANYDEPTH | (cv2.IMREAD_GRAYSCALE if mosaic else cv2.IMREAD_COLOR))
    if image.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"expected samples of 8 or 16 bits, got {image.dtype} in {_describe(message)}")
    if image.dtype == np.uint16:
        image = bit_depths.to_8_bits(image, original)
    if isinstance(mosaic, str):
        return bridge().convert(image, mosaic)
    # "compressed rgb8": the encoder got RGB where it expects BGR, so the decoded channels are RGB already
    return image if "compressed rgb" in compressed else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _decode(message, data: np.ndarray, flags: int) -> np.ndarray:
    """Decode whole images only: OpenCV's versions differ in what they make of a JPEG that was cut."""
    image = None
    try:
        whole = complete_jpeg(data.tobytes()) if is_jpeg(data[:2].tobytes()) else b""
        image = cv2.imdecode(np.frombuffer(whole, dtype=np.uint8) if whole else data, flags)
        if whole and image is not None:
            check_not_filled(whole, image)
    except ImageError as error:
        raise ImageError(f"cannot decode {_describe(message)}: {error}") from error
    if image is None:
        raise ImageError(f"cannot decode {_describe(message)}: it is truncated, or not a JPEG or PNG")
    return image


class Bridge(NamedTuple):
    """A message bridge: its name, and a function (contiguous uint8 pixels, encoding) -> (H, W, 3) uint8 RGB."""

    name: str
    convert: Callable[[np.ndarray, str], np.ndarray]


@lru_cache(maxsize=1)
def bridge() -> Bridge:
    """cv_bridge if it can be imported, else rosbags-image. Raises ConfigError if neither can."""
    # a cv_bridge that was built for numpy 1 fails under numpy 2, and not only with ImportError
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
    """The bridge of a ROS distribution. Raises what its import raises."""
    from cv_bridge import CvBridge, CvBridgeError
    from cv_bridge.boost.cv_bridge_boost import cvtColor2  # noqa: F401  compiled; otherwise loaded at the first image

    converter = CvBridge()

    def convert(pixels: np.ndarray, encoding: str) -> np.ndarray:
        try:
            return converter.imgmsg_to_cv2(_bare_message(pixels, encoding), desired_encoding="rgb8")
        except CvBridgeError as error:
            raise ImageError(f"cv_bridge cannot convert {encoding}: {_one_line(error)}") from error

    return Bridge("cv_bridge", convert)


def rosbags_bridge() -> Bridge:
    """The pure Python bridge from PyPI. Raises ImportError."""
    from rosbags.image import ImageError as RosbagsImageError
    from rosbags.image import image_to_cvimage

    def convert(pixels: np.ndarray, encoding: str) -> np.ndarray:
        try:
            return image_to_cvimage(_bare_message(pixels, encoding), "rgb8")
        except RosbagsImageError as error:
            raise ImageError(f"rosbags-image cannot convert {encoding}: {_one_line(error)}") from error

    return Bridge("rosbags-image", convert)


def _bare_message(pixels: np.ndarray, encoding: str) -> Any:
    """An object with the fields of a message that a bridge reads; a real message would copy the pixels."""
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
        return f"compressed image of {len(message.data)} bytes, format {message.format!r}"
    return f"image of {message.width} x {message.height} px, encoding {message.encoding!r}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
