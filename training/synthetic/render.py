"""Renders the campus with Mitsuba's scalar renderer, in linear light.

Mitsuba is needed only to render the sample again. It is imported here only, on first use.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from training.synthetic import geometry
from training.synthetic.builder import Lamp, SceneBuilder
from training.synthetic.light import Light
from training.synthetic.site import ROOF_M

SAMPLES_BY_DAY = 12
SAMPLES_BY_NIGHT = 24
SAMPLES_UNDER_ROOF = 40  # indirect light only
MAX_DEPTH = 3
# More lamps make the image noisier, and distant ones contribute little.
NEAREST_LAMPS = 10
# Under the roof the lamps are on by day too, weaker than the sky.
ROOF_LAMP_SHARE_BY_DAY = 0.35
ROOF_LAMP_RANGE_M = 25.0
# So close to the roof, much of the image shows what is under it.
ENTRANCE_M = 6.0
# How often a lamp is sampled relative to the sky; rarely from outside, where it mostly adds noise.
LAMP_WEIGHT, LAMP_WEIGHT_FROM_OUTSIDE = 0.3, 0.03
LIT_WINDOW_RADIANCE = 0.2
OVERCAST_RADIANCE = 0.25
NIGHT_SKY_RADIANCE = (0.0022, 0.003, 0.0058)


@dataclass(frozen=True)
class View:
    """One image to render. Heading clockwise from north, pitch up, roll clockwise; position east, north, up."""

    position_m: tuple[float, float, float]
    heading_deg: float
    pitch_deg: float
    roll_deg: float
    width_px: int
    height_px: int
    focal_px: float
    seed: int


class Renderer:
    """Renders views of one scene in one light; `threads` 0 takes all cores."""

    def __init__(self, scene: SceneBuilder, light: Light, threads: int = 0):
        self._scene = scene
        self._light = light
        self._threads = threads

    def render(self, view: View, samples: int | None = None) -> np.ndarray:
        """(H, W, 3) float32 linear RGB radiance. The same view gives the same image, bit for bit."""
        sensor = self._mi.load_dict(_sensor(self._mi, view, samples or self._samples(view)))
        picture = self._mi.render(self._scene_at(view.position_m), sensor=sensor, seed=view.seed)
        return _without_fireflies(np.array(picture, dtype=np.float32))

    def _samples(self, view: View) -> int:
        if _distance_to_roof_m(view.position_m) < ENTRANCE_M:
            return SAMPLES_UNDER_ROOF
        return SAMPLES_BY_NIGHT if self._light.kind == "night" else SAMPLES_BY_DAY

    @cached_property
    def _mi(self):
        import drjit
        import mitsuba

        mitsuba.set_variant("scalar_rgb")
        if self._threads:
            drjit.set_thread_count(self._threads)
        return mitsuba

    @cached_property
    def _shapes(self) -> dict:
        """One mesh per material; built once, because reading the textures takes longer than rendering an image."""
        shapes = {}
        for index, (material, meshes) in enumerate(self._scene.meshes.items()):
            texture = self._scene.textures[material]
            shine = texture.emission if self._light.kind == "night" else None
            shapes[f"shape_{index}"] = _shape(self._mi, geometry.merge(meshes), texture.reflectance, shine)
        return shapes

    def _scene_at(self, position_m):
        if self._light.kind == "night":
            return self._night_scene(position_m)
        distance_m = _distance_to_roof_m(position_m)
        if distance_m > ROOF_LAMP_RANGE_M:
            return self._day_scene
        return self._roof_scene if distance_m < ENTRANCE_M else self._roof_scene_from_outside

    @cached_property
    def _day_scene(self):
        return self._load({"sky": self._sky()})

    @cached_property
    def _roof_scene(self):
        return self._load(self._roof_lights(LAMP_WEIGHT))

    @cached_property
    def _roof_scene_from_outside(self):
        return self._load(self._roof_lights(LAMP_WEIGHT_FROM_OUTSIDE))

    def _roof_lights(self, weight: float) -> dict:
        """Lights by day near the walkway: the sky and the lamps under the roof."""
        lamps = [lamp for lamp in self._scene.lamps if _distance_to_roof_m(lamp.position_m) == 0.0]
        lights = {f"lamp_{i}": _lamp(lamp, ROOF_LAMP_SHARE_BY_DAY, weight) for i, lamp in enumerate(lamps)}
        return {"sky": self._sky(), **lights}

    def _night_scene(self, position_m):
        """The scene at night, with the lamps nearest to a position as point lights."""
        away_m = [float(np.hypot(*np.subtract(lamp.position_m, position_m)[:2])) for lamp in self._scene.lamps]
        nearest = np.argsort(away_m)[:NEAREST_LAMPS]
        # The ground nearby fills the image, so its lamps are sampled most.
        lights = {f"lamp_{i}": _lamp(self._scene.lamps[i], weight=20.0 / (away_m[i] + 5.0)) for i in nearest}
        glow = {f"globe_{i}": _globe(lamp) for i, lamp in enumerate(self._scene.lamps)}
        return self._load({"sky": self._sky(), **lights, **glow})

    def _sky(self) -> dict:
        light = self._light
        if light.kind == "sun":
            return {"type": "sunsky", "sun_direction": list(light.sun_direction), "turbidity": light.turbidity}
        radiance = NIGHT_SKY_RADIANCE if light.kind == "night" else (OVERCAST_RADIANCE,) * 3
        return {"type": "constant", "radiance": _rgb(radiance)}

    def _load(self, lights: dict):
        # Whole blocks of one size and a box filter keep the picture independent of the number of threads.
        integrator = {"type": "path", "max_depth": MAX_DEPTH}
        if self._light.kind == "night":
            # A light path that hits a window by chance would be a bright dot: only the lamps light the night.
            integrator = {"type": "direct", "emitter_samples": 1, "bsdf_samples": 0}
        return self._mi.load_dict(
            {"type": "scene", "integrator": {**integrator, "block_size": 32}, **lights, **self._shapes}
        )


def _without_fireflies(radiance: np.ndarray) -> np.ndarray:
    """Limit single pixels that are much brighter than their neighbours, an artefact of path tracing."""
    return np.minimum(radiance, 2.5 * cv2.medianBlur(radiance, 3) + 1e-4)


def _distance_to_roof_m(position_m) -> float:
    """Horizontal distance to the walkway's roof, 0 under it."""
    west, south, east, north = ROOF_M
    dx = max(west - position_m[0], 0.0, position_m[0] - east)
    dy = max(south - position_m[1], 0.0, position_m[1] - north)
    return float(np.hypot(dx, dy))


