"""Renders sample/: photos, true positions, areas, and drives of the robot."""

from __future__ import annotations

import logging
import os
import shutil
from collections import Counter
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from campus_visual_gps.errors import ConfigError
from training.photos.tables import write_table
from training.synthetic.bag import write_drive
from training.synthetic.camera import ROBOT, Camera, develop
from training.synthetic.campus import build_campus
from training.synthetic.capture import SESSIONS, Photo, session_photos
from training.synthetic.drive import (
    DRIVE,
    DRIVES,
    FRONT,
    SECOND_CAMERAS,
    TWO_CAMERAS_EVERY,
    DriveDay,
    Motion,
    RobotCamera,
    camera_views,
    drive_motion,
    outage_interval_s,
)
from training.synthetic.heic import save_photo
from training.synthetic.render_cache import RenderCache, RenderTask, render_missing
from training.synthetic.site import AREAS, GROUND_ALTITUDE_M, SITE_FRAME, area_of

logger = logging.getLogger(__name__)

# Outputs that are replaced; other files in the directory, such as README.md, are kept.
PHOTOS, TRUTH, AREAS_FILE = "photos", "truth.csv", "areas.csv"
TWO_CAMERAS = "drive_two_cameras"


@dataclass(frozen=True)
class SampleSummary:
    """Counts of a sample.

    Attributes:
        photos: By session.
        areas: Photos by area.
        drive_images, drive_messages: By drive.
        drive_s: Duration of a drive.
        outage_s: Start and end of the receiver's outage in `drive`.
        bytes: Size of all files.
    """

    photos: dict[str, int]
    areas: dict[str, int]
    drive_images: dict[str, int]
    drive_messages: dict[str, int]
    drive_s: float
    outage_s: tuple[float, float]
    bytes: int


@dataclass(frozen=True)
class DriveBag:
    """One bag to write: `every` is as of `camera_views`."""

    name: str
    day: DriveDay
    cameras: tuple[RobotCamera, ...]
    every: int = 1

    def tasks(self, motion: Motion) -> dict[RobotCamera, list[RenderTask]]:
        """The images of each camera."""
        return {camera: drive_tasks(self.day, motion, camera, self.every) for camera in self.cameras}


def drive_bags(second_camera: str | None = None) -> list[DriveBag]:
    """The drives with one camera; and `drive` with a second one, if it is named. Raises ConfigError."""
    bags = [DriveBag(day.name, day, (FRONT,)) for day in DRIVES]
    if second_camera is None:
        return bags
    if second_camera not in SECOND_CAMERAS:
        raise ConfigError(f"--second-camera {second_camera}: expected one of {', '.join(SECOND_CAMERAS)}")
    return [*bags, DriveBag(TWO_CAMERAS, DRIVE, (FRONT, SECOND_CAMERAS[second_camera]), TWO_CAMERAS_EVERY)]


def generate_sample(
    out_dir: Path,
    workers: int = 0,
    progress: bool = True,
    cache_dir: Path | None = None,
    second_camera: str | None = None,
) -> SampleSummary:
    """Render and write the whole sample. The result does not depend on the number of threads.

    Args:
        out_dir: Directory of the sample.
        workers: Rendering threads; 0 takes all cores.
        progress: Show a progress bar.
        cache_dir: Directory of rendered images, which are not rendered again.
        second_camera: Name of a second camera on the robot, for a bag of two cameras; None writes no such bag.

    Raises:
        ConfigError: Mitsuba is needed and not installed, or there is no such camera.
    """
    bags = drive_bags(second_camera)
    photos, motion = plan_photos(), drive_motion()
    cache = RenderCache(cache_dir)
    drives = {bag: bag.tasks(motion) for bag in bags}
    images = chain.from_iterable(tasks.values() for tasks in drives.values())
    needed = [*map(photo_task, photos), *chain.from_iterable(images)]
    _render(needed, cache, workers or os.cpu_count() or 1, progress)

    out_dir.mkdir(parents=True, exist_ok=True)
    _write_photos(out_dir / PHOTOS, photos, cache)
    _write_truth(out_dir / TRUTH, photos)
    _write_areas(out_dir / AREAS_FILE)
    messages = {bag.name: write_bag_of(bag, out_dir / bag.name, cache, motion) for bag in bags}
    counts = {bag.name: sum(map(len, tasks.values())) for bag, tasks in drives.items()}
    return _summary(out_dir, photos, motion, counts, messages)


