"""The covariance of a bundle, calibrated anew on a survey drive of the robot that will use it.

A robot looks ahead along its paths, with a camera of its own: its views may be easier or harder than the photos that
the bundle was calibrated on, and its covariance then claims too little or too much. What decides is a drive of that
robot on another day than the one it is wanted for, with a truth: its receiver in the open, or better RTK. The error
of that truth counts as error of the fixes: the covariance can come out no smaller than the truth is good.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from campus_visual_gps.bundle import Bundle, save_bundle
from campus_visual_gps.errors import BundleError, ConfigError, DatasetError
from campus_visual_gps.estimation.grid import mode_separation_m
from campus_visual_gps.estimation.integrity import Gates
from campus_visual_gps.estimation.posterior import Calibration, CovarianceCalibration, Posterior, sigma_m
from campus_visual_gps.localizer import Localizer
from training.config import TrainConfig
from training.evaluate.predict import true_positions_m
from training.fit.calibration import MIN_PHOTOS, before_and_after, fit_scaling
from training.fit.calibration_set import CalibrationSet, calibration_set, neighbours, run
from training.fit.gates import sigma_limit_m
from training.fit.model_card import model_card
from training.replay.bag_images import BagImages, extract_images
from training.replay.bags import open_bag, read_fixes
from training.replay.topics import image_topic, truth_topic

log = logging.getLogger(__name__)

# Frames of one stretch share their error: so many stretches know a sigma to about a fifth (chi-square, 16 degrees).
MIN_STRETCHES = 8
# Images with less than this share of the grey level of the drive's darkest are of a light that it did not meet.
DARKER = 0.5
EVERY, DAY, NIGHT = "every", "day", "night"


@dataclass(frozen=True)
class Recalibration:
    """The new bundle, and the numbers in its calibration's `measured`: frames, stretches, NEES and coverage."""

    bundle_dir: Path
    measured: dict[str, object]


def recalibrate(
    bundle_dir: Path,
    bag_dir: Path,
    out_dir: Path,
    images: str | None = None,
    truth: str | None = None,
    device: str = "auto",
    precision: str = "auto",
) -> Recalibration:
    """Write a copy of a bundle whose covariance was measured on a bag's frames; positions stay what they are.

    `images` and `truth` are topics, None where the bag has only one that fits. Frames without a truth at their time are
    left out. Raises ConfigError where `out_dir` exists, DatasetError for a bag that says too little, and BundleError.
    """
    out_dir = Path(out_dir)
    if out_dir.exists():
        raise ConfigError(f"{out_dir} exists already; name a new directory with --out")
    localizer = Localizer.load(bundle_dir, device, precision)
    bundle, part = localizer.bundle, _survey(localizer, Path(bag_dir), images, truth)
    calibration = recalibrated(part, bundle.calibration)
    _write(bundle, calibration, _gates(bundle, part, calibration), out_dir)
    return Recalibration(out_dir, calibration.measured)


def recalibrated(part: CalibrationSet, calibration: Calibration) -> Calibration:
    """`calibration` with scale, floor and conformal quantiles of a drive; evidence, temperature and point rule stay.

    Where the night has a scaling of its own, only that of a light with enough frames is fitted; where it has none,
    images much darker than the drive's keep the one they had. Raises DatasetError where no light has enough frames.
    """
    fitted, lights = calibration, []
    for light, rows in _lights(part, calibration):
        if not _enough(own := part.rows(rows)):
            continue
        before = calibration.night if light == NIGHT else calibration
        scaling = fit_scaling([own], calibration, before.temperature, tails=False)
        fitted = replace(fitted, night=scaling) if light == NIGHT else replace(fitted, **vars(scaling))
        if light == EVERY:
            darkest = float(own.outputs.brightness.min())
            fitted = replace(fitted, night=_scaling(calibration), night_brightness_threshold=round(DARKER * darkest, 2))
        lights.append(light)
    bag = str(part.sessions[0])
    if not lights:
        raise DatasetError(
            f"bag {bag}: {len(part)} frames with a truth, in {_stretches(part)} stretches of 15 s or more; a "
            f"calibration takes {MIN_PHOTOS} frames in {MIN_STRETCHES} stretches of one light: drive longer"
        )
    low, high = np.quantile(part.outputs.brightness, [0.05, 0.95])
    measured = {
        "bag": bag,
        "frames": len(part),
        "stretches": _stretches(part),
        "light": ", ".join(lights),
        "brightness": [round(float(low), 1), round(float(high), 1)],
        **before_and_after([part], calibration, fitted),
        "earlier": calibration.measured,
    }
    return replace(fitted, measured=measured)


