"""Small data sets and predictions for the tests of the active-learning loop: no network, no training."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from helpers import textured_rgb
from PIL import Image

from campus_visual_gps.geodesy import LocalFrame
from training.evaluate.predict import covariance_columns, write_predictions
from training.photos.manifest import PHOTO_COLUMNS, image_path, load_dataset
from training.photos.splits import split
from training.photos.tables import write_table

FRAME = LocalFrame.at(31.262, 34.802)
PROBE = "probe <b>&amp; walk"  # the name of a folder is any text
N_TRAIN, N_VAL, N_PROBE = 6, 3, 10


def write_dataset(directory: Path) -> Path:
    """A data set of three sessions along a line of 5 m steps: training, validation, and the probe set as test."""
    (directory / "images").mkdir(parents=True)
    sessions = ["walk-1"] * N_TRAIN + ["walk-2"] * N_VAL + [PROBE] * N_PROBE
    rows = []
    for i, session in enumerate(sessions):
        photo_id = f"p{i:016x}"
        latitude, longitude = FRAME.to_geodetic(np.array([5.0 * i, 2.0 * (i % 3)]))
        captured = pd.Timestamp("2025-12-22T09:00:00+02:00") + pd.Timedelta(hours=5 * (i // 6), seconds=70 * i)
        row = dict.fromkeys(PHOTO_COLUMNS, "") | {"photo_id": photo_id, "file": f"{session}/{i}.jpg"}
        row |= {"session": session, "captured_at": captured.isoformat(), "gps_accuracy_m": 5.0}
        row |= {"latitude_deg": float(latitude), "longitude_deg": float(longitude), "night": i % 2 == 0}
        rows.append(row | {"width_px": 64, "height_px": 48, "altitude_m": np.nan, "heading_deg": np.nan})
        Image.fromarray(textured_rgb(320, 320, seed=i)).save(image_path(directory, photo_id))
    table = pd.DataFrame(rows).astype({"night": "boolean"})
    write_table(directory / "photos.csv", table[list(PHOTO_COLUMNS)])
    split(directory, test_sessions=[PROBE], val_sessions=["walk-2"])
    return directory


def copy_dataset(template: Path, directory: Path) -> Path:
    """A copy of its tables; its images are the same files."""
    return shutil.copytree(template, directory, copy_function=_link_image)


def _link_image(source: str, target: str) -> str:
    if source.endswith(".jpg"):
        os.link(source, target)
        return target
    return shutil.copy2(source, target)


def write_evaluation(directory: Path, dataset: Path, errors_m: dict[int, float], **changes) -> Path:
    """An evaluation of the test photos: 3 m to the east of the label, or by test photo's number another error, metres.

    Both members are at the prediction but for 0.5 m. `changes` replaces columns; report.json names the data set.
    """
    photos = load_dataset(dataset)
    photos = photos[photos["subset"] == "test"].reset_index(drop=True)
    numbers = [int(photo_id[1:], 16) for photo_id in photos["photo_id"]]
    truth = FRAME.to_local(photos["latitude_deg"], photos["longitude_deg"])
    errors = np.array([errors_m.get(number, 3.0) for number in numbers])
    found = truth + np.stack([errors, np.zeros(len(errors))], axis=1)
    known = np.isfinite(errors)
    latitude, longitude = np.full(len(errors), np.nan), np.full(len(errors), np.nan)
    latitude[known], longitude[known] = FRAME.to_geodetic(found[known])
    table = photos[["photo_id", "file", "session", "captured_at", "camera", "night", "subset", "gps_accuracy_m"]]
    table = table.assign(
        area="north", true_latitude_deg=photos["latitude_deg"], true_longitude_deg=photos["longitude_deg"],
        true_east_m=truth[:, 0], true_north_m=truth[:, 1], error_m=errors, east_m=found[:, 0], north_m=found[:, 1],
        latitude_deg=latitude, longitude_deg=longitude, rejection_reason="",
        **covariance_columns("", np.tile(np.diag([100.0, 25.0]), (len(errors), 1, 1))),
        member_42_east_m=found[:, 0] + 0.5, member_42_north_m=found[:, 1],
        member_123_east_m=found[:, 0] - 0.5, member_123_north_m=found[:, 1],
    )  # fmt: skip
    directory.mkdir(parents=True, exist_ok=True)
    write_predictions(directory / "predictions.csv", table.assign(**changes))
    report = {"model_id": "tiny", "dataset": str(dataset), "split": "test", "bundle": ""}
    (directory / "report.json").write_text(json.dumps(report))
    return directory


def photo(number: int) -> str:
    """photo_id of a photo; the probe set begins at number 9."""
    return f"p{number:016x}"


def decide(path: Path, *rows: str) -> Path:
    """A file of decisions with rows `photo_id,decision,latitude_deg,longitude_deg`."""
    path.write_text("photo_id,decision,latitude_deg,longitude_deg\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def files_of(directory: Path) -> dict[str, bytes]:
    """All files below a directory but the stored images."""
    paths = [path for path in directory.rglob("*") if path.is_file() and "images" not in path.parts]
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths}
