"""Runs the members on one image: RGB -> means (M, 2), covariances (M, 2, 2), maps (M, K), and readings of the place."""

from __future__ import annotations

from contextlib import nullcontext
from time import perf_counter
from typing import NamedTuple

import numpy as np
import torch

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.models.heads import HeadOutput
from campus_visual_gps.models.position_model import PositionModel
from campus_visual_gps.models.stages import channel_statistics, late_activations, local_activations
from campus_visual_gps.models.trunk import common_stages, output_of_trunk, without_trunk
from campus_visual_gps.preprocess import ImageSpec, normalise, prepare

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class EnsembleOutput(NamedTuple):
    """float64 metres of the local frame, and stage times in seconds.

    `grid_log_probs` (M, K) are the logarithms of the members' maps over the ensemble's cells, None for heads without one.
    `statistics` (d,) float32 are channel means and deviations of the first member's stages from the middle one to the
    last but one, `local` the activations (g, g, C) float32 of two of them: by both, photos of one place are found. The
    last stage is trained to tell training photos apart, and sees new ones otherwise. `appearance` (c,) float32, the
    means of the middle stage alone, tells other places.
    `square` is the (S, S, 3) uint8 RGB that the members saw, before normalisation.
    """

    means_enu_m: np.ndarray
    covs_enu_m2: np.ndarray
    grid_log_probs: np.ndarray | None
    statistics: np.ndarray
    local: tuple[np.ndarray, ...]
    appearance: np.ndarray
    square: np.ndarray
    transform_s: float
    ensemble_s: float


def choose_device(device: str) -> torch.device:
    """`auto` (the first GPU, else the CPU), `cpu`, `cuda` or `cuda:N`. Raises ConfigError if it is not there."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()):
        raise ConfigError(f"device {device!r} is none of auto, cpu, cuda, cuda:N")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device {device!r} is not there: torch sees {torch.cuda.device_count()} CUDA devices")
    return torch.device(device)


def choose_precision(precision: str, device: torch.device) -> str:
    """`auto` is fp32 on a CPU, bf16 or else fp16 on a GPU. Raises ConfigError for an unknown name."""
    if precision == "auto":
        if device.type == "cpu":
            return "fp32"
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    if precision not in PRECISIONS:
        raise ConfigError(f"precision {precision!r} is none of auto, {', '.join(PRECISIONS)}")
    return precision


class Ensemble:
    """The members on one device in one precision. `predict` is not re-entrant: one thread runs it.

    Leading stages that all members share, as those that training froze (`shared_stages`, 0 for none), run once: the
    others go on from what the first member's gave.
    """

    def __init__(self, members: list[PositionModel], image: ImageSpec, device: str = "auto", precision: str = "auto"):
        self.image = image
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        self.cells_enu_m = _common_cells(members)
        self.members = [member.eval().to(self.device, memory_format=torch.channels_last) for member in members]
        self.shared_stages = _shared_stages(self.members)
        self._after_trunk = []
        if self.shared_stages:
            self._after_trunk = [_after(member, self.shared_stages) for member in self.members[1:]]

    @torch.inference_mode()
    def predict(self, rgb: np.ndarray) -> EnsembleOutput:
        """(H, W, 3) uint8 RGB, 0..255 -> EnsembleOutput. Raises ImageError for anything else."""
        start = perf_counter()
        square = prepare(rgb, self.image)
        pixels = torch.from_numpy(square).unsqueeze(0)
        images = normalise(pixels.to(self.device, non_blocking=True), self.image)
        transformed = perf_counter()
        with self._autocast(), late_activations(self.members[0].backbone) as activations:
            outputs = self._outputs(images)
        # the first copy to the host waits for the device, so the clock is read after all of them
        means = torch.stack([output.mean_enu_m[0] for output in outputs]).double().cpu().numpy()
        covs = torch.stack([output.cov_enu_m2[0] for output in outputs]).double().cpu().numpy()
        grid_log_probs = None
        if self.cells_enu_m is not None:
            grid_log_probs = torch.stack([output.grid_log_probs[0] for output in outputs]).double().cpu().numpy()
        statistics = channel_statistics(activations[:-1])
        features = (torch.cat(statistics, dim=1), statistics[0], *local_activations(activations))
        statistics, appearance, *local = (reading[0].cpu().numpy() for reading in features)
        times = (transformed - start, perf_counter() - transformed)
        return EnsembleOutput(means, covs, grid_log_probs, statistics, tuple(local), appearance, square, *times)

    def _outputs(self, images: torch.Tensor) -> list[HeadOutput]:
        first = self.members[0]
        if not self.shared_stages:
            return [member(images) for member in self.members]
        with output_of_trunk(first.backbone, self.shared_stages) as shared:
            outputs = [first(images)]
        return outputs + [other(shared[0]) for other in self._after_trunk]

    def warm_up(self, runs: int = 2) -> None:
        """Run on a grey image, so that the first real one does not pay for memory plans and kernels."""
        grey = np.full((self.image.size_px, self.image.size_px, 3), 127, dtype=np.uint8)
        for _ in range(runs):
            self.predict(grey)

    def _autocast(self):
        dtype = PRECISIONS[self.precision]
        return nullcontext() if dtype is None else torch.autocast(self.device.type, dtype=dtype)


def _shared_stages(members: list[PositionModel]) -> int:
    return common_stages([member.backbone for member in members]) if len(members) > 1 else 0


def _after(member: PositionModel, stages: int) -> PositionModel:
    return PositionModel(member.config, without_trunk(member.backbone, stages), member.head).eval()


def _common_cells(members: list[PositionModel]) -> np.ndarray | None:
    """The cells (K, 2) float64 that all members' maps lie on, None if none has a map. Raises ConfigError."""
    cells = [member.cells_enu_m for member in members]
    if all(own is None for own in cells):
        return None
    if any(own is None or not torch.equal(own, cells[0]) for own in cells):
        raise ConfigError("the members' maps lie on different cells of the site; train them together")
    return cells[0].double().cpu().numpy()
