"""The cells of a site's grid, from the positions of its training photos."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from campus_visual_gps.errors import DatasetError

# With more cells the head has tens of millions of weights, and every image takes longer.
MAX_CELLS = 20_000


def site_cells(positions_enu_m: np.ndarray, cell_m: float, margin_m: float) -> np.ndarray:
    """Centres (K, 2) in metres of the squares of `cell_m` that lie within `margin_m` of a training position (N, 2).

    The raster goes through the origin of the local frame, so that the same site gives the same cells whichever photos
    were held out. Raises DatasetError for a site of more than MAX_CELLS.
    """
    positions = np.asarray(positions_enu_m, dtype=np.float64)
    low = np.floor((positions.min(axis=0) - margin_m) / cell_m)
    high = np.ceil((positions.max(axis=0) + margin_m) / cell_m)
    if np.prod(high - low + 1.0) > 100 * MAX_CELLS:
        raise DatasetError(f"the training photos span {high - low} cells of {cell_m} m: enlarge model.cell_m")
    columns, rows = (np.arange(start, end + 1.0) for start, end in zip(low, high, strict=True))
    centres = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2) * cell_m
    distances, _ = cKDTree(positions).query(centres)
    cells = centres[distances <= max(margin_m, cell_m)]
    if len(cells) > MAX_CELLS:
        raise DatasetError(
            f"the site has {len(cells)} cells of {cell_m} m, more than {MAX_CELLS}: enlarge model.cell_m"
        )
    return cells
