"""XML of maps: KML and GPX files, and KML in the archives of KMZ."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from campus_visual_gps.errors import DatasetError

_MAX_BYTES = 200_000_000  # of a member of a KMZ; a layer of My Maps has at most 2,000 points


def kml_members(path: Path, data: bytes) -> list[zipfile.ZipInfo]:
    """The KML files in an archive, the main one first; none in another kind of archive. Raises DatasetError."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [info for info in archive.infolist() if _is_kml(info.filename)]
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        if path.suffix.lower() != ".kmz":
            return []
        raise DatasetError(f"{path}: damaged archive ({error}); export it again") from error
    return sorted(members, key=lambda info: (info.filename.lower() != "doc.kml", info.filename))


def _is_kml(name: str) -> bool:
    """Not so for what macOS packs beside a file: __MACOSX/._doc.kml."""
    return name.lower().endswith(".kml") and not name.rpartition("/")[2].startswith("._")


def read_kmz(path: Path, data: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and content of each KML file in an archive. Raises DatasetError."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in kml_members(path, data):
            if info.file_size > _MAX_BYTES:
                raise DatasetError(f"{path}: {info.filename} has {info.file_size} bytes, expected at most {_MAX_BYTES}")
            try:
                content = archive.read(info)
            except Exception as error:  # zlib, struct, NotImplemented and RuntimeError (encrypted)
                raise DatasetError(f"{path}: {info.filename} cannot be read ({error}); export it again") from error
            yield info.filename, content


def parse_xml(path: Path, data: bytes, inside: str = "") -> Element:
    """The elements by their names without prefixes, which exports use and forget to declare. Raises DatasetError."""
    builder = TreeBuilder()
    parser = expat.ParserCreate()

    def start(tag: str, attributes: dict[str, str]) -> None:
        builder.start(tag.rpartition(":")[2], attributes | {"line": str(parser.CurrentLineNumber)})

    def reject_entities(*args: Any) -> None:
        raise DatasetError(f"{path}: XML with entities of its own, which are not read; export it again")

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda tag: builder.end(tag.rpartition(":")[2])
    parser.CharacterDataHandler = builder.data
    parser.EntityDeclHandler = reject_entities
    try:
        parser.Parse(data.lstrip(), True)
        return builder.close()
    except expat.ExpatError as error:
        where = f"{path} ({inside})" if inside else str(path)
        what = expat.errors.messages[error.code]
        raise DatasetError(f"{where}, line {error.lineno}: not valid XML: {what}; export it again") from error
    except (LookupError, ValueError) as error:  # an encoding that does not exist, or has several bytes a character
        raise DatasetError(f"{path}: not valid XML: {error}; export it again") from error


def child_text(element: Element, tag: str) -> str:
    """The text of the first such child, "" without one."""
    found = next((item for item in element.iter(tag)), None)
    return "".join(found.itertext()).strip() if found is not None else ""
