"""Whether a JPEG holds all of its image data: one rule for every version of OpenCV and for Pillow.

Decoders differ: older versions of OpenCV leave the rows that a cut file lacks as they were in memory, newer ones decode
nothing as soon as the end marker is missing, and Pillow and libjpeg fill lost blocks with grey. The rule here: a file
that lacks only its end marker is taken, one that lacks image data is not, whatever the decoder would do with it.

Sections of ITU-T T.81 (the JPEG standard): B.1.1 markers, B.2.2 frame header, B.2.3 scan header, B.2.4.4 restart
interval, G.1 progressive scans.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

import cv2
import numpy as np

from campus_visual_gps.errors import ImageError

START = b"\xff\xd8"
END = b"\xff\xd9"
_DHT, _JPG, _DAC, _SOI, _EOI, _SOS, _DRI = 0xC4, 0xC8, 0xCC, 0xD8, 0xD9, 0xDA, 0xDD
_FRAMES = frozenset(range(0xC0, 0xD0)) - {_DHT, _JPG, _DAC}
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_BARE = frozenset({0x01, *range(0xD0, 0xD8)})  # markers without a segment: temporary use, restarts
# Within a scan a byte 0xFF of data is followed by 0, and restart markers stand between the intervals.
_MARKER = re.compile(rb"\xff[^\x00\xff]")
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
# Two continuations that no encoder writes and no two of which decode to the same pixels.
_CONTINUATIONS = tuple(np.random.default_rng(seed).integers(1, 255, 64, dtype=np.uint8).tobytes() for seed in (0, 1))
_LARGE_PIXELS = 64_000_000  # from here on compared at a quarter of the size, to bound the memory
_GREYS = (127, 128, 129, 63, 64, 65)  # what libjpeg fills; the last three where OpenCV converted from CMYK


@dataclass
class _Walk:
    """What the markers say.

    Attributes:
        width_px, height_px: Of the frame header; 0 without one.
        kind: The frame header's marker.
        sampling: Horizontal and vertical sampling factor by component.
        precision: By component and coefficient, the lowest bit that was sent; missing where none was (G.1.2.3).
        restart_interval: In minimum coded units (MCU); 0 for none.
        scan: The last scan's components.
        scan_start: Where the last scan's data begins, 0 before the first scan.
        end: Where the image data ends.
        has_end: Whether the end marker follows it.
    """

    width_px: int = 0
    height_px: int = 0
    kind: int = 0
    sampling: dict[int, tuple[int, int]] = field(default_factory=dict)
    precision: dict[tuple[int, int], int] = field(default_factory=dict)
    restart_interval: int = 0
    scan: tuple[int, ...] = ()
    scan_start: int = 0
    end: int = 0
    has_end: bool = False


def is_jpeg(data: bytes) -> bool:
    """Whether a file or message begins as a JPEG."""
    return bytes(data[:2]) == START


def jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels by the frame header, of which `data` may be the beginning; (0, 0) without one."""
    position = len(START) if is_jpeg(data) else len(data)
    while marker := _marker_at(data, position):
        code, position = marker
        if code in _FRAMES and position + 7 <= len(data):
            return int.from_bytes(data[position + 5 : position + 7], "big"), int.from_bytes(
                data[position + 3 : position + 5], "big"
            )
        if code not in _BARE:
            position += int.from_bytes(data[position : position + 2], "big")
    return 0, 0


def complete_jpeg(data: bytes) -> bytes:
    """The JPEG with its end marker, which is added if only that is missing.

    A healthy file costs microseconds; only one without its end marker is decoded, three times.

    Raises:
        ImageError: Image data is missing.
    """
    walk = _walk(data, fast=True)
    if walk.has_end and not _missing_scans(walk):
        return data
    if not walk.scan_start:
        raise ImageError(f"truncated JPEG: {len(data)} bytes, and no image data")
    if _missing_scans(walk):
        raise ImageError(f"truncated JPEG: it ends after {len(data)} bytes, and some of its scans are missing")
    image = None if _missing_restarts(data[: walk.end], walk) else _without_tail(data[: walk.end], walk)
    if image is None:
        raise ImageError(f"truncated JPEG: image data is missing at its end, after {len(data)} bytes")
    return image + END


def check_not_filled(data: bytes, pixels: np.ndarray) -> None:
    """Raise ImageError if the decoder filled lost image data of a JPEG that has its end marker.

    Args:
        data: The JPEG, from `complete_jpeg`.
        pixels: (H, W) or (H, W, C) uint8, as decoded from it, turned by its EXIF orientation or not. Lost blocks are
            grey, and the last of them is in a corner; with no grey corner the test ends.
    """
    corners = [pixels[rows, columns] for rows in (slice(4), slice(-4, None)) for columns in (slice(4), slice(-4, None))]
    if not any(corner.flat[0] in _GREYS and np.isin(corner, _GREYS).all() for corner in corners):
        return
    walk = _walk(data, fast=False)
    image = data[: walk.end]
    if walk.scan_start and (_missing_restarts(image, walk) or not _ends_whole(image, walk)):
        raise ImageError("truncated JPEG: image data is missing before its end marker")


