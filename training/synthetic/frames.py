"""Renders the frames of the sample, each once: a cache outside the repository keeps what is done."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from campus_visual_gps.errors import ConfigError
from training.synthetic.campus import build_campus
from training.synthetic.light import Light
from training.synthetic.render import Renderer, View

# A change in any of these changes pictures; capture, noise and camera do not, their frames stay valid.
_SOURCES = ("geometry", "textures", "builder", "campus", "landscape", "light", "site", "render")


@dataclass(frozen=True)
class Frame:
    """A view in the light, and with the parked cars, of its day."""

    view: View
    light: Light
    cars_seed: int


class FrameCache:
    """Linear radiance of frames by what they show, as half floats, in one file each."""

    def __init__(self, directory: Path | None = None):
        self._directory = directory or default_cache_dir()
        self._directory.mkdir(parents=True, exist_ok=True)
        self._version = _source_digest()

    def path(self, frame: Frame) -> Path:
        digest = hashlib.sha256(f"{self._version} {frame!r}".encode()).hexdigest()[:24]
        return self._directory / f"{digest}.npy"

    def load(self, frame: Frame) -> np.ndarray:
        """(H, W, 3) float32 linear radiance of a frame that was rendered."""
        return np.load(self.path(frame), allow_pickle=False).astype(np.float32)

    def store(self, frame: Frame, radiance: np.ndarray) -> None:
        """Written aside and renamed, so that an interrupted run leaves no half picture."""
        path = self.path(frame)
        part = path.with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as file:
            np.save(file, np.minimum(radiance, 6e4).astype(np.float16))
        part.replace(path)


def render_frames(
    frames: Iterable[Frame], cache: FrameCache, threads: int = 0, done: Callable[[], None] = lambda: None
) -> None:
    """Render every frame that the cache lacks; `done` is called once per frame. `threads`: 0 for all cores.

    Raises ConfigError where a frame must be rendered and Mitsuba is not installed.
    """
    for (light, cars_seed), group in groupby(frames, key=lambda frame: (frame.light, frame.cars_seed)):
        renderer = Renderer(build_campus(cars_seed), light, threads)
        for frame in group:
            if not cache.path(frame).exists():
                _require_mitsuba()
                cache.store(frame, renderer.render(frame.view))
            done()


def _require_mitsuba() -> None:
    if importlib.util.find_spec("mitsuba") is None:
        raise ConfigError("rendering the sample campus needs mitsuba: pip install -e '.[synthetic]'")


def default_cache_dir() -> Path:
    """Beside other caches of the user."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "campus_visual_gps" / "synthetic"


def _source_digest() -> str:
    """Of the code that draws, so that a frame of an older campus is never taken for one of this."""
    here = Path(__file__).parent
    trees = [ast.dump(ast.parse((here / f"{name}.py").read_text(encoding="utf-8"))) for name in _SOURCES]
    return hashlib.sha256("".join(trees).encode()).hexdigest()
