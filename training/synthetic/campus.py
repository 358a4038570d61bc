"""The campus of the sample, about 200 x 120 m: buildings, landmarks and plants by area.

Each area has its own colours and landmarks, so that one image identifies the position. The walkway has none: all its
bays look the same, as in the paper's corridors.
"""

from __future__ import annotations

from training.synthetic import geometry, landscape
from training.synthetic.builder import SceneBuilder
from training.synthetic.site import ROOF_M
from training.synthetic.textures import Facade

CAMPUS_SEED = 2025
WARM, WHITE, SODIUM, GREENISH = (1.0, 0.78, 0.5), (0.85, 0.95, 1.0), (1.0, 0.55, 0.2), (0.8, 1.0, 0.75)
BAY_M = 4.0


def build_campus(cars_seed: int = 0) -> SceneBuilder:
    """The whole scene; `cars_seed` determines the parked cars of a day."""
    scene = SceneBuilder(CAMPUS_SEED)
    landscape.add_natural_textures(scene)
    landscape.add_ground(scene)
    _plaza(scene)
    _library(scene)
    _lab(scene)
    _walkway(scene)
    _garden(scene)
    landscape.add_borders(scene)
    landscape.add_skyline(scene)
    landscape.add_parked_cars(scene, cars_seed)
    return scene


def _plaza(scene: SceneBuilder) -> None:
    orange, teal = Facade("panels", (226, 128, 44), (250, 214, 130), "1", seed=1), (24, 140, 140)
    mural = Facade("mural", (240, 225, 190), (150, 40, 40), "1 AULA", seed=3)
    scene.building((-24, 50, 24, 58), 11.0, {"all": orange, "south": mural})
    blue = Facade("bands", (235, 240, 245), (40, 84, 190), "CAFE", storey_m=4, bay_m=2, seed=5)
    scene.building((-32, -6, -20, 5), 4.5, {"all": blue})
    _fountain(scene, 2, 30)
    scene.building((22, 42, 26, 46), 17.0, {"all": Facade("panels", teal, (235, 250, 245), bay_m=2, seed=7)})
    for x, y, colour in ((-15, 5, (215, 40, 40)), (-11, 9, (245, 205, 40)), (-7, 4, (40, 160, 70))):
        scene.post((90, 90, 90), x, y, 0.06, 0, 2.4)
        scene.post(colour, x, y, 1.8, 2.3, 3.1, solid=False, top_radius_m=0.05)
    scene.block((205, 20, 140), 12, 6, 13.2, 7.2, 0, 3.6)
    for x, colour in ((16, (200, 30, 40)), (20, (250, 250, 250)), (24, (30, 60, 180))):
        scene.post((200, 200, 205), x, 34, 0.08, 0, 9)
        scene.block(colour, x + 0.1, 33.97, x + 2.4, 34.03, 7.2, 8.8, solid=False)
    for x, y in ((-28, 28), (-28, 38), (-27, 47), (30, 30), (30, 50)):
        scene.tree(x, y, "blossom", 6.0)
    for x in (-20, -8, 8, 20):
        scene.block((150, 95, 50), x - 1, 25.2, x + 1, 25.7, 0.0, 0.5)
    _lamp_row(scene, ((-26, 16), (-12, 15), (4, 13), (22, 14.5), (29, 16), (-14, 34), (16, 40), (0, 45)), WARM)


def _fountain(scene: SceneBuilder, x: float, y: float) -> None:
    """Basin, water and a sculpture that is visible from the whole plaza."""
    scene.post((200, 190, 170), x, y, 5.0, 0.0, 0.7)
    scene.post((50, 120, 170), x, y, 4.6, 0.7, 0.72, solid=False)
    for level, half in enumerate((1.3, 1.0, 0.7)):
        base = 0.7 + 2.2 * level
        scene.block((196, 36, 30), x - half, y - half, x + half, y + half, base, base + 2.0, solid=False)
    scene.ball((235, 190, 40), (x, y, 8.4), (1.3, 1.3, 1.3))


