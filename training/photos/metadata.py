"""What a source other than the EXIF says of a photo, and how its file name is compared with the photo's."""

from __future__ import annotations

import math
import stat
import unicodedata
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PhotoMetadata:
    """Position and time of a photo; NaN or "" where they are unknown.

    Attributes:
        source: "xmp" or "takeout".
        latitude_deg, longitude_deg: WGS 84, both NaN together.
        altitude_m, gps_accuracy_m, heading_deg: As in PhotoExif.
        captured_at: ISO 8601.
        trashed: Whether the photo was deleted.
    """

    source: str
    latitude_deg: float = math.nan
    longitude_deg: float = math.nan
    altitude_m: float = math.nan
    gps_accuracy_m: float = math.nan
    heading_deg: float = math.nan
    captured_at: str = ""
    trashed: bool = False


def read_sidecar(path: Path, max_bytes: int) -> bytes | None:
    """The content of a metadata file; None if it cannot be read, is too large for one, or is a pipe or a device."""
    try:
        status = path.stat()
        return path.read_bytes() if stat.S_ISREG(status.st_mode) and status.st_size <= max_bytes else None
    except OSError:
        return None


def normal_name(name: str) -> str:
    """A file name for comparison: drives differ in letter case, and macOS in the Unicode form."""
    return unicodedata.normalize("NFC", name).casefold()
