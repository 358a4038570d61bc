"""GPS from one camera image: `predict_gps(image)` and `Localizer`, without ROS and without the training half.

The names are resolved on first use, so that importing the package costs milliseconds and loads no torch.
"""

from __future__ import annotations

from importlib import import_module

_EXPORTS = {
    "LocalFrame": "campus_visual_gps.geodesy",
    "Localizer": "campus_visual_gps.localizer",
    "PositionEstimate": "campus_visual_gps.localizer",
    "VisualGpsError": "campus_visual_gps.errors",
    "predict_gps": "campus_visual_gps.localizer",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str):
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