def _library(scene: SceneBuilder) -> None:
    glass = Facade("fins", (20, 110, 120), (170, 225, 225), "20 LIBRARY", seed=11)
    scene.building((-92, 36, -56, 54), 14.0, {"all": glass})
    brick = Facade("bricks", (150, 62, 48), (196, 150, 130), "21", storey_m=3.5, bay_m=4, seed=13)
    mural = Facade("mural", (60, 40, 90), (240, 200, 60), "21", seed=17)
    scene.building((-96, 0, -78, 14), 7.5, {"all": brick, "east": mural})
    kiosk = Facade("panels", (245, 205, 20), (40, 40, 40), storey_m=1.5, bay_m=1.5, seed=19)
    scene.building((-46, 2, -40, 7), 3.2, {"all": kiosk})
    for level, colour in enumerate(((170, 40, 50), (40, 70, 150), (230, 180, 60), (60, 130, 70))):
        shift = 0.3 * (-1) ** level
        scene.block(colour, -59 + shift, 10, -55 + shift, 13, 0.9 * level, 0.9 * level + 0.85, solid=level == 0)
    for x in range(-92, -50, 7):
        scene.tree(x, 26.0, "poplar", 10.0, slender=0.45)
    for x, y in ((-40, 30), (-44, 42), (-50, 50), (-38, 54), (-66, 4), (-70, 12)):
        scene.tree(x, y, "leaves", 8.0)
    for x in (-72, -68, -64, -60):
        scene.bush(x, 33, "lilac", 0.9)
    _lamp_row(scene, ((-43, 27), (-60, 24), (-74, 23.5), (-88, 23.5), (-38, 17), (-54, 32), (-62, 6)), WHITE)


def _lab(scene: SceneBuilder) -> None:
    purple = Facade("panels", (96, 60, 150), (190, 170, 225), "33", seed=23)
    scene.building((58, 36, 94, 54), 12.0, {"all": purple})
    stripes = Facade("bands", (236, 196, 30), (35, 35, 38), "34", storey_m=3, seed=29)
    scene.building((62, -4, 94, 12), 9.0, {"all": stripes})
    green = Facade("grid", (70, 150, 70), (210, 235, 200), "35", bay_m=2.5, seed=31)
    scene.building((40, 44, 52, 56), 16.0, {"all": green})
    for y in (-2.5, 3.0):
        scene.post((190, 195, 200), 54, y, 2.2, 0, 6)
        scene.post((200, 40, 40), 54, y, 2.25, 4.6, 5.4, solid=False)
    boxes = ((46, 8.5, 0, (220, 110, 30)), (46, 11.2, 0, (40, 90, 170)), (46, 9.8, 2.6, (230, 230, 225)))
    for x, y, z, colour in boxes:
        scene.block(colour, x, y, x + 6, y + 2.5, z, z + 2.5)
    for level in range(6):
        colour = (210, 40, 35) if level % 2 else (240, 240, 240)
        scene.post(colour, 82, 27, 0.5 - 0.06 * level, 3.0 * level, 3.0 * level + 3, solid=level == 0)
    white = Facade("bricks", (222, 220, 212), (150, 160, 190), "36 WORKSHOP", seed=37)
    scene.building(
        (60, -26.5, 96, -19), 6.0, {"all": white, "west": Facade("mural", (30, 120, 90), (0, 0, 0), seed=41)}
    )
    for x in (52, 56):
        scene.tree(x, -22.0, "autumn", 5.0)
    _lamp_row(
        scene, ((35, 17), (44, 24), (58, 21), (72, 25.5), (90, 25.5), (38, 4), (50, -7), (66, -9), (86, -9)), WHITE
    )


