"""Samples of 10 to 14 bits in 16 are scaled by their depth; a dark image stays dark; a stream keeps its depth."""

from array import array
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
from compatibility import Area, condition
from helpers import textured_rgb
from sensor_msgs.msg import CompressedImage, Image
from test_pipeline import ESTIMATE

from campus_visual_gps.ros.bit_depth import BitDepthTracker
from campus_visual_gps.ros.image_conversion import RAW_ENCODINGS, to_rgb
from campus_visual_gps.ros.image_queue import StampedImage
from campus_visual_gps.ros.pipeline import Pipeline

HEIGHT, WIDTH = 96, 128
TODAY = "2026-11-26"
GREY = cv2.cvtColor(textured_rgb(HEIGHT, WIDTH), cv2.COLOR_RGB2GRAY)
ENCODINGS_16 = [name for name in RAW_ENCODINGS if "16" in name]


def in_bits(depth: int, exposure: float = 1.0) -> np.ndarray:
    """GREY as a sensor of `depth` bits would see it, at the bottom of 16 bits; with the sensor's noise."""
    noise = np.random.default_rng(0).normal(0.0, 0.3, GREY.shape)
    return np.clip(exposure * (GREY + noise) * ((1 << depth) - 1) / 255, 0, (1 << depth) - 1).astype(np.uint16)


def noise_of(mean: float, sigma: float, shape=(HEIGHT, WIDTH)) -> np.ndarray:
    """An image behind a lens cap: a black level and read noise."""
    return np.clip(np.random.default_rng(1).normal(mean, sigma, shape), 0, 65535).astype(np.uint16)


