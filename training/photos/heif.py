"""Whether a HEIC file is whole: libheif fills missing tiles with green without an error.

A HEIC is a sequence of boxes that begin with their length (ISO 14496-12, section 4.2): 32 bits, or 64 bits after the
type if those are 1; 0 is a box to the end of the file. The box `meta` says in `iloc` (section 8.11.3) where the bytes
of every picture, tile and EXIF lie. What phones append behind the last box (Samsung's trailer, a motion photo's film)
is neither looked at nor given to the decoder.

Copies that were interrupted have zeros in the place of data. Coded pictures never have: HEVC puts a 3 behind two zeros
(ITU-T H.265, section 7.4.2.1), and NAL units begin with their length in 4 bytes.
"""

from __future__ import annotations

from collections.abc import Iterator

from campus_visual_gps.errors import ImageError

_CODED_PICTURE = b"hvc1"  # type of an item, ISO 14496-12, section 8.11.6
_LOST = bytes(32)
_FILE_OFFSETS = 0  # the construction method of items whose bytes lie in the file itself


def is_heif(data: bytes) -> bool:
    """Whether a file begins as HEIC, AVIF or a film."""
    return data[4:8] == b"ftyp"


def whole_heif(data: bytes) -> bytes:
    """The file's boxes without what is appended to them.

    Raises:
        ImageError: Bytes that its table of contents names are missing, or zeros.
    """
    end = 0
    contents = None
    for kind, body, following in _boxes(data, 0, len(data)):
        if following > len(data) and contents is None:
            raise ImageError(f"truncated file: {following - len(data)} bytes are missing")
        if following > len(data) or not kind.isalnum() or (kind == b"ftyp" and end):
            break
        if kind == b"meta":
            contents = data[body:following]
        end = following
    if contents is None:
        return data
    pictures = _coded_pictures(contents)
    extents = list(_extents(contents))
    needed = max((end for _, _, end in extents), default=0)
    if needed > len(data):
        raise ImageError(f"truncated file: {needed - len(data)} bytes are missing")
    for item, start, stop in extents:
        if item in pictures and data.find(_LOST, start, stop) >= 0:
            raise ImageError("truncated file: zeros in the place of image data; copy it again")
    return data[: max(end, needed)]


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Type, start of the body and end of each box; the last may end behind the data."""
    while start + 8 <= end:
        size, kind, body = _uint(data, start, 4), data[start + 4 : start + 8], start + 8
        if size == 1:
            size, body = _uint(data, body, 8), body + 8
        following = end if size == 0 else start + max(size, 8)
        yield kind, body, following
        start = following


def _in_meta(meta: bytes, wanted: bytes) -> bytes:
    """The body of a box in the box `meta`, b"" without one."""
    for kind, body, following in _boxes(meta, 4, len(meta)):  # 4 bytes of version and flags
        if kind == wanted:
            return meta[body:following]
    return b""


def _coded_pictures(meta: bytes) -> set[int]:
    """Identifiers of the items that are pictures or tiles coded by HEVC."""
    table = _in_meta(meta, b"iinf")
    found = set()
    for _, body, _ in _boxes(table, 4 + (2 if table[:1] == b"\0" else 4), len(table)):
        width = 2 if table[body : body + 1] < b"\3" else 4
        if table[body + 6 + width : body + 10 + width] == _CODED_PICTURE:
            found.add(_uint(table, body + 4, width))
    return found


def _extents(meta: bytes) -> Iterator[tuple[int, int, int]]:
    """Identifier of an item, start and end of each of its extents in the file, bytes."""
    iloc = _in_meta(meta, b"iloc")
    version = iloc[0] if iloc else 0
    sizes = _uint(iloc, 4, 2)
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    wide = 2 if version < 2 else 4
    count, position = _uint(iloc, 6, wide), 6 + wide
    for _ in range(count):
        if position >= len(iloc):
            break
        item = _uint(iloc, position, wide)
        position += wide
        method = _FILE_OFFSETS
        if version in (1, 2):
            method = _uint(iloc, position, 2) & 15
            position += 2
        base = _uint(iloc, position + 2, base_size)
        extents = _uint(iloc, position + 2 + base_size, 2)
        position += 4 + base_size
        for _ in range(extents if offset_size + length_size else 0):
            if position >= len(iloc):
                break
            position += index_size if version in (1, 2) else 0
            begin = base + _uint(iloc, position, offset_size)
            length = _uint(iloc, position + offset_size, length_size)
            position += offset_size + length_size
            if method == _FILE_OFFSETS:
                yield item, begin, begin + length


def _uint(data: bytes, start: int, size: int) -> int:
    return int.from_bytes(data[start : start + size], "big")
