"""Ground, borders, skyline and parked cars of the campus."""

from __future__ import annotations

import numpy as np

from training.synthetic import geometry, textures
from training.synthetic.builder import SceneBuilder
from training.synthetic.site import BOUNDS_M
from training.synthetic.textures import Texture

LEAVES = {
    "grass": ((84, 118, 52), (98, 132, 60), (72, 104, 48)),
    "meadow": ((120, 128, 70), (104, 116, 60), (138, 138, 84)),
    "leaves": ((52, 92, 40), (70, 112, 48), (38, 74, 34)),
    "poplar": ((150, 160, 50), (120, 144, 44), (172, 174, 70)),
    "blossom": ((236, 168, 190), (248, 200, 214), (214, 136, 164)),
    "autumn": ((190, 96, 30), (214, 130, 40), (160, 66, 30)),
    "cypress": ((30, 62, 46), (40, 76, 54), (24, 50, 40)),
    "lilac": ((150, 100, 190), (90, 120, 70), (176, 130, 210)),
    "hedge": ((44, 84, 44), (58, 98, 50), (34, 66, 38)),
    "flowers-red": ((206, 40, 44), (60, 110, 50), (230, 80, 70)),
    "flowers-yellow": ((240, 200, 40), (70, 116, 50), (250, 226, 110)),
    "flowers-violet": ((120, 60, 180), (64, 110, 54), (160, 100, 210)),
    "gravel": ((186, 170, 140), (170, 154, 126), (204, 190, 160)),
    "asphalt": ((84, 84, 88), (92, 92, 96), (76, 76, 80)),
}
# name: (colours of the slabs, colour of the joints)
PAVINGS = {
    "plaza-paving": (((214, 186, 150), (196, 130, 96)), (150, 130, 110)),
    "library-paving": (((150, 164, 180), (166, 178, 190)), (110, 120, 130)),
    "walkway-paving": (((150, 150, 146),), (112, 112, 110)),
    "lab-paving": (((176, 176, 170), (140, 140, 138)), (100, 100, 100)),
}
# (x0, y0, x1, y1), height over the ground, material, metres per tile: laid one over the other
PATCHES = (
    ((-100, -60, 100, 60), 0.00, "grass", 8.0),
    ((-34, -8, 34, 60), 0.02, "plaza-paving", 8.0),
    ((-100, 16, -34, 25), 0.02, "library-paving", 5.0),
    ((-98, 25, -52, 36), 0.02, "grass", 6.0),
    ((-58, 16, -50, 60), 0.025, "library-paving", 5.0),
    ((-54, -8, -34, 16), 0.02, "library-paving", 5.0),
    ((-98, 28.5, -52, 31.5), 0.03, "gravel", 5.0),
    ((34, -28, 100, 60), 0.02, "asphalt", 6.0),
    ((34, -28, 46, 44), 0.03, "lab-paving", 6.0),
    ((46, 17, 100, 25), 0.03, "lab-paving", 6.0),
    ((-36, -23, 36, -13), 0.02, "walkway-paving", 4.0),
    ((-47, -40, -36, -8), 0.02, "gravel", 5.0),
    ((-100, -32, -36, -28), 0.03, "gravel", 5.0),
    ((-47, -40, 22, -36), 0.03, "gravel", 5.0),
    ((22, -56, 98, -29), 0.02, "asphalt", 6.0),
)
CAR_COLOURS = (
    (190, 30, 35),
    (230, 230, 232),
    (40, 42, 48),
    (40, 80, 160),
    (150, 155, 160),
    (220, 180, 60),
    (40, 110, 80),
)


def add_natural_textures(scene: SceneBuilder) -> None:
    """Add the textures of plants, gravel, asphalt and paving."""
    for name, colours in LEAVES.items():
        scene.textures[name] = Texture(textures.speckle(colours, scene.rng))
    for name, (slabs, joint) in PAVINGS.items():
        scene.textures[name] = Texture(textures.tiles(slabs, joint, scene.rng, size_px=256))


