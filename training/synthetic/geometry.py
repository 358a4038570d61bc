"""Triangle meshes of the shapes of the campus. Metres, x east, y north, z up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BOX_SIDES = ("south", "east", "north", "west")


@dataclass(frozen=True)
class Mesh:
    """Triangles with texture coordinates.

    Attributes:
        vertices_m: (V, 3) float32.
        faces: (F, 3) uint32, counter-clockwise seen from outside.
        uv: (V, 2) float32, v upwards; a tiled texture repeats at every integer.
    """

    vertices_m: np.ndarray
    faces: np.ndarray
    uv: np.ndarray


def merge(meshes: list[Mesh]) -> Mesh:
    """One mesh with all triangles; a renderer is faster with few large meshes."""
    offsets = np.cumsum([0] + [len(m.vertices_m) for m in meshes[:-1]])
    faces = [m.faces + offset for m, offset in zip(meshes, offsets, strict=True)]
    return Mesh(
        np.concatenate([m.vertices_m for m in meshes]).astype(np.float32),
        np.concatenate(faces).astype(np.uint32),
        np.concatenate([m.uv for m in meshes]).astype(np.float32),
    )


def quad(corners_m, uv_size=(1.0, 1.0)) -> Mesh:
    """Rectangle from four corners, counter-clockwise from the texture's lower left."""
    u, v = uv_size
    uv = [[0, 0], [u, 0], [u, v], [0, v]]
    faces = [[0, 1, 2], [0, 2, 3]]
    return Mesh(np.asarray(corners_m, np.float32), np.asarray(faces, np.uint32), np.asarray(uv, np.float32))


def ground(x0, y0, x1, y1, z, tile_m) -> Mesh:
    """Horizontal rectangle whose texture repeats every `tile_m` metres."""
    corners = [[x0, y0, z], [x1, y0, z], [x1, y1, z], [x0, y1, z]]
    return quad(corners, ((x1 - x0) / tile_m, (y1 - y0) / tile_m))


def wall(start_xy, end_xy, z0, z1, uv_size=(1.0, 1.0)) -> Mesh:
    """Vertical rectangle; its outside is to the right of the direction from start to end."""
    (xa, ya), (xb, yb) = start_xy, end_xy
    return quad([[xa, ya, z0], [xb, yb, z0], [xb, yb, z1], [xa, ya, z1]], uv_size)


def box_side(side: str, x0, y0, x1, y1) -> tuple:
    """Start and end corner of one side of an upright box, so that `wall` faces outwards."""
    return {
        "south": ((x0, y0), (x1, y0)),
        "east": ((x1, y0), (x1, y1)),
        "north": ((x1, y1), (x0, y1)),
        "west": ((x0, y1), (x0, y0)),
    }[side]


def box(x0, y0, x1, y1, z0, z1, tile_m: float | None = None) -> Mesh:
    """Upright box without a floor. Each face shows the whole texture, or tiles of `tile_m` metres."""
    sides = []
    for side in BOX_SIDES:
        start, end = box_side(side, x0, y0, x1, y1)
        length = float(np.hypot(end[0] - start[0], end[1] - start[1]))
        sides.append(wall(start, end, z0, z1, (length / tile_m, (z1 - z0) / tile_m) if tile_m else (1, 1)))
    top = ground(x0, y0, x1, y1, z1, tile_m or max(x1 - x0, y1 - y0))
    return merge([*sides, top])


def slab(x0, y0, x1, y1, z0, z1, tile_m: float) -> Mesh:
    """Box with an underside: a roof that is visible from below."""
    under = quad([[x0, y1, z0], [x1, y1, z0], [x1, y0, z0], [x0, y0, z0]], ((x1 - x0) / tile_m, (y1 - y0) / tile_m))
    return merge([box(x0, y0, x1, y1, z0, z1, tile_m), under])


def cylinder(x, y, radius_m, z0, z1, sides: int = 16, top_radius_m: float | None = None) -> Mesh:
    """Upright cylinder, or cone when the top's radius is given; the texture goes round once."""
    top_radius = radius_m if top_radius_m is None else top_radius_m
    angle = np.linspace(0.0, 2.0 * np.pi, sides + 1)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    u = (angle / (2 * np.pi))[:, None]
    rings = []
    for radius, z, v in ((radius_m, z0, 0.0), (top_radius, z1, 1.0)):
        rings.append((np.c_[ring * radius + [x, y], np.full(sides + 1, z)], np.c_[u, np.full(sides + 1, v)]))
    centre = ([[x, y, z1]], [[0.5, 1.0]])
    vertices, uv = (np.concatenate(rows) for rows in zip(*rings, centre, strict=True))
    i = np.arange(sides)
    n = sides + 1
    side_faces = np.concatenate([np.c_[i, i + 1, i + 1 + n], np.c_[i, i + 1 + n, i + n]])
    top_faces = np.c_[i + n, i + 1 + n, np.full(sides, 2 * n)]
    return Mesh(
        vertices.astype(np.float32), np.concatenate([side_faces, top_faces]).astype(np.uint32), uv.astype(np.float32)
    )


def ellipsoid(centre_m, radii_m, rows: int = 8, columns: int = 12, roughness: float = 0.0, rng=None) -> Mesh:
    """Ellipsoid; `roughness` moves each vertex in or out by up to that share, for a crown of leaves."""
    lat, lon = np.meshgrid(
        np.linspace(-np.pi / 2, np.pi / 2, rows + 1), np.linspace(0, 2 * np.pi, columns + 1), indexing="ij"
    )
    unit = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)
    if roughness:
        swell = 1.0 + roughness * rng.uniform(-1.0, 1.0, lat.shape)
        swell[:, -1] = swell[:, 0]  # keeps the seam closed
        unit = unit * swell[..., None]
    vertices = (unit * np.asarray(radii_m) + np.asarray(centre_m)).reshape(-1, 3)
    uv = np.stack([lon / (2 * np.pi) * 3, lat / np.pi * 2 + 1], axis=-1).reshape(-1, 2)
    r, c = (g.ravel() for g in np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"))
    a, b = r * (columns + 1) + c, (r + 1) * (columns + 1) + c
    faces = np.concatenate([np.c_[a, a + 1, b + 1], np.c_[a, b + 1, b]])
    return Mesh(vertices.astype(np.float32), faces.astype(np.uint32), uv.astype(np.float32))
