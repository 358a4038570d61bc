"""Files as they are found in folders of photos: faulty kinds, and good ones that look faulty."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pillow_heif
from photo_helpers import blocks, make_exif
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

GPS = ExifTags.GPS


def encode(number: int, format_name: str = "JPEG", exif: Image.Exif | None = None, **options) -> bytes:
    """A photo that no other number makes."""
    pillow_heif.register_heif_opener()
    stream = io.BytesIO()
    blocks(number, 32, 24).save(stream, format_name, exif=(exif or make_exif()).tobytes(), **options)
    return stream.getvalue()


def half(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


def dated(number: int, taken: str, offset: str | None = "+02:00", **options) -> bytes:
    return encode(number, exif=make_exif(taken=taken, offset=offset, **options))


def placed(number: int, **tags) -> bytes:
    return encode(number, exif=make_exif(gps={getattr(GPS, name): value for name, value in tags.items()}))


# Content by kind; the first are taken, the others rejected.
TAKEN: dict[str, Callable[[int], bytes]] = {
    "HEIC": lambda n: encode(n, "HEIF"),
    "HEIC with a trailer": lambda n: encode(n, "HEIF") + b"SEFH trailer SEFT",
    "PNG": lambda n: encode(n, "PNG"),
    "progressive": lambda n: encode(n, progressive=True),
    "no end marker": lambda n: encode(n)[:-2],
    "film behind": lambda n: encode(n) + b"\0\0\0\x18ftypmp42" * 9,
    "year 1": lambda n: dated(n, "0001:01:01 00:00:00"),
    "year 1 with an offset in it": lambda n: dated(n, "0001:01:01 00:00:00+14:00", None),
    "year 9999": lambda n: dated(n, "9999:12:31 23:59:59", "-12:00"),
    "year 0000": lambda n: dated(n, "0000:00:00 00:00:00"),
    "month 13": lambda n: dated(n, "2025:13:01 00:00:00"),
    "date of blanks": lambda n: dated(n, " " * 19),
    "stale GPS time": lambda n: dated(
        n, "2025:12:22 09:47:11", None, gps={GPS.GPSDateStamp: "2005:12:22", GPS.GPSTimeStamp: (7.0, 0.0, 0.0)}
    ),
    "altitude 0/0": lambda n: placed(n, GPSAltitude=IFDRational(0, 0)),
    "carriage return in the model": lambda n: encode(n, exif=make_exif(camera=("A\rB", 'C\nD,"E'))),
}
REJECTED: dict[str, Callable[[int], bytes]] = {
    "empty": lambda n: b"",
    "zeros": lambda n: bytes(1000 + n),
    "text": lambda n: b"hello %d" % n,
    "web page": lambda n: b"<html>%d" % n,
    "half a JPEG": lambda n: half(encode(n)),
    "half a JPEG and zeros": lambda n: half(encode(n)) + bytes(4096),
    "half a HEIC": lambda n: half(encode(n, "HEIF")),
    "half a PNG": lambda n: half(encode(n, "PNG")),
    "header of a JPEG": lambda n: encode(n)[:40],
    "film": lambda n: b"\0\0\0\x14ftypqt  %d" % n,
    "GIF": lambda n: encode(n, "PNG").replace(b"\x89PNG", b"GIF8"),
    "no position": lambda n: encode(n, exif=make_exif(None)),
    "null island": lambda n: encode(n, exif=make_exif((0.0, 0.0))),
    "no reference": lambda n: placed(n, GPSLatitudeRef=None),
    "latitude 95": lambda n: placed(n, GPSLatitude=(95.0, 0.0, 0.0)),
    "65500 px a side": lambda n: encode(n).replace(b"\x08\0\x18\0\x20\x03", b"\x08\xff\xdc\xff\xdc\x03"),
}
SPECIAL: dict[str, Callable[[Path], object]] = {
    "named pipe": os.mkfifo,
    "broken link": lambda path: path.symlink_to("nowhere"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "device": lambda path: path.symlink_to("/dev/zero"),
    "a terabyte of nothing": lambda path: (path.touch(), os.truncate(path, 1 << 40)),
}


def write_kind(path: Path, kind: str, number: int) -> bool:
    """Write a file of a kind. Returns whether it is a photo that is taken."""
    if kind in SPECIAL:
        SPECIAL[kind](path)
    else:
        path.write_bytes((TAKEN | REJECTED)[kind](number))
    return kind in TAKEN
