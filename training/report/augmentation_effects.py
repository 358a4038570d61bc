"""What each augmentation does alone, with the strength of a configuration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from training.augment_settings import NIGHT_VERSIONS, AugmentSettings
from training.data.augment import INVALID_REASONS

# Every setting that turns an augmentation on, at zero.
_NOTHING: dict[str, Any] = {
    "resized_crop_p": 0.0,
    "horizontal_flip_p": 0.0,
    "rotation_deg": 0.0,
    "perspective_p": 0.0,
    "brightness": 0.0,
    "contrast": 0.0,
    "saturation": 0.0,
    "hue": 0.0,
    "grayscale_p": 0.0,
    "night_p": 0.0,
    "noise_sigma": 0.0,
    "jpeg_p": 0.0,
    "erasing_p": 0.0,
}
# What is shown of an augmentation that a configuration turns off: the paper's strength, else a weak one.
_DEFAULTS: dict[str, float] = {
    "rotation_deg": 5.0,
    "perspective_scale": 0.2,
    "brightness": 0.2,
    "contrast": 0.2,
    "saturation": 0.2,
    "hue": 0.05,
    "noise_sigma": 8.0,
}
INVALID = "invalid: label would not follow"


@dataclass(frozen=True)
class Effect:
    """One augmentation on its own, applied to every image.

    Attributes:
        key: For file names; effects of one key share a picture.
        title: For people.
        strength: Its settings, and how often training applies it.
        settings: Only this one on.
        used: Whether the configuration uses it.
        valid: Whether a position label still holds.
        is_fine: Whether it is only seen at the size of the pixels.
        is_constant: Whether it does the same to an image every time.
        reason: Why a label would not follow.
    """

    key: str
    title: str
    strength: str
    settings: AugmentSettings
    used: bool
    valid: bool = True
    is_fine: bool = False
    is_constant: bool = False
    reason: str = ""


def effects(settings: AugmentSettings) -> list[Effect]:
    """All augmentations in the order of training, then the invalid ones."""
    return [*_geometric(settings), *_colours(settings), *_nights(settings), *_camera(settings), *_invalid(settings)]


def _geometric(settings: AugmentSettings) -> list[Effect]:
    rotation_deg, scale = _strength(settings, "rotation_deg"), _strength(settings, "perspective_scale")
    perspective_p = settings.perspective_p if settings.perspective_scale > 0 else 0.0
    tilted = {"perspective_p": 1.0, "perspective_scale": scale}
    return [
        _alone(settings, "rotation", f"±{rotation_deg:g}°", _always(settings.rotation_deg), rotation_deg=rotation_deg),
        _alone(settings, "perspective", f"scale {scale:g}", perspective_p, **tilted),
    ]


def _colours(settings: AugmentSettings) -> list[Effect]:
    jitter = {name: getattr(settings, name) for name in ("brightness", "contrast", "saturation")}
    shown = jitter if any(jitter.values()) else {name: _DEFAULTS[name] for name in jitter}
    strength = ", ".join(f"{name} ±{value:g}" for name, value in shown.items())
    hue = _strength(settings, "hue")
    return [
        _alone(settings, "colour jitter", strength, _always(max(jitter.values())), **shown),
        _alone(settings, "hue", f"±{hue:g} turns", _always(settings.hue), hue=hue),
        replace(_alone(settings, "grey", "", settings.grayscale_p, grayscale_p=1.0), is_constant=True),
    ]


def _nights(settings: AugmentSettings) -> list[Effect]:
    """Both versions of the paper, and the configured ranges if they are others."""
    ranges = {f"night {version}": pair for version, pair in NIGHT_VERSIONS.items()}
    if settings.night_ranges not in ranges.values():
        ranges["night as set"] = settings.night_ranges
    found = []
    for title, (brightness, contrast) in ranges.items():
        p = settings.night_p if settings.night_ranges == (brightness, contrast) else 0.0
        strength = f"brightness {_range(brightness)}, contrast {_range(contrast)}"
        own = {"night_p": 1.0, "night_brightness": brightness, "night_contrast": contrast}
        found.append(replace(_alone(settings, title, strength, p, **own), key="night"))
    return found


def _camera(settings: AugmentSettings) -> list[Effect]:
    sigma, (low, high) = _strength(settings, "noise_sigma"), settings.jpeg_quality
    noise = _alone(settings, "noise", f"σ up to {sigma:g} levels", _always(settings.noise_sigma), noise_sigma=sigma)
    jpeg = _alone(settings, "JPEG", f"quality {low} to {high}", settings.jpeg_p, jpeg_p=1.0)
    return [
        replace(noise, is_fine=True),
        replace(jpeg, is_fine=True),
        _alone(settings, "erasing", f"area {_percent(settings.erasing_area)}", settings.erasing_p, erasing_p=1.0),
    ]


def _invalid(settings: AugmentSettings) -> list[Effect]:
    flip = _alone(settings, "horizontal flip", "", settings.horizontal_flip_p, horizontal_flip_p=1.0)
    area = f"area {_percent(settings.resized_crop_scale)}"
    crop = _alone(settings, "resized crop", area, settings.resized_crop_p, resized_crop_p=1.0)
    return [
        replace(flip, key="flip", valid=False, reason=INVALID_REASONS["horizontal_flip_p"], is_constant=True),
        replace(crop, key="crop", valid=False, reason=INVALID_REASONS["resized_crop_p"]),
    ]


def _alone(settings: AugmentSettings, title: str, strength: str, p: float, **on: Any) -> Effect:
    how_often = "always" if p == 1.0 else f"p = {p:g}" if p > 0 else "not used"
    own = replace(settings, **{**_NOTHING, **on})
    key = title.lower().replace(" ", "-")
    return Effect(key, title, ", ".join(filter(None, (strength, how_often))), own, used=p > 0)


def _strength(settings: AugmentSettings, name: str) -> float:
    return getattr(settings, name) or _DEFAULTS[name]


def _always(strength: float) -> float:
    return 1.0 if strength > 0 else 0.0


def _range(bounds: tuple[float, float]) -> str:
    return f"{bounds[0]:g}–{bounds[1]:g}"


def _percent(bounds: tuple[float, float]) -> str:
    return f"{100 * bounds[0]:g}–{100 * bounds[1]:g} %"
