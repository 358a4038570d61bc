"""`ingest` against what a plain script with Pillow does, in photos per second."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import pillow_heif
from PIL import Image, ImageOps

from campus_visual_gps.errors import DatasetError
from campus_visual_gps.threads import usable_cores
from training.photos.decode import STORED_JPEG_QUALITY, STORED_JPEG_SUBSAMPLING
from training.photos.ingest import ingest
from training.photos.source import find_photos

_HEIC = (".heic", ".heif")
_MAX_BYTES = 100 << 20  # some fifty photos of a phone


@dataclass(frozen=True)
class IngestSpeed:
    """Medians over the rounds.

    Attributes:
        ingest_photos_per_s: Of `ingest` with all cores: everything from the folder to photos.csv.
        pillow_photos_per_s: Of one thread that opens, turns, resizes and saves.
        ingest_speedup: Median of the ratio of both in a round.
        ingest_photos: Photos in a round.
        ingest_processes: Of `ingest`, at most.
    """

    ingest_photos_per_s: float
    pillow_photos_per_s: float
    ingest_speedup: float
    ingest_photos: int
    ingest_processes: int


def measure_ingest(photo_dir: Path, dataset_dir: Path, size_px: int, count: int, rounds: int) -> IngestSpeed:
    """Ingest photos of a folder and do the same with Pillow, in turns.

    Args:
        photo_dir: Folder of photos, with sub-folders; HEIC is taken where there is any.
        dataset_dir: Where the last round's data set stays; must not exist.
        size_px: Side of the stored copies.
        count: Photos to take at most, evenly spread over the folder; fewer if they have more than 100 MiB.
        rounds: Number of repetitions.

    Raises:
        DatasetError: There are no photos, or a photo cannot be read.
    """
    paths = _spread(photo_dir, count)
    rates = []
    with _apart(paths) as (folder, labels_csv), TemporaryDirectory() as scratch:
        for number in range(rounds):
            target = Path(scratch) / f"set-{number}"
            started_s = perf_counter()
            summary = ingest(folder, target, labels_csv, progress=False, size_px=size_px)
            ingested_s = perf_counter()
            _with_pillow(sorted(folder.iterdir()), Path(scratch) / "pillow", size_px)
            rates.append((summary.photos / (ingested_s - started_s), len(paths) / (perf_counter() - ingested_s)))
        shutil.move(target, dataset_dir)
    return IngestSpeed(
        ingest_photos_per_s=statistics.median(ours for ours, _ in rates),
        pillow_photos_per_s=statistics.median(plain for _, plain in rates),
        ingest_speedup=statistics.median(ours / plain for ours, plain in rates),
        ingest_photos=len(paths),
        ingest_processes=usable_cores(),
    )


def _spread(photo_dir: Path, count: int) -> list[Path]:
    found = list(find_photos(photo_dir, photo_dir / "no-such-data-set").photos.values())
    found = [path for path in found if path.suffix.lower() in _HEIC] or found
    mean_bytes = sum(path.stat().st_size for path in found) / len(found)
    count = max(1, min(count, len(found), int(_MAX_BYTES / max(mean_bytes, 1))))
    return [found[index * len(found) // count] for index in range(count)]


@contextmanager
def _apart(paths: list[Path]) -> Iterator[tuple[Path, Path]]:
    """A folder with only these photos, and a table that gives each one a position, so that none is left out."""
    with TemporaryDirectory() as scratch:
        folder, labels_csv = Path(scratch) / "photos", Path(scratch) / "labels.csv"
        folder.mkdir()
        rows = ["file,latitude_deg,longitude_deg,session"]
        for number, path in enumerate(paths):
            name = f"{number:06}{path.suffix}"
            try:
                (folder / name).symlink_to(path.resolve())
            except OSError:  # Windows without the right to make links
                shutil.copy(path, folder / name)
            rows.append(f"{name},{31.26 + number % 30 * 1e-4:.4f},{34.80 + number // 30 * 1e-4:.4f},walk")
        labels_csv.write_text("\n".join(rows) + "\n", encoding="utf-8")
        yield folder, labels_csv


def _with_pillow(paths: list[Path], out_dir: Path, size_px: int) -> None:
    """What a script of ten lines does, on one thread."""
    pillow_heif.register_heif_opener(decode_threads=1)
    out_dir.mkdir(exist_ok=True)
    for path in paths:
        try:
            with Image.open(path) as photo:
                upright = ImageOps.exif_transpose(photo).convert("RGB")
        except OSError as error:
            raise DatasetError(f"{path.resolve()}: cannot be read ({error}); leave it out of the benchmark") from error
        upright.resize((size_px, size_px)).save(
            out_dir / f"{path.stem}.jpg", quality=STORED_JPEG_QUALITY, subsampling=STORED_JPEG_SUBSAMPLING
        )
