"""Settings of the augmentation, a section of the training configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat
from pydantic.dataclasses import dataclass

from campus_visual_gps.errors import ConfigError
from training.config_parsing import STRICT, Fraction

# Ranges (low, high) of the brightness and the contrast factor (paper, table 10).
NIGHT_VERSIONS = {"v1": ((0.1, 0.4), (0.1, 0.4)), "v2": ((0.4, 0.7), (0.6, 0.9))}

AreaShare = Annotated[float, Field(gt=0.0, le=1.0)]
JpegQuality = Annotated[int, Field(ge=1, le=100)]


@dataclass(frozen=True, config=STRICT)
class AugmentSettings:
    """Augmentation of training images (paper, sections 3.4, 5.5 and 5.6); a probability or strength of 0 is off.

    Attributes:
        resized_crop_p: Probability of an enlarged crop. Invalid for positions (paper, section 6.4); for ablations.
        resized_crop_scale: Range (low, high) of its share of the image's area.
        horizontal_flip_p: Probability of a mirrored image. Invalid for positions (paper, section 6.7); for ablations.
        rotation_deg: Largest rotation to either side.
        perspective_scale: Strength of the random perspective, 0 to 1.
        perspective_p: Its probability.
        brightness, contrast, saturation: Relative range of the colour jitter.
        hue: Largest shift of its hue to either side, in turns of the colour circle; the paper names none.
        grayscale_p: Probability of a grey image.
        night_p: Probability of the night simulation; the paper went from 0.25 to 0.20.
        night_version: Names its ranges (paper, table 10): `v1` is nearly black, `v2` the tuned one.
        night_brightness, night_contrast: Ranges (low, high) of its factors; None takes those of the version.
        noise_sigma: Largest sigma of the sensor noise, in levels of 255. Not in the paper.
        jpeg_p: Probability of a JPEG round trip. Not in the paper.
        jpeg_quality: Range (low, high) of its quality.
        erasing_p: Probability of an erased rectangle.
        erasing_area: Range (low, high) of its share of the image's area.
    """

    resized_crop_p: Fraction = 0.0
    resized_crop_scale: tuple[AreaShare, AreaShare] = (0.5, 1.0)
    horizontal_flip_p: Fraction = 0.0
    rotation_deg: Annotated[float, Field(ge=0.0, le=180.0)] = 5.0
    perspective_scale: Fraction = 0.2
    perspective_p: Fraction = 0.5
    brightness: NonNegativeFloat = 0.2
    contrast: NonNegativeFloat = 0.2
    saturation: NonNegativeFloat = 0.2
    hue: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    grayscale_p: Fraction = 0.1
    night_p: Fraction = 0.2
    night_version: Literal["v1", "v2"] = "v2"
    night_brightness: tuple[Fraction, Fraction] | None = None
    night_contrast: tuple[Fraction, Fraction] | None = None
    noise_sigma: NonNegativeFloat = 0.0
    jpeg_p: Fraction = 0.0
    jpeg_quality: tuple[JpegQuality, JpegQuality] = (40, 95)
    erasing_p: Fraction = 0.2
    erasing_area: tuple[AreaShare, AreaShare] = (0.02, 0.33)

    def __post_init__(self) -> None:
        for name in ("resized_crop_scale", "night_brightness", "night_contrast", "jpeg_quality", "erasing_area"):
            low, high = getattr(self, name) or (0.0, 0.0)
            if low > high:
                raise ConfigError(f"augment.{name}: expected (low, high), got ({low}, {high})")

    @property
    def night_ranges(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Ranges (low, high) of the night simulation's brightness and contrast factor."""
        brightness, contrast = NIGHT_VERSIONS[self.night_version]
        return self.night_brightness or brightness, self.night_contrast or contrast
