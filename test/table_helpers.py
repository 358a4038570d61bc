"""Tables of users for the tests: real photos without positions, and a table of their positions in any form."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from photo_helpers import make_exif, write_photo

from training.photos.corrections import apply_corrections
from training.photos.ingest import ingest
from training.photos.manifest import PHOTO_COLUMNS, read_labels, read_photos, read_rejected
from training.photos.tables import write_table

LATITUDE, LONGITUDE = 31.262145, 34.802533


class Folder:
    """Photos without a position in EXIF, by their names below a folder, and what a table makes of them."""

    def __init__(self, tmp_path: Path, *names: str):
        self.photos, self.dataset, self.table = tmp_path / "photos", tmp_path / "dataset", tmp_path / "table.csv"
        for seed, name in enumerate(names):
            write_photo(self.photos / name, seed, make_exif(None))

    def ingest(self, content: str | bytes):
        """Write the table, ingest, and return positions by file, degrees rounded to a centimetre or so."""
        self.table.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        ingest(self.photos, self.dataset, self.table, progress=False, workers=1)
        rows = read_photos(self.dataset)
        places = zip(rows["latitude_deg"].round(7), rows["longitude_deg"].round(7), strict=True)
        return dict(zip(rows["file"], places, strict=True))

    def rejected(self) -> dict[str, str]:
        return dict(read_rejected(self.dataset).itertuples(index=False))


IDS = {
    "a.jpg": "p0000000000000001",
    "walk/b.jpg": "pabcdefabcdefabcd",
    "ride/b.jpg": "p00000000000000aa",
    "7.jpg": "p7",
}
MOVED = (31.2622, 34.8027)


def make_dataset(tmp_path, ids=IDS):
    """A data set of photos that are all at 31.262, 34.8025, without their images."""
    rows = [
        dict.fromkeys(PHOTO_COLUMNS, "x") | {"photo_id": photo_id, "file": file, "night": pd.NA, "captured_at": ""}
        for file, photo_id in ids.items()
    ]
    numbers = {name: 1.0 for name, kind in PHOTO_COLUMNS.items() if "number" in kind}
    numbers |= {"latitude_deg": 31.262, "longitude_deg": 34.8025, "width_px": 4, "height_px": 3}
    table = pd.DataFrame(rows).assign(**numbers)
    (tmp_path / "corrections").mkdir()
    write_table(tmp_path / "photos.csv", table[list(PHOTO_COLUMNS)])
    return tmp_path


def write_batch(dataset, name, content):
    path = dataset / "corrections" / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def moved(dataset):
    """Positions of the photos that were moved, by file."""
    apply_corrections(dataset)
    rows = read_labels(dataset)
    rows = rows[rows["moved_m"] > 0]
    return {row.file: (row.latitude_deg, row.longitude_deg) for row in rows.itertuples()}
