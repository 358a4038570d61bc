"""Metadata beside a photo, for what its EXIF lacks: XMP in the photo, XMP files, and the JSON of Google Takeout."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from training.photos.exif import PhotoExif
from training.photos.metadata import PhotoMetadata, normal_name, read_sidecar
from training.photos.takeout import TakeoutFolder, read_takeout
from training.photos.xmp import MAX_XMP_BYTES, parse_xmp

IN_TRASH = "in the trash of Google Photos"


def find_sidecars(photos: Sequence[Path], files: Sequence[Path]) -> dict[Path, tuple[Path, ...]]:
    """The metadata files of each photo that has one, in the order in which they count.

    Args:
        photos: Paths of the photos.
        files: Paths of all files in the same folders.
    """
    names: dict[Path, list[str]] = defaultdict(list)
    jsons: dict[Path, list[Path]] = defaultdict(list)
    xmps: dict[tuple[Path, str], Path] = {}
    for path in photos:
        names[path.parent].append(path.name)
    for path in files:
        if path.suffix.lower() == ".json":
            jsons[path.parent].append(path)
        elif path.suffix.lower() == ".xmp":
            xmps[path.parent, normal_name(path.stem)] = path
    takeouts = {folder: TakeoutFolder(names[folder], found) for folder, found in jsons.items()}
    sidecars = {}
    for path in photos:
        # IMG_1.HEIC.xmp of digiKam and darktable, IMG_1.xmp of Adobe and Apple
        found = [xmps.get((path.parent, normal_name(name))) for name in (path.name, path.stem)]
        found.append(takeouts[path.parent].find(path.name) if path.parent in takeouts else None)
        if any(found):
            sidecars[path] = tuple(sidecar for sidecar in found if sidecar)
    return sidecars


def complete_exif(exif: PhotoExif, packet: bytes | None, sidecars: Sequence[Path]) -> PhotoExif:
    """Fill what the EXIF lacks.

    Args:
        exif: Of the photo.
        packet: XMP in the photo.
        sidecars: Metadata files beside the photo.

    Returns:
        The EXIF with position (and its altitude and accuracy), heading and time filled in. A photo that was deleted,
        as its sidecar says, has the `position_problem` IN_TRASH.
    """
    if not sidecars and not (packet and _lacks(exif)):
        return exif
    nothing_in = ""
    for name, metadata in _sources(packet, sidecars):
        if metadata is not None and metadata.trashed:
            return dataclasses.replace(exif, position_problem=IN_TRASH)
        if metadata is not None:
            exif = _fill(exif, metadata)
        nothing_in = name or nothing_in
    if exif.position_problem and nothing_in:
        return dataclasses.replace(exif, position_problem=f"{exif.position_problem}: nor is there one in {nothing_in}")
    return exif


def xmp_packet(image: Image.Image) -> bytes | None:
    """The XMP of an opened image; Pillow names it by the format."""
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    return packet.encode() if isinstance(packet, str) else packet


def _lacks(exif: PhotoExif) -> bool:
    return bool(exif.position_problem) or not exif.captured_at or math.isnan(exif.heading_deg)


def _sources(packet: bytes | None, sidecars: Sequence[Path]) -> Iterator[tuple[str, PhotoMetadata | None]]:
    """Metadata by the name of the file, "" for the photo itself."""
    if packet:
        yield "", parse_xmp(packet)
    for path in sidecars:
        is_json = path.suffix.lower() == ".json"
        yield path.name, read_takeout(path) if is_json else parse_xmp(read_sidecar(path, MAX_XMP_BYTES) or b"")


def _fill(exif: PhotoExif, metadata: PhotoMetadata) -> PhotoExif:
    changes: dict[str, object] = {}
    if exif.position_problem and not math.isnan(metadata.latitude_deg):
        names = ("latitude_deg", "longitude_deg", "altitude_m", "gps_accuracy_m")
        changes = {name: getattr(metadata, name) for name in names}
        changes |= {"position_problem": "", "position_source": metadata.source}
    if math.isnan(exif.heading_deg):
        changes["heading_deg"] = metadata.heading_deg
    if not exif.captured_at:
        changes["captured_at"] = metadata.captured_at
    return dataclasses.replace(exif, **changes)  # type: ignore[arg-type]
