"""Rasters moved by offsets of a few cells, by linear interpolation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

# Offsets are those of less than half a cell, and of images that come late.
_MAX_OFFSET_CELLS = 10.0


def shifted(values: np.ndarray, offset_cells: Sequence[float] | np.ndarray, replicate: bool = False) -> np.ndarray:
    """Values (R, C) moved by an offset (columns, rows) of a few cells at most, by linear interpolation.

    Beyond the edge there is nothing, or with `replicate` what is at the edge.
    """
    column_kernel, row_kernel = _kernel(offset_cells[0]), _kernel(offset_cells[1])
    border = cv2.BORDER_REPLICATE if replicate else cv2.BORDER_CONSTANT
    return cv2.sepFilter2D(values, -1, column_kernel, row_kernel, borderType=border)


def _kernel(offset_cells: float) -> np.ndarray:
    """Correlation kernel that moves by an offset: the value at i is that at i - offset."""
    offset = min(max(offset_cells, -_MAX_OFFSET_CELLS), _MAX_OFFSET_CELLS)
    reach = max(math.ceil(abs(offset)), 1)
    return np.array([max(1.0 - abs(tap + offset), 0.0) for tap in range(-reach, reach + 1)])


def sum_of_shifted(values: np.ndarray, offsets_cells: np.ndarray) -> np.ndarray:
    """Sum (R, C) float32 of values (H, R, C) float32, each moved by its offset (H, 2), as by `shifted`.

    Where no offset is larger than a cell, what goes to a neighbour is summed over H first, by one product of matrices.
    """
    taps, weights = _tap_weights(offsets_cells)
    height, width = values.shape[1:]
    total = np.zeros((height + 2, width + 2), dtype=np.float32)
    if taps > 3:
        inner = total[1:-1, 1:-1]
        for own, offset in zip(values, offsets_cells, strict=True):
            inner += shifted(own, offset)
        return inner
    parts = (np.ascontiguousarray(weights.T) @ values.reshape(len(values), -1)).reshape(taps, taps, height, width)
    for row in range(taps):
        for column in range(taps):
            # the weights are those of a correlation: the first tap is what comes from the row and column before
            moved_to = total[taps - 1 - row :, taps - 1 - column :][:height, :width]
            cv2.add(moved_to, parts[row, column], dst=moved_to)  # numpy takes twice as long on parts of rows
    return total[1:-1, 1:-1]


def _tap_weights(offsets_cells: np.ndarray) -> tuple[int, np.ndarray]:
    """Taps of an axis, and the weights (H, taps * taps) float32, rows first, of a correlation that moves by (H, 2)."""
    offsets = np.clip(offsets_cells, -_MAX_OFFSET_CELLS, _MAX_OFFSET_CELLS)
    reach = max(math.ceil(np.abs(offsets).max()), 1)
    by_axis = np.maximum(1.0 - np.abs(np.arange(-reach, reach + 1) + offsets[..., None]), 0.0)
    by_tap = (by_axis[:, 1, :, None] * by_axis[:, 0, None, :]).reshape(len(offsets), -1)
    return 2 * reach + 1, by_tap.astype(np.float32)


def moved(belief: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Belief (R, C) moved by whole cells; what leaves the raster has left the site."""
    height, width = belief.shape
    result = np.zeros_like(belief)
    if abs(rows) < height and abs(columns) < width:
        result[max(rows, 0) : height + min(rows, 0), max(columns, 0) : width + min(columns, 0)] = belief[
            max(-rows, 0) : height + min(-rows, 0), max(-columns, 0) : width + min(-columns, 0)
        ]
    return result


class ShiftedByEach:
    """Values (R, C) float32 moved by each of many offsets, as by `shifted` with `replicate`.

    A value at an offset is a weighted sum of its neighbours, with weights that depend on the offset alone: this is one
    product of matrices. Arrays of this size are kept: to get their memory from the system takes longer than to fill it.
    """

    def __init__(self) -> None:
        self._neighbours = self.result = np.empty((0, 0, 0), dtype=np.float32)

    def reserve(self, count: int, shape: tuple[int, int]) -> np.ndarray:
        """(H, R, C) float32 of any content, which the next call overwrites."""
        if self.result.shape != (count, *shape):
            self.result = np.empty((count, *shape), dtype=np.float32)
        return self.result

    def __call__(self, values: np.ndarray, offsets_cells: np.ndarray) -> np.ndarray:
        """(H, R, C), until the next call, for offsets (H, 2)."""
        taps, weights = _tap_weights(offsets_cells)
        reach, (height, width) = taps // 2, values.shape
        padded = cv2.copyMakeBorder(values, reach, reach, reach, reach, cv2.BORDER_REPLICATE)
        parts = [padded[row : row + height, column : column + width] for row in range(taps) for column in range(taps)]
        if self._neighbours.shape != (len(parts), height, width):
            self._neighbours = np.empty((len(parts), height, width), dtype=np.float32)
        np.stack(parts, out=self._neighbours)
        result = self.reserve(len(weights), values.shape)
        np.matmul(weights, self._neighbours.reshape(len(parts), -1), out=result.reshape(len(weights), -1))
        return result
