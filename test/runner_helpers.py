"""A data set of a dozen small photos, and a recipe that trains on it in a second."""

from pathlib import Path

import numpy as np
import yaml
from photo_helpers import blocks, make_exif, write_photo
from PIL import ExifTags

from campus_visual_gps.geodesy import LocalFrame
from training.experiments.execute import Outcome, execute
from training.experiments.plan import Run
from training.photos.ingest import ingest
from training.photos.splits import split

FRAME = LocalFrame.at(31.262, 34.8025)
# one step of two photos, at the smallest size that all backbones take
RECIPE = {
    "model": {"backbone": "resnet18", "head": "linear", "output_scale_m": 20.0},
    "weights": "none",
    "size_px": 32,
    "optimizer": {"lr": 1e-3},
    "scheduler": {"name": "cosine"},
    "trainer": {"max_epochs": 2, "keep": "last", "batch_size": 4, "workers": 0, "accelerator": "cpu", "num_threads": 1},
    "descriptor": {"centroids": 2, "dim": 8, "local_dim": 4},
}


def make_dataset(directory: Path, photos: int = 12, size_px: int = 64, accuracies: bool = True) -> Path:
    """A data set of three sessions: four photos to train, four to validate, four to test."""
    places = np.random.default_rng(0).uniform(-40, 40, (photos, 2))
    for index, place in enumerate(places):
        latitude, longitude = (float(value) for value in FRAME.to_geodetic(place))
        name = f"session-{index % 3}/{index}.jpg"
        accuracy = {ExifTags.GPS.GPSHPositioningError: 4.0 + index} if accuracies else None
        exif = make_exif((latitude, longitude), gps=accuracy)
        write_photo(directory / "photos" / name, blocks(index, size_px, size_px), exif)
    ingest(directory / "photos", directory / "set", progress=False, workers=1)
    split(directory / "set", test_sessions=["session-2"], val_sessions=["session-1"])
    return directory / "set"


def write_recipe(directory: Path, **changes) -> Path:
    """The training configuration that tables of tests start from."""
    path = directory / "recipe.yaml"
    path.write_text(yaml.safe_dump(RECIPE | changes))
    return path


def write_table(directory: Path, rows: list[dict], name: str = "table", **changes) -> Path:
    """A table of these rows, of which the first is the baseline."""
    content = {
        "title": "A table",
        "paper": {"table": 6, "section": "5.2"},
        "base": "recipe.yaml",
        "rows": [{"label": row["name"], **row, **({"baseline": True} if not i else {})} for i, row in enumerate(rows)],
    }
    path = directory / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content | changes))
    return path


class InProcess:
    """Executes each run at once, in this process."""

    capacity = 1

    def __init__(self, out: Path):
        self._out = out
        self._outcomes: list[Outcome] = []

    def start(self, run: Run) -> None:
        self._outcomes.append(execute(run, self._out))

    def wait(self) -> Outcome:
        return self._outcomes.pop()

    def close(self) -> None:
        pass
