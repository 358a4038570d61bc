"""TorchEngine: a SiteModel under PyTorch, on a CPU or a GPU."""

from __future__ import annotations

from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from campus_visual_gps.engines import thread_count
from campus_visual_gps.engines.thread_count import ThreadCount
from campus_visual_gps.errors import ConfigError
from campus_visual_gps.models.outputs import ModelOutputs
from campus_visual_gps.models.site_model import (
    DESCRIPTORS,
    GRID_LOG_PROBS,
    LOCAL_DESCRIPTORS,
    LOCAL_FEATURES,
    MEMBER_COVS,
    MEMBER_MEANS,
    OOD_FEATURES,
    POOLED_FEATURES,
    SiteModel,
)
from campus_visual_gps.threads import max_threads, torch_threads

# From so many images on, the parallel regions are large enough for a thread on every core.
LARGE_BATCH = 4
PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(device: str) -> torch.device:
    """`auto` (the first GPU, else the CPU), `cpu`, `cuda` or `cuda:N`. Raises ConfigError if it does not exist."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()):
        raise ConfigError(f"device {device!r} is none of auto, cpu, cuda, cuda:N")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device {device!r} does not exist: torch sees {torch.cuda.device_count()} CUDA devices")
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


class TorchEngine:
    """Runs a SiteModel on one device in one precision. One thread at a time may call `run`.

    Args:
        model: Is moved to the device.
        device: auto, cpu, cuda or cuda:N.
        precision: auto, fp32, bf16 or fp16.
        num_threads: Threads of a CPU for fewer than LARGE_BATCH images; 0 takes one, or after `warm_up` what the first
            runs show to be better. Larger batches take all usable cores.

    Raises:
        ConfigError: the device does not exist, or the precision is unknown.
    """

    def __init__(self, model: SiteModel, device: str = "auto", precision: str = "auto", num_threads: int = 0):
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        model.autocast_dtype = PRECISIONS[self.precision]
        self.num_threads = num_threads
        self.threads = ThreadCount([num_threads or 1])
        self._measures_threads = num_threads == 0 and self.device.type == "cpu"
        self._batch_threads = num_threads or max_threads()
        self.model = model.eval().to(memory_format=torch.channels_last).to(self.device)

    @property
    def member_count(self) -> int:
        """How many members the ensemble has."""
        return self.model.member_count

    def run(self, images: np.ndarray) -> ModelOutputs:
        """uint8 RGB images (N, S, S, 3), 0..255, as `preprocess.prepare` makes them -> their outputs."""
        if len(images) >= LARGE_BATCH:
            return self._run(images, self._batch_threads)
        start_s = perf_counter()
        outputs = self._run(images, self.threads.current)
        self.threads.record(perf_counter() - start_s)
        return outputs

    def warm_up(self, runs: int = 2) -> None:
        """Run on a grey image, so that the first real one does not pay for memory plans and kernels.

        From then on the number of threads is measured, unless it was given.
        """
        size = self.model.image.size_px
        image = np.full((1, size, size, 3), 127, dtype=np.uint8)
        for _ in range(runs):
            self._run(image, self.threads.current)
        if self._measures_threads:
            self.threads = ThreadCount(thread_count.candidates(self._batch_threads))

    @torch.inference_mode()
    def _run(self, images: np.ndarray, threads: int) -> ModelOutputs:
        with torch_threads(threads):
            outputs = self.model(torch.from_numpy(images).to(self.device, non_blocking=True))
        return to_model_outputs({name: _to_numpy(tensor) for name, tensor in outputs.items()})


def to_model_outputs(outputs: dict[str, np.ndarray]) -> ModelOutputs:
    """The named outputs of a SiteModel, as numpy arrays -> ModelOutputs. NaN and infinity are handled here only.

    Metres become float64. All numbers of an image that is not `finite` become NaN (means, covariances, log
    probabilities) or 0 (features and descriptors).
    """
    means = outputs[MEMBER_MEANS]
    # probabilities may be as good as zero, whose logarithm is -inf: only NaN is wrong there
    log_probs = outputs.get(GRID_LOG_PROBS)
    checked = [array for name, array in outputs.items() if name not in (GRID_LOG_PROBS, LOCAL_DESCRIPTORS)]
    finite = np.logical_and.reduce([np.isfinite(array).reshape(len(means), -1).all(axis=1) for array in checked])
    if log_probs is not None:
        finite &= ~np.isnan(log_probs).reshape(len(means), -1).any(axis=1)
    local = tuple(_masked(outputs[name], finite, 0) for name in LOCAL_FEATURES) if DESCRIPTORS not in outputs else None
    return ModelOutputs(
        member_means_enu_m=_masked(means.astype(np.float64), finite, np.nan),
        member_covs_enu_m2=_masked(outputs[MEMBER_COVS].astype(np.float64), finite, np.nan),
        grid_log_probs=None if log_probs is None else _masked(log_probs.astype(np.float64), finite, np.nan),
        ood_features=_masked(outputs[OOD_FEATURES], finite, 0),
        pooled_features=_masked(outputs[POOLED_FEATURES], finite, 0),
        descriptors=_masked(outputs[DESCRIPTORS], finite, 0) if local is None else None,
        local_descriptors=_masked(outputs[LOCAL_DESCRIPTORS], finite, 0) if local is None else None,
        local_features=local,
        finite=finite,
    )


def _masked(array: np.ndarray, finite: np.ndarray, value: float) -> np.ndarray:
    if not finite.all():
        array = array.copy()
        array[~finite] = value
    return array


def _to_numpy(tensor: Tensor) -> np.ndarray:
    return tensor.cpu().numpy()
