"""Tables of users for the tests: real photos without positions, and a table of their positions in any form."""

from __future__ import annotations

from pathlib import Path

from photo_helpers import make_exif, write_photo

from training.photos.ingest import ingest
from training.photos.manifest import read_photos, read_rejected

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
