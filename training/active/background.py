"""What lies under the maps of the audit: satellite or street tiles where they can be had, else nothing.

Tiles come through contextily (extra `tiles`). Without it, or without a network, one line says so and the maps show the
site's own photo positions alone.
"""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial

import numpy as np

from campus_visual_gps.errors import ConfigError, GeodesyError
from campus_visual_gps.geodesy import WGS84_SEMI_MAJOR_AXIS_M, LocalFrame

_log = logging.getLogger(__name__)

# A server that does not answer must not hold up the page.
TIMEOUT_S = 20.0
# Under so many metres tile servers have nothing sharper.
_MIN_SIDE_M = 60.0


class TileKind(str, Enum):
    """What is asked for."""

    SATELLITE = "satellite"
    STREET = "street"
    NONE = "none"

    @classmethod
    def parse(cls, text: str) -> TileKind:
        """By its name. Raises ConfigError."""
        try:
            return cls(text.strip().lower())
        except ValueError:
            raise ConfigError(f"background '{text}': expected one of {', '.join(kind.value for kind in cls)}") from None


@dataclass(frozen=True)
class MercatorImage:
    """An image in Web Mercator: (H, W, 3 or 4) uint8, its west, south, east and north in metres; who is to be named."""

    rgb: np.ndarray
    bounds_m: tuple[float, float, float, float]
    attribution: str


@dataclass(frozen=True)
class MapImage:
    """An image for axes in local metres: `extent_m` is west, east, south, north, as `Axes.imshow` takes it."""

    rgb: np.ndarray
    extent_m: tuple[float, float, float, float]
    attribution: str


# west, south, east, north in degrees
FetchTiles = Callable[[float, float, float, float], MercatorImage]


class Background:
    """Gives the image under a map, or None; after the first failure always None.

    Args:
        frame: Frame of the maps.
        fetch: Where tiles come from; None for no tiles.
        timeout_s: How long one map may wait for its tiles.
    """

    def __init__(self, frame: LocalFrame, fetch: FetchTiles | None, timeout_s: float = TIMEOUT_S):
        self._frame, self._fetch, self._timeout_s = frame, fetch, timeout_s

    def image(self, low_m: np.ndarray, high_m: np.ndarray) -> MapImage | None:
        """The image that covers a window, given by its corners (2,) metres."""
        if self._fetch is None:
            return None
        grow = np.maximum(_MIN_SIDE_M - (high_m - low_m), 0.0) / 2.0
        try:
            (south, north), (west, east) = self._frame.to_geodetic(np.stack([low_m - grow, high_m + grow]))
            tiles = _within(self._timeout_s, partial(self._fetch, west, south, east, north))
            return self._to_map(tiles)
        except GeodesyError:
            return None  # this one map is too wide
        except Exception as error:  # whatever a tile server and its client do, the audit goes on
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            _log.warning("no map tiles (%s): the maps show the site's photo positions alone", reason)
            self._fetch = None
            return None

    def _to_map(self, tiles: MercatorImage) -> MapImage:
        west, south, east, north = tiles.bounds_m
        (left, bottom), (right, top) = (
            self._frame.to_local(*_mercator_to_degrees(x, y)) for x, y in ((west, south), (east, north))
        )
        return MapImage(tiles.rgb, (float(left), float(right), float(bottom), float(top)), tiles.attribution)


def open_background(frame: LocalFrame, kind: TileKind = TileKind.SATELLITE) -> Background:
    """The background of that kind; without contextily a line says so."""
    if kind is TileKind.NONE:
        return Background(frame, None)
    try:
        contextily = importlib.import_module("contextily")
    except ImportError:
        _log.info("contextily is not installed (extra `tiles`): the maps show the site's photo positions alone")
        return Background(frame, None)
    providers = contextily.providers
    source = providers.Esri.WorldImagery if kind is TileKind.SATELLITE else providers.OpenStreetMap.Mapnik
    return Background(frame, contextily_tiles(contextily, source))


def contextily_tiles(contextily, source) -> FetchTiles:
    """A function that fetches tiles of a source (an xyzservices.TileProvider) through contextily."""

    def fetch(west: float, south: float, east: float, north: float) -> MercatorImage:
        rgb, (left, right, bottom, top) = contextily.bounds2img(
            west, south, east, north, source=source, ll=True, wait=1, max_retries=1
        )
        return MercatorImage(rgb, (left, bottom, right, top), str(source.get("attribution", "")))

    return fetch


def _within(timeout_s: float, work: Callable[[], MercatorImage]) -> MercatorImage:
    """The result of `work`, which runs in a thread that is given up after some seconds. Raises what it raises."""
    results: list[MercatorImage] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout_s)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(f"no answer within {timeout_s:g} s")
    return results[0]


def _mercator_to_degrees(x_m: float, y_m: float) -> tuple[float, float]:
    """Web Mercator (EPSG 3857) metres -> latitude and longitude, degrees."""
    radius = WGS84_SEMI_MAJOR_AXIS_M
    return float(np.degrees(np.arctan(np.sinh(y_m / radius)))), float(np.degrees(x_m / radius))
