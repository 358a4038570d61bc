"""What the worker does with an image: message -> RGB -> estimate. Plain calls, without a node and without a thread."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from campus_visual_gps.engines.torch_libraries import load_torch_libraries
from campus_visual_gps.errors import ImageError, VisualGpsError
from campus_visual_gps.estimation.integrity import RejectionReason
from campus_visual_gps.ros.bit_depth import BitDepthTracker
from campus_visual_gps.ros.image_conversion import to_rgb
from campus_visual_gps.ros.image_queue import StampedImage
from campus_visual_gps.ros.parameters import CPU
from campus_visual_gps.threads import limit_threads, max_threads, wait_passively

if TYPE_CHECKING:
    from campus_visual_gps.localizer import Localizer, PositionEstimate
    from campus_visual_gps.ros.parameters import NodeParameters

# Every so many pixels of an image are compared before all of them are.
_STRIDE_PX = 32


class Rejection(NamedTuple):
    """Why an image gives no fix; `unusable` if the image could not be processed at all."""

    reason: RejectionReason
    text: str
    unusable: bool = False


class Result(NamedTuple):
    """Result of one image: an estimate, a rejection, or an estimate with its rejection."""

    image: StampedImage
    decode_s: float
    estimate: PositionEstimate | None
    rejection: Rejection | None


class RepeatCounter:
    """Counts how many consecutive images were identical, pixel for pixel."""

    def __init__(self) -> None:
        self._previous: np.ndarray | None = None
        self._count = 0

    def count(self, rgb: np.ndarray) -> int:
        """The number of images directly before this one that were identical to it.

        Args:
            rgb: (H, W, 3) uint8. It is kept until the next call and must not be changed.
        """
        self._count = self._count + 1 if self._is_repeated(rgb) else 0
        self._previous = rgb
        return self._count

    def _is_repeated(self, rgb: np.ndarray) -> bool:
        previous = self._previous
        if previous is None or previous.shape != rgb.shape:
            return False
        # sensor noise makes a live camera's images differ in the few pixels that are compared first
        sample = np.s_[::_STRIDE_PX, ::_STRIDE_PX]
        return np.array_equal(rgb[sample], previous[sample]) and cv2.norm(rgb, previous, cv2.NORM_INF) == 0.0


class Pipeline:
    """A loaded localizer as the worker calls it.

    Args:
        localizer: The model.
        altitude_m: Altitude of all estimates; NaN keeps the bundle's.
    """

    def __init__(self, localizer: Localizer, altitude_m: float = math.nan):
        self.localizer = localizer
        self._altitude_m = altitude_m
        self._repeats: defaultdict[str, RepeatCounter] = defaultdict(RepeatCounter)
        self._bit_depths: defaultdict[str, BitDepthTracker] = defaultdict(BitDepthTracker)

    def bit_depths(self) -> dict[str, int]:
        """Bit depth of every encoding with 16-bit samples whose depth is established; of several cameras the last."""
        return {key: depth for tracker in list(self._bit_depths.values()) for key, depth in tracker.known().items()}

    def move_to_cpu(self) -> None:
        """Continue with the same model on the CPU."""
        self.localizer = self.localizer.on_cpu()

    def __call__(self, image: StampedImage) -> Result:
        """Process one image. Never raises: an image that causes an error gives a rejection."""
        start = decoded = perf_counter()
        try:
            rgb = to_rgb(image.message, self._bit_depths[image.camera])
            decoded = perf_counter()
            estimate = self.localizer.localize(rgb, repeat_count=self._repeats[image.camera].count(rgb))
        except ImageError as error:
            rejection = Rejection(RejectionReason.BAD_IMAGE, str(error), unusable=True)
        except VisualGpsError as error:
            rejection = Rejection(RejectionReason.BAD_ESTIMATE, str(error))
        except Exception as error:  # for example a GPU that is gone
            text = " ".join(f"{type(error).__name__}: {error}".split())
            out_of_memory = is_out_of_memory(error)
            reason = RejectionReason.OUT_OF_MEMORY if out_of_memory else RejectionReason.INTERNAL_ERROR
            rejection = Rejection(reason, text, unusable=True)
        else:
            if not math.isnan(self._altitude_m):
                estimate = replace(estimate, altitude_m=self._altitude_m)
            return Result(image, decoded - start, estimate, rejection_of(estimate))
        return Result(image, decoded - start, None, rejection)


def load_localizer(settings: NodeParameters, logger) -> Localizer:
    """The localizer that the parameters ask for; torch is imported only here. Raises VisualGpsError."""
    wait_passively()  # before torch is loaded
    load_torch_libraries()
    from campus_visual_gps.localizer import Localizer

    start = perf_counter()
    limit_threads()
    load = partial(
        Localizer.load, settings.model_dir, num_threads=settings.num_threads, covariance=settings.covariance_choice
    )
    try:
        localizer = load(device=settings.device, precision=settings.precision)
    except Exception as error:
        if settings.on_out_of_memory != CPU or not is_out_of_memory(error):
            raise
        logger.warning(f"out of memory on device {settings.device}: loading the model on the CPU, which is slower")
        localizer = load(device=CPU, precision="auto")
    localizer.gates = settings.gates(localizer.bundle.gates)
    engine = localizer.engine
    threads = "1 to" if engine.threads.measures else f"{engine.threads.current} of"
    logger.info(
        f"model {localizer.bundle.model_id}: {engine.member_count} members on {engine.device} in {engine.precision}, "
        f"covariance {localizer.covariance}, "
        f"{threads} {max_threads()} threads, loaded in {perf_counter() - start:.1f} s"
    )
    return localizer


def is_out_of_memory(error: Exception) -> bool:
    """Whether the error says that a device has no memory left. Imports torch."""
    import torch

    return isinstance(error, torch.OutOfMemoryError)


def estimate_values(estimate: PositionEstimate) -> dict[str, object]:
    """Key-value pairs that describe a fix in the diagnostics.

    `position_sigma_m` is along the worst direction. What the bundle does not provide (NaN, modes of a head without a
    grid) is left out.
    """
    indicators = estimate.indicators
    numbers = {
        "position_sigma_m": float(np.sqrt(np.linalg.eigvalsh(estimate.cov_enu_m2)[-1])),
        "ensemble_spread_m": indicators.ensemble_spread_m,
        "ood_score": indicators.ood_score,
        "match_score": estimate.match_score,
        "radius95_m": estimate.radius95_m,
    }
    values: dict[str, object] = {name: value for name, value in numbers.items() if not math.isnan(value)}
    if estimate.modes:
        values.update(modes=len(estimate.modes), mode_separation_m=indicators.mode_separation_m)
    return values


def rejection_of(estimate: PositionEstimate) -> Rejection | None:
    """The rejection of an estimate by a gate, with the values that the gates compared; None for an accepted one."""
    if estimate.rejection_reason is None:
        return None
    east_m, north_m = estimate.mean_enu_m
    indicators = estimate.indicators
    text = (
        f"position {east_m:.1f} m east, {north_m:.1f} m north, sigma {indicators.sigma_m:.1f} m, "
        f"ensemble spread {indicators.ensemble_spread_m:.1f} m, mode separation {indicators.mode_separation_m:.0f} m, "
        f"OOD score {indicators.ood_score:.3f}, brightness {indicators.brightness:.0f}, "
        f"sharpness {indicators.sharpness:.0f}, repeated {indicators.repeat_count} times"
    )
    return Rejection(estimate.rejection_reason, text)
