"""`replay --animate`: photo, posterior, belief, truth and track of a drive over time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from campus_visual_gps.errors import DatasetError
from training.report.animation_canvas import AnimationCanvas
from training.report.belief_sequence import BeliefSequence
from training.report.moving_picture import check_moving_picture, write_moving_picture

# A drive is shown five times as fast as it was, within these bounds, with no more pictures a second than eyes need.
SPEED_UP, MIN_S, MAX_S, MAX_RATE_HZ = 5.0, 4.0, 45.0, 8.0


def animate_drive(path: Path, sequence: BeliefSequence) -> None:
    """Write the animation of a drive as a GIF or an MP4, by the ending of the name.

    Raises:
        VisualGpsError: The ending is another one, there are no images, an image is damaged or the file cannot be
            written.
    """
    path = Path(path)
    check_moving_picture(path)
    if not len(sequence):
        raise DatasetError(f"--animate {path}: there are no images to show")
    duration_s = float(np.clip((sequence.times_s[-1] - sequence.times_s[0]) / SPEED_UP, MIN_S, MAX_S))
    count = min(len(sequence), round(duration_s * MAX_RATE_HZ))
    rows = np.unique(np.linspace(0, len(sequence) - 1, count).round().astype(int))
    canvas = AnimationCanvas(sequence)

    def pictures(chosen: np.ndarray) -> Iterator[np.ndarray]:
        return (canvas.picture(int(row)) for row in chosen)

    write_moving_picture(path, pictures, rows, duration_s)