def add_ground(scene: SceneBuilder) -> None:
    """Add a meadow beyond the site, the paving, and lines on the ground."""
    scene.add("meadow", geometry.ground(-700, -700, 700, 700, -0.02, 14.0))
    for (x0, y0, x1, y1), z, material, tile_m in PATCHES:
        scene.add(material, geometry.ground(x0, y0, x1, y1, z, tile_m))
    for y in (-36.0, -50.0):  # lines of the parking
        for x in np.arange(26.0, 96.0, 3.0):
            scene.add(scene.paint((235, 235, 230)), geometry.ground(x, y - 2.5, x + 0.12, y + 2.5, 0.03, 4.0))
    for x in np.arange(36.0, 45.0, 3.0):  # yellow lines through the yard of the lab
        scene.add(scene.paint((235, 190, 30)), geometry.ground(x, -12, x + 0.25, 40, 0.04, 4.0))


def add_borders(scene: SceneBuilder) -> None:
    """A different fence on each side of the site, so that a view outwards identifies its direction."""
    west, south, east, north = BOUNDS_M
    scene.block((226, 222, 214), west, north - 0.3, east, north, 0.0, 2.2)
    scene.block((150, 74, 56), east - 0.3, south, east, north, 0.0, 2.0)
    scene.hedge("hedge", west, south, east, south + 0.8, 1.7)
    scene.block((128, 92, 58), west, south, west + 0.3, north, 0.0, 1.8)


def add_skyline(scene: SceneBuilder) -> None:
    """Distant landmarks: hills in the west and south, a water tower, chimneys, towers."""
    for x, y, rx, ry, rz in ((-420, 60, 120, 260, 60), (-120, -430, 260, 110, 38), (320, -420, 160, 100, 26)):
        scene.add("meadow", geometry.ellipsoid((x, y, -4), (rx, ry, rz), 16, 32))
    scene.post((200, 205, 215), 60, 170, 3.0, 0, 30)
    scene.post((110, 150, 190), 60, 170, 9.0, 30, 40)
    for y, height in ((30, 46), (52, 38)):
        for level in range(int(height // 8)):
            colour = (205, 60, 50) if level % 2 else (236, 232, 226)
            scene.post(colour, 210, y, 2.6, 8 * level, 8 * level + 8)
    towers = ((-60, 190, 24, (190, 150, 120)), (-10, 210, 34, (120, 140, 170)), (120, 220, 28, (170, 120, 130)))
    for x, y, height, colour in towers:
        scene.block(colour, x, y, x + 22, y + 14, 0, height)


def add_parked_cars(scene: SceneBuilder, cars_seed: int) -> None:
    """Fill about half of the parking spaces, depending on `cars_seed`."""
    rng = np.random.default_rng(cars_seed)
    for y in (-36.0, -50.0):
        for x in np.arange(26.5, 95.0, 3.0):
            if rng.random() < 0.5:
                _car(scene, x, y - 2.2, CAR_COLOURS[rng.integers(len(CAR_COLOURS))])


def _car(scene: SceneBuilder, x: float, y: float, colour) -> None:
    scene.block(colour, x, y, x + 1.8, y + 4.3, 0.3, 0.95)
    scene.block((40, 46, 54), x + 0.12, y + 0.9, x + 1.68, y + 3.6, 0.95, 1.35, solid=False)
    scene.block(colour, x + 0.15, y + 1.1, x + 1.65, y + 3.3, 1.35, 1.45, solid=False)
    for dx, dy in ((-0.02, 0.5), (-0.02, 3.2), (1.62, 0.5), (1.62, 3.2)):
        scene.block((25, 25, 25), x + dx, y + dy, x + dx + 0.2, y + dy + 0.65, 0.0, 0.65, solid=False)
