"""Collects the content of the scene: meshes by material, obstacles and lamps."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from training.synthetic import geometry, textures
from training.synthetic.geometry import Mesh
from training.synthetic.site import Obstacles
from training.synthetic.textures import Facade, Texture


@dataclass(frozen=True)
class Lamp:
    """A lamp that is on at night. intensity: (r, g, b) in the renderer's units at 1 m."""

    position_m: tuple[float, float, float]
    radius_m: float
    intensity: tuple[float, float, float]


@dataclass
class SceneBuilder:
    """The scene for the renderer. `seed` determines everything random in it."""

    seed: int
    textures: dict[str, Texture] = field(default_factory=dict)
    meshes: dict[str, list[Mesh]] = field(default_factory=lambda: defaultdict(list))
    obstacles: Obstacles = field(default_factory=lambda: Obstacles([], []))
    lamps: list[Lamp] = field(default_factory=list)

    def __post_init__(self):
        self.rng = np.random.default_rng(self.seed)

    def add(self, material: str, *meshes: Mesh) -> None:
        """Add meshes of a material in `textures`."""
        self.meshes[material].extend(meshes)

    def paint(self, colour) -> str:
        """The material of a single colour, added on first use."""
        name = "paint-{}-{}-{}".format(*colour)
        if name not in self.textures:
            self.textures[name] = Texture(textures.plain(colour, self.rng))
        return name

    def building(self, rectangle, height_m: float, looks: dict[str, Facade], roof=(120, 118, 115)) -> None:
        """Upright block with a facade on each side; sides that are not in `looks` take that of 'all'."""
        for side in geometry.BOX_SIDES:
            start, end = geometry.box_side(side, *rectangle)
            length_m = float(np.hypot(end[0] - start[0], end[1] - start[1]))
            look = looks.get(side) or looks["all"]
            look = Facade(**{**look.__dict__, "seed": look.seed * 4 + geometry.BOX_SIDES.index(side)})
            name = f"facade-{len(self.textures)}"
            self.textures[name] = textures.facade(look, length_m, height_m)
            self.add(name, geometry.wall(start, end, 0.0, height_m))
        x0, y0, x1, y1 = rectangle
        self.add(self.paint(roof), geometry.ground(x0, y0, x1, y1, height_m, 4.0))
        self.obstacles.rectangles.append(tuple(rectangle))

    def block(self, colour, x0, y0, x1, y1, z0, z1, solid: bool = True) -> None:
        """Box of one colour."""
        self.add(self.paint(colour), geometry.box(x0, y0, x1, y1, z0, z1, 4.0))
        if solid:
            self.obstacles.rectangles.append((x0, y0, x1, y1))

    def post(self, colour, x, y, radius_m, z0, z1, solid: bool = True, top_radius_m=None) -> None:
        """Cylinder or cone of one colour."""
        self.add(self.paint(colour), geometry.cylinder(x, y, radius_m, z0, z1, top_radius_m=top_radius_m))
        if solid:
            self.obstacles.circles.append((x, y, radius_m))

    def ball(self, colour, centre_m, radii_m) -> None:
        """Ellipsoid of one colour."""
        self.add(self.paint(colour), geometry.ellipsoid(centre_m, radii_m))

    def tree(self, x, y, leaves: str, height_m: float = 7.0, slender: float = 1.0) -> None:
        """Trunk and a crown of three rough ellipsoids; `slender` below 1 gives a cypress."""
        size = height_m * self.rng.uniform(0.9, 1.1)
        self.post((92, 70, 52), x, y, 0.18, 0.0, size * 0.5)
        for level, width in ((0.55, 0.27), (0.7, 0.24), (0.85, 0.17)):
            sway = self.rng.normal(0.0, 0.05 * size * slender, 2)
            centre = (x + sway[0], y + sway[1], size * level)
            radii = (size * width * slender, size * width * slender, size * 0.2)
            self.add(leaves, geometry.ellipsoid(centre, radii, 9, 14, roughness=0.18, rng=self.rng))

    def bush(self, x, y, leaves: str, radius_m: float) -> None:
        """Rough ellipsoid on the ground."""
        shape = geometry.ellipsoid((x, y, radius_m * 0.5), (radius_m, radius_m, radius_m * 0.8), 7, 10, 0.15, self.rng)
        self.add(leaves, shape)
        self.obstacles.circles.append((x, y, radius_m))

    def hedge(self, leaves: str, x0, y0, x1, y1, height_m: float) -> None:
        """Box of leaves."""
        self.add(leaves, geometry.box(x0, y0, x1, y1, 0.0, height_m, 2.0))
        self.obstacles.rectangles.append((x0, y0, x1, y1))

    def street_lamp(self, x, y, colour, power: float = 22.0) -> None:
        """Post of 4.2 m with a lamp."""
        # Tapered: the light is right above, and a cylinder would cast a wide shadow.
        self.post((60, 62, 64), x, y, 0.08, 0.0, 3.85, top_radius_m=0.01)
        self.lamp((x, y, 4.2), colour, power, 0.2)

    def lamp(self, position_m, colour, power: float, radius_m: float) -> None:
        """Globe that is a lamp at night."""
        self.ball((235, 235, 225), position_m, (radius_m,) * 3)
        x, y, z = position_m
        red, green, blue = (float(power * channel) for channel in colour)
        self.lamps.append(Lamp((x, y, z), radius_m, (red, green, blue)))
