"""Writes test/golden_sample.csv: the answers of this code with sample/bundle, for test_golden.py.

Run after sample/bundle was made anew (`scripts/demo --keep-bundle`), never to make a failing test pass. The file of
the first sample/bundle was written by the code before bundle format 4 (commit 4ce40c8), from the same weights and
descriptors: it shows that the reorganisation moved no answer.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
GOLDEN = ROOT / "test" / "golden_sample.csv"
BUNDLE, PHOTOS, DRIVE = (ROOT / "sample" / name for name in ("bundle", "photos", "drive"))
IMAGES_TOPIC = "/camera/image_raw/compressed"
EVERY_PHOTO, EVERY_IMAGE = 12, 8
COLUMNS = ("image", "east_m", "north_m", "cov_ee_m2", "cov_en_m2", "cov_nn_m2", "match_score", "ood_score", "rejection")


def golden_images():
    """(name, (H, W, 3) uint8 RGB) of sample photos of every session and of images of the drive."""
    from campus_visual_gps.ros.image_conversion import to_rgb
    from training.photos.decode import load_rgb
    from training.replay.bags import open_bag

    for session in sorted(PHOTOS.iterdir()):
        for file in sorted(session.glob("*.heic"))[::EVERY_PHOTO]:
            yield f"{session.name}/{file.name}", load_rgb(file)
    with open_bag(DRIVE) as bag:
        for number, message in enumerate(bag.messages([IMAGES_TOPIC])):
            if number % EVERY_IMAGE == 0:
                yield f"drive/{number}", to_rgb(bag.decode(message))


def answers() -> list[dict[str, str]]:
    """One row per image, on one thread: sums in another order differ in the last digits."""
    import torch

    from campus_visual_gps.localizer import Localizer

    torch.set_num_threads(1)
    localizer = Localizer.load(BUNDLE, device="cpu")
    return [_row(name, localizer.localize(rgb)) for name, rgb in golden_images()]


def _row(name: str, estimate) -> dict[str, str]:
    cov = estimate.cov_enu_m2
    numbers = (*estimate.mean_enu_m, cov[0, 0], cov[0, 1], cov[1, 1], estimate.match_score)
    texts = [f"{number:.6f}" for number in numbers] + [f"{estimate.indicators.ood_score:.6f}"]
    reason = "" if estimate.rejection_reason is None else estimate.rejection_reason.value
    return dict(zip(COLUMNS, (name, *texts, reason), strict=True))


def read_golden() -> dict[str, dict[str, str]]:
    """Rows of the golden file by image."""
    with GOLDEN.open(newline="", encoding="utf-8") as stream:
        return {row["image"]: row for row in csv.DictReader(stream)}


def position(row: dict[str, str]) -> np.ndarray:
    """(2,) metres."""
    return np.array([float(row["east_m"]), float(row["north_m"])])


def covariance(row: dict[str, str]) -> np.ndarray:
    """(2, 2) square metres."""
    ee, en, nn = (float(row[name]) for name in COLUMNS[3:6])
    return np.array([[ee, en], [en, nn]])


if __name__ == "__main__":
    with GOLDEN.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(answers())
