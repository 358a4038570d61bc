"""Makes `sample/`: photos, their truth, the areas, and the robot's drives."""

from __future__ import annotations

import csv
import logging
import os
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from training.synthetic.bag import write_drive
from training.synthetic.camera import ROBOT, develop
from training.synthetic.campus import build_campus
from training.synthetic.capture import SESSIONS, Photo, session_photos
from training.synthetic.drive import DRIVE, DRIVES, DriveDay, Motion, camera_views, drive_motion, outage_interval_s
from training.synthetic.frames import Frame, FrameCache, render_frames
from training.synthetic.heic import save_photo
from training.synthetic.site import AREAS, GROUND_ALTITUDE_M, SITE_FRAME, area_of

logger = logging.getLogger(__name__)

# What this module makes and replaces; anything else in the folder (its README) is left alone.
PHOTOS, TRUTH, AREAS_FILE = "photos", "truth.csv", "areas.csv"


@dataclass(frozen=True)
class SampleSummary:
    """What was made. photos: per session; images and messages: per drive. outage_s: when the receiver of `drive` has
    no fix, seconds of the drive."""

    photos: dict[str, int]
    areas: dict[str, int]
    drive_images: dict[str, int]
    drive_messages: dict[str, int]
    drive_s: float
    outage_s: tuple[float, float]
    bytes: int


def generate_sample(
    out_dir: Path, workers: int = 0, progress: bool = True, cache_dir: Path | None = None
) -> SampleSummary:
    """Render and write the whole sample into `out_dir`; frames already in the cache are not rendered again.

    workers: threads that render, 0 for all cores. The same code makes the same pictures whatever their number.
    """
    photos, motion = plan_photos(), drive_motion()
    frames = {day: drive_frames(day, motion) for day in DRIVES}
    cache = FrameCache(cache_dir)
    needed = [*map(photo_frame, photos), *(frame for one in frames.values() for frame in one)]
    _render(needed, cache, workers or os.cpu_count() or 1, progress)

    out_dir.mkdir(parents=True, exist_ok=True)
    _write_photos(out_dir / PHOTOS, photos, cache)
    _write_truth(out_dir / TRUTH, photos)
    _write_areas(out_dir / AREAS_FILE)
    messages = {}
    for day, one in frames.items():
        pictures = [_developed(frame, ROBOT, cache) for frame in one]
        messages[day.name] = write_drive(out_dir / day.name, day, pictures, motion)
    return _summary(out_dir, photos, motion, {day.name: len(one) for day, one in frames.items()}, messages)


def plan_photos() -> list[Photo]:
    """Every photo of every session: where, when and how, without its picture."""
    obstacles = build_campus().obstacles
    return [photo for session in SESSIONS for photo in session_photos(session, obstacles)]


def photo_frame(photo: Photo) -> Frame:
    return Frame(photo.view, photo.session.light, photo.session.seed)


def drive_frames(day: DriveDay, motion: Motion) -> list[Frame]:
    return [Frame(view, day.light, day.seed) for view in camera_views(day, motion)[1]]


def _render(frames: list[Frame], cache: FrameCache, workers: int, progress: bool) -> None:
    columns = (TextColumn("rendering"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not progress) as bar:
        task = bar.add_task("", total=len(frames))
        render_frames(frames, cache, workers, lambda: bar.advance(task))


def _developed(frame: Frame, camera, cache: FrameCache) -> np.ndarray:
    rng = np.random.default_rng(frame.view.seed)
    return develop(cache.load(frame), camera, frame.light.kind == "night", rng)


def _write_photos(directory: Path, photos: list[Photo], cache: FrameCache) -> None:
    """Written aside and renamed: an interrupted run never leaves half a set."""
    part = directory.with_name(directory.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    for photo in photos:
        path = part / photo.file
        path.parent.mkdir(parents=True, exist_ok=True)
        save_photo(_developed(photo_frame(photo), photo.session.camera, cache), photo, path)
    shutil.rmtree(directory, ignore_errors=True)
    part.rename(directory)


def _write_truth(path: Path, photos: list[Photo]) -> None:
    """Where the photos were really taken; `file` is relative to the photos' folder."""
    rows = []
    for photo in photos:
        east, north, up = photo.view.position_m
        latitude_deg, longitude_deg = SITE_FRAME.to_geodetic((east, north))
        position = f"{latitude_deg:.8f}", f"{longitude_deg:.8f}", f"{GROUND_ALTITUDE_M + up:.2f}"
        rows.append((photo.file, *position, f"{photo.view.heading_deg:.1f}", area_of((east, north))))
    _write_csv(path, ("file", "latitude_deg", "longitude_deg", "altitude_m", "heading_deg", "area"), rows)


def _write_areas(path: Path) -> None:
    """The areas' outlines, one vertex a row, in order."""
    rows = []
    for area, polygon in AREAS.items():
        for vertex in polygon:
            latitude_deg, longitude_deg = SITE_FRAME.to_geodetic(vertex)
            rows.append((area, f"{latitude_deg:.8f}", f"{longitude_deg:.8f}"))
    _write_csv(path, ("area", "latitude_deg", "longitude_deg"), rows)


def _write_csv(path: Path, header, rows) -> None:
    part = path.with_name(path.name + ".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    part.replace(path)


def _summary(
    out_dir: Path, photos: list[Photo], motion: Motion, images: dict[str, int], messages: dict[str, int]
) -> SampleSummary:
    size = sum(file.stat().st_size for file in out_dir.rglob("*") if file.is_file())
    summary = SampleSummary(
        photos=dict(Counter(photo.session.name for photo in photos)),
        areas=dict(Counter(area_of(photo.view.position_m) for photo in photos)),
        drive_images=images,
        drive_messages=messages,
        drive_s=motion.duration_s,
        outage_s=outage_interval_s(DRIVE, motion),
        bytes=size,
    )
    logger.info("sample in %s: %s", out_dir, summary)
    return summary
