"""Bit depth of images whose 16-bit samples carry only 10, 12 or 14 bits, and their conversion to 8 bits. Without ROS.

A sensor of 10 to 14 bits is sent as mono16, bayer_*16 or rgb16, and no field of the message says how many bits count.
Some drivers shift the samples to the top of the 16 bits, and those need nothing. Others leave them at the bottom (Y10,
Y12, unpacked Mono12), and scaled by 65535 such an image is black. Only the samples tell which it is:

- A sample that needs more bits than the depth so far raises the depth, at once. The depth is never lowered, so a
  stream does not flicker between two depths, and a dark image of a stream of 16 bits stays dark.
  One sample in 100,000 may be larger: dead pixels that read 65535, or data that a camera embeds in its first row.
- A stream begins with 16 bits. It gets the smallest depth that holds its samples from the first image that shows a
  picture at that depth: the means of its blocks differ, or its samples fill the range. The noise of a dark image
  averages out in the blocks, and its largest sample lies many standard deviations above the others, so it is not
  brightened to a picture.
- An image whose samples all are below 256 could be 8 bits or a dark image: it stays dark.
"""

from __future__ import annotations

import cv2
import numpy as np

FULL_DEPTH = 16
DEPTHS = (10, 12, 14, FULL_DEPTH)
# Below this the samples of every depth are dark.
MIN_LARGEST_SAMPLE = 256
# Block means of a picture differ by more than this share of the range, as a standard deviation: eight grey levels.
MIN_CONTRAST = 0.03
# Standard deviation per largest sample. Gaussian noise has at most a fifth, uniformly distributed samples have 0.29.
MIN_FILL = 0.24
# Of this many samples one may need more bits than the depth.
SAMPLES_PER_STRAY = 100_000
# Side of a block; noise becomes smaller by this factor. A small image has at least MIN_BLOCKS of them per side.
BLOCK_PX, MIN_BLOCKS = 16, 4


class BitDepthTracker:
    """The bit depth of one stream of images, for each encoding that it has had.

    One thread may use it. A new one judges an image by itself.
    """

    def __init__(self) -> None:
        self._depths: dict[str, int] = {}

    def depth(self, samples: np.ndarray, key: str = "") -> int:
        """The number of bits that count, 10, 12, 14 or 16, after this image.

        Args:
            samples: (H, W) or (H, W, channels) uint16 in the machine's byte order.
            key: What distinguishes streams with depths of their own, such as the encoding.
        """
        known = self._depths.get(key)
        if known == FULL_DEPTH:
            return FULL_DEPTH
        needed = _needed_depth(samples)
        if known is None and not _shows_picture(samples, needed):
            return FULL_DEPTH
        self._depths[key] = depth = max(known or 0, needed)
        return depth

    def to_8_bits(self, samples: np.ndarray, key: str = "") -> np.ndarray:
        """The samples as uint8, rounded: the largest value of the stream's depth becomes 255."""
        depth = self.depth(samples, key)
        return cv2.convertScaleAbs(samples, alpha=255.0 / ((1 << depth) - 1))

    def known(self) -> dict[str, int]:
        """Depth of every encoding whose depth is established."""
        return dict(self._depths)


def _needed_depth(samples: np.ndarray) -> int:
    """The smallest depth that holds all samples but the strays."""
    largest, strays = int(samples.max()), samples.size // SAMPLES_PER_STRAY
    for depth in DEPTHS:
        if largest < 1 << depth or (strays and np.count_nonzero(samples >= 1 << depth) <= strays):
            return depth
    return FULL_DEPTH


def _shows_picture(samples: np.ndarray, depth: int) -> bool:
    """Whether the image has structure at this depth, and not only the noise of a dark image."""
    if depth == FULL_DEPTH:
        return True
    inside = np.minimum(samples, (1 << depth) - 1)
    largest = int(inside.max())
    if largest < MIN_LARGEST_SAMPLE:
        return False
    if float(inside.std()) >= MIN_FILL * largest:
        return True
    height = len(samples)
    # all columns count, whatever the mosaic or the channels
    flat = inside.reshape(height, -1)
    columns, rows = (min(side, max(MIN_BLOCKS, side // BLOCK_PX)) for side in (flat.shape[1], height))
    means = cv2.resize(flat, (columns, rows), interpolation=cv2.INTER_AREA)
    return float(means.std()) >= MIN_CONTRAST * (1 << depth)
