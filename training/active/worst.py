"""`worst`: the worst predictions of an evaluation as an HTML page and PNGs (paper, section 3.5, visualize_worst)."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track

from campus_visual_gps.errors import DatasetError
from training.active.background import Background, TileKind, open_background
from training.active.blind_spots import FIRST_ROUND_M, missed_by_members, worst_first
from training.active.evaluation_files import Evaluation, read_evaluation
from training.active.material import Material, MaterialSource
from training.active.training_photos import Neighbour
from training.active.worst_figure import Card, jpeg_bytes, map_png, photo_png
from training.active.worst_map import SitePhotos
from training.active.worst_page import Summary, page
from training.evaluate.worst import WORST, WorstPhotos, worst_photos
from training.photos.photo_id import find_image
from training.photos.tables import read_rows, write_table
from training.report.staging import staged_directory

_log = logging.getLogger(__name__)

WORST_HTML, WORST_CSV = "worst.html", "worst.csv"
_PHOTO_PX, _THUMBNAIL_PX = 640, 280
_NOTE = (
    "Compare the photo with the training photos near the label and near the prediction. Label wrong: fix_label, with "
    "the right position. Several places look the same: ambiguous. Place or view that no training photo shows: "
    "move_to_training. Not usable: exclude. In the maps north is up."
)


@dataclass(frozen=True)
class WorstSummary:
    """What was written, and what stands in the head of the page.

    Attributes:
        page_path: The HTML page.
        pictures: One PNG for each photo.
        photos: Number of photos of the evaluation.
        over_m: The limit of the counts, metres.
        over: Number of photos with an error over it.
        missed_by_all: Number of photos that every member misses by more than that.
        worst: The worst WORST photos, with the share of night photos among them (paper, section 5.6).
    """

    page_path: Path
    pictures: tuple[Path, ...]
    photos: int
    over_m: float
    over: int
    missed_by_all: int
    worst: WorstPhotos


def write_worst(
    evaluation_path: Path,
    dataset_dir: Path,
    out_dir: Path,
    count: int | None = None,
    over_m: float | None = None,
    kind: TileKind = TileKind.SATELLITE,
    background: Background | None = None,
    progress: bool = True,
) -> WorstSummary:
    """Write worst.html, worst.csv and one PNG for each of the worst photos; all of them or none.

    Args:
        evaluation_path: The directory of an evaluation, or its predictions.csv.
        dataset_dir: The data set that was evaluated.
        out_dir: Where the files appear. Files of other names stay.
        count: Largest number of photos; by default WORST, or all that are over the limit.
        over_m: Only photos with an error over this, metres.
        kind: Tiles under the maps.
        background: Tiles from elsewhere.
        progress: Whether a progress bar is shown.

    Raises:
        DatasetError: The evaluation or the data set is missing, damaged, or another one's.
    """
    if count is not None and count < 1:
        raise DatasetError(f"number of photos: expected 1 or more, got {count}")
    evaluation, out_dir = read_evaluation(evaluation_path), Path(out_dir)
    source = MaterialSource(evaluation, dataset_dir)
    rows = worst_first(evaluation.errors_m, evaluation.predictions["photo_id"], -np.inf if over_m is None else over_m)
    rows = rows[: count or (WORST if over_m is None else len(rows))]
    background = background or open_background(source.frame, kind)
    site = SitePhotos(source.positions_m, source.is_training)
    stale = _pictures_of(out_dir)
    with staged_directory(out_dir) as staging:
        cards, names = [], []
        ranked = track(
            enumerate(rows, start=1), "worst photos", len(rows), disable=not progress, console=Console(stderr=True)
        )
        for rank, row in ranked:
            material = source.material(int(row))
            names.append(f"{rank:02d}-{re.sub(r'[^A-Za-z0-9_-]', '_', material.photo_id)}.png")
            card = _card(rank, material, map_png(material, site, background), source.dataset_dir)
            (staging / names[-1]).write_bytes(photo_png(card))
            cards.append(card)
        summary = _summarise(evaluation, out_dir, names, FIRST_ROUND_M if over_m is None else over_m)
        text = page(_head(summary, evaluation, len(cards)), cards)
        (staging / WORST_HTML).write_text(text, encoding="utf-8", errors="xmlcharrefreplace")
        table = source.table.iloc[rows].reset_index(drop=True)
        table.insert(0, "picture", pd.Series(names, dtype=object))
        write_table(staging / WORST_CSV, table)
    for name in stale - set(names):
        (out_dir / name).unlink(missing_ok=True)
    return summary


def _pictures_of(out_dir: Path) -> set[str]:
    """The PNGs of an earlier run, which this one replaces."""
    try:
        names = [row.text("picture") for row in read_rows(out_dir / WORST_CSV, required=("picture",))]
    except DatasetError:
        return set()
    return {name for name in names if re.fullmatch(r"\d+-[A-Za-z0-9_-]+\.png", name)}


def _card(rank: int, material: Material, map_bytes: bytes, dataset_dir: Path) -> Card:
    return Card(
        rank,
        material,
        b"" if material.image is None else jpeg_bytes(material.image, material.aspect, _PHOTO_PX),
        map_bytes,
        [(near, _thumbnail(near, dataset_dir)) for near in material.near_label],
        [(near, _thumbnail(near, dataset_dir)) for near in material.near_prediction],
    )


def _thumbnail(near: Neighbour, dataset_dir: Path) -> bytes:
    path = find_image(dataset_dir, near.photo_id)
    return b"" if path is None else jpeg_bytes(path, near.aspect, _THUMBNAIL_PX)


def _summarise(evaluation: Evaluation, out_dir: Path, names: list[str], over_m: float) -> WorstSummary:
    errors_m = evaluation.errors_m
    return WorstSummary(
        page_path=out_dir / WORST_HTML,
        pictures=tuple(out_dir / name for name in names),
        photos=len(errors_m),
        over_m=over_m,
        over=int((~(errors_m <= over_m)).sum()),
        missed_by_all=int(missed_by_members(evaluation, over_m).sum()),
        worst=worst_photos(evaluation.predictions),
    )


def _head(summary: WorstSummary, evaluation: Evaluation, shown: int) -> Summary:
    report, members = evaluation.report, len(evaluation.members)
    lines = [
        ("evaluation", str(evaluation.path)),
        ("model", str(report.get("model_id", ""))),
        ("data set, subset", ", ".join(str(report[name]) for name in ("dataset", "split") if report.get(name))),
        ("photos", f"{summary.photos}, of which the worst {shown} are shown"),
        (f"error over {summary.over_m:g} m", f"{summary.over} of {summary.photos}"),
        ("night photos", night_share(summary.worst)),
        (
            "missed by every member",
            f"{summary.missed_by_all} photos, by more than {summary.over_m:g} m, of {members} members",
        ),
    ]
    return Summary(f"Worst {shown} of {summary.photos} photos", [line for line in lines if line[1]], _NOTE)


def night_share(worst: WorstPhotos) -> str:
    """In words; the share is of the photos whose light is known."""
    if worst.night_share is None:
        return "light unknown"
    unknown = f", light of {worst.n_unknown_light} unknown" if worst.n_unknown_light else ""
    return f"{worst.n_night} of the worst {len(worst.photos)} ({worst.night_share:.0%}){unknown}"