def _walkway(scene: SceneBuilder) -> None:
    """Covered walkway between two class buildings; its grey bays repeat every 4 m."""
    west, south, east, north = ROOF_M
    grey = Facade("classrooms", (158, 156, 150), (92, 98, 104), storey_m=3.2, bay_m=BAY_M, seed=43)
    outside_north = Facade("mural", (90, 160, 210), (30, 30, 30), "2", seed=47)
    outside_south = Facade("mural", (230, 150, 150), (30, 30, 30), "3", seed=53)
    ends = Facade("bricks", (190, 170, 140), (120, 100, 90), seed=59)
    scene.building((-32, -13, 32, -9), 6.4, {"all": ends, "south": grey, "north": outside_north})
    scene.building((-32, -27, 32, -23), 6.4, {"all": ends, "north": grey, "south": outside_south})
    scene.add(scene.paint((138, 136, 132)), geometry.slab(west, south, east, north, 3.3, 3.7, 4.0))
    for bay in range(17):
        x = -32.0 + BAY_M * bay
        for y in (south + 0.5, north - 0.5):
            scene.block((150, 148, 142), x - 0.25, y - 0.25, x + 0.25, y + 0.25, 0.0, 3.3)
    for bay in range(8):
        scene.lamp((-28.0 + 2 * BAY_M * bay, -18.0, 3.15), GREENISH, 5.0, 0.1)


def _garden(scene: SceneBuilder) -> None:
    house = Facade("grid", (225, 240, 235), (120, 190, 150), "40", storey_m=2.2, bay_m=1.8, seed=61)
    scene.building((-92, -56, -70, -46), 4.5, {"all": house}, roof=(200, 225, 220))
    scene.post((120, 150, 165), -58, -45, 6.0, 0.0, 0.12)
    scene.ball((250, 250, 250), (-58, -45, 0.9), (0.8, 0.5, 0.8))
    for x, y in ((-38, -50), (-34, -50), (-34, -54), (-38, -54)):
        scene.post((245, 245, 245), x, y, 0.15, 0, 2.8)
    scene.post((40, 110, 60), -36, -52, 3.6, 2.8, 4.4, solid=False, top_radius_m=0.1)
    for x, colour in ((-16, (230, 60, 60)), (-8, (60, 120, 220)), (0, (245, 200, 40)), (8, (120, 60, 170))):
        for dx in (0.0, 2.6):
            scene.block(colour, x + dx, -52, x + dx + 0.4, -51.6, 0, 3.2)
        scene.block(colour, x, -52, x + 3.0, -51.6, 3.2, 3.6, solid=False)
    beds = ("flowers-red", "flowers-yellow", "flowers-violet")
    for index, west in enumerate((-92, -84, -76, -68)):
        scene.hedge(beds[index % 3], west, -24, west + 5, -21, 0.45)
    scene.hedge("hedge", -66, -34, -58, -33, 1.4)
    scene.hedge("hedge", -30, -33.5, 16, -32.5, 0.9)
    for x_m, y_m in ((-97.5, -52), (-64, -56), (-50, -56), (-24, -57), (-52, -14), (-62, -12), (-74, -13), (-90, -13)):
        scene.tree(x_m, y_m, "autumn", 7.0)
    for x in range(-26, 20, 9):
        scene.tree(x, -45.5, "leaves", 6.5)
    for x in range(24, 98, 8):
        scene.tree(x, -57.5, "cypress", 8.0, slender=0.4)
    booth = Facade("panels", (200, 40, 45), (250, 250, 250), "P", storey_m=1.4, bay_m=1.4, seed=67)
    scene.building((18, -38, 21, -34.5), 3.4, {"all": booth})
    row = (
        (-42, -26),
        (-47, -38),
        (-70, -38),
        (-90, -30),
        (-24, -40.5),
        (-4, -40.5),
        (14, -41),
        (34, -42),
        (56, -42),
        (80, -42),
    )
    _lamp_row(scene, row, SODIUM)


def _lamp_row(scene: SceneBuilder, positions_m, colour) -> None:
    for x, y in positions_m:
        scene.street_lamp(x, y, colour)
