"""photo_id: the name of a photo in all tables, made from its content."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

# With a letter in front, no spreadsheet takes an id for a number: 9942507299e11605 is one, and so is 0012345678901234.
PREFIX, DIGITS = "p", 16
_PREFIXED = re.compile(rf"{PREFIX}([0-9a-f]{{{DIGITS}}})")


def photo_id_of(data: bytes, images_dir: Path) -> str:
    """`p` and the first 16 hexadecimal digits of the SHA-256 of a photo file.

    A photo keeps an id without the letter if its stored copy has such a name.
    """
    digits = hashlib.sha256(data).hexdigest()[:DIGITS]
    return digits if (images_dir / f"{digits}.jpg").exists() else PREFIX + digits


def photo_key(photo_id: str) -> str:
    """What two ids of one photo have in common: the digits."""
    match = _PREFIXED.fullmatch(photo_id)
    return match[1] if match else photo_id


def is_photo_id(text: str) -> bool:
    """Whether a text has the form of an id, older or new, in any letter case."""
    return bool(re.fullmatch(rf"{PREFIX}?[0-9a-f]{{{DIGITS}}}", text.strip().lower()))


def find_image(dataset_dir: Path, photo_id: str) -> Path | None:
    """The stored copy of a photo under either form of its id."""
    key = photo_key(photo_id)
    paths = (Path(dataset_dir) / "images" / f"{name}.jpg" for name in dict.fromkeys((photo_id, PREFIX + key, key)))
    return next((path for path in paths if path.is_file()), None)
