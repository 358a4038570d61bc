"""What the worker does with a frame: message -> RGB -> estimate. Plain calls, without a node and without a thread."""

from __future__ import annotations

import math
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from campus_visual_gps.errors import ImageError, VisualGpsError
from campus_visual_gps.ros.image_conversion import to_rgb
from campus_visual_gps.ros.image_queue import StampedImage
from campus_visual_gps.ros.parameters import CPU

if TYPE_CHECKING:
    from campus_visual_gps.localizer import Localizer, PositionEstimate
    from campus_visual_gps.ros.parameters import NodeParameters

BAD_IMAGE = "bad_image"
BAD_ESTIMATE = "bad_estimate"
INTERNAL_ERROR = "internal_error"
OUT_OF_MEMORY = "out_of_memory"


class Rejection(NamedTuple):
    """The named reason why a frame gives no fix; `unusable` if the image, and not the estimate, is at fault."""

    reason: str
    text: str
    unusable: bool = False


class Result(NamedTuple):
    """What became of a frame: an estimate, or a refusal, or both."""

    frame: StampedImage
    decode_s: float
    estimate: PositionEstimate | None
    rejection: Rejection | None


def load_localizer(settings: NodeParameters, logger) -> Localizer:
    """The localizer that the parameters ask for; torch is imported only now. Raises VisualGpsError."""
    from campus_visual_gps.localizer import Localizer

    start = perf_counter()
    try:
        localizer = Localizer.load(settings.model_dir, settings.device, settings.precision)
    except Exception as error:
        if settings.on_out_of_memory != CPU or not is_out_of_memory(error):
            raise
        logger.warning(f"out of memory on device {settings.device}: loading on the CPU instead, which is slower")
        localizer = Localizer.load(settings.model_dir, CPU, "auto")
    localizer.gates = settings.gates(localizer.bundle.gates)
    bundle, ensemble = localizer.bundle, localizer.ensemble
    logger.info(
        f"model {bundle.model_id}: {len(ensemble.members)} members on {ensemble.device} in {ensemble.precision}, "
        f"loaded in {perf_counter() - start:.1f} s"
    )
    return localizer


def is_out_of_memory(error: Exception) -> bool:
    """Whether a device had no memory left. torch is loaded by the time that this can be."""
    import torch

    return isinstance(error, torch.OutOfMemoryError)


class Pipeline:
    """A loaded localizer as the worker calls it. `altitude_m` NaN keeps the bundle's altitude."""

    def __init__(self, localizer: Localizer, altitude_m: float = math.nan):
        self._localizer = localizer
        self._altitude_m = altitude_m

    def move_to_cpu(self) -> Localizer:
        """Go on with the same members on the CPU."""
        self._localizer = self._localizer.on_cpu()
        return self._localizer

    def __call__(self, frame: StampedImage) -> Result:
        """Frame -> Result. Never raises: whatever a frame causes, the next one is served."""
        start = decoded = perf_counter()
        try:
            rgb = to_rgb(frame.message)
            decoded = perf_counter()
            estimate = self._localizer.localize(rgb)
        except ImageError as error:
            return Result(frame, decoded - start, None, Rejection(BAD_IMAGE, str(error), unusable=True))
        except VisualGpsError as error:
            return Result(frame, decoded - start, None, Rejection(BAD_ESTIMATE, str(error)))
        except Exception as error:  # a GPU that went away
            text = " ".join(f"{type(error).__name__}: {error}".split())
            reason = OUT_OF_MEMORY if is_out_of_memory(error) else INTERNAL_ERROR
            return Result(frame, decoded - start, None, Rejection(reason, text, unusable=True))
        if not math.isnan(self._altitude_m):
            estimate = replace(estimate, altitude_m=self._altitude_m)
        return Result(frame, decoded - start, estimate, _rejection(estimate))


def fix_figures(estimate: PositionEstimate) -> dict[str, object]:
    """What the diagnostics say of a fix. `position_sigma_m` is that of the worst direction; radii and modes stand there
    only where the bundle knows them."""
    indicators = estimate.indicators
    figures: dict[str, object] = {
        "position_sigma_m": float(np.sqrt(np.linalg.eigvalsh(estimate.cov_enu_m2)[-1])),
        "spread_m": indicators.spread_m,
        "ood_score": indicators.ood_score,
        "agreement": estimate.agreement,
        "radius95_m": estimate.radius95_m,
    }
    known = {name: value for name, value in figures.items() if not math.isnan(value)}
    if not estimate.modes:
        return known
    return {**known, "modes": len(estimate.modes), "mode_separation_m": indicators.mode_separation_m}


def _rejection(estimate: PositionEstimate) -> Rejection | None:
    if estimate.rejection is None:
        return None
    east_m, north_m = estimate.mean_enu_m
    indicators, (brightness, sharpness, identical) = estimate.indicators, estimate.indicators.image
    text = (
        f"at {east_m:.1f} m east, {north_m:.1f} m north, sigma {indicators.sigma_m:.1f} m, spread {indicators.spread_m:.1f} m, "
        f"modes {indicators.mode_separation_m:.0f} m apart, feature distance {indicators.ood_score:.3f}, "
        f"brightness {brightness:.0f}, sharpness {sharpness:.0f}, {identical} identical images before"
    )
    return Rejection(estimate.rejection, text)
