"""Recalibrates the covariance of a bundle on a survey drive of the robot that will use it.

A robot looks ahead along its paths, with a camera of its own: its views may be easier or harder than the photos that
the bundle was calibrated on, and the covariance is then too large or too small. The survey drive has a ground truth:
the robot's receiver under open sky, or better RTK. The error of the truth counts as error of the fixes, so the
covariance cannot become smaller than the truth is accurate.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from campus_visual_gps.bundle import Bundle, save_bundle
from campus_visual_gps.errors import BundleError, ConfigError, DatasetError
from campus_visual_gps.estimation.calibration import CALIBRATED, ENSEMBLE_SPREAD, Calibration, sigma_m
from campus_visual_gps.estimation.integrity import Gates
from campus_visual_gps.localizer import Localizer
from training.evaluate.predict import true_positions_m
from training.fit.calibration import MIN_PHOTOS, fit_covariance_of_sets
from training.fit.calibration_numbers import before_and_after, covariance_numbers
from training.fit.calibration_set import CalibrationSet, build_calibration_set, read_photos, retrieve
from training.fit.error_correlation import with_correlation_time
from training.fit.gates import sigma_limit_m
from training.fit.model_card import model_card
from training.fit.tracking_calibration import fit_tracking_calibration, was_fitted
from training.replay.bag_images import BagImages, extract_images
from training.replay.bags import open_bag
from training.replay.fixes import read_fixes
from training.replay.topics import image_topic, truth_topic

log = logging.getLogger(__name__)

# Images of one stretch share their error: so many stretches give sigma to about a fifth (chi-square, 16 degrees).
MIN_STRETCHES = 8
# Images with less than this share of the grey level of the drive's darkest were taken in a light that it did not have.
DARKER = 0.5
EVERY, DAY, NIGHT = "every", "day", "night"


@dataclass(frozen=True)
class Recalibration:
    """The new bundle, and the numbers in its calibration's `measured`: images, stretches, NEES and coverage."""

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
    """Write a copy of a bundle whose covariance is fitted on the images of a bag; positions do not change.

    Args:
        bundle_dir: The bundle.
        bag_dir: Bag of the survey drive.
        out_dir: Directory of the new bundle.
        images: Image topic; None where the bag has one only.
        truth: NavSatFix topic of the truth; likewise. Images without a truth at their time are left out.
        device: auto, cpu, cuda or cuda:N.
        precision: auto, fp32, bf16 or fp16.

    Raises:
        ConfigError: `out_dir` exists.
        DatasetError: the bag has too few images with a truth.
        BundleError: the bundle cannot be loaded.
    """
    out_dir = Path(out_dir)
    if out_dir.exists():
        raise ConfigError(f"{out_dir} exists already; name a new directory with --out")
    localizer = Localizer.load(bundle_dir, device, precision)
    bundle = localizer.bundle
    survey, left_out = _survey(localizer, Path(bag_dir), images, truth)
    calibration = recalibrated(survey, bundle.calibration)
    if left_out:
        calibration = replace(calibration, measured=calibration.measured | {"left_out": left_out})
    _write(bundle, calibration, _gates(bundle, survey, calibration), out_dir)
    return Recalibration(out_dir, calibration.measured)


def recalibrated(survey: CalibrationSet, calibration: Calibration) -> Calibration:
    """`calibration` with scale, floor, conformal quantiles, correlation time and tracker of a drive; the rest stays.

    Where the night has a covariance of its own, only that of a light with enough images is fitted; where it has none,
    images much darker than the drive's keep the covariance that they had. The covariance that was chosen by name stays.

    Raises:
        DatasetError: no light has enough images.
    """
    chosen, calibration = calibration.covariance, replace(calibration, covariance=CALIBRATED)
    fitted, lights = calibration, []
    for light, rows in _lights(survey, calibration):
        own = survey.rows(rows)
        if not _enough(own):
            continue
        before = calibration.night if light == NIGHT and calibration.night is not None else calibration
        covariance = fit_covariance_of_sets([own], calibration, before, coverage=None)
        changed = {"night": covariance} if light == NIGHT else vars(covariance)
        fitted = replace(fitted, **changed)
        if light == EVERY:
            threshold = round(DARKER * float(own.brightness.min()), 2)
            fitted = replace(fitted, night=calibration.general(), night_brightness_threshold=threshold)
        lights.append(light)
    bag = str(survey.sessions[0])
    if not lights:
        raise DatasetError(
            f"bag {bag}: {len(survey)} images with a truth, in {_stretches(survey)} stretches of 15 s or more; a "
            f"calibration takes {MIN_PHOTOS} images in {MIN_STRETCHES} stretches of one light: drive longer"
        )
    low, high = np.quantile(survey.brightness, [0.05, 0.95])
    measured = {
        "bag": bag,
        "images": len(survey),
        "stretches": _stretches(survey),
        "light": ", ".join(lights),
        "brightness": [round(float(low), 1), round(float(high), 1)],
        **before_and_after([survey], calibration, fitted),
        **covariance_numbers([survey], ENSEMBLE_SPREAD, replace(fitted, covariance=ENSEMBLE_SPREAD)),
        "earlier": calibration.measured,
    }
    fitted = with_correlation_time(replace(fitted, measured=measured), [survey])
    tracking = fit_tracking_calibration([survey], fitted)
    if tracking is None or not was_fitted(tracking):
        tracking = calibration.tracking
    return replace(fitted, covariance=chosen, tracking=tracking)


