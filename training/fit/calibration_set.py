"""What an ensemble says of photos that it has not seen: the raw material of calibration and gates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from campus_visual_gps.engines.torch_engine import Ensemble
from campus_visual_gps.estimation.grid import LocationGrid
from campus_visual_gps.estimation.integrity import brightness_and_sharpness
from campus_visual_gps.estimation.posterior import Calibration, CovarianceCalibration, Posterior, believe
from campus_visual_gps.retrieval.descriptor import DescriptorExtractor, Place, RetrievalIndex
from campus_visual_gps.retrieval.prior import TOP_K, RetrievalPriorConfig, RetrievalResult, density, match_score_near
from training.data.dataset import read_ahead
from training.metrics.bootstrap import walk_blocks
from training.photos.manifest import capture_times_s


@dataclass(frozen=True)
class Outputs:
    """Members' answers for N photos: means (N, M, 2), covariances (N, M, 2, 2), log maps (N, M, K) or None, the first
    member's appearances (N, c), and brightness and sharpness (N,) of what they saw."""

    means_enu_m: np.ndarray
    covs_enu_m2: np.ndarray
    grid_log_probs: np.ndarray | None
    appearances: np.ndarray
    brightness: np.ndarray
    sharpness: np.ndarray


@dataclass(frozen=True)
class RetrievalFeatures:
    """What the places of N photos are found by: statistics (N, d) float32, activations (N, g, g, C) float16."""

    statistics: np.ndarray
    local: tuple[np.ndarray, ...]

    def places(self, space: DescriptorExtractor) -> list[Place]:
        """The N photos' places."""
        return [space.place(*photo) for photo in zip(self.statistics, zip(*self.local, strict=True), strict=True)]


@dataclass(frozen=True)
class CalibrationSet:
    """Outputs of one ensemble for photos of sessions that it has not seen, with the truth (N, 2) in metres.

    `blocks` (N,) label stretches of a walk, within which errors are alike; `night` (N,) is NaN where unknown;
    `neighbours` are the photos' nearest in the ensemble's own reference, None where it cannot be searched.
    """

    outputs: Outputs
    cells: LocationGrid | None
    truth_enu_m: np.ndarray
    sessions: np.ndarray
    blocks: np.ndarray
    night: np.ndarray
    neighbours: list[RetrievalResult] | None

    def __len__(self) -> int:
        return len(self.truth_enu_m)

    def rows(self, chosen: np.ndarray) -> CalibrationSet:
        """Those photos only; chosen (N,) bool."""
        out = self.outputs
        maps = None if out.grid_log_probs is None else out.grid_log_probs[chosen]
        outputs = Outputs(
            out.means_enu_m[chosen],
            out.covs_enu_m2[chosen],
            maps,
            out.appearances[chosen],
            out.brightness[chosen],
            out.sharpness[chosen],
        )
        near = self.neighbours and [one for one, wanted in zip(self.neighbours, chosen, strict=True) if wanted]
        by_photo = (self.truth_enu_m, self.sessions, self.blocks, self.night)
        return CalibrationSet(outputs, self.cells, *(values[chosen] for values in by_photo), near)

    def densities(self, evidence: RetrievalPriorConfig) -> np.ndarray:
        """(N, K): what each photo's neighbours say of the cells."""
        return np.stack([density(near, self.cells.centres_enu_m, evidence) for near in self.neighbours])

    def agreements(self, positions_enu_m: np.ndarray) -> np.ndarray:
        """(N,): how well each photo agrees with the reference photos near a position of its own (N, 2), metres."""
        return np.array([match_score_near(*one) for one in zip(self.neighbours, positions_enu_m, strict=True)])

    def believe(self, calibration: Calibration, scaling: CovarianceCalibration | None = None) -> Posterior:
        """Belief of the N photos with one scaling for all; by default with the calibration's for each one's light."""
        if scaling is None and calibration.night is not None:
            return self._by_light(calibration)
        out = self.outputs
        near = ()
        if calibration.evidence is not None and calibration.evidence.weight and out.grid_log_probs is not None:
            near = (self.densities(calibration.evidence), self.agreements)
        members = (out.means_enu_m, out.covs_enu_m2, out.grid_log_probs)
        return believe(*members, self.cells, calibration, scaling or calibration, *near)

    def _by_light(self, calibration: Calibration) -> Posterior:
        dark = self.outputs.brightness < calibration.night_brightness_threshold
        day, night = (self.believe(calibration, scaling) for scaling in (calibration, calibration.night))
        chosen = [
            None if own is None else np.where(dark.reshape(-1, *[1] * (own.ndim - 1)), other, own)
            for own, other in zip(day, night, strict=True)
        ]
        return Posterior(*chosen)


def run(ensemble: Ensemble, paths: Sequence[Path]) -> tuple[Outputs, RetrievalFeatures]:
    """The ensemble's outputs for the stored photos, one by one as on the robot."""
    rows, local, seen = [], [], []
    for rgb in read_ahead(list(paths)):
        output = ensemble.predict(rgb)
        seen.append(brightness_and_sharpness(output.square))
        with np.errstate(over="ignore"):  # a network that has diverged: infinite, and told by what reads it
            local.append([stage.astype(np.float16) for stage in output.local])
        rows.append(output._replace(square=None, local=None))
    brightness, sharpness = np.array(seen, dtype=np.float64).reshape(-1, 2).T
    maps = None if ensemble.cells_enu_m is None else np.stack([row.grid_log_probs for row in rows])
    outputs = Outputs(
        np.stack([row.means_enu_m for row in rows]),
        np.stack([row.covs_enu_m2 for row in rows]),
        maps,
        np.stack([row.appearance for row in rows]),
        brightness,
        sharpness,
    )
    stages = tuple(np.stack(stage) for stage in zip(*local, strict=True))
    return outputs, RetrievalFeatures(np.stack([row.statistics for row in rows]), stages)


def neighbours(features: RetrievalFeatures, index: RetrievalIndex | None) -> list[RetrievalResult] | None:
    """The photos' nearest reference photos."""
    return index and [index.nearest(place, TOP_K) for place in features.places(index.space)]


def calibration_set(
    outputs: Outputs,
    photos: pd.DataFrame,
    truth_enu_m: np.ndarray,
    near: list[RetrievalResult] | None,
    cells: LocationGrid | None,
) -> CalibrationSet:
    """HeldOut of photos (rows as of `load_dataset`) and their nearest in the ensemble's own reference."""
    blocks, _ = walk_blocks(photos["session"].tolist(), capture_times_s(photos["captured_at"]))
    return CalibrationSet(
        outputs,
        cells,
        np.asarray(truth_enu_m, dtype=np.float64),
        photos["session"].to_numpy(dtype=object),
        blocks,
        photos["night"].astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan),
        near,
    )


def joined(parts: Iterable[CalibrationSet], values) -> np.ndarray:
    """values(part) of every part, one below the other."""
    return np.concatenate([values(part) for part in parts])