def write_bag_of(bag: DriveBag, path: Path, cache: RenderCache, motion: Motion) -> int:
    """Write a drive whose images were rendered; returns the number of messages."""
    pictures = {
        camera: [_developed(task, ROBOT, cache) for task in tasks] for camera, tasks in bag.tasks(motion).items()
    }
    return write_drive(path, bag.day, pictures, motion, bag.every)


def plan_photos() -> list[Photo]:
    """All photos of all sessions, not rendered."""
    obstacles = build_campus().obstacles
    return [photo for session in SESSIONS for photo in session_photos(session, obstacles)]


def photo_task(photo: Photo) -> RenderTask:
    """The image of a photo."""
    return RenderTask(photo.view, photo.session.light, photo.session.seed)


def drive_tasks(day: DriveDay, motion: Motion, camera: RobotCamera = FRONT, every: int = 1) -> list[RenderTask]:
    """The images of a camera on a drive; `every` is as of `camera_views`."""
    return [RenderTask(view, day.light, day.seed) for view in camera_views(day, motion, camera, every)[1]]


def _render(tasks: list[RenderTask], cache: RenderCache, workers: int, progress: bool) -> None:
    columns = (TextColumn("rendering"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not progress) as bar:
        row = bar.add_task("", total=len(tasks))
        render_missing(tasks, cache, workers, lambda: bar.advance(row))


def _developed(task: RenderTask, camera: Camera, cache: RenderCache) -> np.ndarray:
    rng = np.random.default_rng(task.view.seed)
    return develop(cache.load(task), camera, task.light.kind == "night", rng)


def _write_photos(directory: Path, photos: list[Photo], cache: RenderCache) -> None:
    """Written to a temporary directory and renamed, so that an interrupted run leaves nothing incomplete."""
    partial = directory.with_name(directory.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    for photo in photos:
        path = partial / photo.file
        path.parent.mkdir(parents=True, exist_ok=True)
        save_photo(_developed(photo_task(photo), photo.session.camera, cache), photo, path)
    shutil.rmtree(directory, ignore_errors=True)
    partial.rename(directory)


def _write_truth(path: Path, photos: list[Photo]) -> None:
    """True positions of the photos; `file` is relative to the photo folder."""
    rows = []
    for photo in photos:
        east, north, up = photo.view.position_m
        latitude_deg, longitude_deg = SITE_FRAME.to_geodetic((east, north))
        position = f"{latitude_deg:.8f}", f"{longitude_deg:.8f}", f"{GROUND_ALTITUDE_M + up:.2f}"
        rows.append((photo.file, *position, f"{photo.view.heading_deg:.1f}", area_of((east, north))))
    _write_csv(path, ("file", "latitude_deg", "longitude_deg", "altitude_m", "heading_deg", "area"), rows)


def _write_areas(path: Path) -> None:
    """Polygons of the areas, one vertex per row, in order."""
    rows = []
    for area, polygon in AREAS.items():
        for vertex in polygon:
            latitude_deg, longitude_deg = SITE_FRAME.to_geodetic(vertex)
            rows.append((area, f"{latitude_deg:.8f}", f"{longitude_deg:.8f}"))
    _write_csv(path, ("area", "latitude_deg", "longitude_deg"), rows)


def _write_csv(path: Path, header, rows) -> None:
    write_table(path, pd.DataFrame(rows, columns=list(header), dtype=object))


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