def _survey(
    localizer: Localizer, bag_dir: Path, images: str | None, truth: str | None
) -> tuple[CalibrationSet, list[str]]:
    """What the ensemble says of the bag's images, with their truth; and what of the bag was not used."""
    bundle = localizer.bundle
    with tempfile.TemporaryDirectory(prefix="recalibrate-") as scratch:
        found, left_out = _images(bag_dir, images, truth, bundle, Path(scratch))
        positions = true_positions_m(found.photos, bundle.frame)
        log.info("%s: %d images with a truth", bag_dir, len(positions))
        read = read_photos(localizer.engine, found.paths)
    prior = retrieve(read.outputs, localizer.index)
    return build_calibration_set(found.photos, read, positions, localizer.grid, prior), left_out


def _images(
    bag_dir: Path, images: str | None, truth: str | None, bundle: Bundle, scratch: Path
) -> tuple[BagImages, list[str]]:
    with open_bag(bag_dir) as bag:
        fixes = read_fixes(bag, truth_topic(bag, truth))
        found = extract_images(bag, image_topic(bag, images), fixes, bundle.image.stored_px, scratch)
        texts = {"truth": fixes.text(), "images": found.text}
        return found, [*bag.notes.lines, *(f"{name}: {text}" for name, text in texts.items() if text)]


def _lights(survey: CalibrationSet, calibration: Calibration) -> Iterator[tuple[str, np.ndarray]]:
    """The lights that the calibration tells apart, and which images (N,) are of each."""
    if calibration.night is None:
        yield EVERY, np.ones(len(survey), dtype=bool)
        return
    dark = survey.brightness < calibration.night_brightness_threshold
    yield DAY, ~dark
    yield NIGHT, dark


def _stretches(survey: CalibrationSet) -> int:
    return len(set(survey.blocks.tolist()))


def _enough(survey: CalibrationSet) -> bool:
    return len(survey) >= MIN_PHOTOS and _stretches(survey) >= MIN_STRETCHES


def _gates(bundle: Bundle, survey: CalibrationSet, calibration: Calibration) -> Gates:
    """The bundle's, with the limit of sigma measured in the new covariance where it was measured in the old one."""
    settings = (bundle.training.get("config") or {}).get("bundle") or {}
    accepted_error_m = settings.get("accepted_error_m")
    if accepted_error_m is None:
        return bundle.gates
    posterior, limit_m = survey.posterior(calibration), bundle.gates.max_mode_separation_m
    errors_m = np.linalg.norm(posterior.mean_enu_m - survey.truth_enu_m, axis=1)
    kept = np.ones(len(survey), dtype=bool)
    if limit_m is not None and survey.grid is not None and posterior.grid_probs is not None:
        kept = survey.grid.mode_separations_m(posterior.grid_probs) <= limit_m
    sigma_limit = sigma_limit_m(errors_m[kept], sigma_m(posterior.cov_enu_m2)[kept], accepted_error_m)
    return replace(bundle.gates, max_sigma_m=sigma_limit)


def _write(bundle: Bundle, calibration: Calibration, gates: Gates, out_dir: Path) -> None:
    members = [(member.seed, member.model) for member in bundle.members]
    try:
        card = model_card(members, bundle.image, bundle.training, calibration, bundle.frame)
    except KeyError as error:
        raise BundleError(f"{bundle.path} lacks {error} of its training: train it again") from error
    networks = bundle.load_members()
    save_bundle(
        out_dir,
        model_id=bundle.model_id,
        frame=bundle.frame,
        image=bundle.image,
        altitude=bundle.altitude,
        members=[(member.seed, network) for member, network in zip(bundle.members, networks, strict=True)],
        names=[member.name for member in bundle.members],
        member_images=[member.image for member in bundle.members],
        calibration=calibration,
        gates=gates,
        site_polygon_enu_m=bundle.site_polygon_enu_m,
        unreachable_enu_m=bundle.unreachable_enu_m,
        reference=bundle.load_reference(),
        training=bundle.training,
        model_card=card,
    )
