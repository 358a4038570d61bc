"""Tiles under the maps of the audit, from a stand-in for the tile server."""

import functools
import http.server
import io
import logging
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.geodesy import LocalFrame
from training.active.background import Background, MercatorImage, TileKind, contextily_tiles, open_background

FRAME = LocalFrame.at(31.262, 34.802)
LOW, HIGH = np.array([-100.0, -100.0]), np.array([100.0, 100.0])
RADIUS = 6378137.0


def mercator(latitude, longitude):
    return RADIUS * np.radians(longitude), RADIUS * np.arctanh(np.sin(np.radians(latitude)))


def exactly(west, south, east, north):
    """A tile server that gives just the window."""
    (left, bottom), (right, top) = mercator(south, west), mercator(north, east)
    return MercatorImage(np.zeros((4, 4, 3), np.uint8), (left, bottom, right, top), "© nobody")


def test_image_lies_where_the_tiles_are_in_metres():
    image = Background(FRAME, exactly).image(LOW, HIGH)
    np.testing.assert_allclose(image.extent_m, (-100.0, 100.0, -100.0, 100.0), atol=0.01)
    assert image.attribution == "© nobody"


def test_window_smaller_than_a_tile_shows_asks_for_more():
    image = Background(FRAME, exactly).image(LOW / 10.0, HIGH / 10.0)
    assert image.extent_m[1] - image.extent_m[0] == pytest.approx(60.0, abs=0.1)


def test_failing_server_is_one_line_and_is_asked_once(caplog):
    asked = []

    def fails(*window):
        asked.append(window)
        raise OSError("network is\nunreachable")

    background = Background(FRAME, fails)
    with caplog.at_level(logging.WARNING):
        assert background.image(LOW, HIGH) is None
        assert background.image(LOW, HIGH) is None
    assert len(asked) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "no map tiles (OSError: network is unreachable): the maps show the site's photo positions alone"
    ]


def test_server_that_never_answers_is_given_up(caplog):
    release = threading.Event()
    background = Background(FRAME, lambda *window: release.wait(), timeout_s=0.05)
    started = time.monotonic()
    assert background.image(LOW, HIGH) is None
    release.set()
    assert time.monotonic() - started < 10.0
    assert "no answer within 0.05 s" in caplog.text


def test_map_wider_than_a_site_has_no_tiles_and_the_next_has(caplog):
    background = Background(FRAME, exactly)
    assert background.image(LOW * 1e4, HIGH * 1e4) is None
    assert background.image(LOW, HIGH) is not None


def test_without_contextily_a_line_says_so_and_nothing_fails(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "contextily", None)
    with caplog.at_level(logging.INFO):
        assert open_background(FRAME).image(LOW, HIGH) is None
    assert "extra `tiles`" in caplog.text


def test_kind_of_background_is_parsed_and_a_wrong_one_names_the_right_ones():
    assert TileKind.parse(" Street ") is TileKind.STREET
    with pytest.raises(ConfigError, match="satellite, street, none"):
        TileKind.parse("map")


class TileServer(http.server.BaseHTTPRequestHandler):
    """Every tile is green; remembers what was asked."""

    def __init__(self, asked, *arguments):
        self.asked = asked
        super().__init__(*arguments)

    def do_GET(self):
        self.asked.append(self.path)
        buffer = io.BytesIO()
        Image.new("RGB", (256, 256), (0, 200, 0)).save(buffer, format="PNG")
        self.send_response(200)
        self.send_header("Content-Type", "image/png")
        self.end_headers()
        self.wfile.write(buffer.getvalue())

    def log_message(self, *arguments):
        pass


def test_contextily_fetches_tiles_of_a_server_for_the_window():
    contextily = pytest.importorskip("contextily", reason="the extra `tiles` is not installed")
    asked = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(TileServer, asked))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/{{z}}/{{x}}/{{y}}.png"
        source = contextily.providers.OpenStreetMap.Mapnik.copy()
        source["url"] = url
        image = Background(FRAME, contextily_tiles(contextily, source)).image(LOW, HIGH)
    finally:
        server.shutdown()
        server.server_close()
    assert asked
    assert image.rgb[..., 1].min() == 200
    left, right, bottom, top = image.extent_m
    assert left <= -100.0 and right >= 100.0 and bottom <= -100.0 and top >= 100.0
    assert right - left < 1000.0  # tiles of about the size of the window
    assert "OpenStreetMap" in image.attribution
