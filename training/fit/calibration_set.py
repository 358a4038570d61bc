"""What an ensemble says of photos that it has not seen: the data that calibration and gates are fitted on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from campus_visual_gps.engines.torch_engine import TorchEngine
from campus_visual_gps.estimation.calibration import Calibration
from campus_visual_gps.estimation.grid import LocationGrid
from campus_visual_gps.estimation.integrity import brightness_and_sharpness
from campus_visual_gps.estimation.posterior import Posterior, PosteriorEstimator
from campus_visual_gps.estimation.site_bound import SiteMoments
from campus_visual_gps.models.outputs import ModelOutputs
from campus_visual_gps.preprocess import prepare
from campus_visual_gps.retrieval.index import RetrievalIndex, RetrievalResult
from training.data.dataset import read_ahead
from training.metrics.bootstrap import walk_blocks
from training.photos.manifest import capture_times_s

_PHOTOS_AT_ONCE = 16


class PhotoOutputs(NamedTuple):
    """Outputs of a model for N photos, with mean grey level and variance of the Laplacian (N,) of its inputs."""

    outputs: ModelOutputs
    brightness: np.ndarray
    sharpness: np.ndarray

    def rows(self, chosen: np.ndarray) -> PhotoOutputs:
        """Those of some photos; `chosen` indexes the first axis."""
        return PhotoOutputs(self.outputs.rows(chosen), self.brightness[chosen], self.sharpness[chosen])


class PhotoOutputStore:
    """Outputs of photos by file, for folds whose models share the stages that describe an image: each is read once.

    Only the features of what it returns are meant to be used: the members' positions are those of the model that came
    first. Grids are not kept: those of two folds may have other cells.
    """

    def __init__(self) -> None:
        self._row_of: dict[Path, int] = {}
        self._stored: PhotoOutputs | None = None

    def read(self, engine: TorchEngine, paths: Sequence[Path]) -> PhotoOutputs:
        """Outputs of the files, of which those that are new are read with `engine`."""
        new = [path for path in dict.fromkeys(paths) if path not in self._row_of]
        if new:
            found = read_photos(engine, new)
            found = found._replace(outputs=replace(found.outputs, grid_log_probs=None))
            self._row_of |= {path: len(self._row_of) + row for row, path in enumerate(new)}
            self._stored = found if self._stored is None else _joined([self._stored, found])
        if self._stored is None:
            raise ValueError("expected one file or more")
        return self._stored.rows(np.array([self._row_of[path] for path in paths]))


@dataclass(frozen=True)
class CalibrationSet:
    """Outputs of one ensemble for N photos of sessions that it has not seen, and the truth.

    Attributes:
        outputs: Of the members; without features and descriptors.
        brightness: (N,) mean grey level of the inputs.
        sharpness: (N,) variance of their Laplacian.
        grid: Of the members' heads, None for heads without one.
        truth_enu_m: (N, 2) metres.
        sessions: (N,) names.
        blocks: (N,) labels of stretches of a walk, within which errors are alike.
        times_s: (N,) when they were taken, seconds since the epoch; NaN where unknown.
        night: (N,) 1 by night, 0 by day, NaN where unknown.
        retrieval: The most similar photos of the ensemble's own reference, None where it cannot be searched.
        retrieval_elsewhere: The same of those reference photos that were not taken near the truth (withheld_spots.py).
    """

    outputs: ModelOutputs
    brightness: np.ndarray
    sharpness: np.ndarray
    grid: LocationGrid | None
    truth_enu_m: np.ndarray
    sessions: np.ndarray
    blocks: np.ndarray
    times_s: np.ndarray
    night: np.ndarray
    retrieval: RetrievalResult | None
    retrieval_elsewhere: RetrievalResult | None = None

    def __len__(self) -> int:
        return len(self.truth_enu_m)

    def rows(self, chosen: np.ndarray) -> CalibrationSet:
        """Some of the photos; chosen (N,) bool."""
        by_photo = ("brightness", "sharpness", "truth_enu_m", "sessions", "blocks", "times_s", "night")
        return replace(
            self,
            outputs=self.outputs.rows(chosen),
            retrieval=None if self.retrieval is None else self.retrieval.where(chosen),
            retrieval_elsewhere=None if self.retrieval_elsewhere is None else self.retrieval_elsewhere.where(chosen),
            **{name: getattr(self, name)[chosen] for name in by_photo},
        )

    @property
    def site(self) -> SiteMoments | None:
        """Of the grid's cells, which bounds the covariances; None for heads without a grid."""
        return None if self.grid is None else SiteMoments.of_cells(self.grid.centres_enu_m, self.grid.cell_m)

    def posterior(self, calibration: Calibration) -> Posterior:
        """Posterior of the N photos under a calibration."""
        return PosteriorEstimator(calibration, self.grid).estimate(self.outputs, self.retrieval, self.brightness)

    def errors_m(self, calibration: Calibration) -> np.ndarray:
        """Distance errors (N,) in metres under a calibration."""
        return np.linalg.norm(self.posterior(calibration).mean_enu_m - self.truth_enu_m, axis=1)


