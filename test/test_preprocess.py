"""One resizing rule: what ingest stores and what the camera sends reach the network through the same pixels."""

import numpy as np
import pytest
import torch
from helpers import textured_rgb

from campus_visual_gps.errors import ConfigError, ImageError
from campus_visual_gps.preprocess import STORED_SIZE_PX, ImageSpec, check_rgb, normalise, prepare, resize_square

HALF = (0.5, 0.5, 0.5)


@pytest.mark.parametrize("shape", [(720, 1280), (192, 256), (240, 400), (1000, 100), (320, 320)])
def test_every_shape_becomes_the_square(shape):
    assert resize_square(textured_rgb(*shape), 320).shape == (320, 320, 3)


def test_a_stored_copy_and_its_original_are_prepared_alike():
    original = textured_rgb(720, 1280)
    stored = resize_square(original, STORED_SIZE_PX)
    spec = ImageSpec(224, HALF, HALF)
    np.testing.assert_array_equal(prepare(original, spec), prepare(stored, spec))


def test_fine_texture_is_averaged_and_not_aliased():
    stripes = np.zeros((640, 640, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(resize_square(stripes, 320).astype(int) - 127).max() <= 1


def test_normalised_values_are_the_networks_range():
    spec = ImageSpec(64, (0.5, 0.25, 0.0), (0.5, 0.5, 1.0))
    pixels = torch.full((2, 64, 64, 3), 255, dtype=torch.uint8)
    out = normalise(pixels, spec)
    assert out.shape == (2, 3, 64, 64)
    torch.testing.assert_close(out[0, :, 0, 0], torch.tensor([1.0, 1.5, 1.0]))
    assert pixels.float().mean() == 255  # the input is left alone


@pytest.mark.parametrize(
    "image",
    [
        None,
        [[1, 2, 3]],
        np.zeros((48, 64), np.uint8),
        np.zeros((48, 64, 4), np.uint8),
        np.zeros((48, 64, 3), np.float32),
        np.zeros((0, 64, 3), np.uint8),
        np.zeros((4, 4, 3), np.uint8),
    ],
)
def test_what_is_no_rgb_image_is_refused(image):
    with pytest.raises(ImageError):
        check_rgb(image)


@pytest.mark.parametrize("spec", [(8, HALF, HALF), (224, HALF, (0.5, 0.5)), (224, HALF, (0.0, 0.5, 0.5))])
def test_an_impossible_image_spec_is_refused(spec):
    with pytest.raises(ConfigError):
        ImageSpec(*spec)
