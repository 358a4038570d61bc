"""A simulated camera, from linear light to 8 bits: exposure, white balance, tone curve, noise."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

DAY_KEY, NIGHT_KEY = 0.4, 0.15
GRAIN_SIGMA = 1.2  # in steps of 8 bits, at full light


@dataclass(frozen=True)
class Camera:
    """A camera model.

    Attributes:
        make, model: As in EXIF.
        balance: Gains of red, green and blue.
        focal_share: Focal length over the long side of the image.
    """

    make: str
    model: str
    balance: tuple[float, float, float]
    focal_share: float


# Not real products.
PHONE_A = Camera("Sample", "Phone A", (1.00, 1.00, 1.02), 0.78)
PHONE_B = Camera("Sample", "Phone B", (1.05, 1.00, 0.94), 0.72)
ROBOT = Camera("Sample", "Robot", (0.98, 1.00, 1.03), 0.72)


def develop(radiance: np.ndarray, camera: Camera, night: bool, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) float32 linear radiance -> (H, W, 3) uint8 sRGB."""
    exposed = _expose(radiance * np.array(camera.balance, np.float32), night, rng)
    picture = _to_srgb(exposed * _vignette(exposed.shape))
    # removes the noise of the renderer before that of the camera is added
    strength = float(np.clip(_noise_sigma(picture), 2.0, 10.0))
    picture = cv2.fastNlMeansDenoisingColored(picture, None, strength, strength, 5, 13)
    sigma = GRAIN_SIGMA * (2.5 if night else 1.0)
    return np.clip(picture + rng.normal(0.0, sigma, picture.shape), 0, 255).astype(np.uint8)


def _noise_sigma(picture: np.ndarray) -> float:
    """Standard deviation of the noise in an 8-bit image (J. Immerkaer, Fast Noise Variance Estimation, 1996)."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    detail = cv2.filter2D(picture.astype(np.float32).mean(axis=2), -1, kernel)
    return float(np.median(np.abs(detail)) / 0.6745 / 6.0)


def _expose(radiance: np.ndarray, night: bool, rng: np.random.Generator) -> np.ndarray:
    """Auto exposure: scale the typical luminance to a fixed grey, with an error of about an eighth of a stop."""
    luminance = radiance @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    light = np.sqrt(max(float(np.mean(np.minimum(luminance, np.percentile(luminance, 97)))), 1e-5))
    log_light = np.exp(np.mean(np.log(np.maximum(luminance, 1e-5))) / 2)
    gain = (NIGHT_KEY if night else DAY_KEY) / (light * log_light)
    return radiance * np.float32(gain * 2.0 ** rng.normal(0.0, 0.12))


def _to_srgb(linear: np.ndarray) -> np.ndarray:
    """A tone curve that keeps the sky from clipping, then the gamma of sRGB."""
    white = 4.0
    toned = np.clip(linear * (1.0 + linear / white**2) / (1.0 + 0.6 * linear), 0.0, 1.0)
    encoded = np.where(toned <= 0.0031308, 12.92 * toned, 1.055 * np.power(toned, 1 / 2.4) - 0.055)
    return np.round(encoded * 255.0).astype(np.uint8)


def _vignette(shape) -> np.ndarray:
    """(H, W, 1) gain: 1 in the centre and 0.82 in the corners."""
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    return (1.0 - 0.09 * (x**2 + y**2))[..., None].astype(np.float32)