def _walk(data: bytes, fast: bool) -> _Walk:
    """Read the markers. `fast` looks for the end of a one-scan image from the end of the file."""
    walk = _Walk()
    position = len(START)
    while marker := _marker_at(data, position):
        code, position = marker
        if code in _BARE:
            continue
        if code in (_SOI, _EOI):
            walk.has_end = code == _EOI and walk.scan_start > 0
            break
        body = data[position + 2 : position + int.from_bytes(data[position : position + 2], "big")]
        if code in _FRAMES:
            _read_frame(walk, code, body)
        elif code == _DRI and len(body) == 2:
            walk.restart_interval = int.from_bytes(body, "big")
        elif code == _SOS:
            if position + 2 + len(body) >= len(data) or not _read_scan(walk, body):
                break
            walk.scan_start = position + 2 + len(body)
            if fast and len(walk.scan) == len(walk.sampling) and walk.kind not in _PROGRESSIVE:
                # the data holds no marker but restarts, so that an end marker behind its start is the image's
                walk.end, walk.has_end = len(data), data.rfind(END, walk.scan_start) >= 0
                if walk.has_end:
                    return walk
            following = _NEXT_MARKER.search(data, walk.scan_start)
            walk.end = position = following.start() if following else len(data)
            continue
        position += 2 + len(body)
    return walk


def _marker_at(data: bytes, position: int) -> tuple[int, int] | None:
    """The code of the first marker from a position on, and where its segment begins; None if there is none.

    Decoders skip what stands between segments, which it should not (B.1.1.2), and so does this.
    """
    found = _MARKER.search(data, position)
    return (found[0][1], found.end()) if found else None


def _read_frame(walk: _Walk, code: int, body: bytes) -> None:
    if len(body) < 6 or len(body) < 6 + 3 * body[5]:
        return
    walk.kind = code
    walk.height_px, walk.width_px = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    walk.sampling = {body[i]: (body[i + 1] >> 4 or 1, body[i + 1] & 15 or 1) for i in range(6, 6 + 3 * body[5], 3)}


def _read_scan(walk: _Walk, body: bytes) -> bool:
    """Note which coefficients a scan sends. False if its header is cut or damaged."""
    count = body[0] if body else 0
    if not walk.sampling or len(body) < 4 + 2 * count:
        return False
    scan = tuple(body[1 : 1 + 2 * count : 2])
    if not scan or not set(scan) <= walk.sampling.keys():
        return False
    walk.scan = scan
    first, last, bits = body[1 + 2 * count : 4 + 2 * count]
    if walk.kind not in _PROGRESSIVE:
        first, last, bits = 0, 63, 0
    for component in walk.scan:
        walk.precision |= {(component, coefficient): bits & 15 for coefficient in range(first, min(last, 63) + 1)}
    return True


def _missing_scans(walk: _Walk) -> bool:
    """Whether a component's coefficients were not sent to their last bit."""
    return any(walk.precision.get((component, i), 1) > 0 for component in walk.sampling for i in range(64))


def _missing_restarts(image: bytes, walk: _Walk) -> bool:
    """Whether the last scan has fewer intervals than its size asks for. B.2.4.4, A.2.2 and A.2.3 (units per scan)."""
    if not walk.restart_interval:
        return False
    widest, highest = (max(factors) for factors in zip(*walk.sampling.values(), strict=True))
    horizontal, vertical = (widest, highest) if len(walk.scan) == 1 else (1, 1)
    across, down = walk.sampling[walk.scan[0]] if len(walk.scan) == 1 else (1, 1)
    unit_px = (8, 8) if len(walk.scan) == 1 else (8 * widest, 8 * highest)
    columns = math.ceil(math.ceil(walk.width_px * across / horizontal) / unit_px[0])
    rows = math.ceil(math.ceil(walk.height_px * down / vertical) / unit_px[1])
    intervals = math.ceil(columns * rows / walk.restart_interval)
    return len(_RESTART.findall(image, walk.scan_start)) < intervals - 1


def _without_tail(image: bytes, walk: _Walk) -> bytes | None:
    """The image data without half an end marker and what fills an area that was never written (0 or 0xFF).

    None if some of the data is missing. A few zeros may be data too: then the image ends with the very last of them.
    """
    image = image.rstrip(b"\xff")
    bare = image.rstrip(b"\0")
    if bare != image and bare[-1:] == b"\xff":
        bare += b"\0"
    if _ends_whole(bare, walk):
        return bare
    if 0 < len(image) - len(bare) < 4 and _ends_whole(image, walk) and not _ends_whole(image[:-1], walk):
        return image
    return None


def _ends_whole(image: bytes, walk: _Walk) -> bool:
    """Whether the image is the same whatever follows its data: then none of it is missing.

    A decoder that still needs data takes what follows for it. One that has all skips to the end marker.
    """
    flags = cv2.IMREAD_COLOR if walk.width_px * walk.height_px < _LARGE_PIXELS else cv2.IMREAD_REDUCED_COLOR_4
    flags |= cv2.IMREAD_IGNORE_ORIENTATION
    pixels = _decode(image + END, flags)
    if pixels is None:
        return False
    for continuation in _CONTINUATIONS:
        other = _decode(image + continuation + END, flags)
        if other is None or not np.array_equal(pixels, other):
            return False
    return True


def _decode(data: bytes, flags: int) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    except cv2.error:
        return None