def read_photos(engine: TorchEngine, paths: Sequence[Path]) -> PhotoOutputs:
    """Outputs for stored photos, in batches. Raises DatasetError for a photo that is missing or damaged."""
    image, images = engine.model.image, read_ahead(list(paths))
    batches, seen = [], []
    for start in range(0, len(paths), _PHOTOS_AT_ONCE):
        inputs = np.stack([prepare(next(images), image) for _ in paths[start : start + _PHOTOS_AT_ONCE]])
        seen += [brightness_and_sharpness(input_rgb) for input_rgb in inputs]
        batches.append(_compact(engine.run(inputs)))
    brightness, sharpness = np.array(seen, dtype=np.float64).reshape(-1, 2).T
    return PhotoOutputs(ModelOutputs.concatenate(batches), brightness, sharpness)


def build_calibration_set(
    photos: pd.DataFrame,
    photo_outputs: PhotoOutputs,
    truth_enu_m: np.ndarray,
    grid: LocationGrid | None,
    retrieval: RetrievalResult | None,
    retrieval_elsewhere: RetrievalResult | None = None,
) -> CalibrationSet:
    """CalibrationSet of photos (rows as of `load_dataset`) at (N, 2) metres."""
    times_s = capture_times_s(photos["captured_at"])
    blocks, _ = walk_blocks(photos["session"].tolist(), times_s)
    return CalibrationSet(
        outputs=_without_descriptors(photo_outputs.outputs),
        brightness=photo_outputs.brightness,
        sharpness=photo_outputs.sharpness,
        grid=grid,
        truth_enu_m=np.asarray(truth_enu_m, dtype=np.float64),
        sessions=photos["session"].to_numpy(dtype=object),
        blocks=blocks,
        times_s=times_s,
        night=photos["night"].astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan),
        retrieval=retrieval,
        retrieval_elsewhere=retrieval_elsewhere,
    )


def retrieve(outputs: ModelOutputs, index: RetrievalIndex | None) -> RetrievalResult | None:
    """The most similar reference photos of images with descriptors; None where there is no index."""
    if index is None or outputs.descriptors is None:
        return None
    return index.search(outputs.descriptors, outputs.local_descriptors)


def concatenated(sets: Iterable[CalibrationSet], values: Callable[[CalibrationSet], np.ndarray]) -> np.ndarray:
    """values(set) of every set, one below the other."""
    return np.concatenate([values(own) for own in sets])


def _joined(parts: Sequence[PhotoOutputs]) -> PhotoOutputs:
    outputs, brightness, sharpness = zip(*parts, strict=True)
    return PhotoOutputs(ModelOutputs.concatenate(outputs), np.concatenate(brightness), np.concatenate(sharpness))


def _compact(outputs: ModelOutputs) -> ModelOutputs:
    """Local features in float16: those of thousands of photos must fit into memory."""
    if outputs.local_features is None:
        return outputs
    with np.errstate(over="ignore"):  # a network that has diverged; the descriptor fit reports it
        return replace(outputs, local_features=tuple(stage.astype(np.float16) for stage in outputs.local_features))


def _without_descriptors(outputs: ModelOutputs) -> ModelOutputs:
    empty = np.empty((len(outputs), 0), dtype=np.float32)
    return replace(outputs, pooled_features=empty, descriptors=None, local_descriptors=None, local_features=None)
