"""Renders the images of the sample, each once: a cache outside the repository keeps them."""

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

from campus_visual_gps.errors import ConfigError, DatasetError
from training.data.array_cache import read_array, write_array
from training.synthetic.campus import build_campus
from training.synthetic.light import Light
from training.synthetic.render import Renderer, View

# A change in these modules changes rendered images; a change in capture, noise or camera does not.
_SOURCES = ("geometry", "textures", "builder", "campus", "landscape", "light", "site", "render")


@dataclass(frozen=True)
class RenderTask:
    """One image to render: a view in the light and with the parked cars of its day."""

    view: View
    light: Light
    cars_seed: int


class RenderCache:
    """Linear radiance of rendered images as half floats, one file each, named after a hash of the task and the code."""

    def __init__(self, directory: Path | None = None):
        self._directory = directory or default_cache_dir()
        self._directory.mkdir(parents=True, exist_ok=True)
        self._version = _source_digest()

    def path(self, task: RenderTask) -> Path:
        """The file of an image."""
        digest = hashlib.sha256(f"{self._version} {task!r}".encode()).hexdigest()[:24]
        return self._directory / f"{digest}.npy"

    def holds(self, task: RenderTask) -> bool:
        """Whether an image was rendered, and its file is whole."""
        return self._read(task) is not None

    def load(self, task: RenderTask) -> np.ndarray:
        """(H, W, 3) float32 linear radiance of an image that was rendered. Raises DatasetError."""
        radiance = self._read(task)
        if radiance is None:
            raise DatasetError(f"{self.path(task)}: the rendered image is missing or damaged; run again")
        return radiance.astype(np.float32)

    def _read(self, task: RenderTask) -> np.ndarray | None:
        return read_array(self.path(task), (task.view.height_px, task.view.width_px, 3), np.float16)

    def store(self, task: RenderTask, radiance: np.ndarray) -> None:
        """Write the radiance (H, W, 3) of an image. Raises DatasetError."""

        def fill(partial: Path) -> None:
            with partial.open("wb") as file:
                np.save(file, np.minimum(radiance, 6e4).astype(np.float16))

        write_array(self.path(task), fill)


def render_missing(
    tasks: Iterable[RenderTask], cache: RenderCache, threads: int = 0, done: Callable[[], None] = lambda: None
) -> None:
    """Render the images that are not in the cache, or damaged there.

    Args:
        tasks: Images, those of the same day one after the other.
        cache: Of rendered images.
        threads: Rendering threads; 0 takes all cores.
        done: Called once for each image.

    Raises:
        ConfigError: An image must be rendered, and Mitsuba is not installed.
    """
    for (light, cars_seed), group in groupby(tasks, key=lambda task: (task.light, task.cars_seed)):
        renderer = Renderer(build_campus(cars_seed), light, threads)
        for task in group:
            if not cache.holds(task):
                _require_mitsuba()
                cache.store(task, renderer.render(task.view))
            done()


def _require_mitsuba() -> None:
    if importlib.util.find_spec("mitsuba") is None:
        raise ConfigError("rendering the sample campus needs mitsuba: pip install -e '.[synthetic]'")


def default_cache_dir() -> Path:
    """In the user's cache directory."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "campus_visual_gps" / "synthetic"


def _source_digest() -> str:
    """Hash of the code that renders, so that images of an older campus are not reused."""
    here = Path(__file__).parent
    trees = [ast.dump(ast.parse((here / f"{name}.py").read_text(encoding="utf-8"))) for name in _SOURCES]
    return hashlib.sha256("".join(trees).encode()).hexdigest()
