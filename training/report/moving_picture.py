"""Writes pictures as an animated GIF (Pillow) or as an MP4 (OpenCV), whole or not at all."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.io_utils import atomic_write

log = logging.getLogger(__name__)

GIF, MP4 = ".gif", ".mp4"
MAX_GIF_BYTES = 8_000_000
# VP9 is what browsers play; MPEG-4 part 2 is what every build of FFmpeg has.
_CODECS = ("vp09", "mp4v")
_PALETTE_PICTURES = 24
_MIN_PICTURES = 2
Pictures = Callable[[np.ndarray], Iterator[np.ndarray]]  # rows (M,) -> M pictures (H, W, 3) uint8 RGB of one size


def check_moving_picture(path: Path) -> None:
    """Raises ConfigError for a name that is neither of a GIF nor of an MP4, or an MP4 that cannot be written here."""
    kind = path.suffix.lower()
    if kind not in (GIF, MP4):
        raise ConfigError(f"--animate {path}: expected the name of a .gif or .mp4 file")
    if kind == MP4 and _mp4_codec() is None:
        raise ConfigError(f"--animate {path}: this OpenCV was built without an encoder for MP4; name a .gif file")


def write_moving_picture(path: Path, pictures: Pictures, rows: np.ndarray, duration_s: float) -> None:
    """Write the pictures of these rows (N,), shown for `duration_s` together.

    A GIF takes every second, third, ... row where it would be larger than MAX_GIF_BYTES.

    Raises:
        VisualGpsError: ConfigError as of `check_moving_picture`; DatasetError where the file cannot be written.
    """
    check_moving_picture(path)
    with atomic_write(path) as partial:
        if path.suffix.lower() == MP4:
            _write_mp4(partial, pictures(rows), len(rows) / duration_s)
        else:
            _write_gif(partial, pictures, rows, duration_s)


def _write_gif(path: Path, pictures: Pictures, rows: np.ndarray, duration_s: float) -> None:
    palette = _palette(pictures(rows[_evenly(len(rows), _PALETTE_PICTURES)]))
    while True:
        # without dithering: its dots make files half as large again, and change from picture to picture
        shown = [Image.fromarray(own).quantize(palette=palette, dither=Image.Dither.NONE) for own in pictures(rows)]
        shown[0].save(
            path,
            format="GIF",
            save_all=True,
            append_images=shown[1:],
            duration=max(20, round(1000.0 * duration_s / len(rows))),
            loop=0,
            optimize=False,
        )
        size = path.stat().st_size
        fewer = int(len(rows) * 0.95 * MAX_GIF_BYTES / size)
        if size <= MAX_GIF_BYTES or fewer < _MIN_PICTURES:
            return
        log.info("%d pictures make a GIF of %.1f MB; %d of them are taken", len(rows), size / 1e6, fewer)
        rows = rows[_evenly(len(rows), fewer)]


def _palette(pictures: Iterator[np.ndarray]) -> Image.Image:
    """One palette for all pictures: with one for each, colours would flicker and files be larger."""
    return Image.fromarray(np.concatenate([own[::2, ::2] for own in pictures])).quantize(256, Image.Quantize.MEDIANCUT)


def _evenly(count: int, wanted: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).round().astype(int))


def _write_mp4(path: Path, pictures: Iterator[np.ndarray], rate_hz: float) -> None:
    codec = _mp4_codec()
    with tempfile.TemporaryDirectory() as scratch:
        # OpenCV takes the format from the name's end, which a partial file does not have
        named = Path(scratch) / f"drive{MP4}"
        writer = None
        for picture in pictures:
            if writer is None:
                writer = cv2.VideoWriter(str(named), codec or 0, rate_hz, picture.shape[1::-1])
            writer.write(np.ascontiguousarray(picture[..., ::-1]))
        if writer is not None:
            writer.release()
        if not named.is_file() or not named.stat().st_size:
            raise OSError("the encoder wrote nothing")
        shutil.copyfile(named, path)


def _mp4_codec() -> int | None:
    """The first codec that this build of OpenCV encodes; None where there is none."""
    with tempfile.TemporaryDirectory() as scratch:
        for name in _CODECS:
            code = cv2.VideoWriter.fourcc(*name)
            writer = cv2.VideoWriter(str(Path(scratch) / f"probe{MP4}"), code, 10.0, (64, 64))
            opened = writer.isOpened()
            writer.release()
            if opened:
                return code
    return None