def message_of(samples: np.ndarray, encoding: str = "mono16", big_endian: bool = False) -> Image:
    data = samples.astype(">u2" if big_endian else "<u2").tobytes()
    message = Image(height=HEIGHT, width=WIDTH, encoding=encoding, step=len(data) // HEIGHT, is_bigendian=big_endian)
    message.data = array("B", data)
    return message


def png_of(samples: np.ndarray, encoding: str) -> CompressedImage:
    message = CompressedImage(format=f"{encoding}; png compressed ")
    message.data = array("B", cv2.imencode(".png", samples)[1].tobytes())
    return message


def depth_row(depth: int):
    text, outcome = f"samples of {depth} bits at the bottom of 16", "scaled by the bit depth that they show"
    return pytest.param(depth, marks=condition(Area.CAMERA, text, outcome, since=TODAY))


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("encoding", ENCODINGS_16)
@pytest.mark.parametrize("depth", [depth_row(10), depth_row(12), depth_row(14), 16])
def test_every_depth_gives_the_same_picture(depth, encoding, big_endian):
    channels = {"3": 3, "4": 4}.get(encoding[-1], {"rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4}.get(encoding[:-2], 1))

    def picture(bits: int) -> np.ndarray:
        samples = np.dstack([in_bits(bits)] * channels)
        return to_rgb(message_of(samples, encoding, big_endian)).astype(int)

    assert np.abs(picture(depth) - picture(16)).mean() < 0.5
    assert picture(depth).mean() == pytest.approx(GREY.mean(), abs=2.0)


@condition(Area.CAMERA, "compressed image: PNG with 10 to 14 bits in 16", "scaled like a raw image", since=TODAY)
@pytest.mark.parametrize("depth", [10, 12, 14, 16])
def test_png_images_are_scaled_by_their_depth(depth):
    found = to_rgb(png_of(in_bits(depth), "mono16")).astype(int)
    assert np.abs(found[..., 0] - GREY).mean() < 1.0
    bgr = to_rgb(png_of(np.dstack([in_bits(depth)] * 3), "bgr16")).astype(int)
    assert np.abs(bgr[..., 0] - GREY).mean() < 1.0


@condition(Area.CAMERA, "samples of 10 to 14 bits at the top of 16", "used as they are", since=TODAY)
@pytest.mark.parametrize("depth", [10, 12, 14])
def test_samples_at_the_top_of_16_bits_are_not_scaled_again(depth):
    found = to_rgb(message_of(in_bits(depth) << (16 - depth))).astype(int)
    assert np.abs(found[..., 0] - GREY).mean() < 1.0


@pytest.mark.parametrize(
    ("mean", "sigma"),
    [
        pytest.param(
            mean,
            sigma,
            marks=condition(
                Area.CAMERA, "16-bit image behind a lens cap, with noise", "not brightened: too dark", since=TODAY
            ),
        )
        for mean, sigma in ((0.0, 60.0), (64.0, 8.0), (256.0, 20.0), (600.0, 100.0), (3000.0, 200.0), (0.0, 0.0))
    ],
)
def test_the_noise_of_a_dark_image_is_not_brightened(mean, sigma):
    samples = noise_of(mean, sigma)
    assert np.array_equal(to_rgb(message_of(samples))[..., 0], cv2.convertScaleAbs(samples, alpha=255 / 65535))


def test_samples_below_256_could_be_a_dark_image_and_stay_dark():
    assert to_rgb(message_of(GREY.astype(np.uint16))).max() <= 1


@condition(Area.CAMERA, "dark image in a stream of 16 bits", "stays dark, also if 10 bits would hold it", since=TODAY)
def test_a_dark_image_of_a_16_bit_stream_stays_dark():
    stream = BitDepthTracker()
    to_rgb(message_of(in_bits(16)), stream)
    dark = to_rgb(message_of(in_bits(10)), stream)
    assert dark.max() <= 4


@condition(Area.CAMERA, "dim images of a stream of 12 bits", "scaled as the bright ones: no flicker", since=TODAY)
def test_the_depth_of_a_stream_does_not_flicker():
    stream = BitDepthTracker()
    bright = to_rgb(message_of(in_bits(12)), stream)
    for exposure in (0.2, 0.05, 1.0, 0.01, 0.6):
        found = to_rgb(message_of(in_bits(12, exposure)), stream)
        assert found.mean() == pytest.approx(bright.mean() * exposure, abs=1.0)


def test_a_depth_that_a_dim_first_image_underestimates_grows_once():
    stream = BitDepthTracker()
    exposures = (0.1, 0.1, 1.0, 0.1, 0.2)
    depths = [stream.depth(in_bits(14, exposure)) for exposure in exposures]
    assert depths == [12, 12, 14, 14, 14]


def test_a_stream_that_starts_in_the_dark_gets_its_depth_from_the_first_picture():
    stream = BitDepthTracker()
    assert stream.depth(noise_of(64.0, 8.0)) == 16
    assert stream.known() == {}
    assert stream.depth(in_bits(12)) == 12
    assert stream.depth(noise_of(64.0, 8.0)) == 12


def test_each_encoding_of_a_stream_has_its_own_depth():
    stream = BitDepthTracker()
    to_rgb(message_of(in_bits(12)), stream)
    to_rgb(message_of(np.dstack([in_bits(16)] * 3), "rgb16"), stream)
    assert stream.known() == {"mono16": 12, "rgb16": 16}
    assert to_rgb(message_of(in_bits(12)), stream).mean() == pytest.approx(GREY.mean(), abs=2.0)


def test_a_message_by_itself_leaves_no_trace():
    assert to_rgb(message_of(in_bits(16))).max() > 230
    assert to_rgb(message_of(in_bits(10))).max() > 230


@condition(Area.CAMERA, "dead pixels of 65535 in a stream of 12 bits", "the depth stays that of the rest", since=TODAY)
def test_dead_pixels_do_not_raise_the_depth():
    stream = BitDepthTracker()
    samples = cv2.resize(in_bits(12), (640, 480), interpolation=cv2.INTER_LINEAR)
    for value in (65535, 4095):
        samples[100:103, 200] = value
        assert stream.depth(samples) == 12
    samples[100:110, 200:210] = 65535  # a lamp
    assert stream.depth(samples) == 16


@pytest.mark.parametrize("depth", [10, 12, 14])
def test_samples_that_fill_the_range_without_structure_are_scaled_too(depth):
    samples = np.random.default_rng(2).integers(0, 1 << depth, (HEIGHT, WIDTH)).astype(np.uint16)
    assert to_rgb(message_of(samples)).mean() == pytest.approx(127.5, abs=2.0)


def test_a_small_image_has_a_depth_too():
    small = cv2.resize(in_bits(10), (12, 10), interpolation=cv2.INTER_AREA)
    assert BitDepthTracker().depth(small) == 10


def test_the_node_keeps_the_depth_of_its_stream():
    localizer = Mock()
    localizer.localize.return_value = ESTIMATE
    pipeline = Pipeline(localizer)
    for exposure in (1.0, 0.1):
        pipeline(StampedImage(message_of(in_bits(12, exposure)), 1, 0.0))
    bright, dim = (call.args[0].mean() for call in localizer.localize.call_args_list)
    assert dim == pytest.approx(0.1 * bright, abs=1.0)
    assert pipeline.bit_depths() == {"mono16": 12}
