"""A list of photos to look at, as files for Google My Maps; what comes back goes into corrections/.

Each point has the photo's name and id, so that `apply-corrections` finds the photo, empty columns `decision`,
`accuracy_m` and `note` to fill in, and the name of the stored copy for those who look at it beside the map. The
accuracy that the phone reported has a name of its own: that of a correction is another number.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import pandas as pd

from campus_visual_gps.errors import DatasetError
from campus_visual_gps.io_utils import atomic_write
from training.photos.csv_text import encode_utf8, format_record
from training.photos.manifest import read_labels, read_photos, read_review
from training.photos.map_files import read_feature_rows
from training.photos.photo_history import names_of
from training.photos.photo_references import row_photos

ROWS_PER_LAYER = 2000  # of Google My Maps
COLUMNS = (
    "name",
    "photo_id",
    "latitude_deg",
    "longitude_deg",
    "phone_accuracy_m",
    "session",
    "captured_at",
    "thumbnail",
    "decision",
    "accuracy_m",
    "note",
)
_SUFFIXES = (".csv", ".kml")


@dataclass(frozen=True)
class ReviewExport:
    """What was written: the files, the number of photos, and rows of the list that mean no photo of the data set."""

    files: tuple[Path, ...]
    photos: int
    unknown: tuple[str, ...]


def export_review(
    dataset_dir: Path, out: Path, photo_list: Path | None = None, overwrite: bool = False
) -> ReviewExport:
    """Write the photos of review.csv, or of another list, as a table or map of Google My Maps.

    Args:
        dataset_dir: The data set.
        out: File that ends in .csv or .kml. More than ROWS_PER_LAYER photos make several: NAME-1.csv, NAME-2.csv.
        photo_list: A table or map that names photos, such as the list of `blind-spots`; by default review.csv.
        overwrite: Replace files that exist.

    Raises:
        DatasetError: There is nothing to export, the list cannot be read, or a file exists.
    """
    dataset_dir, out = Path(dataset_dir), Path(out)
    if out.suffix.lower() not in _SUFFIXES:
        raise DatasetError(f"{out}: expected a name that ends in {' or '.join(_SUFFIXES)}")
    labels = read_labels(dataset_dir)
    wanted, unknown = _listed(dataset_dir, labels, photo_list)
    if not wanted:
        raise DatasetError(f"{photo_list or dataset_dir / 'review.csv'}: no photo to export")
    reported = read_photos(dataset_dir).set_index("photo_id")["gps_accuracy_m"]
    photos = labels.set_index("photo_id", drop=False).loc[wanted]
    photos = photos.assign(gps_accuracy_m=reported.reindex(photos.index))
    parts = [photos.iloc[start : start + ROWS_PER_LAYER] for start in range(0, len(photos), ROWS_PER_LAYER)]
    files = _names(out, len(parts))
    there = [file for file in files if file.exists()]
    if there and not overwrite:
        raise DatasetError(f"{there[0]}: exists already; give another name, or --overwrite")
    for file, part in zip(files, parts, strict=True):
        rows = [_cells(row) for row in part.to_dict("records")]
        content = _kml(file.stem, rows) if out.suffix.lower() == ".kml" else _csv(rows)
        with atomic_write(file) as partial:
            partial.write_bytes(content)
    return ReviewExport(tuple(files), len(photos), unknown)


def _listed(dataset_dir: Path, labels: pd.DataFrame, photo_list: Path | None) -> tuple[list[str], tuple[str, ...]]:
    """The ids of the photos to export, each once, and the rows that mean none or several."""
    if photo_list is None:
        known = set(labels["photo_id"])
        return [photo_id for photo_id in read_review(dataset_dir)["photo_id"] if photo_id in known], ()
    names = names_of(dataset_dir, labels)
    found = [(row, row_photos(row, names)) for row in read_feature_rows(photo_list, is_known=names.knows)]
    unknown = [f"{row.place}: no single photo of the data set" for row, photos in found if len(photos) != 1]
    return list(dict.fromkeys(next(iter(photos)) for _, photos in found if len(photos) == 1)), tuple(unknown)


def _names(out: Path, parts: int) -> list[Path]:
    return [out] if parts == 1 else [out.with_name(f"{out.stem}-{i}{out.suffix}") for i in range(1, parts + 1)]


def _cells(row: dict) -> list[str]:
    accuracy_m = row["gps_accuracy_m"]
    return [
        row["file"],
        row["photo_id"],
        f"{row['latitude_deg']:.8f}",
        f"{row['longitude_deg']:.8f}",
        "" if accuracy_m != accuracy_m else f"{accuracy_m:g}",
        row["session"],
        row["captured_at"],
        f"images/{row['photo_id']}.jpg",
        row["decision"],
        "",
        "",
    ]


def _csv(rows: list[list[str]]) -> bytes:
    return b"".join(format_record(row) for row in [list(COLUMNS), *rows])


def _kml(title: str, rows: list[list[str]]) -> bytes:
    """KML with the columns as data of each point, as My Maps writes it."""
    places = "\n".join(_placemark(dict(zip(COLUMNS, row, strict=True))) for row in rows)
    return encode_utf8(
        '<?xml version="1.0" encoding="UTF-8"?>\n<kml xmlns="http://www.opengis.net/kml/2.2">\n<Document>\n'
        f"<name>{_xml(title)}</name>\n{places}\n</Document>\n</kml>\n"
    )


def _placemark(cells: dict[str, str]) -> str:
    data = "".join(
        f"<Data name={quoteattr(name)}><value>{_xml(cell)}</value></Data>"
        for name, cell in cells.items()
        if name not in ("name", "latitude_deg", "longitude_deg")
    )
    return (
        f"<Placemark><name>{_xml(cells['name'])}</name><ExtendedData>{data}</ExtendedData>"
        f"<Point><coordinates>{cells['longitude_deg']},{cells['latitude_deg']},0</coordinates></Point></Placemark>"
    )


def _xml(text: str) -> str:
    """The text in XML; what XML cannot hold becomes a question mark, and the photo_id still names the photo."""
    allowed = (char if char in "\t\n" or (char >= " " and not "\ud800" <= char <= "\udfff") else "?" for char in text)
    return escape("".join(char if char not in "\ufffe\uffff" else "?" for char in allowed))
