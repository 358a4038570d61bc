"""Conditions of real inputs as marks of tests: the rows of docs/compatibility.md, which make_compatibility.py writes.

A test that shows what happens under a condition carries a mark for it, or one mark per parameter set:

    @pytest.mark.parametrize("encoding", [
        pytest.param("rgb8", marks=condition(Area.CAMERA, "raw image, encoding rgb8", "converted", since="2026-11-26")),
    ])
"""

from enum import Enum

import pytest

MARK = "compatibility"
COLLECTED = pytest.StashKey[list[pytest.Item]]()  # of the run's configuration: all its tests, in the order of the files


class Area(str, Enum):
    """The sections of docs/compatibility.md, in their order."""

    TRANSPORT = "Camera: topics and transport"
    CAMERA = "Camera: encodings and damaged images"
    RECEIVER = "GPS receiver"
    NODE = "Node, lifecycle managers and other processes"
    BAGS = "Bags"
    CONTAINERS = "Photo files"
    EXIF = "EXIF: position"
    TIME = "EXIF: date and time"
    FOLDERS = "Folders of photos"
    TABLES = "Tables and corrections"
    BUNDLES = "Model bundles and training runs"


def condition(area: Area, text: str, outcome: str, *, since: str) -> pytest.MarkDecorator:
    """A row of the table.

    Args:
        area: The section.
        text: The condition, as a noun phrase: "GPS fix with altitude NaN".
        outcome: What happens: "used; the output has the site's altitude".
        since: The date of the first commit with such a test, ISO 8601.
    """
    return getattr(pytest.mark, MARK)(area=Area(area), text=text, outcome=outcome, since=since)