def _rgb(values) -> dict:
    return {"type": "rgb", "value": [float(v) for v in values]}


def _lamp(lamp: Lamp, share: float = 1.0, weight: float = 1.0) -> dict:
    # The light is just below its globe, which would occlude it.
    x, y, z = lamp.position_m
    position = [x, y, z - lamp.radius_m - 0.06]
    intensity = _rgb(np.multiply(lamp.intensity, share))
    return {"type": "point", "position": position, "intensity": intensity, "sampling_weight": weight}


def _globe(lamp: Lamp) -> dict:
    """The visible globe of a lamp, which is never sampled as a light."""
    emitter = {"type": "area", "radiance": _rgb(np.multiply(lamp.intensity, 0.12)), "sampling_weight": 0.0}
    return {"type": "sphere", "center": list(lamp.position_m), "radius": lamp.radius_m + 0.03, "emitter": emitter}


def _bitmap(mi, texture: np.ndarray, scale: float = 1.0) -> dict:
    """sRGB bytes -> a texture in linear light. The renderer counts v from the first row, Mesh upwards."""
    linear = np.power(texture[::-1].astype(np.float32) / 255.0, 2.2) * np.float32(scale)
    return {"type": "bitmap", "bitmap": mi.Bitmap(np.ascontiguousarray(linear)), "raw": True, "wrap_mode": "repeat"}


def _shape(mi, mesh: geometry.Mesh, reflectance: np.ndarray, emission: np.ndarray | None):
    properties = mi.Properties()
    diffuse = {"type": "diffuse", "reflectance": _bitmap(mi, reflectance, 0.85)}
    properties["bsdf"] = mi.load_dict({"type": "twosided", "bsdf": diffuse})
    if emission is not None and emission.any():
        glow = {"type": "area", "radiance": _bitmap(mi, emission, LIT_WINDOW_RADIANCE), "sampling_weight": 0.0}
        properties["emitter"] = mi.load_dict(glow)
    shape = mi.Mesh("mesh", len(mesh.vertices_m), len(mesh.faces), has_vertex_texcoords=True, props=properties)
    values = mi.traverse(shape)
    values["vertex_positions"] = mesh.vertices_m.ravel()
    values["vertex_texcoords"] = mesh.uv.ravel()
    values["faces"] = mesh.faces.ravel()
    values.update()
    return shape


def _sensor(mi, view: View, samples: int) -> dict:
    heading, pitch = np.radians(view.heading_deg), np.radians(view.pitch_deg)
    forward = np.array([np.sin(heading) * np.cos(pitch), np.cos(heading) * np.cos(pitch), np.sin(pitch)])
    eye = np.asarray(view.position_m, float)
    level = mi.ScalarTransform4f().look_at(eye.tolist(), (eye + forward).tolist(), [0.0, 0.0, 1.0])
    fov_deg = float(np.degrees(2 * np.arctan(view.width_px / 2 / view.focal_px)))
    return {
        "type": "perspective",
        "fov": fov_deg,
        "fov_axis": "x",
        "to_world": level @ mi.ScalarTransform4f().rotate([0, 0, 1], view.roll_deg),
        "film": {"type": "hdrfilm", "width": view.width_px, "height": view.height_px, "rfilter": {"type": "box"}},
        "sampler": {"type": "independent", "sample_count": samples},
    }
