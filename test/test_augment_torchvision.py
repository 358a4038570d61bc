"""The augmentations are those of torchvision, but for rounding and one interpolation instead of two."""

import cv2
import numpy as np
import pytest
import torch
from helpers import textured_rgb
from torchvision.transforms.v2 import InterpolationMode, functional

from training.data import geometric, photometric

SIZE_PX = 96
PHOTO = textured_rgb(SIZE_PX, SIZE_PX)
# a smooth picture is blurred little by a second interpolation, and has no edges between the pixels
SMOOTH = cv2.normalize(cv2.GaussianBlur(PHOTO, (0, 0), 4), None, 0, 255, cv2.NORM_MINMAX)
START = [[0, 0], [SIZE_PX, 0], [SIZE_PX, SIZE_PX], [0, SIZE_PX]]
MOVED = [[14, 2], [SIZE_PX - 3, 9], [SIZE_PX - 12, SIZE_PX - 1], [1, SIZE_PX - 13]]
BILINEAR = InterpolationMode.BILINEAR


def tensor(rgb: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(rgb).permute(2, 0, 1)


def difference(ours: np.ndarray, theirs: torch.Tensor) -> np.ndarray:
    return np.abs(ours.astype(int) - theirs.permute(1, 2, 0).numpy().astype(int))


@pytest.mark.parametrize("factor", [0.0, 0.3, 0.8, 1.0, 1.2, 2.0])
@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_colour_jitter_is_that_of_torchvision(name, factor):
    theirs = getattr(functional, f"adjust_{name}")(tensor(PHOTO), factor)
    assert difference(getattr(photometric, f"adjust_{name}")(PHOTO, factor), theirs).max() <= 2


@pytest.mark.parametrize("shift", [-0.5, -0.2, 0.0, 0.03, 0.4, 0.5])
def test_hue_is_that_of_torchvision(shift):
    assert difference(photometric.adjust_hue(PHOTO, shift), functional.adjust_hue(tensor(PHOTO), shift)).max() <= 2


def test_grey_is_that_of_torchvision():
    assert difference(photometric.to_greyscale(PHOTO), functional.rgb_to_grayscale(tensor(PHOTO), 3)).max() <= 1


@pytest.mark.parametrize("brightness, contrast", [(0.1, 0.4), (0.4, 0.9), (0.7, 0.6)])
def test_night_is_brightness_and_then_contrast_of_torchvision(brightness, contrast):
    theirs = functional.adjust_contrast(functional.adjust_brightness(tensor(PHOTO), brightness), contrast)
    assert difference(photometric.simulate_night(PHOTO, brightness, contrast), theirs).max() <= 2


@pytest.mark.parametrize("angle_deg", [-5.0, 0.0, 3.3, 30.0, 180.0])
def test_rotation_is_that_of_torchvision(angle_deg):
    ours = geometric.warp(PHOTO, [geometric.rotation_matrix(angle_deg, SIZE_PX)])
    different = difference(ours, functional.rotate(tensor(PHOTO), angle_deg, BILINEAR))
    assert np.quantile(different, 0.999) <= 3 and different.mean() < 0.6


def test_perspective_is_that_of_torchvision_up_to_its_edge():
    ours = geometric.warp(PHOTO, [geometric.perspective_matrix(np.array(MOVED), SIZE_PX)])
    different = difference(ours, functional.perspective(tensor(PHOTO), START, MOVED, BILINEAR, fill=0))
    assert np.quantile(different[_inside(MOVED)], 0.999) <= 3 and not ours[_outside(MOVED)].any()


@pytest.mark.parametrize("angle_deg", [-5.0, 3.3, 30.0])
def test_one_warp_is_rotation_and_then_perspective(angle_deg):
    mappings = [geometric.rotation_matrix(angle_deg, SIZE_PX), geometric.perspective_matrix(np.array(MOVED), SIZE_PX)]
    ours = geometric.warp(SMOOTH, mappings)
    rotated = functional.rotate(tensor(SMOOTH), angle_deg, BILINEAR)
    theirs = functional.perspective(rotated, START, MOVED, BILINEAR, fill=0)
    different = difference(ours, theirs)
    corners = cv2.perspectiveTransform(geometric.corners(SIZE_PX)[None], mappings[1] @ mappings[0])[0]
    inside = _inside(MOVED) & _inside(corners)
    assert inside.mean() > 0.5 and different[inside].max() <= 6
    assert not ours[_outside(MOVED)].any() and not ours[_outside(corners)].any()
    # the other order is another picture
    distorted = functional.perspective(tensor(SMOOTH), START, MOVED, BILINEAR, fill=0)
    other = difference(ours, functional.rotate(distorted, angle_deg, BILINEAR))
    assert other[inside].mean() > 2 * different[inside].mean()


def test_a_crop_and_a_flip_are_those_of_torchvision():
    crop = geometric.Rectangle(left=7, top=20, width=50, height=61)
    theirs = functional.resized_crop(
        tensor(PHOTO), crop.top, crop.left, crop.height, crop.width, [SIZE_PX, SIZE_PX], antialias=True
    )
    assert difference(geometric.resized_crop(PHOTO, crop), theirs).max() <= 1
    assert not difference(geometric.horizontal_flip(PHOTO), functional.horizontal_flip(tensor(PHOTO))).any()


def _inside(corners) -> np.ndarray:
    """Pixels at least two from the edges of a quadrilateral."""
    return cv2.erode(_filled(corners), np.ones((5, 5), np.uint8)) > 0


def _outside(corners) -> np.ndarray:
    return cv2.dilate(_filled(corners), np.ones((5, 5), np.uint8)) == 0


def _filled(corners) -> np.ndarray:
    mask = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
    return cv2.fillConvexPoly(mask, np.round(np.asarray(corners) - 0.5).astype(np.int32), 255)