def _survey(localizer: Localizer, bag_dir: Path, images: str | None, truth: str | None) -> CalibrationSet:
    """What the ensemble says of the bag's frames, with their truth."""
    bundle = localizer.bundle
    with tempfile.TemporaryDirectory(prefix="recalibrate-") as scratch:
        frames = _frames(bag_dir, images, truth, bundle, Path(scratch))
        positions = true_positions_m(frames.photos, bundle.frame)
        log.info("%s: %d frames with a truth", bag_dir, len(positions))
        outputs, features = run(localizer.ensemble, frames.paths)
    near = neighbours(features, localizer.reference)
    return calibration_set(outputs, frames.photos, positions, near, localizer.cells)


def _frames(bag_dir: Path, images: str | None, truth: str | None, bundle: Bundle, scratch: Path) -> BagImages:
    with open_bag(bag_dir) as bag:
        fixes = read_fixes(bag, truth_topic(bag, truth))
        return extract_images(bag, image_topic(bag, images), fixes, bundle.image.stored_px, scratch)


def _lights(part: CalibrationSet, calibration: Calibration) -> Iterator[tuple[str, np.ndarray]]:
    """The lights that the calibration tells apart, and which frames (N,) are of each."""
    if calibration.night is None:
        yield EVERY, np.ones(len(part), dtype=bool)
        return
    dark = part.outputs.brightness < calibration.night_brightness_threshold
    yield DAY, ~dark
    yield NIGHT, dark


def _scaling(calibration: Calibration) -> CovarianceCalibration:
    return CovarianceCalibration(
        **{field.name: getattr(calibration, field.name) for field in fields(CovarianceCalibration)}
    )


def _stretches(part: CalibrationSet) -> int:
    return len(set(part.blocks.tolist()))


def _enough(part: CalibrationSet) -> bool:
    return len(part) >= MIN_PHOTOS and _stretches(part) >= MIN_STRETCHES


def _gates(bundle: Bundle, part: CalibrationSet, calibration: Calibration) -> Gates:
    """The bundle's, with the limit of sigma measured in the new covariance where it was measured in the old one."""
    settings = (bundle.training.get("config") or {}).get("bundle") or {}
    accepted_error_m = settings.get("accepted_error_m")
    if accepted_error_m is None:
        return bundle.gates
    belief = part.believe(calibration)
    errors_m = np.linalg.norm(belief.mean_enu_m - part.truth_enu_m, axis=1)
    kept = _unambiguous(part, belief, bundle.gates.max_mode_separation_m)
    limit_m = sigma_limit_m(errors_m[kept], sigma_m(belief.cov_enu_m2)[kept], accepted_error_m)
    return replace(bundle.gates, max_sigma_m=limit_m)


def _unambiguous(part: CalibrationSet, belief: Posterior, limit_m: float | None) -> np.ndarray:
    """(N,) bool: the frames that the gate of the modes' distance lets pass."""
    if limit_m is None or belief.grid_probs is None:
        return np.ones(len(part), dtype=bool)
    return np.array([mode_separation_m(part.cells.modes(grid_probs)) <= limit_m for grid_probs in belief.grid_probs])


def _write(bundle: Bundle, calibration: Calibration, gates: Gates, out_dir: Path) -> None:
    config = TrainConfig(
        model=bundle.members[0].model,
        weights=bundle.training.get("weights", ""),
        size_px=bundle.image.size_px,
        seeds=tuple(member.seed for member in bundle.members),
    )
    try:
        card = model_card(config, bundle.training, calibration, bundle.frame)
    except KeyError as error:
        raise BundleError(f"{bundle.path} does not say of its training: {error}; train it again") from error
    save_bundle(
        out_dir,
        model_id=bundle.model_id,
        frame=bundle.frame,
        image=bundle.image,
        altitude=bundle.altitude,
        members=[(member.seed, member.model, bundle.path / member.file) for member in bundle.members],
        calibration=calibration,
        gates=gates,
        site_polygon_enu_m=bundle.site_polygon_enu_m,
        reference=bundle.load_reference(),
        training=bundle.training,
        model_card=card,
    )
