"""The JSON files that Google Takeout writes beside photos: which belongs to which photo, and what it holds."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from training.photos.capture_time import parse_time
from training.photos.exif import position_problem
from training.photos.metadata import PhotoMetadata, normal_name, read_sidecar

# "IMG_1.jpg" has "IMG_1.jpg.supplemental-metadata.json", until 2024 "IMG_1.jpg.json". The name without ".json" is cut
# after MAX_STEM characters, wherever that is: "IMG_20250101_101010_BURST1.jpg.supplemental-me.json".
_SUFFIX = ".supplemental-metadata"
_MAX_STEM = 46
_MAX_BYTES = 1 << 20
# The number of a second file of the same name: "IMG_1(1).jpg" has "IMG_1.jpg.supplemental-metadata(1).json".
_NUMBERED = re.compile(r"(.+)(\(\d+\))")
# Edited copies share the JSON of the original. The ending is in the user's language and may be cut: "-edited",
# "-bearbeitet", "-ha editado", "-edi", "-COLLAGE".
_EDITED = re.compile(r"(.+)-[^\W\d_][^\d()-]{1,19}")
# A live photo's two files and a converted photo share one JSON.
_OTHER_SUFFIXES = (".heic", ".heif", ".jpg", ".jpeg", ".png", ".dng", ".mp4", ".mov", ".mp", ".mv")


class TakeoutFolder:
    """The JSON files of one folder, by photo.

    Args:
        photos: Names of all photos in the folder.
        jsons: All JSON files in the folder.
    """

    def __init__(self, photos: Iterable[str], jsons: Iterable[Path]):
        self._photos = {normal_name(name) for name in photos}
        self._jsons = {normal_name(path.name)[: -len(".json")]: path for path in jsons}
        self._by_title: dict[str, list[Path]] | None = None

    def find(self, photo: str) -> Path | None:
        """The JSON file of a photo, by its name, else by the title in the JSON."""
        if not self._jsons:
            return None
        stem, suffix = _split(normal_name(photo))
        bare, number = _without_number(stem)
        edited = _EDITED.fullmatch(bare)
        for name in [stem, edited[1] + number] if edited else [stem]:
            others = [name + other for other in _OTHER_SUFFIXES if name + other not in self._photos]
            for candidate in (name + suffix, name, *others):
                found = self._named_for(candidate)
                if found:
                    return found
        return self._titled(normal_name(photo))

    def _named_for(self, photo: str) -> Path | None:
        stem, suffix = _split(photo)
        bare, number = _without_number(stem)
        for name, end in ((photo, ""), (bare + suffix, number)):
            full = name + _SUFFIX
            for length in range(len(full), min(len(name), _MAX_STEM - len(end)) - 1, -1):
                if full[:length] + end in self._jsons:
                    return self._jsons[full[:length] + end]
        return None

    def _titled(self, photo: str) -> Path | None:
        if self._by_title is None:
            self._by_title = {}
            for path in self._jsons.values():
                title = (_load(path) or {}).get("title")
                self._by_title.setdefault(normal_name(str(title)), []).append(path)
        found = self._by_title.get(photo, [])
        return found[0] if len(found) == 1 else None


def read_takeout(path: Path) -> PhotoMetadata | None:
    """Read the position and the time of a photo; None if the file is not such a JSON.

    `geoDataExif` is what the camera wrote, `geoData` what Google Photos shows: it may be a place that a person chose or
    that was estimated, so that it comes second. Both are 0, 0 where they are unknown.
    """
    content = _load(path)
    if content is None or not {"photoTakenTime", "geoData", "geoDataExif"} & content.keys():
        return None
    latitude = longitude = altitude = math.nan
    for key in ("geoDataExif", "geoData"):
        place = content.get(key)
        if isinstance(place, dict):
            position = _number(place.get("latitude")), _number(place.get("longitude"))
            if not position_problem(*position):
                (latitude, longitude), altitude = position, _number(place.get("altitude")) or math.nan
                break
    return PhotoMetadata(
        source="takeout",
        latitude_deg=latitude,
        longitude_deg=longitude,
        altitude_m=altitude,
        captured_at=_taken(content.get("photoTakenTime")),
        trashed=content.get("trashed") is True,
    )


def _load(path: Path) -> dict | None:
    data = read_sidecar(path, _MAX_BYTES)
    try:
        content = json.loads((data or b"").decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _taken(value: Any) -> str:
    """ISO 8601 in UTC, "" if unknown."""
    seconds = _number(value.get("timestamp")) if isinstance(value, dict) else math.nan
    try:
        time = parse_time(datetime.fromtimestamp(seconds, timezone.utc).isoformat()) if seconds > 0 else None
    except (OverflowError, ValueError, OSError):
        return ""
    return time.isoformat() if time else ""


def _number(value: Any) -> float:
    """A number, or one written as text; NaN for anything else."""
    try:
        return math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _split(name: str) -> tuple[str, str]:
    stem, dot, suffix = name.rpartition(".")
    return (stem, dot + suffix) if stem else (name, "")


def _without_number(stem: str) -> tuple[str, str]:
    numbered = _NUMBERED.fullmatch(stem)
    return (numbered[1], numbered[2]) if numbered else (stem, "")
