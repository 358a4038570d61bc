"""HeadingHypotheses: beliefs over the raster, one for each possible yaw of the odometry's axes.

A hypothesis does not move its belief as the odometry moves: it moves the raster under it. The offset of the raster is a
number of metres, and whole cells are moved at once, so that the belief is not blurred by being moved in fractions of a
cell. What is blurred is only the likelihood of each image, once, by interpolation at the offset.

All hypotheses are one array of 32-bit floats, of which twice as many are multiplied at once as of 64 bits; their sums
are kept in 64 bits.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from campus_visual_gps.tracking.interpolation import ShiftedByEach, moved, shifted, sum_of_shifted
from campus_visual_gps.tracking.raster import BeliefRaster

# Unknown yaw: all directions in coarse steps. Once few of them hold nearly all, fine steps about these: about as many
# hypotheses, so that the yaw costs no more to refine than to find.
COARSE_COUNT = 18
_FINE_PER_COARSE = 4
_SPLIT_COUNT, _SPLIT_MASS = 4, 0.98
# The yaw of odometry drifts: variance that a metre of driving adds, 3 degrees after 100 m.
YAW_DRIFT_RAD2_PER_M = math.radians(3.0) ** 2 / 100.0
# Hypotheses with less than this share end; drift lets this share flow to both neighbours at once.
_MIN_SHARE, _DRIFT_SHARE = 1e-3, 0.05
# A yaw within a coarse step is as good as another: their difference displaces by its sine. It is taken as independent
# every so many metres, by which evidence has corrected it.
_YAW_RANGE_M = 20.0
# A mass that is added with less than this share is not worth an interpolation.
_INTERPOLATED_SHARE = 0.02
# Added with every mass, so that no belief becomes a denormal number, with which processors are slow.
_LEAST_BELIEF = 1e-30
# A blur is due when its variance is worth it, in square cells.
_BLUR_CELLS2 = 0.05


class HeadingHypotheses:
    """Beliefs (H, R, C); `mass` is the probability of the site.

    Attributes:
        headings_rad: (H,) yaw of the odometry's axes in east and north; NaN for one belief that has none.
        step_rad: Between neighbours; 0 for one hypothesis.
        beliefs: (H, R, C) float32, but for a common factor.

    Args:
        raster: Of the site.
        belief: (R, C), of the one hypothesis that there is at first.
        heading_rad: Its yaw.
    """

    def __init__(self, raster: BeliefRaster, belief: np.ndarray, heading_rad: float = math.nan):
        self.raster = raster
        self._ones = np.ones(raster.shape, dtype=np.float32)
        self._shifted_by_each = ShiftedByEach()
        self.headings_rad = np.array([heading_rad])
        self.step_rad = 0.0
        self.beliefs = belief[None].astype(np.float32)
        self._offsets_m = np.zeros((1, 2))
        self._drifted_m = 0.0
        self._blur_cells2 = 0.0
        self._factor = 1.0  # applied with the next likelihood: the beliefs are read and written once a step
        self._masses: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.beliefs)

    @property
    def mass(self) -> float:
        """Probability of the site, sum of all beliefs."""
        return self._factor * float(self._own_masses().sum())

    @property
    def shares(self) -> np.ndarray:
        """(H,) probabilities of the hypotheses, sum 1."""
        masses = self._own_masses()
        total = masses.sum()
        return masses / total if total > 0.0 else np.full(len(self), 1.0 / len(self))

    def _own_masses(self) -> np.ndarray:
        if self._masses is None:
            self._masses = self._sums(self._ones)
        return self._masses

    def _sums(self, weights: np.ndarray) -> np.ndarray:
        """(H,) sums of the beliefs with weights (R, C)."""
        return (self.beliefs.reshape(len(self), -1) @ weights.ravel()).astype(np.float64)

    def agreement(self, likelihood: np.ndarray) -> float:
        """Mean of a likelihood (R, C) over the belief, without the offsets of less than half a cell."""
        return float(self._sums(likelihood).sum() / max(self._own_masses().sum(), 1e-300))

    @property
    def is_fine(self) -> bool:
        """Whether the yaw has been found: the steps are fine ones."""
        return len(self) > 1 and self.step_rad < math.pi / COARSE_COUNT

    def heading_rad(self) -> float | None:
        """Mean yaw where it is known to about ten degrees, else None."""
        if not np.isfinite(self.headings_rad).all():
            return None
        mean = self.shares @ np.exp(1j * self.headings_rad)
        return float(np.angle(mean)) if abs(mean) > 0.98 else None

    def restart(self, headings_rad: np.ndarray, step_rad: float) -> None:
        """New hypotheses, all with the present belief about the position."""
        belief = self.marginal()
        count = len(headings_rad)
        self.headings_rad, self.step_rad = np.asarray(headings_rad, dtype=np.float64), step_rad
        self.beliefs = np.repeat(belief[None].astype(np.float32) / count, count, axis=0)
        self._offsets_m = np.zeros((count, 2))
        self._factor, self._drifted_m = 1.0, 0.0
        self._masses = None

    def restart_unknown(self) -> None:
        """All directions, equally probable."""
        step = 2.0 * math.pi / COARSE_COUNT
        self.restart(np.arange(COARSE_COUNT) * step - math.pi, step)

    def set_heading(self, heading_rad: float) -> None:
        """One hypothesis, with a yaw that is known."""
        if len(self) > 1:
            self.restart(np.array([heading_rad]), 0.0)
        self.headings_rad = np.array([heading_rad])

    def scale(self, factor: float) -> None:
        """Multiply all beliefs."""
        self._factor *= factor

    def move(self, displacement_m: np.ndarray, way_m: float, variance_m2: float) -> None:
        """Move all hypotheses by a displacement (2,) in the odometry's axes; `way_m` is the length of the way to it."""
        self._offsets_m += _turned(displacement_m, self.headings_rad)
        self._move_whole_cells()
        variance_m2 += self.step_rad**2 / 12.0 * _YAW_RANGE_M * way_m
        self._blur_cells2 += variance_m2 / self.raster.cell_m**2
        if self._blur_cells2 >= _BLUR_CELLS2:
            self._blur()
        if len(self) > 1:
            self._drifted_m += way_m
            share = YAW_DRIFT_RAD2_PER_M * self._drifted_m / (2.0 * self.step_rad**2)
            if share >= _DRIFT_SHARE:
                self._drift(min(share, 0.25))
                self._drifted_m = 0.0

    def random_walk(self, variance_m2: float) -> None:
        """Spread all hypotheses as `BeliefRaster.random_walk`."""
        self.beliefs = self.raster.random_walk(self.beliefs, variance_m2)

    def weigh(self, likelihood: np.ndarray, displacement_m: np.ndarray) -> None:
        """Multiply with a likelihood (R, C) of positions that the odometry was displaced from the present one (2,)."""
        self.beliefs *= self._seen(likelihood * self._factor, self._offsets_cells(displacement_m))
        self._masses, self._factor = None, 1.0

    def add(self, mass: np.ndarray) -> None:
        """Add (R, C) to the hypotheses by their shares. A mass that is worth it is moved by their offsets."""
        shares, offsets = self.shares, self._offsets_cells(np.zeros(2))
        seen = (mass / self._factor + _LEAST_BELIEF).astype(np.float32)[None]
        total = float(seen.sum(dtype=np.float64))
        if offsets.any() and total > _INTERPOLATED_SHARE * self._own_masses().sum():
            seen = self._seen(seen[0], offsets)
        by_share = shares.astype(np.float32)[:, None, None]
        self.beliefs += np.multiply(seen, by_share, out=self._shifted_by_each.reserve(len(self), self.raster.shape))
        self._masses = self._own_masses() + total * shares

    def marginal(self, displacement_m: np.ndarray | None = None) -> np.ndarray:
        """(R, C) float64 belief about the position, at a displacement (2,) of the odometry from the present one."""
        offsets = self._offsets_cells(np.zeros(2) if displacement_m is None else displacement_m)
        if not offsets.any():
            return self.beliefs.sum(axis=0, dtype=np.float64) * self._factor
        return sum_of_shifted(self.beliefs, offsets).astype(np.float64) * self._factor

    def _seen(self, values: np.ndarray, offsets_cells: np.ndarray) -> np.ndarray:
        """(H, R, C), or (1, R, C) for all, float32: values (R, C) of the site as the hypotheses have them."""
        if not offsets_cells.any():
            return values[None]
        if len(self) == 1:
            return shifted(values, -offsets_cells[0], replicate=True)[None]
        return self._shifted_by_each(values, -offsets_cells)

    def refine(self) -> None:
        """End hypotheses without mass; replace the coarse ones by fine ones where few hold nearly all of it."""
        if len(self) == 1:
            return
        shares = self.shares
        self._keep(shares >= _MIN_SHARE)
        ranked = np.sort(shares)[::-1]
        if not self.is_fine and ranked[:_SPLIT_COUNT].sum() >= _SPLIT_MASS:
            self._split()

    def _split(self) -> None:
        count, step = _FINE_PER_COARSE, self.step_rad / _FINE_PER_COARSE
        self._keep(self.shares >= 0.5 * (1.0 - _SPLIT_MASS) / _SPLIT_COUNT)
        within = (np.arange(count) - (count - 1) / 2.0) * step
        self.headings_rad = (self.headings_rad[:, None] + within).ravel()
        self.beliefs = np.repeat(self.beliefs / count, count, axis=0)
        self._offsets_m = np.repeat(self._offsets_m, count, axis=0)
        self.step_rad = step
        self._masses = None

    def _keep(self, kept: np.ndarray) -> None:
        if kept.all() or not kept.any():
            return
        total = self._own_masses().sum()
        self.headings_rad, self.beliefs = self.headings_rad[kept], self.beliefs[kept]
        self._offsets_m = self._offsets_m[kept]
        self._masses = None
        self._factor *= float(total / max(self._own_masses().sum(), 1e-300))

    def _drift(self, share: float) -> None:
        """Let a share of each hypothesis flow to each of its two neighbours, which are made where there are none."""
        every = np.round((self.headings_rad - self.headings_rad[0]) / self.step_rad).astype(int)
        around = round(2.0 * math.pi / self.step_rad)
        sources: dict[int, list[tuple[int, float]]] = {}
        for index, step in enumerate(every.tolist()):
            for neighbour, part in ((step, 1.0 - 2.0 * share), (step - 1, share), (step + 1, share)):
                sources.setdefault(neighbour % around, []).append((index, part))
        beliefs, offsets, headings = [], [], []
        shares = self.shares
        for neighbour, parts in sorted(sources.items()):
            main = max(parts, key=lambda own: own[1] * shares[own[0]])[0]
            offset = self._offsets_m[main]
            total = np.zeros(self.raster.shape, dtype=np.float32)
            for index, part in parts:
                own, away = self.beliefs[index], (self._offsets_m[index] - offset) / self.raster.cell_m
                total += part * (own if index == main else shifted(own, away))
            beliefs.append(total)
            offsets.append(offset)
            headings.append(self.headings_rad[0] + neighbour * self.step_rad)
        self.headings_rad, self.beliefs, self._offsets_m = np.array(headings), np.array(beliefs), np.array(offsets)
        self._masses = None
        self._keep(self.shares >= _MIN_SHARE)

    def _move_whole_cells(self) -> None:
        cell_m = self.raster.cell_m
        whole = np.round(self._offsets_m / cell_m)
        for index in np.flatnonzero(whole.any(axis=1)):
            columns, rows = (int(own) for own in np.clip(whole[index], -1e6, 1e6))
            self.beliefs[index] = moved(self.beliefs[index], rows, columns)
            self._masses = None
        self._offsets_m -= whole * cell_m

    def _blur(self) -> None:
        remaining = self._blur_cells2
        while remaining > 1e-9:
            variance = min(remaining, 0.8)
            kernel = np.array([variance / 2.0, 1.0 - variance, variance / 2.0])
            for belief in self.beliefs:
                belief[:] = cv2.sepFilter2D(belief, -1, kernel, kernel, borderType=cv2.BORDER_REFLECT)
            remaining -= variance
        self._blur_cells2 = 0.0

    def _offsets_cells(self, displacement_m: np.ndarray) -> np.ndarray:
        """(H, 2) columns and rows from the raster of a hypothesis to the site, at a displacement of the odometry."""
        offsets_m = self._offsets_m
        if displacement_m.any():
            offsets_m = offsets_m + _turned(displacement_m, self.headings_rad)
        return offsets_m / self.raster.cell_m


def _turned(displacement_m: np.ndarray, headings_rad: np.ndarray) -> np.ndarray:
    """(H, 2) metres east and north of a displacement (2,) in axes with these headings (H,)."""
    cos, sin = np.cos(headings_rad), np.sin(headings_rad)
    east, north = displacement_m
    return np.stack([cos * east - sin * north, sin * east + cos * north], axis=1)
